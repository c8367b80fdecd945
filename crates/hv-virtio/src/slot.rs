//! Disks in the virtio-mmio slots of a machine.

use boot_core::machine::{Line, VirtioMmio};
use guest_ram::GuestRam;
use hv_core::MmioDevice;

use crate::{BlockDevice, Disk};

/// A block device in `slot`, for [`BoardDevices::with_mmio`](hv_core::BoardDevices::with_mmio). Its requests refer to `ram`, the
/// RAM of the machine.
#[must_use]
pub fn block_device(slot: &VirtioMmio, disk: Disk, ram: GuestRam) -> MmioDevice {
    MmioDevice::new(slot.range, line(slot), |irq| BlockDevice::new(disk, ram, irq))
}

/// Number of the slot's interrupt line on boards.
fn line(slot: &VirtioMmio) -> Option<u32> {
    match slot.interrupt.line {
        Line::Spi(line) | Line::Source(line) | Line::Gsi(line) => Some(line),
        _ => None,
    }
}

/// The option of a kernel command line that describes the device in `slot` to a guest without a device tree (Linux
/// `admin-guide/kernel-parameters.txt`): `virtio_mmio.device=SIZE@ADDRESS:IRQ`.
///
/// Linux needs `CONFIG_VIRTIO_MMIO_CMDLINE_DEVICES`, which not all distributions set.
#[must_use]
pub fn linux_option(slot: &VirtioMmio) -> String {
    let line = line(slot).unwrap_or_default();
    format!(
        "virtio_mmio.device={}@{:#x}:{line}",
        slot.range.len(),
        slot.range.start()
    )
}

#[cfg(test)]
mod tests {
    use boot_core::Arch;
    use hv_core::virt::virtio_mmio;

    use super::*;

    #[test]
    fn options_have_the_form_that_linux_parses() {
        let slots = virtio_mmio(Arch::X86_64, 2);
        let options: Vec<_> = slots.iter().map(linux_option).collect();
        assert_eq!(
            options,
            [
                "virtio_mmio.device=4096@0xd0000000:5",
                "virtio_mmio.device=4096@0xd0001000:10"
            ]
        );
        assert_eq!(line(&virtio_mmio(Arch::Riscv64, 2)[1]), Some(17));
    }
}
