//! The console: COM1, or a virtio console on a machine without COM1.
#![expect(unsafe_code, reason = "one CPU uses the console")]

use alloc::boxed::Box;
use core::cell::RefCell;

use fw_runtime::Console;
use fw_virtio::ByteConsole;

use crate::serial::COM1;

/// The console.
pub(crate) struct Output {
    /// What takes the place of COM1.
    virtio: RefCell<Option<Box<dyn ByteConsole>>>,
}

// SAFETY: there is one CPU, and an exception inside of the driver finds the cell borrowed: what it prints is lost.
unsafe impl Sync for Output {}

/// The console of the machine.
pub(crate) static CONSOLE: Output = Output {
    virtio: RefCell::new(None),
};

impl Output {
    /// Makes a virtio console the console, unless the machine has COM1 or there is one already. True if it is the console now.
    pub(crate) fn attach(&self, console: Box<dyn ByteConsole>) -> bool {
        let is_needed = !COM1.is_present();
        match self.virtio.try_borrow_mut() {
            Ok(mut virtio) if is_needed && virtio.is_none() => {
                *virtio = Some(console);
                true
            }
            _ => false,
        }
    }

    /// Takes the buffers for input from the device, which would write to memory that belongs to the operating system from now on.
    pub(crate) fn detach(&self) {
        if let Ok(mut virtio) = self.virtio.try_borrow_mut() {
            *virtio = None;
        }
    }

    /// Sends bytes.
    pub(crate) fn send_all(&self, bytes: &[u8]) {
        match self.virtio.try_borrow().as_deref() {
            Ok(Some(virtio)) => virtio.send(bytes),
            Ok(None) => bytes.iter().for_each(|byte| COM1.send(*byte)),
            Err(_) => {}
        }
    }
}

impl Console for Output {
    fn send(&self, byte: u8) {
        self.send_all(&[byte]);
    }

    fn receive(&self) -> Option<u8> {
        match self.virtio.try_borrow().ok()?.as_deref() {
            Some(virtio) => virtio.receive(),
            None => COM1.receive(),
        }
    }
}

/// Prints a line on the console.
macro_rules! print {
    ($($arguments:tt)*) => {{
        // The console cannot fail.
        let _ = core::fmt::Write::write_fmt(
            &mut fw_runtime::Writer(&$crate::console::CONSOLE),
            format_args!("{}\n", format_args!($($arguments)*)),
        );
    }};
}
pub(crate) use print;
