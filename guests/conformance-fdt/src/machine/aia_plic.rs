//! Serial port interrupt through a PLIC, an APLIC, or an APLIC and the IMSIC of this hart (RISC-V Platform-Level Interrupt
//! Controller Specification 1.0; RISC-V Advanced Interrupt Architecture 1.0, chapters 3 and 4).
#![expect(unsafe_code, reason = "interrupt enables and the IMSIC are CSRs")]

use core::arch::asm;

use contract::Irqchip;

use super::{arch, console};
use crate::clauses::{cpus, devices};
use crate::fdt::{Fdt, Node};

/// Supervisor external interrupt: bit in `sie` and number in `interrupts-extended`.
const SUPERVISOR_EXTERNAL: u32 = 9;

const PLIC_ENABLE: u64 = 0x2000;
const PLIC_ENABLE_LEN: u64 = 0x80;
const PLIC_CONTEXT: u64 = 0x20_0000;
const PLIC_CONTEXT_LEN: u64 = 0x1000;
const PLIC_CLAIM: u64 = 4;

const APLIC_DOMAINCFG: u64 = 0;
const DOMAINCFG_IE: u32 = 1 << 8;
const DOMAINCFG_DM: u32 = 1 << 2;
/// One word for each source, starting with source 1 after `domaincfg`.
const APLIC_SOURCECFG: u64 = 0;
const RISING_EDGE: u32 = 4;
const LEVEL_HIGH: u32 = 6;
const APLIC_SETIENUM: u64 = 0x1edc;
/// One word for each source, starting with source 1 after `genmsi`.
const APLIC_TARGET: u64 = 0x3000;
const APLIC_IDC: u64 = 0x4000;
const APLIC_IDC_LEN: u64 = 32;
const IDC_IDELIVERY: u64 = 0;
const IDC_ITHRESHOLD: u64 = 8;
const IDC_CLAIMI: u64 = 0x1c;

const EIDELIVERY: u64 = 0x70;
const EITHRESHOLD: u64 = 0x72;
const EIE0: u64 = 0xc0;
/// Interrupt identity in the MSI of the serial port.
const MESSAGE: u32 = 1;

/// An interrupt controller with the serial port interrupt enabled.
pub(crate) enum Controller {
    /// PLIC: address of the claim register of this hart.
    Plic(u64),
    /// APLIC: address of the claim register of this hart.
    Aplic(u64),
    /// APLIC that sends MSIs to the IMSIC of this hart.
    Imsic,
}

/// Enables only the serial port interrupt; `None` if the tree does not describe it.
pub(crate) fn enable_serial(tree: &Fdt<'_>) -> Option<Controller> {
    let (kind, node) = devices::interrupt_controller(tree)?;
    let (base, _) = node.range()?;
    let mut line = console::stdout(tree)?.cells("interrupts");
    let source = line.next().filter(|source| (1..1024).contains(source))?;
    let trigger = if line.next() == Some(1) {
        RISING_EDGE
    } else {
        LEVEL_HIGH
    };
    let word = u64::from(source) * 4;
    let controller = match kind {
        Irqchip::Plic => {
            let context = u64::from(own_index(tree, &node)?);
            let enable = base + PLIC_ENABLE + context * PLIC_ENABLE_LEN + u64::from(source / 32 * 4);
            let registers = base + PLIC_CONTEXT + context * PLIC_CONTEXT_LEN;
            arch::write_u32(base + word, 1);
            arch::write_u32(enable, 1 << (source % 32));
            arch::write_u32(registers, 0);
            Controller::Plic(registers + PLIC_CLAIM)
        }
        Irqchip::Aplic => {
            let hart = own_index(tree, &node)?;
            let registers = base + APLIC_IDC + u64::from(hart) * APLIC_IDC_LEN;
            arch::write_u32(base + APLIC_SOURCECFG + word, trigger);
            arch::write_u32(base + APLIC_TARGET + word, hart << 18 | 1);
            arch::write_u32(registers + IDC_ITHRESHOLD, 0);
            arch::write_u32(registers + IDC_IDELIVERY, 1);
            arch::write_u32(base + APLIC_DOMAINCFG, DOMAINCFG_IE);
            arch::write_u32(base + APLIC_SETIENUM, source);
            Controller::Aplic(registers + IDC_CLAIMI)
        }
        _ => {
            let parent = tree.by_phandle(node.u32("msi-parent")?)?;
            let hart = own_index(tree, &parent)?;
            for (register, value) in [(EITHRESHOLD, 0), (EIE0, 1 << MESSAGE), (EIDELIVERY, 1)] {
                write_imsic(register, value);
            }
            arch::write_u32(base + APLIC_SOURCECFG + word, trigger);
            arch::write_u32(base + APLIC_TARGET + word, hart << 18 | MESSAGE);
            arch::write_u32(base + APLIC_DOMAINCFG, DOMAINCFG_IE | DOMAINCFG_DM);
            arch::write_u32(base + APLIC_SETIENUM, source);
            Controller::Imsic
        }
    };
    // SAFETY: the interrupt can become pending but is not taken, as `sstatus.SIE` is clear.
    unsafe { asm!("csrs sie, {}", in(reg) 1_u64 << SUPERVISOR_EXTERNAL, options(nostack, preserves_flags)) };
    console::interrupt_on_receive().then_some(controller)
}

/// Index in `interrupts-extended` of the external interrupt of this hart.
fn own_index(tree: &Fdt<'_>, controller: &Node<'_>) -> Option<u32> {
    let own = arch::record().cpu();
    let hart = cpus::cpus(tree).find(|cpu| cpus::id(cpu) == Some(own))?;
    let phandle = hart
        .children()
        .find(|node| node.property("interrupt-controller").is_some())?
        .u32("phandle")?;
    let parents = controller.cells("interrupts-extended").step_by(2);
    let lines = controller.cells("interrupts-extended").skip(1).step_by(2);
    parents
        .zip(lines)
        .zip(0..)
        .find(|(line, _)| *line == (phandle, SUPERVISOR_EXTERNAL))
        .map(|(_, index)| index)
}

fn write_imsic(register: u64, value: u64) {
    // SAFETY: siselect selects the register of the interrupt file that sireg accesses; both are supervisor CSRs.
    unsafe {
        asm!("csrw 0x150, {}", "csrw 0x151, {}", in(reg) register, in(reg) value, options(nostack, preserves_flags));
    }
}

impl Controller {
    /// Claims the pending interrupt, if there is one, until [`complete`](Self::complete).
    pub(crate) fn claim(&self) -> Option<u32> {
        let claim = match self {
            Self::Plic(register) => arch::read_u32(*register),
            Self::Aplic(register) => arch::read_u32(*register) >> 16,
            Self::Imsic => {
                let top: u64;
                // SAFETY: the write to stopei claims the interrupt that the read returns, as intended.
                unsafe { asm!("csrrw {}, 0x15c, x0", out(reg) top, options(nostack, preserves_flags)) };
                u32::try_from(top >> 16).unwrap_or(0)
            }
        };
        (claim != 0).then_some(claim)
    }

    /// Completes the interrupt. An APLIC and an IMSIC complete it when it is claimed.
    pub(crate) fn complete(&self, claim: u32) {
        if let Self::Plic(register) = self {
            arch::write_u32(*register, claim);
        }
    }
}
