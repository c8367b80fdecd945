//! The Fixed ACPI Description Table (ACPI 6.5, section 5.2.9).

/// Offsets in the table.
mod offset {
    pub(super) const DSDT: usize = 40;
    pub(super) const PM1A_CNT_BLK: usize = 64;
    pub(super) const PM1B_CNT_BLK: usize = 68;
    pub(super) const PM_TMR_BLK: usize = 76;
    pub(super) const CENTURY: usize = 108;
    pub(super) const FLAGS: usize = 112;
    pub(super) const RESET_REG: usize = 116;
    pub(super) const RESET_VALUE: usize = 128;
    pub(super) const X_DSDT: usize = 140;
    pub(super) const X_PM1A_CNT_BLK: usize = 172;
    pub(super) const X_PM1B_CNT_BLK: usize = 184;
    pub(super) const X_PM_TMR_BLK: usize = 208;
    pub(super) const SLEEP_CONTROL_REG: usize = 244;
}

/// Bits of the flags: the timer has 32 bits, the reset register exists, the hardware is reduced (table 5.10).
const TMR_VAL_EXT: u32 = 1 << 8;
const RESET_REG_SUP: u32 = 1 << 10;
const HW_REDUCED: u32 = 1 << 20;

/// The address space of a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// Memory.
    Memory,
    /// I/O ports.
    Port,
}

/// A register (section 5.2.3.2, "Generic Address Structure").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Register {
    /// Address space.
    pub space: Space,
    /// Address, never 0.
    pub addr: u64,
}

/// What the table says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fadt {
    /// Address of the DSDT.
    pub dsdt: Option<u64>,
    /// Register that resets the machine, and the value for it.
    pub reset: Option<(Register, u8)>,
    /// Control registers of power management, with 16 bits.
    pub pm1_control: [Option<Register>; 2],
    /// Control register of sleep, with 8 bits, of reduced hardware.
    pub sleep_control: Option<Register>,
    /// The timer with 3.579545 MHz, and its number of bits: 24 or 32.
    pub timer: Option<(Register, u32)>,
    /// Index of the century in the CMOS, or 0.
    pub century: u8,
}

fn bytes<const N: usize>(table: &[u8], offset: usize) -> Option<[u8; N]> {
    table.get(offset..)?.first_chunk().copied()
}

fn number(table: &[u8], offset: usize) -> u32 {
    bytes(table, offset).map_or(0, u32::from_le_bytes)
}

fn long(table: &[u8], offset: usize) -> u64 {
    bytes(table, offset).map_or(0, u64::from_le_bytes)
}

/// The register of a generic address structure.
fn generic(table: &[u8], offset: usize) -> Option<Register> {
    let [space, _, _, _] = bytes(table, offset)?;
    let space = match space {
        0 => Space::Memory,
        1 => Space::Port,
        _ => return None,
    };
    let addr = long(table, offset.checked_add(4)?);
    (addr != 0).then_some(Register { space, addr })
}

/// The register at the extended offset, else the port at the legacy one.
fn block(table: &[u8], extended: usize, legacy: usize) -> Option<Register> {
    generic(table, extended).or_else(|| {
        let addr = u64::from(number(table, legacy));
        let space = Space::Port;
        (addr != 0).then_some(Register { space, addr })
    })
}

impl Fadt {
    /// Reads the table, of any length: what an old table lacks does not exist.
    pub(crate) fn parse(table: &[u8]) -> Self {
        let flags = number(table, offset::FLAGS);
        let is_reduced = flags & HW_REDUCED != 0;
        let fixed = |register: Option<Register>| register.filter(|_| !is_reduced);
        let dsdt = match long(table, offset::X_DSDT) {
            0 => u64::from(number(table, offset::DSDT)),
            addr => addr,
        };
        let reset = generic(table, offset::RESET_REG).filter(|_| flags & RESET_REG_SUP != 0);
        let value = table.get(offset::RESET_VALUE).copied();
        let bits = if flags & TMR_VAL_EXT == 0 { 24 } else { 32 };
        let timer = fixed(block(table, offset::X_PM_TMR_BLK, offset::PM_TMR_BLK));
        Self {
            dsdt: (dsdt != 0).then_some(dsdt),
            reset: reset.zip(value),
            pm1_control: [
                fixed(block(table, offset::X_PM1A_CNT_BLK, offset::PM1A_CNT_BLK)),
                fixed(block(table, offset::X_PM1B_CNT_BLK, offset::PM1B_CNT_BLK)),
            ],
            sleep_control: generic(table, offset::SLEEP_CONTROL_REG).filter(|_| is_reduced),
            timer: timer.map(|register| (register, bits)),
            century: table.get(offset::CENTURY).copied().unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(fields: &[(usize, &[u8])]) -> Vec<u8> {
        let mut table = vec![0; 276];
        for (offset, bytes) in fields {
            table[*offset..*offset + bytes.len()].copy_from_slice(bytes);
        }
        table
    }

    const fn port(addr: u64) -> Register {
        Register {
            space: Space::Port,
            addr,
        }
    }

    #[test]
    fn fields_of_a_pc() {
        let mut bytes = table(&[
            (40, &[0, 0, 0xfe, 0x3f]),
            (64, &[4, 6, 0, 0]),
            (76, &[8, 6, 0, 0]),
            (108, &[0x32]),
            (112, &(RESET_REG_SUP | TMR_VAL_EXT).to_le_bytes()),
            (116, &[1, 8, 0, 1, 0xf9, 0x0c]),
            (128, &[0x0f]),
        ]);
        let expected = Fadt {
            dsdt: Some(0x3ffe_0000),
            reset: Some((port(0xcf9), 0x0f)),
            pm1_control: [Some(port(0x604)), None],
            sleep_control: None,
            timer: Some((port(0x608), 32)),
            century: 0x32,
        };
        assert_eq!(Fadt::parse(&bytes), expected);
        // The table of ACPI 1.0 ends before the reset register.
        let old = Fadt {
            reset: None,
            ..expected
        };
        assert_eq!(Fadt::parse(&bytes[..116]), old);
        // Extended fields come first.
        bytes[140..148].copy_from_slice(&0x1_2345_6789_u64.to_le_bytes());
        bytes[172..184].copy_from_slice(&[1, 16, 0, 2, 0, 8, 0, 0, 0, 0, 0, 0]);
        let found = Fadt::parse(&bytes);
        assert_eq!(
            (found.dsdt, found.pm1_control[0]),
            (Some(0x1_2345_6789), Some(port(0x800)))
        );
    }

    #[test]
    fn fields_of_reduced_hardware() {
        let bytes = table(&[
            (64, &[4, 6, 0, 0]),
            (112, &(RESET_REG_SUP | HW_REDUCED).to_le_bytes()),
            (116, &[0, 8, 0, 1, 2, 2, 0xa0, 0xfe]),
            (128, &[0x42]),
            (244, &[0, 8, 0, 1, 0, 2, 0xa0, 0xfe]),
        ]);
        let memory = |addr| Register {
            space: Space::Memory,
            addr,
        };
        let found = Fadt::parse(&bytes);
        assert_eq!(found.reset, Some((memory(0xfea0_0202), 0x42)));
        assert_eq!(found.sleep_control, Some(memory(0xfea0_0200)));
        assert_eq!((found.pm1_control, found.timer), ([None; 2], None));
        // A register that the flags do not announce, and one of another space.
        let mut bytes = bytes;
        bytes[112..116].fill(0);
        assert_eq!(Fadt::parse(&bytes).reset, None);
        bytes[112..116].copy_from_slice(&RESET_REG_SUP.to_le_bytes());
        bytes[116] = 2;
        assert_eq!(Fadt::parse(&bytes).reset, None);
        assert_eq!(Fadt::parse(&[]), Fadt::default());
    }
}
