//! Names of registers.

use std::fmt;

use super::{Register, RegisterGroup, index, sys};

impl Register {
    /// Name of the register; `None` for registers without a constant.
    #[must_use]
    pub fn name(self) -> Option<RegisterName> {
        let numbered = |prefix, n: u16| {
            Some(RegisterName {
                prefix,
                number: Some(n),
            })
        };
        let plain = |name| {
            Some(RegisterName {
                prefix: name,
                number: None,
            })
        };
        match self {
            Self::SP_EL0 => return plain("SP_EL0"),
            Self::PC => return plain("PC"),
            Self::PSTATE => return plain("PSTATE"),
            Self::SP_EL1 => return plain("SP_EL1"),
            Self::ELR_EL1 => return plain("ELR_EL1"),
            Self::SPSR_EL1 => return plain("SPSR_EL1"),
            Self::SPSR_ABT => return plain("SPSR_abt"),
            Self::SPSR_UND => return plain("SPSR_und"),
            Self::SPSR_IRQ => return plain("SPSR_irq"),
            Self::SPSR_FIQ => return plain("SPSR_fiq"),
            Self::FPSR => return plain("FPSR"),
            Self::FPCR => return plain("FPCR"),
            Self::PSCI_VERSION => return plain("PSCI version"),
            Self::SVE_FFR => return plain("FFR"),
            Self::SVE_VLS => return plain("SVE vector lengths"),
            _ => {}
        }
        let (group, rest) = (self.group(), self.number_in_group());
        match group {
            RegisterGroup::CORE if rest < index::SP => numbered("X", rest / 2),
            RegisterGroup::CORE if (index::V0..index::FPSR).contains(&rest) => {
                numbered("V", (rest - index::V0) / 4)
            }
            RegisterGroup::SVE if rest < 0x400 => numbered("Z", rest >> 5),
            RegisterGroup::SVE if rest < 0x600 => numbered("P", (rest & 0x3ff) >> 5),
            RegisterGroup::DEMUX => numbered("CCSIDR_EL1 of CSSELR ", rest & 0xff),
            RegisterGroup::FIRMWARE => numbered("firmware register ", rest),
            RegisterGroup::FIRMWARE_FEATURES => numbered("firmware features ", rest),
            RegisterGroup::SYSTEM => sys::name(self).map(|(prefix, number)| RegisterName { prefix, number }),
            _ => None,
        }
    }
}

/// Name of a register. Registers of one kind, such as `X0` to `X30`, have a number in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegisterName {
    prefix: &'static str,
    number: Option<u16>,
}

impl fmt::Display for RegisterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.prefix)?;
        match self.number {
            Some(number) => write!(f, "{number}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Register {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.name(), self.encoding()) {
            (Some(name), _) => write!(f, "{name} ({:#018x})", self.0),
            (None, Some([op0, op1, crn, crm, op2])) => {
                write!(f, "S{op0}_{op1}_C{crn}_C{crm}_{op2} ({:#018x})", self.0)
            }
            (None, None) => write!(f, "register {:#018x}", self.0),
        }
    }
}

impl fmt::Debug for Register {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
