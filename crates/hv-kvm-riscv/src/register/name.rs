//! Registers in print.

use std::fmt;

use super::{AIA, Group, Register, SMSTATEEN, SbiExtension, VECTOR_BASE};

impl Register {
    /// The name of a register that stands in a table; integer, floating-point, vector and extension registers have theirs
    /// from their numbers.
    fn table_name(self) -> Option<&'static str> {
        let table: &[&str] = match (self.group()?, self.subgroup()) {
            (Group::CONFIG, 0) => &[
                "isa",
                "zicbom_block_size",
                "mvendorid",
                "marchid",
                "mimpid",
                "zicboz_block_size",
                "satp_mode",
                "zicbop_block_size",
            ],
            (Group::CORE, 0) => match self.index() {
                0 => return Some("pc"),
                32 => return Some("mode"),
                _ => return None,
            },
            (Group::CSR, 0) => &[
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
            (Group::CSR, AIA) => &[
                "siselect", "iprio1", "iprio2", "sieh", "siph", "iprio1h", "iprio2h",
            ],
            (Group::CSR, SMSTATEEN) => &["sstateen0"],
            (Group::TIMER, 0) => &["timer frequency", "timer time", "timer compare", "timer state"],
            (Group::VECTOR, 0) => &["vstart", "vl", "vtype", "vcsr", "vlenb"],
            (Group::SBI_STATE, 0) => &["steal time address, low", "steal time address, high"],
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
            (Some(Group::CORE), 0) if (1..=31).contains(&index) => write!(f, "x{index}"),
            (Some(Group::FP_F), 0) if index < 32 => write!(f, "f{index} (32 bits)"),
            (Some(Group::FP_D), 0) if index < 32 => write!(f, "f{index}"),
            (Some(Group::FP_F | Group::FP_D), 0) if index == 32 => f.pad("fcsr"),
            (Some(Group::VECTOR), 0) if (VECTOR_BASE..VECTOR_BASE + 32).contains(&index) => {
                write!(f, "v{}", index - VECTOR_BASE)
            }
            (Some(Group::ISA_EXTENSION), 0) => match self.isa_extension().and_then(super::IsaExtension::name)
            {
                Some(name) => write!(f, "ISA extension {name}"),
                None => write!(f, "ISA extension {index}"),
            },
            (Some(Group::SBI_EXTENSION), 0) => match SbiExtension(index).name() {
                Some(name) => write!(f, "SBI extension {name}"),
                None => write!(f, "SBI extension {index}"),
            },
            _ => write!(f, "register {:#018x}", self.0),
        }
    }
}
