//! riscv64: the ways in, SBI, the counter, and what a device access is.
#![expect(
    unsafe_code,
    reason = "the entry code is assembly; registers, firmware calls and devices are instructions"
)]

use core::arch::{asm, global_asm};
use core::cell::UnsafeCell;
use core::mem::offset_of;

use clauses::{check, fail, note, report};
use contract::Entry;

use crate::fdt::{Fdt, Node};

/// The hart as the loader left it.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Record {
    a0: u64,
    a1: u64,
    /// Physical address of the image's first byte.
    pub(crate) base: u64,
    satp: u64,
    sstatus: u64,
    sie: u64,
    /// Offset in the image of the first bytes without file content that were not zero, in steps of eight; all ones if there
    /// were none.
    pub(crate) dirty: u64,
}

/// What a started hart finds and reports.
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
    RECORD_LEN = const size_of::<Record>(),
    A0 = const offset_of!(Record, a0),
    A1 = const offset_of!(Record, a1),
    BASE = const offset_of!(Record, base),
    SATP = const offset_of!(Record, satp),
    SSTATUS = const offset_of!(Record, sstatus),
    SIE = const offset_of!(Record, sie),
    DIRTY = const offset_of!(Record, dirty),
    S_HART = const offset_of!(Secondary, hart),
    S_CONTEXT = const offset_of!(Secondary, context),
    S_SATP = const offset_of!(Secondary, satp),
    S_SSTATUS = const offset_of!(Secondary, sstatus),
    S_SIE = const offset_of!(Secondary, sie),
    S_DONE = const offset_of!(Secondary, done),
);

unsafe extern "C" {
    #[link_name = "record"]
    static RECORD: Record;
    #[link_name = "secondary_start"]
    static SECONDARY_START: [u8; 0];
}

/// What the entry code recorded.
pub(crate) fn record() -> Record {
    // SAFETY: the entry code wrote every field before it called `kernel_main`, nothing writes them any more, and any bit
    // pattern is a value of each field.
    unsafe { (&raw const RECORD).read_volatile() }
}

impl Record {
    /// The entry that was taken.
    #[expect(clippy::unused_self, reason = "other architectures have more than one")]
    pub(crate) const fn entry(&self) -> Entry {
        Entry::Riscv64
    }

    /// Address of the device tree.
    pub(crate) const fn tree(&self) -> u64 {
        self.a1
    }

    /// The id that the device tree has of this hart.
    pub(crate) const fn cpu(&self) -> u64 {
        self.a0
    }
}

/// `sstatus.SIE`: interrupts are taken.
const SSTATUS_SIE: u64 = 1 << 1;

/// Checks the registers of the boot hart (Linux `Documentation/arch/riscv/boot.rst`, "Register state" and "CSR state"; that
/// no interrupt is taken is what the SBI specification says of a hart that HSM starts).
pub(crate) fn check_cpu(record: &Record, _: &Fdt<'_>) {
    note!("cpu.a0", "{:#x}", record.a0);
    let tree = record.a1;
    check!("cpu.a1", tree.is_multiple_of(8), "{tree:#x}"; "a multiple of 8");
    check_state("cpu", record.satp, record.sstatus, record.sie);
}

fn check_state(name: impl core::fmt::Display, satp: u64, sstatus: u64, sie: u64) {
    report::equal(format_args!("{name}.satp"), satp, 0);
    report::equal(format_args!("{name}.interrupts-off"), sstatus & SSTATUS_SIE, 0);
    report::equal(format_args!("{name}.sie"), sie, 0);
}

/// First address past what the hart can address without an MMU: 56 bits (privileged specification, "Bare").
pub(crate) const fn address_limit() -> u64 {
    1 << 56
}

/// The counter, which rises [`frequency`] times a second.
pub(crate) fn counter() -> u64 {
    let value;
    // SAFETY: reading the counter has no effect.
    unsafe { asm!("rdtime {}", out(reg) value, options(nomem, nostack, preserves_flags)) };
    value
}

/// How often the counter rises in a second.
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
/// `hart_get_status` answers that the hart is stopped.
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

/// Error and value that firmware answers.
fn sbi(extension: u64, function: u64, arguments: [u64; 3]) -> (i64, u64) {
    let [one, two, three] = arguments;
    let (error, value);
    // SAFETY: by its calling convention SBI keeps all registers but a0 and a1. No function used here writes memory of this
    // hart; a hart it starts writes its own `Secondary`, which is read by volatile accesses.
    unsafe {
        asm!("ecall", inout("a0") one => error, inout("a1") two => value, in("a2") three,
            in("a6") function, in("a7") extension, options(nostack));
    }
    (error, value)
}

fn has_extension(extension: u64) -> bool {
    matches!(sbi(BASE, PROBE, [extension, 0, 0]), (0, found) if found != 0)
}

/// Firmware is called in one way only.
pub(crate) const fn find_firmware(_: &Fdt<'_>) {}

/// Checks that firmware and timer are described and there.
pub(crate) fn check_firmware(tree: &Fdt<'_>) {
    check!("sbi.hsm", has_extension(HSM), "no such extension"; "hart state management");
    check!("sbi.srst", has_extension(SRST), "no such extension"; "system reset");
    let frequency = frequency(tree);
    check!("timer.frequency", frequency != 0, "0"; "a timebase-frequency");
}

/// Checks the properties of a hart's node that the architecture asks for.
pub(crate) fn check_cpu_node(cpu: &Node<'_>, id: u64, _: bool) {
    let isa = cpu.text("riscv,isa").or_else(|| cpu.text("riscv,isa-base"));
    let is_64_bit = isa.is_some_and(|isa| isa.starts_with("rv64"));
    check!(format_args!("cpus.{id:#x}.isa"), is_64_bit, "{}", isa.unwrap_or("none"); "one of 64 bits");
    if cpu.property("riscv,isa-base").is_some() {
        for letter in ["i", "m", "a"] {
            check!(format_args!("cpus.{id:#x}.isa-extensions.{letter}"), cpu.lists("riscv,isa-extensions", letter),
                "a list without it"; "the extension");
        }
    }
    let mmu = cpu.text("mmu-type");
    check!(format_args!("cpus.{id:#x}.mmu-type"), mmu.is_none_or(|mmu| mmu.starts_with("riscv,")),
        "{}", mmu.unwrap_or_default(); "one of riscv");
}

struct Slot(UnsafeCell<Secondary>);

// SAFETY: every access to the content is volatile and by raw pointer; the protocol in `start` says who may when.
unsafe impl Sync for Slot {}

static SLOT: Slot = Slot(UnsafeCell::new(NOTHING_FOUND));
const NOTHING_FOUND: Secondary = Secondary {
    hart: 0,
    context: 0,
    satp: 0,
    sstatus: 0,
    sie: 0,
    done: 0,
};

/// Starts the hart `id`, checks what it found, and sees it off again.
pub(crate) fn start(id: u64, in_time: &mut dyn FnMut(&mut dyn FnMut() -> bool) -> bool) {
    let slot = SLOT.0.get();
    // SAFETY: no other hart runs: the ones before this are stopped. The pointer is that of a static.
    unsafe { slot.write_volatile(NOTHING_FOUND) };
    let context = slot.expose_provenance() as u64;
    let entry = (&raw const SECONDARY_START).addr() as u64;
    fence();
    let (error, _) = sbi(HSM, HART_START, [id, entry, context]);
    if error != 0 {
        return fail!(format_args!("cpus.{id:#x}.starts"), "the error {error} from hart_start"; "0");
    }
    let done = in_time(&mut || {
        // SAFETY: the pointer is that of a static, and nothing is read yet.
        let done = unsafe { &raw const (*slot).done };
        // SAFETY: the started hart alone writes, words at a time; a word is read whole.
        unsafe { done.read_volatile() == 1 }
    });
    check!(format_args!("cpus.{id:#x}.starts"), done, "nothing within ten seconds"; "a report of the hart");
    if !done {
        return;
    }
    fence();
    // SAFETY: the started hart wrote all it will ever write.
    let found = unsafe { slot.read_volatile() };
    let name = format_args!("cpus.{id:#x}");
    report::equal(format_args!("{name}.id"), found.hart, id);
    report::equal(format_args!("{name}.context"), found.context, context);
    check_state(name, found.satp, found.sstatus, found.sie);
    let off = in_time(&mut || sbi(HSM, HART_GET_STATUS, [id, 0, 0]) == (0, IS_STOPPED));
    check!(format_args!("{name}.off"), off, "still on after ten seconds"; "stopped by hart_stop");
}

/// What was written before is read after.
fn fence() {
    // SAFETY: a barrier.
    unsafe { asm!("fence rw, rw", options(nostack, preserves_flags)) };
}

/// Switches the machine off.
pub(crate) fn power_off() -> ! {
    sbi(SRST, 0, [SHUTDOWN, NO_REASON, 0]);
    // Firmware without that extension has the old call.
    sbi(LEGACY_SHUTDOWN, 0, [0; 3]);
    stop()
}

/// Resets the machine.
pub(crate) fn reset() -> ! {
    sbi(SRST, 0, [COLD_REBOOT, SYSTEM_FAILURE, 0]);
    stop()
}

/// Does nothing more, with interrupts off.
pub(crate) fn stop() -> ! {
    loop {
        wait();
    }
}

/// Waits for an interrupt, which is not taken.
pub(crate) fn wait() {
    // SAFETY: waits, and does nothing else.
    unsafe { asm!("wfi", options(nostack, preserves_flags)) };
}

/// Sends `byte` to whoever reads where the machine has no serial port: by the debug console or the legacy one.
pub(crate) fn firmware_send(byte: u8) {
    if sbi(DBCN, CONSOLE_WRITE_BYTE, [byte.into(), 0, 0]).0 != 0 {
        sbi(LEGACY_PUTCHAR, 0, [byte.into(), 0, 0]);
    }
}

/// Reads a byte of a device.
///
/// By one instruction with a plain address: a hypervisor need not understand others.
pub(crate) fn read_u8(address: u64) -> u8 {
    let value: u64;
    // SAFETY: the address is one of a device, as the device tree or the command line says; what its registers do upon a
    // read is what its driver wants. There is no MMU, so an address is a physical one.
    unsafe { asm!("lbu {}, ({})", out(reg) value, in(reg) address, options(nostack, preserves_flags)) };
    value.to_le_bytes()[0]
}

/// Writes a byte to a device; see [`read_u8`].
pub(crate) fn write_u8(address: u64, value: u8) {
    // SAFETY: as for `read_u8`; no device driven here writes memory on its own.
    unsafe {
        asm!("sb {}, ({})", in(reg) u64::from(value), in(reg) address, options(nostack, preserves_flags));
    };
}

/// Reads a word of a device.
pub(crate) fn read_u32(address: u64) -> u32 {
    let value: u32;
    // SAFETY: as for `read_u8`.
    unsafe { asm!("lw {}, ({})", out(reg) value, in(reg) address, options(nostack, preserves_flags)) };
    value
}

/// Writes a word to a device.
pub(crate) fn write_u32(address: u64, value: u32) {
    // SAFETY: as for `write_u8`.
    unsafe { asm!("sw {}, ({})", in(reg) value, in(reg) address, options(nostack, preserves_flags)) };
}

#[unsafe(no_mangle)]
extern "C" fn exception_entry(cause: u64, address: u64, value: u64) -> ! {
    fail!(
        "exception",
        "cause {cause:#x} at pc {address:#x}, stval {value:#x}";
        "none"
    );
    crate::run::finish()
}
