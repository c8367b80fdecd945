//! A virtio console (Virtio 1.2, section 5.3): its first port.

use core::cell::RefCell;

use virtio_drivers::device::console::VirtIOConsole;
use virtio_drivers::transport::Transport;

use crate::error::DeviceError;
use crate::hal::IdentityMapped;

/// A console that transfers bytes.
pub trait ByteConsole {
    /// Sends bytes. They are lost if the device fails.
    fn send(&self, bytes: &[u8]);

    /// The next byte that was received, if there is one.
    fn receive(&self) -> Option<u8>;
}

/// A virtio console.
pub(crate) struct VirtioConsole<T: Transport> {
    driver: RefCell<VirtIOConsole<IdentityMapped, T>>,
}

impl<T: Transport> VirtioConsole<T> {
    /// Starts the driver of the device behind `transport`.
    pub(crate) fn new(transport: T) -> Result<Self, DeviceError> {
        let driver = VirtIOConsole::new(transport).map_err(DeviceError::Virtio)?;
        Ok(Self {
            driver: RefCell::new(driver),
        })
    }
}

impl<T: Transport> ByteConsole for VirtioConsole<T> {
    fn send(&self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        if let Ok(mut driver) = self.driver.try_borrow_mut() {
            // There is no other place to report the error.
            let _ = driver.send_bytes(bytes);
        }
    }

    fn receive(&self) -> Option<u8> {
        self.driver.try_borrow_mut().ok()?.recv(true).ok()?
    }
}
