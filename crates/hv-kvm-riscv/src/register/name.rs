//! Names of registers.

use std::fmt;

use super::{AIA, Register, RegisterGroup, SMSTATEEN, SbiExtension, VECTOR_BASE};

impl Register {
    /// Name of a register without a number. The names of integer, floating-point, vector and extension registers are composed
    /// in `Display`.
    fn table_name(self) -> Option<&'static str> {
        let table: &[&str] = match (self.group()?, self.subgroup()) {
            (RegisterGroup::CONFIG, 0) => &[
                "isa",
                "zicbom_block_size",
                "mvendorid",
                "marchid",
                "mimpid",
                "zicboz_block_size",
                "satp_mode",
                "zicbop_block_size",
            ],
            (RegisterGroup::CORE, 0) => match self.index() {
                0 => return Some("pc"),
                32 => return Some("mode"),
                _ => return None,
            },
            (RegisterGroup::CSR, 0) => &[
                "sstatus",
                "sie",
                "stvec",
                "sscratch",
                "sepc",
                "scause",
                "stval",
                "sip",
                "satp",
                "scounteren",
                "senvcfg",
            ],
            (RegisterGroup::CSR, AIA) => &[
                "siselect", "iprio1", "iprio2", "sieh", "siph", "iprio1h", "iprio2h",
            ],
            (RegisterGroup::CSR, SMSTATEEN) => &["sstateen0"],
            (RegisterGroup::TIMER, 0) => &["timer frequency", "timer time", "timer compare", "timer state"],
            (RegisterGroup::VECTOR, 0) => &["vstart", "vl", "vtype", "vcsr", "vlenb"],
            (RegisterGroup::SBI_STATE, 0) => &["steal time address, low", "steal time address, high"],
            _ => return None,
        };
        table.get(usize::from(self.index())).copied()
    }
}

impl fmt::Display for Register {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = self.table_name() {
            return f.pad(name);
        }
        let index = self.index();
        match (self.group(), self.subgroup()) {
            (Some(RegisterGroup::CORE), 0) if (1..=31).contains(&index) => write!(f, "x{index}"),
            (Some(RegisterGroup::FP_F), 0) if index < 32 => write!(f, "f{index} (32 bits)"),
            (Some(RegisterGroup::FP_D), 0) if index < 32 => write!(f, "f{index}"),
            (Some(RegisterGroup::FP_F | RegisterGroup::FP_D), 0) if index == 32 => f.pad("fcsr"),
            (Some(RegisterGroup::VECTOR), 0) if (VECTOR_BASE..VECTOR_BASE + 32).contains(&index) => {
                write!(f, "v{}", index - VECTOR_BASE)
            }
            (Some(RegisterGroup::ISA_EXTENSION), 0) => {
                match self.isa_extension().and_then(super::IsaExtension::name) {
                    Some(name) => write!(f, "ISA extension {name}"),
                    None => write!(f, "ISA extension {index}"),
                }
            }
            _ if *self == Self::SBI_DISABLE => f.pad("SBI extensions to disable"),
            (Some(RegisterGroup::SBI_EXTENSION), 0) => match SbiExtension(index).name() {
                Some(name) => write!(f, "SBI extension {name}"),
                None => write!(f, "SBI extension {index}"),
            },
            _ => write!(f, "register {:#018x}", self.0),
        }
    }
}
