//! Device paths of disks and consoles, UEFI 2.10 chapter 10.

use alloc::vec::Vec;

use boot_core::GuestRange;
use disk::{Partition, PartitionSignature};
use efi_core::device_path::{DevicePathBuf, HardDrive, HardDriveSignature};
use efi_core::{Guid, Result};
use fw_virtio::pci::{ConfigurationAccess, DeviceFunction};

/// `EfiMemoryMappedIO` in a memory-mapped node.
const MMIO: u32 = 11;

/// Offsets in the configuration space of PCI: identification, type of the header in bits 16 to 23, numbers of buses.
const ID: u8 = 0x00;
const HEADER_TYPE: u8 = 0x0c;
const BUSES: u8 = 0x18;

/// A PCI function behind root bridge `root`: `PciRoot(root)`, the bridges to its bus, `Pci(device, function)`.
///
/// # Errors
///
/// `OUT_OF_RESOURCES` if the path is too long.
pub fn pci(config: &impl ConfigurationAccess, root: u32, at: DeviceFunction) -> Result<DevicePathBuf> {
    let mut chain = Vec::from([at]);
    let mut bus = at.bus;
    // A bus has a smaller number than those behind it, so this ends.
    while bus != 0 {
        let Some(bridge) = (0..bus).find_map(|parent| bridge_to(config, parent, bus)) else {
            break;
        };
        chain.push(bridge);
        bus = bridge.bus;
    }
    let mut path = DevicePathBuf::new();
    path.push_pci_root(root)?;
    for function in chain.iter().rev() {
        path.push_pci(function.device, function.function)?;
    }
    Ok(path)
}

/// The bridge on bus `parent` to the bus `child`.
fn bridge_to(config: &impl ConfigurationAccess, parent: u8, child: u8) -> Option<DeviceFunction> {
    let functions = (0..32).flat_map(|device| (0..8).map(move |function| (device, function)));
    functions
        .map(|(device, function)| DeviceFunction {
            bus: parent,
            device,
            function,
        })
        .find(|at| {
            let is_there = config.read_word(*at, ID) & 0xffff != 0xffff;
            let is_bridge = is_there && config.read_word(*at, HEADER_TYPE) >> 16 & 0x7f == 1;
            is_bridge && config.read_word(*at, BUSES) >> 8 & 0xff == u32::from(child)
        })
}

/// A device with memory-mapped registers.
///
/// # Errors
///
/// `OUT_OF_RESOURCES` if the path is too long.
pub fn mmio(registers: GuestRange) -> Result<DevicePathBuf> {
    let mut path = DevicePathBuf::new();
    path.push_memory_mapped(MMIO, registers.start(), registers.end().saturating_sub(1))?;
    Ok(path)
}

/// The path of a serial console with 115,200 baud, 8 data bits, no parity and one stop bit, behind the path of its port.
///
/// # Errors
///
/// `OUT_OF_RESOURCES` if the path is too long.
pub fn uart(mut port: DevicePathBuf) -> Result<DevicePathBuf> {
    port.push_uart(115_200, 8, 1, 1)?;
    Ok(port)
}

/// COM1 of a PC: `Acpi(PNP0501,0)` behind the first root bridge.
///
/// # Errors
///
/// `OUT_OF_RESOURCES` if the path is too long.
pub fn com1() -> Result<DevicePathBuf> {
    let mut path = DevicePathBuf::new();
    path.push_pci_root(0)?;
    path.push_acpi(0x0501_41d0, 0)?;
    uart(path)
}

/// A partition of a disk.
///
/// # Errors
///
/// `OUT_OF_RESOURCES` if the path is too long.
pub(crate) fn partition(disk: &DevicePathBuf, partition: &Partition) -> Result<DevicePathBuf> {
    let mut path = disk.clone();
    path.push_hard_drive(&HardDrive {
        number: partition.number,
        start: partition.first_block,
        size: partition.block_count,
        signature: match partition.signature {
            PartitionSignature::Gpt(guid) => HardDriveSignature::Gpt(Guid::from_bytes(guid.to_bytes())),
            PartitionSignature::Mbr(0) => HardDriveSignature::Other {
                format: 1,
                kind: 0,
                signature: [0; 16],
            },
            PartitionSignature::Mbr(signature) => HardDriveSignature::Mbr(signature),
        },
    })?;
    Ok(path)
}

#[cfg(test)]
#[expect(unsafe_code, reason = "a method of the trait is unsafe")]
mod tests {
    use super::*;

    /// A bus with a bridge at device 3 to bus 1, and on it one at device 0, function 1 to bus 2.
    struct Bridges;

    impl ConfigurationAccess for Bridges {
        fn read_word(&self, at: DeviceFunction, register: u8) -> u32 {
            let child = match (at.bus, at.device, at.function) {
                (0, 3, 0) => 1,
                (1, 0, 1) => 2,
                (0 | 1, 0, 0) => 0,
                _ => return u32::MAX,
            };
            match (register, child) {
                (ID, _) => 0x1234_1af4,
                (HEADER_TYPE, 0) => 0x0080_0000,
                (HEADER_TYPE, _) => 0x0081_0000,
                (BUSES, _) => child << 8 | u32::from(at.bus),
                _ => 0,
            }
        }

        fn write_word(&mut self, _: DeviceFunction, _: u8, _: u32) {}

        unsafe fn unsafe_clone(&self) -> Self {
            Self
        }
    }

    #[test]
    fn bridges_are_in_the_paths_of_functions() {
        let check = |bus, device, function, expected| {
            let at = DeviceFunction {
                bus,
                device,
                function,
            };
            assert_eq!(pci(&Bridges, 0, at).unwrap().as_path().to_text(), expected);
        };
        check(0, 2, 1, "PciRoot(0x0)/Pci(0x2,0x1)");
        check(1, 4, 0, "PciRoot(0x0)/Pci(0x3,0x0)/Pci(0x4,0x0)");
        check(2, 5, 0, "PciRoot(0x0)/Pci(0x3,0x0)/Pci(0x0,0x1)/Pci(0x5,0x0)");
        check(9, 5, 0, "PciRoot(0x0)/Pci(0x5,0x0)");
    }

    #[test]
    fn devices_have_their_paths() {
        let path = mmio(GuestRange::new(0xfeb0_0e00, 512).unwrap()).unwrap();
        assert_eq!(
            path.as_path().to_text(),
            "MemoryMapped(0xb,0xfeb00e00,0xfeb00fff)"
        );
        let path = com1().unwrap();
        assert_eq!(
            path.as_path().to_text(),
            "PciRoot(0x0)/Serial(0x0)/Uart(115200,8,N,1)"
        );
    }
}
