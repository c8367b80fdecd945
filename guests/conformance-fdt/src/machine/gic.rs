//! Serial port interrupt through a GIC (Arm IHI 0048 for version 2, IHI 0069 for version 3).
#![expect(
    unsafe_code,
    reason = "the CPU interface of GICv3 consists of system registers"
)]

use core::arch::asm;

use contract::Irqchip;

use super::{arch, console};
use crate::clauses::devices;
use crate::fdt::Fdt;

const GICD_CTLR: u64 = 0;
const GICD_IGROUPR: u64 = 0x80;
const GICD_ISENABLER: u64 = 0x100;
const GICD_IPRIORITYR: u64 = 0x400;
const GICD_ITARGETSR: u64 = 0x800;
const GICD_ICFGR: u64 = 0xc00;
const GICD_IROUTER: u64 = 0x6000;
/// GICv3 with one security state: affinity routing, both groups.
const CTLR_V3: u32 = 1 << 4 | 0b11;

/// GICv2: CPU interface.
const GICC_CTLR: u64 = 0;
const GICC_PMR: u64 = 4;
const GICC_IAR: u64 = 0xc;
const GICC_EOIR: u64 = 0x10;

/// GICv3: redistributor of a CPU.
const GICR_TYPER: u64 = 0x8;
const GICR_WAKER: u64 = 0x14;
const TYPER_VLPIS: u32 = 1 << 1;
const TYPER_LAST: u32 = 1 << 4;
const PROCESSOR_SLEEP: u32 = 1 << 1;
const CHILDREN_ASLEEP: u32 = 1 << 2;
const REDISTRIBUTOR_LEN: u64 = 0x2_0000;

/// First special interrupt number.
const SPECIAL: u32 = 1020;
/// The first shared interrupt.
const FIRST_SPI: u32 = 32;
const PRIORITY: u8 = 0x80;
/// Maximum number of polls of a redistributor.
const MAX_POLLS: u32 = 1_000_000;

/// A GIC with the serial port interrupt enabled.
pub(crate) enum Controller {
    /// GICv2: address of the CPU interface.
    V2(u64),
    /// GICv3, whose CPU interface consists of system registers.
    V3,
}

/// Enables only the serial port interrupt; `None` if the tree does not describe it.
pub(crate) fn enable_serial(tree: &Fdt<'_>) -> Option<Controller> {
    let (kind, node) = devices::interrupt_controller(tree)?;
    let mut line = console::stdout(tree)?.cells("interrupts");
    let (0, number, flags) = (line.next()?, line.next()?, line.next()?) else {
        return None;
    };
    let interrupt = number
        .checked_add(FIRST_SPI)
        .filter(|interrupt| *interrupt < SPECIAL)?;
    let mut ranges = node.reg()?;
    let (distributor, _) = ranges.next()?;
    let (second, second_len) = ranges.next()?;
    let word = u64::from(interrupt / 32 * 4);
    let bit = 1 << (interrupt % 32);
    let set = |register, bits| {
        let address = distributor + register;
        arch::write_u32(address, arch::read_u32(address) | bits);
    };
    // Flags 1 and 2 of the binding are edge-triggered.
    if flags & 0b11 != 0 {
        set(
            GICD_ICFGR + u64::from(interrupt / 16 * 4),
            0b10 << (interrupt % 16 * 2),
        );
    }
    arch::write_u8(distributor + GICD_IPRIORITYR + u64::from(interrupt), PRIORITY);
    let controller = if kind == Irqchip::GicV2 {
        // GICD_ITARGETSR0 to 7 are read-only and return the current CPU.
        let own = arch::read_u32(distributor + GICD_ITARGETSR).to_le_bytes()[0];
        arch::write_u8(distributor + GICD_ITARGETSR + u64::from(interrupt), own.max(1));
        arch::write_u32(distributor + GICD_CTLR, 1);
        arch::write_u32(second + GICC_PMR, 0xff);
        arch::write_u32(second + GICC_CTLR, 1);
        Controller::V2(second)
    } else {
        let own = arch::record().cpu();
        wake(second, second_len, own)?;
        arch::write_u32(distributor + GICD_CTLR, CTLR_V3);
        set(GICD_IGROUPR + word, bit);
        let router = distributor + GICD_IROUTER + u64::from(interrupt) * 8;
        for (at, half) in [(router, own & 0xffff_ffff), (router + 4, own >> 32)] {
            arch::write_u32(at, u32::try_from(half).unwrap_or(0));
        }
        // SAFETY: the registers enable group 1 interrupts of every priority; PSTATE still masks them.
        unsafe {
            asm!("msr s3_0_c12_c12_5, {one}", "isb", "msr s3_0_c4_c6_0, {all}", "msr s3_0_c12_c12_7, {one}", "isb",
                one = in(reg) 1_u64, all = in(reg) 0xff_u64, options(nomem, nostack, preserves_flags));
        }
        Controller::V3
    };
    arch::write_u32(distributor + GICD_ISENABLER + word, bit);
    console::interrupt_on_receive().then_some(controller)
}

/// Wakes the redistributor of CPU `own`.
fn wake(start: u64, len: u64, own: u64) -> Option<()> {
    // Aff3 is in bits 31:24 here and in bits 39:32 of MPIDR.
    let affinity = u32::try_from(own & 0xff_ffff | own >> 8 & 0xff00_0000).ok()?;
    let mut at = start;
    while at < start.saturating_add(len) {
        let typer = arch::read_u32(at + GICR_TYPER);
        if arch::read_u32(at + GICR_TYPER + 4) == affinity {
            arch::write_u32(
                at + GICR_WAKER,
                arch::read_u32(at + GICR_WAKER) & !PROCESSOR_SLEEP,
            );
            let awake = |_: &u32| arch::read_u32(at + GICR_WAKER) & CHILDREN_ASLEEP == 0;
            return (0..MAX_POLLS).find(awake).map(|_| ());
        }
        if typer & TYPER_LAST != 0 {
            return None;
        }
        at += if typer & TYPER_VLPIS == 0 {
            REDISTRIBUTOR_LEN
        } else {
            2 * REDISTRIBUTOR_LEN
        };
    }
    None
}

impl Controller {
    /// Acknowledges the pending interrupt, if there is one; it is active until [`complete`](Self::complete).
    pub(crate) fn claim(&self) -> Option<u32> {
        let answer = match self {
            Self::V2(interface) => arch::read_u32(interface + GICC_IAR),
            Self::V3 => {
                let answer: u64;
                // SAFETY: the read acknowledges the interrupt, as intended.
                unsafe {
                    asm!("mrs {}, s3_0_c12_c12_0", "dsb sy", out(reg) answer, options(nostack, preserves_flags));
                }
                u32::try_from(answer & 0xff_ffff).unwrap_or(SPECIAL)
            }
        };
        (answer & 0x3ff < SPECIAL).then_some(answer)
    }

    /// Completes the interrupt.
    pub(crate) fn complete(&self, claim: u32) {
        match self {
            Self::V2(interface) => arch::write_u32(interface + GICC_EOIR, claim),
            // SAFETY: completes the acknowledged interrupt.
            Self::V3 => unsafe {
                asm!("msr s3_0_c12_c12_1, {}", "isb", in(reg) u64::from(claim), options(nostack, preserves_flags));
            },
        }
    }
}
