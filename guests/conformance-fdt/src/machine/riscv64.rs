//! riscv64: the entry point, SBI, the counter, and device accesses.
#![expect(
    unsafe_code,
    reason = "entry code, registers, firmware calls and device accesses need assembly"
)]

use core::arch::{asm, global_asm};
use core::cell::UnsafeCell;
use core::mem::offset_of;

use clauses::{check, fail, note, report};
use contract::Entry;

use crate::fdt::{Fdt, Node};

/// Hart state at entry.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct EntryRecord {
    a0: u64,
    a1: u64,
    /// Physical address of the first byte of the image.
    pub(crate) base: u64,
    satp: u64,
    sstatus: u64,
    sie: u64,
    /// Offset in the image of the first nonzero bytes without file content, a multiple of eight; all ones if there are none.
    pub(crate) dirty: u64,
}

/// State of a secondary hart at its start.
#[repr(C)]
#[derive(Clone, Copy)]
struct Secondary {
    hart: u64,
    context: u64,
    satp: u64,
    sstatus: u64,
    sie: u64,
    done: u64,
}

global_asm!(
    include_str!("riscv64.s"),
    RECORD_LEN = const size_of::<EntryRecord>(),
    A0 = const offset_of!(EntryRecord, a0),
    A1 = const offset_of!(EntryRecord, a1),
    BASE = const offset_of!(EntryRecord, base),
    SATP = const offset_of!(EntryRecord, satp),
    SSTATUS = const offset_of!(EntryRecord, sstatus),
    SIE = const offset_of!(EntryRecord, sie),
    DIRTY = const offset_of!(EntryRecord, dirty),
    S_HART = const offset_of!(Secondary, hart),
    S_CONTEXT = const offset_of!(Secondary, context),
    S_SATP = const offset_of!(Secondary, satp),
    S_SSTATUS = const offset_of!(Secondary, sstatus),
    S_SIE = const offset_of!(Secondary, sie),
    S_DONE = const offset_of!(Secondary, done),
);

unsafe extern "C" {
    #[link_name = "record"]
    static RECORD: EntryRecord;
    #[link_name = "secondary_start"]
    static SECONDARY_START: [u8; 0];
}

/// The record of the entry code.
pub(crate) fn record() -> EntryRecord {
    // SAFETY: the entry code initialised every field before it called `kernel_main`, the record does not change afterwards, and
    // any bit pattern is valid for each field.
    unsafe { (&raw const RECORD).read_volatile() }
}

impl EntryRecord {
    /// The boot ABI.
    #[expect(
        clippy::unused_self,
        reason = "the signature is the same for all architectures"
    )]
    pub(crate) const fn entry(&self) -> Entry {
        Entry::Riscv64
    }

    /// Address of the device tree.
    pub(crate) const fn tree(&self) -> u64 {
        self.a1
    }

    /// Id of this hart.
    pub(crate) const fn cpu(&self) -> u64 {
        self.a0
    }
}

/// `sstatus.SIE`: interrupt enable.
const SSTATUS_SIE: u64 = 1 << 1;

/// Checks the registers of the boot hart (Linux `Documentation/arch/riscv/boot.rst`, "Register state" and "CSR state"; the
/// SBI specification requires disabled interrupts, in its section on HSM).
pub(crate) fn check_cpu(record: &EntryRecord, _: &Fdt<'_>) {
    note!("cpu.a0", "{:#x}", record.a0);
    let tree = record.a1;
    check!("cpu.a1", tree.is_multiple_of(8), "{tree:#x}"; "a multiple of 8");
    check_state("cpu", record.satp, record.sstatus, record.sie);
}

fn check_state(name: impl core::fmt::Display, satp: u64, sstatus: u64, sie: u64) {
    report::check_equal(format_args!("{name}.satp"), satp, 0);
    report::check_equal(format_args!("{name}.interrupts-off"), sstatus & SSTATUS_SIE, 0);
    report::check_equal(format_args!("{name}.sie"), sie, 0);
}

/// End of the physical address space, exclusive: 56 bits (privileged specification, "Bare").
pub(crate) const fn address_limit() -> u64 {
    1 << 56
}

/// The counter; its frequency is [`frequency`].
pub(crate) fn counter() -> u64 {
    let value;
    // SAFETY: reading the counter has no side effects.
    unsafe { asm!("rdtime {}", out(reg) value, options(nomem, nostack, preserves_flags)) };
    value
}

/// Frequency of the counter in Hz.
pub(crate) fn frequency(tree: &Fdt<'_>) -> u64 {
    let cpus = tree.node("/cpus");
    cpus.and_then(|cpus| cpus.number("timebase-frequency"))
        .unwrap_or(0)
}

/// SBI extensions and functions (SBI specification 2.0).
const BASE: u64 = 0x10;
const PROBE: u64 = 3;
const HSM: u64 = 0x48_534d;
const HART_START: u64 = 0;
const HART_GET_STATUS: u64 = 2;
/// Value of `hart_get_status` for a stopped hart.
const IS_STOPPED: u64 = 1;
const SRST: u64 = 0x5352_5354;
const SHUTDOWN: u64 = 0;
const COLD_REBOOT: u64 = 1;
const NO_REASON: u64 = 0;
const SYSTEM_FAILURE: u64 = 1;
const DBCN: u64 = 0x4442_434e;
const CONSOLE_WRITE_BYTE: u64 = 2;
const LEGACY_PUTCHAR: u64 = 1;
const LEGACY_SHUTDOWN: u64 = 8;

/// Calls SBI. Returns error and value.
fn sbi(extension: u64, function: u64, arguments: [u64; 3]) -> (i64, u64) {
    let [one, two, three] = arguments;
    let (error, value);
    // SAFETY: the SBI calling convention preserves all registers except a0 and a1. No function used here writes memory; a
    // started hart writes `Secondary`, which is read by volatile accesses.
    unsafe {
        asm!("ecall", inout("a0") one => error, inout("a1") two => value, in("a2") three,
            in("a6") function, in("a7") extension, options(nostack));
    }
    (error, value)
}

fn has_extension(extension: u64) -> bool {
    matches!(sbi(BASE, PROBE, [extension, 0, 0]), (0, found) if found != 0)
}

/// Does nothing: SBI has one calling convention.
pub(crate) const fn find_firmware(_: &Fdt<'_>) {}

/// Checks that firmware and timer are described and available.
pub(crate) fn check_firmware(tree: &Fdt<'_>) {
    check!("sbi.hsm", has_extension(HSM), "no such extension"; "hart state management");
    check!("sbi.srst", has_extension(SRST), "no such extension"; "system reset");
    let frequency = frequency(tree);
    check!("timer.frequency", frequency != 0, "0"; "a timebase-frequency");
}

/// Checks the architecture-specific properties of a CPU node.
pub(crate) fn check_cpu_node(cpu: &Node<'_>, id: u64, _: bool) {
    let isa = cpu.string("riscv,isa").or_else(|| cpu.string("riscv,isa-base"));
    let is_64_bit = isa.is_some_and(|isa| isa.starts_with("rv64"));
    check!(format_args!("cpus.{id:#x}.isa"), is_64_bit, "{}", isa.unwrap_or("none"); "a 64-bit base ISA");
    if cpu.property("riscv,isa-base").is_some() {
        for letter in ["i", "m", "a"] {
            check!(format_args!("cpus.{id:#x}.isa-extensions.{letter}"), cpu.contains_string("riscv,isa-extensions", letter),
                "not in the list"; "the extension");
        }
    }
    let mmu = cpu.string("mmu-type");
    check!(format_args!("cpus.{id:#x}.mmu-type"), mmu.is_none_or(|mmu| mmu.starts_with("riscv,")),
        "{}", mmu.unwrap_or_default(); "a riscv MMU type");
}

struct SharedSecondary(UnsafeCell<Secondary>);

// SAFETY: every access to the content is volatile and by raw pointer; `start` orders the accesses of the CPUs.
unsafe impl Sync for SharedSecondary {}

static SECONDARY: SharedSecondary = SharedSecondary(UnsafeCell::new(EMPTY));
const EMPTY: Secondary = Secondary {
    hart: 0,
    context: 0,
    satp: 0,
    sstatus: 0,
    sie: 0,
    done: 0,
};

/// Starts the hart `id`, checks its state, and waits until it is stopped again.
pub(crate) fn start(id: u64, wait_until: &mut dyn FnMut(&mut dyn FnMut() -> bool) -> bool) {
    let slot = SECONDARY.0.get();
    // SAFETY: no other hart runs, as those started before are stopped. The pointer is that of a static.
    unsafe { slot.write_volatile(EMPTY) };
    let context = slot.expose_provenance() as u64;
    let entry = (&raw const SECONDARY_START).addr() as u64;
    fence();
    let (error, _) = sbi(HSM, HART_START, [id, entry, context]);
    if error != 0 {
        return fail!(format_args!("cpus.{id:#x}.starts"), "error {error} from hart_start"; "0");
    }
    let done = wait_until(&mut || {
        // SAFETY: the pointer is that of a static; this only computes an address.
        let done = unsafe { &raw const (*slot).done };
        // SAFETY: only the started hart writes, in aligned words, so the read is atomic.
        unsafe { done.read_volatile() == 1 }
    });
    check!(format_args!("cpus.{id:#x}.starts"), done, "no report within 10 s"; "a report of the hart");
    if !done {
        return;
    }
    fence();
    // SAFETY: the started hart does not write after `done`.
    let found = unsafe { slot.read_volatile() };
    let name = format_args!("cpus.{id:#x}");
    report::check_equal(format_args!("{name}.id"), found.hart, id);
    report::check_equal(format_args!("{name}.context"), found.context, context);
    check_state(name, found.satp, found.sstatus, found.sie);
    let off = wait_until(&mut || sbi(HSM, HART_GET_STATUS, [id, 0, 0]) == (0, IS_STOPPED));
    check!(format_args!("{name}.off"), off, "still on after 10 s"; "stopped by hart_stop");
}

/// Orders earlier memory accesses before later ones.
fn fence() {
    // SAFETY: a barrier.
    unsafe { asm!("fence rw, rw", options(nostack, preserves_flags)) };
}

/// Powers the machine off.
pub(crate) fn power_off() -> ! {
    sbi(SRST, 0, [SHUTDOWN, NO_REASON, 0]);
    // Firmware without SRST has the legacy call.
    sbi(LEGACY_SHUTDOWN, 0, [0; 3]);
    stop()
}

/// Resets the machine.
pub(crate) fn reset() -> ! {
    sbi(SRST, 0, [COLD_REBOOT, SYSTEM_FAILURE, 0]);
    stop()
}

/// Halts with interrupts disabled.
pub(crate) fn stop() -> ! {
    loop {
        wait();
    }
}

/// Waits for an interrupt, which is not taken.
pub(crate) fn wait() {
    // SAFETY: the instruction only waits.
    unsafe { asm!("wfi", options(nostack, preserves_flags)) };
}

/// Sends `byte` to the console of firmware: the debug console extension, or else the legacy console.
pub(crate) fn firmware_send(byte: u8) {
    if sbi(DBCN, CONSOLE_WRITE_BYTE, [byte.into(), 0, 0]).0 != 0 {
        sbi(LEGACY_PUTCHAR, 0, [byte.into(), 0, 0]);
    }
}

/// Reads a byte of a device by one load with a base register, which every hypervisor can emulate.
pub(crate) fn read_u8(address: u64) -> u8 {
    let value: u64;
    // SAFETY: the address is that of a device in the device tree or on the command line, and its driver expects the side
    // effects of the read. The MMU is off, so addresses are physical.
    unsafe { asm!("lbu {}, ({})", out(reg) value, in(reg) address, options(nostack, preserves_flags)) };
    value.to_le_bytes()[0]
}

/// Writes a byte to a device; see [`read_u8`].
pub(crate) fn write_u8(address: u64, value: u8) {
    // SAFETY: as for `read_u8`; no device that this program uses writes to memory.
    unsafe {
        asm!("sb {}, ({})", in(reg) u64::from(value), in(reg) address, options(nostack, preserves_flags));
    };
}

/// Reads a 32-bit register of a device.
pub(crate) fn read_u32(address: u64) -> u32 {
    let value: u32;
    // SAFETY: as for `read_u8`.
    unsafe { asm!("lw {}, ({})", out(reg) value, in(reg) address, options(nostack, preserves_flags)) };
    value
}

/// Writes a 32-bit register of a device.
pub(crate) fn write_u32(address: u64, value: u32) {
    // SAFETY: as for `write_u8`.
    unsafe { asm!("sw {}, ({})", in(reg) value, in(reg) address, options(nostack, preserves_flags)) };
}
