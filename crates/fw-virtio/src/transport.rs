//! Either kind of registers, so that there is one driver of disks and not one for each kind.

use virtio_drivers::transport::mmio::MmioTransport;
use virtio_drivers::transport::pci::PciTransport;
use virtio_drivers::transport::{DeviceStatus, DeviceType, InterruptStatus, Transport};
use virtio_drivers::{PhysAddr, Result};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// The registers of a device.
pub(crate) enum AnyTransport {
    /// Virtio 1.2, section 4.2.
    Mmio(MmioTransport<'static>),
    /// Section 4.1.
    Pci(PciTransport),
}

/// Calls a method of whichever transport it is.
macro_rules! forward {
    ($self:expr, $transport:ident => $call:expr) => {
        match $self {
            AnyTransport::Mmio($transport) => $call,
            AnyTransport::Pci($transport) => $call,
        }
    };
}

impl Transport for AnyTransport {
    fn device_type(&self) -> DeviceType {
        forward!(self, transport => transport.device_type())
    }

    fn read_device_features(&mut self) -> u64 {
        forward!(self, transport => transport.read_device_features())
    }

    fn write_driver_features(&mut self, driver_features: u64) {
        forward!(self, transport => transport.write_driver_features(driver_features));
    }

    fn max_queue_size(&mut self, queue: u16) -> u32 {
        forward!(self, transport => transport.max_queue_size(queue))
    }

    fn notify(&mut self, queue: u16) {
        forward!(self, transport => transport.notify(queue));
    }

    fn get_status(&self) -> DeviceStatus {
        forward!(self, transport => transport.get_status())
    }

    fn set_status(&mut self, status: DeviceStatus) {
        forward!(self, transport => transport.set_status(status));
    }

    fn set_guest_page_size(&mut self, guest_page_size: u32) {
        forward!(self, transport => transport.set_guest_page_size(guest_page_size));
    }

    fn requires_legacy_layout(&self) -> bool {
        forward!(self, transport => transport.requires_legacy_layout())
    }

    fn queue_set(
        &mut self,
        queue: u16,
        size: u32,
        descriptors: PhysAddr,
        driver_area: PhysAddr,
        device_area: PhysAddr,
    ) {
        forward!(self, transport => transport.queue_set(queue, size, descriptors, driver_area, device_area));
    }

    fn queue_unset(&mut self, queue: u16) {
        forward!(self, transport => transport.queue_unset(queue));
    }

    fn queue_used(&mut self, queue: u16) -> bool {
        forward!(self, transport => transport.queue_used(queue))
    }

    fn ack_interrupt(&mut self) -> InterruptStatus {
        forward!(self, transport => transport.ack_interrupt())
    }

    fn read_config_generation(&self) -> u32 {
        forward!(self, transport => transport.read_config_generation())
    }

    fn read_config_space<T: FromBytes + IntoBytes>(&self, offset: usize) -> Result<T> {
        forward!(self, transport => transport.read_config_space(offset))
    }

    fn write_config_space<T: IntoBytes + Immutable>(&mut self, offset: usize, value: T) -> Result<()> {
        forward!(self, transport => transport.write_config_space(offset, value))
    }
}
