#![doc = include_str!("../README.md")]
#![no_std]
#![no_main]
#![expect(unsafe_code, reason = "memory and devices of the machine")]

extern crate alloc;

mod acpi;
mod console;
mod devices;
#[cfg(feature = "efi")]
mod efi;
mod exception;
mod halt;
mod mmu;
mod pci;
mod port;
mod serial;
mod start;

use alloc::vec::Vec;
use core::arch::global_asm;
use core::panic::PanicInfo;

use boot_core::{AdditionalLoad, BootProtocol, CpuState, GuestMemory, GuestRange, KernelFormat, Machine};
use disk::BlockDevice;
use fw_acpi::find_rsdp;
use fw_boot::{BootConfig, Chain, boot};
use fw_runtime::heap::Heap;
use fw_runtime::{Options, PhysicalMemory, between};
use proto_pvh::read_start_info;

use crate::acpi::Tables;
use crate::console::{CONSOLE, print};
use crate::devices::Devices;
use crate::halt::halt;
use crate::mmu::MAPPED_END;
use crate::serial::COM1;

global_asm!(include_str!("entry.s"), options(att_syntax));

#[global_allocator]
static HEAP: Heap = Heap::new();

/// The formats of kernels.
const FORMATS: [&dyn KernelFormat; 2] = [&fmt_bzimage::FORMAT, &fmt_elf::FORMAT];
/// The boot protocols.
const PROTOCOLS: [&dyn BootProtocol; 2] = [&proto_linux_x86::PROTOCOL, &proto_pvh::PROTOCOL];

/// Length of a seed for the kernel in bytes.
const SEED_LEN: usize = 32;

unsafe extern "C" {
    static mut __firmware_start: u8;
    static mut __firmware_end: u8;
    static mut __heap_start: u8;
    static mut __heap_end: u8;
}

/// The entry in 64-bit mode, on the boot CPU, with the address of the PVH start info.
#[unsafe(no_mangle)]
extern "C" fn firmware_main(start_info: u64) -> ! {
    COM1.init();
    print!("firmware: starting");
    let (heap, end) = (&raw mut __heap_start, &raw const __heap_end);
    // SAFETY: the linker script reserves this memory for the heap, and it is added once.
    let is_added = unsafe { HEAP.add(heap, end.addr().saturating_sub(heap.addr())) };
    assert!(is_added, "the heap is too small");
    exception::init();
    if let Err(error) = mmu::protect() {
        print!("firmware: its own memory is not protected: {}", Chain(&error));
    }
    match run(start_info) {
        Some(never) => match never {},
        None => print!("firmware: nothing to boot"),
    }
    halt()
}

/// Boots the first disk that can be booted.
fn run(start_info: u64) -> Option<core::convert::Infallible> {
    let own = between(&raw const __firmware_start, &raw const __firmware_end);
    let low = GuestRange::from_bounds(1, MAPPED_END)?;
    // SAFETY: everything below 4 GiB is mapped, and this value is only read from.
    let everything = unsafe { PhysicalMemory::new(core::iter::once(low), &[own]) };
    let mut started = match read_start_info(&everything, start_info) {
        Ok(started) => started,
        Err(error) => {
            print!("firmware: {}", Chain(&error));
            return None;
        }
    };
    let cmdline = alloc::string::String::from_utf8_lossy(&started.cmdline).into_owned();
    let own_options = Options(&cmdline);
    let options: Vec<&str> = own_options.of_kernel().collect();
    let machine = &mut started.machine;
    machine.acpi_rsdp = machine.acpi_rsdp.or_else(|| find_rsdp(&everything));
    let acpi = acpi_tables(&started.machine, &everything);
    // Either the command line or ACPI describes devices.
    let mut mmio = devices::named(&options);
    if let Some(acpi) = acpi.as_ref().filter(|_| mmio.is_empty()) {
        mmio.clone_from(&acpi.virtio_mmio);
    }
    // SAFETY: the machine's memory is identity-mapped below 4 GiB, and this is the only use of the devices.
    let devices = unsafe { devices::devices(&mmio) };
    let mode = own_options.boot_mode();
    let mode = mode
        .inspect_err(|error| print!("firmware: {error}"))
        .unwrap_or_default();
    if mode.has_bls()
        && let Some(state) = load(&started.machine, &devices, own, &options)
    {
        match state.x86_64() {
            Ok(state) => {
                // Resets the devices.
                drop(devices);
                CONSOLE.detach();
                // SAFETY: `load` loaded the kernel, and the firmware ends here.
                unsafe { start::start(state) }
            }
            Err(error) => print!("firmware: {error}"),
        }
    }
    #[cfg(feature = "efi")]
    if mode.has_efi() {
        let error = efi::boot(&started.machine, devices, acpi.as_ref(), &everything);
        print!("firmware: {}", Chain(&error));
    }
    None
}

/// The ACPI tables, if there are any that can be read.
fn acpi_tables(machine: &Machine, memory: &dyn GuestMemory) -> Option<Tables> {
    let tables = Tables::read(memory, machine.acpi_rsdp?);
    tables
        .inspect_err(|error| print!("firmware: {}", Chain(error)))
        .ok()
}

/// Loads the first entry of the Boot Loader Specification that can be booted.
fn load(machine: &Machine, devices: &Devices, own: GuestRange, options: &[&str]) -> Option<CpuState> {
    let disks: Vec<&dyn BlockDevice> = devices.disks.iter().map(|disk| &*disk.device).collect();
    let loads = [AdditionalLoad::present("firmware", own.start(), own.len())];
    let mut config = BootConfig::new(machine, &FORMATS, &PROTOCOLS)
        .with_own(&loads)
        .with_options(options);
    let mut seed = [0; SEED_LEN];
    if devices
        .entropy
        .as_ref()
        .is_some_and(|entropy| entropy.fill(&mut seed))
    {
        config = config.with_rng_seed(&seed);
    }
    let ram = machine.memory.ram().filter_map(|ram| {
        let end = ram.end().min(MAPPED_END);
        GuestRange::from_bounds(ram.start().min(end), end)
    });
    // SAFETY: RAM is mapped, and the firmware's own parts of it are cut out.
    let mut memory = unsafe { PhysicalMemory::new(ram, &[own]) };
    boot(&disks, &config, &mut memory, &mut |event| {
        print!("firmware: {event}");
    })
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    print!("firmware: {info}");
    halt()
}
