//! The time stamp counter as a clock.
#![expect(unsafe_code, reason = "the time stamp counter")]

use core::arch::x86_64::{__cpuid, __cpuid_count, _rdtsc};

use fw_acpi::{AddressSpace, Register};

use crate::console::print;
use crate::port::Port;

/// Units of the clock in a second: 100 ns.
const UNITS: u64 = 10_000_000;
/// Frequency of the PM timer in Hz (ACPI 6.5, section 4.8.3.3), and of the 8254.
const PM_TIMER: u64 = 3_579_545;
const PIT: u64 = 1_193_182;
/// The part of a second in which the counter is compared with another timer: 4 ms.
const PART: u64 = 250;
/// Polls of a timer before it counts as absent: a poll takes more than 20 ns.
const MAX_POLLS: u32 = 200_000;
/// Frequency that is assumed if nothing tells another one, in Hz.
const ASSUMED: u64 = 1_000_000_000;

/// Leaves with frequencies of the hypervisor in kHz (`Documentation/virt/kvm/x86/cpuid.rst`, VMware's), if its range of leaves has it.
const HYPERVISOR: u32 = 0x4000_0000;
const HYPERVISOR_TSC: u32 = 0x4000_0010;

/// The 8254's channel 2 and its gate in the system control port.
// SAFETY: neither device accesses memory.
const PIT_CHANNEL_2: Port = unsafe { Port::new(0x42) };
// SAFETY: as above.
const PIT_COMMAND: Port = unsafe { Port::new(0x43) };
// SAFETY: as above.
const SYSTEM_CONTROL: Port = unsafe { Port::new(0x61) };

/// The counter since the start of the clock.
pub(super) struct Clock {
    start: u64,
    /// Units for a tick of the counter, times 2³².
    scale: u64,
    last: u64,
}

fn counter() -> u64 {
    // SAFETY: every CPU with 64-bit mode has the counter.
    unsafe { _rdtsc() }
}

impl Clock {
    /// Starts the clock with the frequency of the counter from CPUID, or compared with the PM timer or the 8254.
    pub(super) fn start(pm_timer: Option<(Register, u8)>) -> Self {
        let known = hypervisor().or_else(crystal);
        let compared = || {
            pm_timer
                .and_then(compare_pm_timer)
                .or_else(compare_pit)
                .or_else(base)
        };
        let hertz = known.or_else(compared).unwrap_or_else(|| {
            print!("firmware: no timer tells the frequency of the time stamp counter; 1 GHz is assumed");
            ASSUMED
        });
        Self {
            start: counter(),
            scale: (UNITS << 32).checked_div(hertz).unwrap_or(0).max(1),
            last: 0,
        }
    }

    /// Units since the start. It never goes back.
    pub(super) fn now(&mut self) -> u64 {
        let ticks = counter().saturating_sub(self.start);
        let units = (u128::from(ticks) * u128::from(self.scale)) >> 32;
        self.last = self.last.max(u64::try_from(units).unwrap_or(u64::MAX));
        self.last
    }
}

/// The frequency that a hypervisor reports.
fn hypervisor() -> Option<u64> {
    let is_guest = __cpuid(1).ecx >> 31 == 1;
    let last = __cpuid(HYPERVISOR).eax;
    let has_leaf = is_guest && (HYPERVISOR_TSC..HYPERVISOR + 0x100).contains(&last);
    let kilohertz = if has_leaf { __cpuid(HYPERVISOR_TSC).eax } else { 0 };
    (kilohertz != 0).then(|| u64::from(kilohertz) * 1000)
}

/// The frequency from that of the crystal (Intel SDM volume 2A, CPUID 15H).
fn crystal() -> Option<u64> {
    if __cpuid(0).eax < 0x15 {
        return None;
    }
    let leaf = __cpuid_count(0x15, 0);
    let hertz = u64::from(leaf.ecx).checked_mul(leaf.ebx.into())?;
    hertz.checked_div(leaf.eax.into()).filter(|hertz| *hertz != 0)
}

/// The base frequency of the CPU (CPUID 16H), which that of the counter is near to.
fn base() -> Option<u64> {
    if __cpuid(0).eax < 0x16 {
        return None;
    }
    let megahertz = __cpuid_count(0x16, 0).eax & 0xffff;
    (megahertz != 0).then(|| u64::from(megahertz) * 1_000_000)
}

/// The frequency by the PM timer.
fn compare_pm_timer((register, bits): (Register, u8)) -> Option<u64> {
    let port = u16::try_from(register.addr).ok()?;
    if register.space != AddressSpace::IO {
        return None;
    }
    // SAFETY: the FADT names the timer's port.
    let timer = unsafe { Port::new(port) };
    let mask = if bits == 32 { u32::MAX } else { (1 << bits) - 1 };
    let (first, begin) = (timer.read_u32(), counter());
    for _ in 0..MAX_POLLS {
        let (now, end) = (timer.read_u32(), counter());
        let ticks = u64::from(now.wrapping_sub(first) & mask);
        if ticks >= PM_TIMER / PART {
            return (end.wrapping_sub(begin) * PM_TIMER).checked_div(ticks);
        }
    }
    None
}

/// The frequency by channel 2 of the 8254. Its gate is in a port that a small machine does not have, which counts all the same.
fn compare_pit() -> Option<u64> {
    const GATE: u8 = 1 << 0;
    const SPEAKER: u8 = 1 << 1;
    /// Channel 2, low and high byte, mode 0 (counts down once), binary.
    const ONE_SHOT: u8 = 0b1011_0000;
    /// Channel 2: its count is kept for the next two reads.
    const LATCH: u8 = 0b1000_0000;
    let control = SYSTEM_CONTROL.read_u8();
    let has_control = control != 0xff;
    if has_control {
        SYSTEM_CONTROL.write_u8(control & !SPEAKER | GATE);
    }
    PIT_COMMAND.write_u8(ONE_SHOT);
    PIT_CHANNEL_2.write_u8(0xff);
    PIT_CHANNEL_2.write_u8(0xff);
    let read = || {
        PIT_COMMAND.write_u8(LATCH);
        u16::from_le_bytes([PIT_CHANNEL_2.read_u8(), PIT_CHANNEL_2.read_u8()])
    };
    let (first, begin) = (read(), counter());
    let found = (0..MAX_POLLS).find_map(|_| {
        let (now, end) = (read(), counter());
        let ticks = u64::from(first.wrapping_sub(now));
        if ticks < PIT / PART {
            return None;
        }
        (end.wrapping_sub(begin) * PIT).checked_div(ticks)
    });
    if has_control {
        SYSTEM_CONTROL.write_u8(control);
    }
    found
}
