//! arm64: the ways in, PSCI, the counter, and what a device access is.
#![expect(
    unsafe_code,
    reason = "the entry code is assembly; registers, firmware calls and devices are instructions"
)]

use core::arch::{asm, global_asm};
use core::cell::UnsafeCell;
use core::mem::offset_of;
use core::sync::atomic::{AtomicU8, Ordering};

use clauses::{check, fail, note, report};
use contract::Entry;

use crate::fdt::{Fdt, Node};

/// The CPU as the loader left it.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Record {
    x: [u64; 4],
    /// Physical address of the image's first byte.
    pub(crate) base: u64,
    current_el: u64,
    daif: u64,
    spsel: u64,
    sctlr: u64,
    mpidr: u64,
    /// Offset in the image of the first bytes without file content that were not zero, in steps of eight; all ones if there
    /// were none.
    pub(crate) dirty: u64,
}

/// What a started CPU finds and reports; the boot CPU fills in the first field.
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
    RECORD_LEN = const size_of::<Record>(),
    X0 = const offset_of!(Record, x),
    BASE = const offset_of!(Record, base),
    CURRENT_EL = const offset_of!(Record, current_el),
    DAIF = const offset_of!(Record, daif),
    SPSEL = const offset_of!(Record, spsel),
    SCTLR = const offset_of!(Record, sctlr),
    MPIDR = const offset_of!(Record, mpidr),
    DIRTY = const offset_of!(Record, dirty),
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
    static RECORD: Record;
    #[link_name = "secondary_start"]
    static SECONDARY_START: [u8; 0];
}

/// Reads a system register.
macro_rules! system_register {
    ($name:literal) => {{
        let value: u64;
        // SAFETY: reading this register has no effect.
        unsafe { asm!(concat!("mrs {}, ", $name), out(reg) value, options(nomem, nostack, preserves_flags)) };
        value
    }};
}

/// What the entry code recorded.
pub(crate) fn record() -> Record {
    // SAFETY: the entry code wrote every field before it called `kernel_main`, nothing writes them any more, and any bit
    // pattern is a value of each field.
    unsafe { (&raw const RECORD).read_volatile() }
}

/// Where QEMU's `virt` machine has the device tree when it loads an ELF ("Hardware configuration information for bare-metal
/// programming" in its documentation): the start of RAM.
const QEMU_RAM: u64 = 0x4000_0000;

impl Record {
    /// The entry that was taken: a loader that knows the boot protocol leaves an address in `x0`.
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

    /// The id that the device tree has of this CPU: its affinity fields.
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
pub(crate) fn check_cpu(record: &Record, _: &Fdt<'_>) {
    let [x0, x1, x2, x3] = record.x;
    if record.entry() == Entry::Arm64 {
        check!("cpu.x0", x0.is_multiple_of(8), "{x0:#x}"; "a multiple of 8");
        report::equal("cpu.x1", x1, 0);
        report::equal("cpu.x2", x2, 0);
        report::equal("cpu.x3", x3, 0);
    } else {
        note!("cpu.x", "{x0:#x} {x1:#x} {x2:#x} {x3:#x}");
    }
    check_state("cpu", record.current_el, record.daif, record.spsel, record.sctlr);
    let frequency = system_register!("cntfrq_el0");
    check!("cpu.counter-frequency", frequency != 0, "0"; "the counter's frequency in CNTFRQ_EL0");
}

fn check_state(name: impl core::fmt::Display, current_el: u64, daif: u64, spsel: u64, sctlr: u64) {
    report::equal(format_args!("{name}.el"), current_el >> 2 & 3, 1);
    report::equal(
        format_args!("{name}.interrupts-off"),
        daif & DAIF_MASKED,
        DAIF_MASKED,
    );
    report::equal(format_args!("{name}.sp-el1"), spsel & 1, 1);
    report::equal(format_args!("{name}.mmu-off"), sctlr & SCTLR_M, 0);
    report::equal(format_args!("{name}.cache-off"), sctlr & SCTLR_C, 0);
    let found = if sctlr & SCTLR_EE == 0 { "little" } else { "big" };
    if cfg!(target_endian = "big") {
        // No document says how a big-endian program finds its CPU; it switches by itself.
        note!(format_args!("{name}.endian"), "{found}, switched to big");
    } else {
        check!(format_args!("{name}.endian"), found == "little", "{found}"; "little");
    }
}

/// First address past what the CPU can address without an MMU.
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

/// The counter, which rises [`frequency`] times a second.
pub(crate) fn counter() -> u64 {
    system_register!("cntvct_el0")
}

/// How often the counter rises in a second.
pub(crate) fn frequency(_: &Fdt<'_>) -> u64 {
    system_register!("cntfrq_el0")
}

/// How PSCI is called; [`Method`]'s values.
static METHOD: AtomicU8 = AtomicU8::new(METHOD_NONE);
const METHOD_NONE: u8 = 0;
const METHOD_HVC: u8 = 1;
const METHOD_SMC: u8 = 2;

/// PSCI functions (DEN0022, section 5.1); the last three in their 64-bit form where they have one.
const PSCI_VERSION: u64 = 0x8400_0000;
const SYSTEM_OFF: u64 = 0x8400_0008;
const SYSTEM_RESET: u64 = 0x8400_0009;
const CPU_ON: u64 = 0xc400_0003;
const AFFINITY_INFO: u64 = 0xc400_0004;
/// `AFFINITY_INFO` answers that the CPU is off.
const IS_OFF: u64 = 1;

fn psci(function: u64, arguments: [u64; 3]) -> u64 {
    let [one, two, three] = arguments;
    let answer;
    match METHOD.load(Ordering::Relaxed) {
        // SAFETY: by the SMC calling convention the callee keeps all registers but x0 to x17. No PSCI function used here
        // writes memory of this CPU; a CPU it starts writes its own `Secondary`, which is read by volatile accesses.
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

/// Finds out from the device tree how firmware is called.
pub(crate) fn find_firmware(tree: &Fdt<'_>) {
    let method = match psci_node(tree).and_then(|node| node.text("method")) {
        Some("hvc") => METHOD_HVC,
        Some("smc") => METHOD_SMC,
        _ => METHOD_NONE,
    };
    METHOD.store(method, Ordering::Relaxed);
}

/// Checks that firmware and timer are described and there.
pub(crate) fn check_firmware(tree: &Fdt<'_>) {
    let method = psci_node(tree).and_then(|node| node.text("method"));
    check!("psci.method", matches!(method, Some("hvc" | "smc")), "{}", method.unwrap_or("no such node"); "hvc or smc");
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

/// Checks the properties of a CPU's node that the architecture asks for.
pub(crate) fn check_cpu_node(cpu: &Node<'_>, id: u64, alone: bool) {
    let method = cpu.text("enable-method");
    check!(format_args!("cpus.{id:#x}.enable-method"), method == Some("psci") || alone && method.is_none(),
        "{}", method.unwrap_or("none"); "psci");
}

struct Slot(UnsafeCell<Secondary>);

// SAFETY: every access to the content is volatile and by raw pointer; the protocol in `start` says who may when.
unsafe impl Sync for Slot {}

static SLOT: Slot = Slot(UnsafeCell::new(NOTHING_FOUND));
const NOTHING_FOUND: Secondary = Secondary {
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

/// Starts the CPU `id`, checks what it found, and sees it off again.
pub(crate) fn start(id: u64, in_time: &mut dyn FnMut(&mut dyn FnMut() -> bool) -> bool) {
    let slot = SLOT.0.get();
    let prepared = Secondary {
        uses_smc: u64::from(METHOD.load(Ordering::Relaxed) == METHOD_SMC),
        ..NOTHING_FOUND
    };
    // SAFETY: no other CPU runs: the ones before this are off. The pointer is that of a static.
    unsafe { slot.write_volatile(prepared) };
    let context = slot.expose_provenance() as u64;
    let entry = (&raw const SECONDARY_START).addr() as u64;
    // SAFETY: a barrier.
    unsafe { asm!("dsb sy", options(nostack, preserves_flags)) };
    let answer = psci(CPU_ON, [id, entry, context]);
    if answer != 0 {
        return fail!(format_args!("cpus.{id:#x}.starts"), "the error {:#x} from CPU_ON", answer.cast_signed(); "0");
    }
    let done = in_time(&mut || {
        // SAFETY: the pointer is that of a static, and nothing is read yet.
        let done = unsafe { &raw const (*slot).done };
        // SAFETY: the started CPU alone writes, words at a time; a word is read whole.
        unsafe { done.read_volatile() == 1 }
    });
    check!(format_args!("cpus.{id:#x}.starts"), done, "nothing within ten seconds"; "a report of the CPU");
    if !done {
        return;
    }
    // SAFETY: a barrier: what was written before `done` is read after it.
    unsafe { asm!("dsb sy", options(nostack, preserves_flags)) };
    // SAFETY: the started CPU wrote all it will ever write.
    let found = unsafe { slot.read_volatile() };
    let name = format_args!("cpus.{id:#x}");
    report::equal(format_args!("{name}.id"), affinity(found.mpidr), id);
    report::equal(format_args!("{name}.context"), found.context, context);
    report::equal(
        format_args!("{name}.counter-frequency"),
        found.frequency,
        system_register!("cntfrq_el0"),
    );
    check_state(name, found.current_el, found.daif, found.spsel, found.sctlr);
    let off = in_time(&mut || psci(AFFINITY_INFO, [id, 0, 0]) == IS_OFF);
    check!(format_args!("{name}.off"), off, "still on after ten seconds"; "off by CPU_OFF");
}

/// Switches the machine off.
pub(crate) fn power_off() -> ! {
    psci(SYSTEM_OFF, [0; 3]);
    stop()
}

/// Resets the machine.
pub(crate) fn reset() -> ! {
    psci(SYSTEM_RESET, [0; 3]);
    stop()
}

/// Does nothing more, with interrupts masked.
pub(crate) fn stop() -> ! {
    loop {
        wait();
    }
}

/// Waits for an interrupt, which stays masked.
pub(crate) fn wait() {
    // SAFETY: waits, and does nothing else.
    unsafe { asm!("dsb sy", "wfi", options(nostack, preserves_flags)) };
}

/// Sends `byte` to whoever reads where the machine has no serial port; there is nobody.
pub(crate) fn firmware_send(_: u8) {}

/// Reads a byte of a device.
///
/// By one instruction with a plain address: a hypervisor need not understand others.
pub(crate) fn read_u8(address: u64) -> u8 {
    let value: u32;
    // SAFETY: the address is one of a device, as the device tree or the command line says; what its registers do upon a
    // read is what its driver wants. There is no MMU, so an address is a physical one.
    unsafe { asm!("ldrb {:w}, [{}]", out(reg) value, in(reg) address, options(nostack, preserves_flags)) };
    value.to_le_bytes()[0]
}

/// Writes a byte to a device; see [`read_u8`].
pub(crate) fn write_u8(address: u64, value: u8) {
    // SAFETY: as for `read_u8`; no device driven here writes memory on its own.
    unsafe {
        asm!("strb {:w}, [{}]", in(reg) u32::from(value), in(reg) address, options(nostack, preserves_flags));
    }
}

/// Reads a word of a device; devices are little-endian.
pub(crate) fn read_u32(address: u64) -> u32 {
    let value: u32;
    // SAFETY: as for `read_u8`.
    unsafe { asm!("ldr {:w}, [{}]", out(reg) value, in(reg) address, options(nostack, preserves_flags)) };
    u32::from_le(value)
}

/// Writes a word to a device; devices are little-endian.
pub(crate) fn write_u32(address: u64, value: u32) {
    // SAFETY: as for `write_u8`.
    unsafe {
        asm!("str {:w}, [{}]", in(reg) value.to_le(), in(reg) address, options(nostack, preserves_flags));
    }
}

#[unsafe(no_mangle)]
extern "C" fn exception_entry(vector: u64, syndrome: u64, address: u64, fault_address: u64) -> ! {
    fail!(
        "exception",
        "vector {vector}, syndrome {syndrome:#x} at pc {address:#x}, far {fault_address:#x}";
        "none"
    );
    crate::run::finish()
}
