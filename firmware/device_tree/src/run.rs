//! From the device tree to an entry state, or to EFI programs.
#![expect(unsafe_code, reason = "memory and devices of the machine")]

use boot_core::CpuState;
use fw_boot::Chain;
use fw_efi::{BootMode, Options};
use proto_fdt::device_tree::DeviceTree;
use proto_fdt::read;

use crate::bls::boot_entries;
use crate::disks::devices;
use crate::efi;
use crate::hardware::Hardware;
use crate::layout::Layout;
use crate::print::print;
use crate::serial::Port;
use crate::target::Target;
use crate::tree::tree_bytes;

/// Boots the machine: the entries of the Boot Loader Specification on its disks, EFI programs, or both, as `firmware.boot=` on the command line
/// of the firmware says. Returns the entry state of a kernel that was loaded without EFI. `None`, after a message, if there is nothing to
/// boot.
///
/// # Safety
///
/// `addr` is what the boot protocol names as the address of the device tree, and `layout` is the firmware's memory. Addresses are not
/// translated, and nothing but the firmware is running.
pub unsafe fn run<T: Target>(mut target: T, layout: &Layout, addr: u64) -> Option<CpuState> {
    // SAFETY: the boot protocol names the address, and the firmware does not write there before it has made a copy: the tree is no part of the
    // memory that it loads to.
    let bytes = unsafe { tree_bytes(addr) };
    let out = target.console();
    let bytes = bytes
        .inspect_err(|error| print(out, format_args!("{error}")))
        .ok()?;
    let tree = DeviceTree::parse(bytes);
    let tree = tree
        .inspect_err(|error| print(out, format_args!("{error}")))
        .ok()?;
    if let Ok(Some(port)) = read::serial_port(&tree) {
        // SAFETY: the tree describes the port. Addresses are not translated, and later at their physical addresses.
        target.set_console(unsafe { Port::new(port, T::Registers::default()) });
    }
    print(out, format_args!("starting"));
    let hardware = Hardware::read(&tree, &mut |error| print(out, format_args!("{}", Chain(error))));
    let mut hardware = hardware
        .inspect_err(|error| print(out, format_args!("{}", Chain(error))))
        .ok()?;
    drop(tree);
    // SAFETY: addresses are not translated, and the hardware is that of the machine.
    if let Err(error) = unsafe { target.translate(&hardware, layout) } {
        print(out, format_args!("{}", Chain(&*error)));
        return None;
    }
    let mode = Options(&hardware.command_line).boot_mode();
    let mode = mode.unwrap_or_else(|error| {
        print(out, format_args!("{error}"));
        BootMode::default()
    });
    // SAFETY: devices and RAM are mapped, or addresses are not translated; nothing else uses the devices.
    let devices = unsafe { devices(&hardware, T::Registers::default(), out) };
    hardware.add_seeds(&mut |buffer| {
        target.random(buffer)
            || devices
                .entropy
                .as_ref()
                .is_some_and(|entropy| entropy.fill(buffer))
    });
    if mode.has_bls() {
        // SAFETY: RAM is mapped, and nothing but the firmware, the tree and what is reserved is in use.
        let state = unsafe { boot_entries::<T>(&hardware, layout, bytes, &devices.disks, out) };
        if state.is_some() {
            return state;
        }
    }
    if mode.has_efi() {
        // SAFETY: as above.
        unsafe { efi::boot(target, &hardware, layout, bytes, devices) };
    }
    None
}
