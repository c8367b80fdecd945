//! arm64: entry points, PSCI, the counter, and device accesses.
#![expect(
    unsafe_code,
    reason = "entry code, registers, firmware calls and device accesses need assembly"
)]

use core::arch::{asm, global_asm};
use core::cell::UnsafeCell;
use core::mem::offset_of;
use core::sync::atomic::{AtomicU8, Ordering};

use clauses::{check, fail, note, report};
use contract::Entry;

use crate::fdt::{Fdt, Node};

/// CPU state at entry.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct EntryRecord {
    x: [u64; 4],
    /// Physical address of the first byte of the image.
    pub(crate) base: u64,
    current_el: u64,
    daif: u64,
    spsel: u64,
    sctlr: u64,
    mpidr: u64,
    /// Offset in the image of the first nonzero bytes without file content, a multiple of eight; all ones if there are none.
    pub(crate) dirty: u64,
}

/// State of a secondary CPU at its start. The boot CPU sets the first field, the secondary CPU the others.
#[repr(C)]
#[derive(Clone, Copy)]
struct Secondary {
    uses_smc: u64,
    context: u64,
    current_el: u64,
    daif: u64,
    spsel: u64,
    sctlr: u64,
    mpidr: u64,
    frequency: u64,
    done: u64,
}

global_asm!(
    include_str!("arm64.s"),
    BIG_ENDIAN = const cfg!(target_endian = "big") as u32,
    RECORD_LEN = const size_of::<EntryRecord>(),
    X0 = const offset_of!(EntryRecord, x),
    BASE = const offset_of!(EntryRecord, base),
    CURRENT_EL = const offset_of!(EntryRecord, current_el),
    DAIF = const offset_of!(EntryRecord, daif),
    SPSEL = const offset_of!(EntryRecord, spsel),
    SCTLR = const offset_of!(EntryRecord, sctlr),
    MPIDR = const offset_of!(EntryRecord, mpidr),
    DIRTY = const offset_of!(EntryRecord, dirty),
    S_USES_SMC = const offset_of!(Secondary, uses_smc),
    S_CONTEXT = const offset_of!(Secondary, context),
    S_CURRENT_EL = const offset_of!(Secondary, current_el),
    S_DAIF = const offset_of!(Secondary, daif),
    S_SPSEL = const offset_of!(Secondary, spsel),
    S_SCTLR = const offset_of!(Secondary, sctlr),
    S_MPIDR = const offset_of!(Secondary, mpidr),
    S_FREQUENCY = const offset_of!(Secondary, frequency),
    S_DONE = const offset_of!(Secondary, done),
);

unsafe extern "C" {
    #[link_name = "record"]
    static RECORD: EntryRecord;
    #[link_name = "secondary_start"]
    static SECONDARY_START: [u8; 0];
}

/// Reads a system register whose read has no side effects.
macro_rules! system_register {
    ($name:literal) => {{
        let value: u64;
        // SAFETY: reading this register has no side effects.
        unsafe { asm!(concat!("mrs {}, ", $name), out(reg) value, options(nomem, nostack, preserves_flags)) };
        value
    }};
}

/// The record of the entry code.
pub(crate) fn record() -> EntryRecord {
    // SAFETY: the entry code initialised every field before it called `kernel_main`, the record does not change afterwards, and
    // any bit pattern is valid for each field.
    unsafe { (&raw const RECORD).read_volatile() }
}

/// Address of the device tree if QEMU's `virt` machine loads an ELF ("Hardware configuration information for bare-metal
/// programming" in its documentation): the start of RAM.
const QEMU_RAM: u64 = 0x4000_0000;

impl EntryRecord {
    /// The boot ABI: `x0` is nonzero under the Linux boot protocol.
    pub(crate) const fn entry(&self) -> Entry {
        let [tree, ..] = self.x;
        if tree == 0 {
            Entry::Arm64QemuElf
        } else {
            Entry::Arm64
        }
    }

    /// Address of the device tree.
    pub(crate) const fn tree(&self) -> u64 {
        let [tree, ..] = self.x;
        if tree == 0 { QEMU_RAM } else { tree }
    }

    /// Id of this CPU in the device tree: the affinity fields of MPIDR.
    pub(crate) const fn cpu(&self) -> u64 {
        affinity(self.mpidr)
    }
}

const fn affinity(mpidr: u64) -> u64 {
    mpidr & 0xff_00ff_ffff
}

/// `PSTATE.DAIF`: debug, `SError`, IRQ and FIQ masked.
const DAIF_MASKED: u64 = 0xf << 6;
const SCTLR_M: u64 = 1 << 0;
const SCTLR_C: u64 = 1 << 2;
const SCTLR_EE: u64 = 1 << 25;

/// Checks the registers of the boot CPU (booting.rst, "Before jumping into the kernel").
pub(crate) fn check_cpu(record: &EntryRecord, _: &Fdt<'_>) {
    let [x0, x1, x2, x3] = record.x;
    if record.entry() == Entry::Arm64 {
        check!("cpu.x0", x0.is_multiple_of(8), "{x0:#x}"; "a multiple of 8");
        report::check_equal("cpu.x1", x1, 0);
        report::check_equal("cpu.x2", x2, 0);
        report::check_equal("cpu.x3", x3, 0);
    } else {
        note!("cpu.x", "{x0:#x} {x1:#x} {x2:#x} {x3:#x}");
    }
    check_state("cpu", record.current_el, record.daif, record.spsel, record.sctlr);
    let frequency = system_register!("cntfrq_el0");
    check!("cpu.counter-frequency", frequency != 0, "0"; "a frequency in CNTFRQ_EL0");
}

fn check_state(name: impl core::fmt::Display, current_el: u64, daif: u64, spsel: u64, sctlr: u64) {
    report::check_equal(format_args!("{name}.el"), current_el >> 2 & 3, 1);
    report::check_equal(
        format_args!("{name}.interrupts-off"),
        daif & DAIF_MASKED,
        DAIF_MASKED,
    );
    report::check_equal(format_args!("{name}.sp-el1"), spsel & 1, 1);
    report::check_equal(format_args!("{name}.mmu-off"), sctlr & SCTLR_M, 0);
    report::check_equal(format_args!("{name}.cache-off"), sctlr & SCTLR_C, 0);
    let found = if sctlr & SCTLR_EE == 0 { "little" } else { "big" };
    if cfg!(target_endian = "big") {
        // No document specifies EE at the entry of a big-endian image; the entry code sets it.
        note!(format_args!("{name}.endian"), "{found}, switched to big");
    } else {
        check!(format_args!("{name}.endian"), found == "little", "{found}"; "little");
    }
}

/// End of the physical address space, exclusive.
pub(crate) fn address_limit() -> u64 {
    let bits = match system_register!("id_aa64mmfr0_el1") & 0xf {
        0 => 32,
        1 => 36,
        2 => 40,
        3 => 42,
        4 => 44,
        5 => 48,
        _ => 52,
    };
    1 << bits
}

/// The counter; its frequency is [`frequency`].
pub(crate) fn counter() -> u64 {
    system_register!("cntvct_el0")
}

/// Frequency of the counter in Hz.
pub(crate) fn frequency(_: &Fdt<'_>) -> u64 {
    system_register!("cntfrq_el0")
}

/// Conduit of PSCI calls: one of the `METHOD_*` values.
static METHOD: AtomicU8 = AtomicU8::new(METHOD_NONE);
const METHOD_NONE: u8 = 0;
const METHOD_HVC: u8 = 1;
const METHOD_SMC: u8 = 2;

/// PSCI functions (DEN0022, section 5.1), in their 64-bit form where there is one.
const PSCI_VERSION: u64 = 0x8400_0000;
const SYSTEM_OFF: u64 = 0x8400_0008;
const SYSTEM_RESET: u64 = 0x8400_0009;
const CPU_ON: u64 = 0xc400_0003;
const AFFINITY_INFO: u64 = 0xc400_0004;
/// Return value of `AFFINITY_INFO` for a CPU that is off.
const IS_OFF: u64 = 1;

fn psci(function: u64, arguments: [u64; 3]) -> u64 {
    let [one, two, three] = arguments;
    let answer;
    match METHOD.load(Ordering::Relaxed) {
        // SAFETY: the SMC calling convention preserves all registers except x0 to x17. No PSCI function used here writes memory;
        // a started CPU writes `Secondary`, which is read by volatile accesses.
        METHOD_HVC => unsafe {
            asm!("hvc #0", inout("x0") function => answer, inout("x1") one => _, inout("x2") two => _,
                inout("x3") three => _, clobber_abi("C"), options(nostack));
        },
        // SAFETY: as above.
        METHOD_SMC => unsafe {
            asm!("smc #0", inout("x0") function => answer, inout("x1") one => _, inout("x2") two => _,
                inout("x3") three => _, clobber_abi("C"), options(nostack));
        },
        _ => answer = u64::MAX,
    }
    answer
}

fn psci_node<'a>(tree: &Fdt<'a>) -> Option<Node<'a>> {
    let versions = ["arm,psci-1.0", "arm,psci-0.2"];
    tree.nodes()
        .find(|node| versions.iter().any(|version| node.is_compatible(version)))
}

/// Reads the conduit of PSCI from the device tree.
pub(crate) fn find_firmware(tree: &Fdt<'_>) {
    let method = match psci_node(tree).and_then(|node| node.string("method")) {
        Some("hvc") => METHOD_HVC,
        Some("smc") => METHOD_SMC,
        _ => METHOD_NONE,
    };
    METHOD.store(method, Ordering::Relaxed);
}

/// Checks that firmware and timer are described and available.
pub(crate) fn check_firmware(tree: &Fdt<'_>) {
    let method = psci_node(tree).and_then(|node| node.string("method"));
    check!("psci.method", matches!(method, Some("hvc" | "smc")), "{}", method.unwrap_or("no PSCI node"); "hvc or smc");
    let version = psci(PSCI_VERSION, [0; 3]);
    let (major, minor) = (version >> 16, version & 0xffff);
    check!("psci.version", (1..256).contains(&major) || version == 2, "{major}.{minor}"; "0.2 or later");
    let timer = tree.nodes().find(|node| node.is_compatible("arm,armv8-timer"));
    // Three cells each: secure and non-secure physical, virtual, hypervisor.
    let lines = timer
        .and_then(|timer| timer.property("interrupts"))
        .map_or(0, <[u8]>::len)
        / 12;
    check!("timer.interrupts", lines >= 3, "{lines} interrupts of arm,armv8-timer"; "at least three");
}

/// Checks the architecture-specific properties of a CPU node.
pub(crate) fn check_cpu_node(cpu: &Node<'_>, id: u64, alone: bool) {
    let method = cpu.string("enable-method");
    check!(format_args!("cpus.{id:#x}.enable-method"), method == Some("psci") || alone && method.is_none(),
        "{}", method.unwrap_or("none"); "psci");
}

struct SharedSecondary(UnsafeCell<Secondary>);

// SAFETY: every access to the content is volatile and by raw pointer; `start` orders the accesses of the CPUs.
unsafe impl Sync for SharedSecondary {}

static SECONDARY: SharedSecondary = SharedSecondary(UnsafeCell::new(EMPTY));
const EMPTY: Secondary = Secondary {
    uses_smc: 0,
    context: 0,
    current_el: 0,
    daif: 0,
    spsel: 0,
    sctlr: 0,
    mpidr: 0,
    frequency: 0,
    done: 0,
};

/// Starts the CPU `id`, checks its state, and waits until it is off again.
pub(crate) fn start(id: u64, wait_until: &mut dyn FnMut(&mut dyn FnMut() -> bool) -> bool) {
    let slot = SECONDARY.0.get();
    let prepared = Secondary {
        uses_smc: u64::from(METHOD.load(Ordering::Relaxed) == METHOD_SMC),
        ..EMPTY
    };
    // SAFETY: no other CPU runs, as those started before are off. The pointer is that of a static.
    unsafe { slot.write_volatile(prepared) };
    let context = slot.expose_provenance() as u64;
    let entry = (&raw const SECONDARY_START).addr() as u64;
    // SAFETY: a barrier.
    unsafe { asm!("dsb sy", options(nostack, preserves_flags)) };
    let answer = psci(CPU_ON, [id, entry, context]);
    if answer != 0 {
        return fail!(format_args!("cpus.{id:#x}.starts"), "error {:#x} from CPU_ON", answer.cast_signed(); "0");
    }
    let done = wait_until(&mut || {
        // SAFETY: the pointer is that of a static; this only computes an address.
        let done = unsafe { &raw const (*slot).done };
        // SAFETY: only the started CPU writes, in aligned words, so the read is atomic.
        unsafe { done.read_volatile() == 1 }
    });
    check!(format_args!("cpus.{id:#x}.starts"), done, "no report within 10 s"; "a report of the CPU");
    if !done {
        return;
    }
    // SAFETY: a barrier: the writes before `done` are visible after it.
    unsafe { asm!("dsb sy", options(nostack, preserves_flags)) };
    // SAFETY: the started CPU does not write after `done`.
    let found = unsafe { slot.read_volatile() };
    let name = format_args!("cpus.{id:#x}");
    report::check_equal(format_args!("{name}.id"), affinity(found.mpidr), id);
    report::check_equal(format_args!("{name}.context"), found.context, context);
    report::check_equal(
        format_args!("{name}.counter-frequency"),
        found.frequency,
        system_register!("cntfrq_el0"),
    );
    check_state(name, found.current_el, found.daif, found.spsel, found.sctlr);
    let off = wait_until(&mut || psci(AFFINITY_INFO, [id, 0, 0]) == IS_OFF);
    check!(format_args!("{name}.off"), off, "still on after 10 s"; "off by CPU_OFF");
}

/// Powers the machine off.
pub(crate) fn power_off() -> ! {
    psci(SYSTEM_OFF, [0; 3]);
    stop()
}

/// Resets the machine.
pub(crate) fn reset() -> ! {
    psci(SYSTEM_RESET, [0; 3]);
    stop()
}

/// Halts with interrupts masked.
pub(crate) fn stop() -> ! {
    loop {
        wait();
    }
}

/// Waits for an interrupt, which remains masked.
pub(crate) fn wait() {
    // SAFETY: the instruction only waits.
    unsafe { asm!("dsb sy", "wfi", options(nostack, preserves_flags)) };
}

/// Sends `byte` to the console of firmware; arm64 firmware has none.
pub(crate) fn firmware_send(_: u8) {}

/// Reads a byte of a device by one load with a base register, which every hypervisor can emulate.
pub(crate) fn read_u8(address: u64) -> u8 {
    let value: u32;
    // SAFETY: the address is that of a device in the device tree or on the command line, and its driver expects the side
    // effects of the read. The MMU is off, so addresses are physical.
    unsafe { asm!("ldrb {:w}, [{}]", out(reg) value, in(reg) address, options(nostack, preserves_flags)) };
    value.to_le_bytes()[0]
}

/// Writes a byte to a device; see [`read_u8`].
pub(crate) fn write_u8(address: u64, value: u8) {
    // SAFETY: as for `read_u8`; no device that this program uses writes to memory.
    unsafe {
        asm!("strb {:w}, [{}]", in(reg) u32::from(value), in(reg) address, options(nostack, preserves_flags));
    }
}

/// Reads a 32-bit register of a device, which is little-endian.
pub(crate) fn read_u32(address: u64) -> u32 {
    let value: u32;
    // SAFETY: as for `read_u8`.
    unsafe { asm!("ldr {:w}, [{}]", out(reg) value, in(reg) address, options(nostack, preserves_flags)) };
    u32::from_le(value)
}

/// Writes a 32-bit register of a device, which is little-endian.
pub(crate) fn write_u32(address: u64, value: u32) {
    // SAFETY: as for `write_u8`.
    unsafe {
        asm!("str {:w}, [{}]", in(reg) value.to_le(), in(reg) address, options(nostack, preserves_flags));
    }
}
