//! EFI on this machine.
#![expect(unsafe_code, reason = "memory and devices of the machine")]

mod clock;
mod platform;
mod random;
mod relocate;
mod reset;
mod rtc;
mod smbios;

use alloc::boxed::Box;
use alloc::vec::Vec;

use boot_core::{GuestMemory, GuestRange, Machine};
use boot_paging::Access;
use efi_abi::{Guid, RuntimeHooks, Status, guids};
use efi_core::memory::{Attributes, Descriptor, MapConfig, MemoryMap, MemoryType, PAGE_SIZE};
use fw_efi::{BootError, DEFAULT_X86_64, InUse, Setup, map_of, path};
use fw_runtime::between;

use crate::acpi::Tables;
use crate::console::print;
use crate::devices::{Devices, Place};
use crate::mmu::{MAPPED_END, MemoryLayout, Mmu, MmuError};
use crate::pci::PortAccess;

/// Tables for changes of access rights. Programs change those of some ten ranges.
const SPARE_TABLES: usize = 128;
/// End of the memory that is mapped.
const MAX_END: u64 = 1 << 46;

unsafe extern "C" {
    static __text_start: u8;
    static __rodata_start: u8;
    static __boot_start: u8;
    static __firmware_end: u8;
}

/// Why there is no EFI.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EfiError {
    /// The memory cannot be mapped.
    #[error("the memory cannot be mapped")]
    Mmu(#[from] MmuError),
    /// The memory map cannot be made.
    #[error("the memory map or a device path cannot be made")]
    Map(#[from] Status),
    /// The boot has ended.
    #[error(transparent)]
    Boot(#[from] BootError),
}

/// Boots EFI programs from the disks; `memory` is all of it. Returns why nothing runs.
pub(crate) fn boot(
    machine: &Machine,
    devices: Devices,
    acpi: Option<&Tables>,
    memory: &dyn GuestMemory,
) -> EfiError {
    let setup = match setup(machine, devices, acpi, memory) {
        Ok(setup) => setup,
        Err(error) => return error,
    };
    // SAFETY: `boot_with` passes its system table, before any program runs.
    let prepare = |table| unsafe { relocate::install(table) };
    // SAFETY: the map has the RAM of the machine, which is mapped; the linker script places code, data and the stack of 1 MiB.
    unsafe { fw_efi::boot_with(setup, prepare, &mut |event| print!("firmware: {event}")) }.into()
}

fn setup(
    machine: &Machine,
    devices: Devices,
    acpi: Option<&Tables>,
    memory: &dyn GuestMemory,
) -> Result<Setup, EfiError> {
    let end = machine
        .memory
        .regions()
        .last()
        .map_or(0, |region| region.range.end());
    let end = end.clamp(MAPPED_END, MAX_END).next_multiple_of(1 << 30);
    let mmu = Mmu::new(MemoryLayout {
        end,
        rest: Access::WRITE | Access::EXECUTE,
        spare: SPARE_TABLES,
    })?;
    // SAFETY: what is in use is below 4 GiB, and all of it is mapped.
    unsafe { mmu.activate() };
    let mut map = memory_map(machine, acpi)?;
    let registers = acpi.and_then(|acpi| reset::set(&acpi.power));
    let mut context = core::ptr::null_mut();
    if let Some(page) = registers {
        let pages = Descriptor {
            attributes: Attributes::UC | Attributes::RUNTIME,
            ..Descriptor::ram(MemoryType::MMIO, page, 1)
        };
        // Registers that are said to be in RAM are not used.
        if map.add(&pages).is_ok() {
            context = core::ptr::with_exposed_provenance_mut(usize::try_from(page).unwrap_or_default());
        }
    }
    rtc::set_century(acpi.and_then(|acpi| acpi.fadt.century).unwrap_or(0));
    let mut tables: Vec<(Guid, u64)> = Vec::new();
    if let (Some(rsdp), Some(acpi)) = (machine.acpi_rsdp, acpi) {
        let guid = match acpi.revision {
            0 | 1 => guids::ACPI_10_TABLE,
            _ => guids::ACPI_20_TABLE,
        };
        tables.push((guid, rsdp));
    }
    tables.extend(smbios::find(memory));
    let mut found = Vec::new();
    let path_of = |place| match place {
        Place::Pci(function) => path::pci(&PortAccess, 0, function),
        Place::Mmio(registers) => path::mmio(registers),
    };
    for disk in devices.disks {
        found.push(fw_efi::Disk {
            device: Box::leak(disk.device),
            path: path_of(disk.place)?,
        });
    }
    Ok(Setup {
        default: DEFAULT_X86_64,
        platform: Box::new(platform::Pc::new(mmu, acpi, devices.entropy)),
        hooks: RuntimeHooks {
            context,
            get_time: rtc::get_time,
            set_time: rtc::set_time,
            reset: reset::reset,
        },
        map,
        console: devices.console.map_or_else(path::com1, path_of)?,
        tables,
        disks: found,
    })
}

/// The memory map with what is in use: the firmware's code and variables for runtime services, its stack, heap and page tables for boot
/// services, and ACPI tables in RAM.
fn memory_map(machine: &Machine, acpi: Option<&Tables>) -> Result<MemoryMap, Status> {
    let [text, rodata, boot, end] = [
        &raw const __text_start,
        &raw const __rodata_start,
        &raw const __boot_start,
        &raw const __firmware_end,
    ];
    let mut in_use = Vec::from([
        InUse::new(between(text, rodata), MemoryType::RUNTIME_SERVICES_CODE),
        InUse::new(between(rodata, boot), MemoryType::RUNTIME_SERVICES_DATA),
        InUse::new(between(boot, end), MemoryType::BOOT_SERVICES_DATA),
    ]);
    let ranges = acpi.iter().flat_map(|acpi| acpi.ranges.iter());
    in_use.extend(ranges.map(|range| InUse::new(*range, MemoryType::ACPI_RECLAIM)));
    // Page 0 has vectors and data of a BIOS.
    in_use.extend(GuestRange::new(0, PAGE_SIZE).map(|page| InUse::new(page, MemoryType::BOOT_SERVICES_DATA)));
    map_of(&machine.memory, &in_use, MapConfig::default())
}
