//! Global system interrupts of devices (ACPI 6.5, section 5.2.13).

use boot_core::machine::{Interrupt, InterruptController, Line, Trigger};
use boot_core::{Arch, GuestRange, Machine};

use crate::error::AcpiError;

/// The first global system interrupt of the sources of a PLIC or APLIC, of which a machine has one.
pub(crate) const RISCV_GSI_BASE: u32 = 0;

/// A global system interrupt and how it is triggered. All of them are active when high.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gsi {
    pub(crate) number: u32,
    pub(crate) is_edge: bool,
}

impl Gsi {
    /// That of an interrupt of the `device` with the registers `range`.
    pub(crate) fn of(
        machine: &Machine,
        device: &'static str,
        range: GuestRange,
        interrupt: Interrupt,
    ) -> Result<Self, AcpiError> {
        let Interrupt { line, trigger, .. } = interrupt;
        let wrong = |expected| AcpiError::Interrupt {
            device,
            range,
            line,
            expected,
        };
        let number = match (machine.arch, line) {
            (Arch::X86_64, Line::Gsi(gsi)) => Some(gsi),
            (Arch::X86_64, _) => return Err(wrong("a global system interrupt")),
            // The number is the INTID (ACPI 6.5, section 5.2.12.14).
            (Arch::Aarch64, Line::Spi(_)) => line.intid(),
            (Arch::Aarch64, _) => None,
            (_, Line::Source(source)) => {
                let sources = sources(&machine.platform.interrupt_controller);
                line.intid()
                    .filter(|_| source <= sources)
                    .and_then(|source| RISCV_GSI_BASE.checked_add(source))
            }
            _ => None,
        };
        let expected = match machine.arch {
            Arch::Aarch64 => "a shared peripheral interrupt, 0 to 987",
            _ => "a source of the interrupt controller",
        };
        Ok(Self {
            number: number.ok_or(wrong(expected))?,
            is_edge: trigger == Trigger::EdgeRising,
        })
    }
}

/// The number of the highest source of a PLIC or APLIC.
fn sources(controller: &InterruptController) -> u32 {
    match controller {
        InterruptController::Plic(plic) => plic.sources,
        InterruptController::Aplic(aplic) => aplic.sources,
        _ => 0,
    }
}

/// The INTID of a private peripheral interrupt of the arm64 timer.
pub(crate) fn private(of: &'static str, interrupt: Interrupt) -> Result<Gsi, AcpiError> {
    let Interrupt { line, trigger, .. } = interrupt;
    let is_private = matches!(line, Line::Ppi(_));
    let number = line.intid().filter(|_| is_private);
    Ok(Gsi {
        number: number.ok_or(AcpiError::TimerInterrupt { of, line })?,
        is_edge: trigger == Trigger::EdgeRising,
    })
}
