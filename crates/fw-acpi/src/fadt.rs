//! The fixed ACPI description table.

use zerocopy::{FromBytes, FromZeros, IntoBytes};

use crate::raw::{FadtBody, GenericAddress, TableHeader, fadt_flags};

/// Frequency of the PM timer in hertz (ACPI specification 6.5, section 4.8.3.3).
pub const PM_TIMER_HZ: u32 = 3_579_545;

/// What firmware uses of the FADT (ACPI specification 6.5, section 5.2.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fadt {
    /// Physical address of the DSDT; `None` if there is none.
    pub dsdt: Option<u64>,
    /// Physical address of the FACS; `None` if there is none.
    pub facs: Option<u64>,
    /// Flags, see [`fadt_flags`].
    pub flags: u32,
    /// Register and value for a reset; `None` if it is not supported.
    pub reset: Option<(Register, u8)>,
    /// PM1a control register.
    pub pm1a_control: Option<Register>,
    /// PM1b control register.
    pub pm1b_control: Option<Register>,
    /// Sleep control register.
    pub sleep_control: Option<Register>,
    /// Sleep status register.
    pub sleep_status: Option<Register>,
    /// The PM timer, with [`PM_TIMER_HZ`], and its number of bits: 24 or 32.
    pub pm_timer: Option<(Register, u8)>,
    /// I/O port of the SMI command, and the value that enables ACPI; `None` if ACPI is always enabled.
    pub acpi_enable: Option<(u16, u8)>,
    /// Offset of the century in the memory of the RTC; `None` if there is none.
    pub century: Option<u8>,
    /// Flags of the PC architecture (section 5.2.9.3).
    pub iapc_boot_arch: u16,
}

/// A hardware register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Register {
    /// Its address space.
    pub space: AddressSpace,
    /// Its address.
    pub addr: u64,
    /// Width of accesses in bytes: 1, 2, 4 or 8.
    pub width: u8,
}

/// An address space of a register (section 5.2.3.2). Other numbers exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AddressSpace(pub u8);

impl AddressSpace {
    /// Physical memory.
    pub const MEMORY: Self = Self(0);
    /// I/O ports.
    pub const IO: Self = Self(1);
    /// Configuration space of PCI bus 0: device in bits 32 to 47, function in bits 16 to 31, offset in bits 0 to 15 of the address.
    pub const PCI: Self = Self(2);
}

impl Register {
    /// The register of a generic address structure; `None` if its address is 0. `default_width` is used where the structure has
    /// neither an access size nor a width.
    fn new(raw: &GenericAddress, default_width: u8) -> Option<Self> {
        let width = match (raw.access_size, raw.register_bit_width) {
            (1, _) | (_, 8) => 1,
            (2, _) | (_, 16) => 2,
            (3, _) | (_, 32) => 4,
            (4, _) | (_, 64) => 8,
            _ => default_width,
        };
        let addr = raw.address.get();
        (addr != 0).then_some(Self {
            space: AddressSpace(raw.address_space_id),
            addr,
            width,
        })
    }

    /// An I/O port of 16 bits; `None` for port 0.
    fn port(port: u32) -> Option<Self> {
        (port != 0).then_some(Self {
            space: AddressSpace::IO,
            addr: port.into(),
            width: 2,
        })
    }
}

impl Fadt {
    /// The FADT in `bytes`, which begin with its header. Fields that are past its end count as zero.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Self {
        let body = bytes.get(size_of::<TableHeader>()..).unwrap_or_default();
        let mut raw = FadtBody::new_zeroed();
        if let Ok((whole, _)) = FadtBody::read_from_prefix(body) {
            raw = whole;
        } else if let Some(place) = raw.as_mut_bytes().get_mut(..body.len()) {
            place.copy_from_slice(body);
        }
        let flags = raw.flags.get();
        let has_reset = flags & fadt_flags::RESET_REG_SUP != 0;
        let reset = Register::new(&raw.reset_reg, 1).filter(|_| has_reset);
        let either = |extended: u64, addr: u32| match extended {
            0 => Some(u64::from(addr)).filter(|addr| *addr != 0),
            addr => Some(addr),
        };
        let dsdt = either(raw.x_dsdt.get(), raw.dsdt.get());
        let command = u16::try_from(raw.smi_cmd.get())
            .ok()
            .filter(|port| *port != 0 && raw.acpi_enable != 0);
        // The width of accesses to PM1 control registers is 16 bits, whatever the structure has (section 4.8.3.2).
        let pm1 = |extended: &GenericAddress, port: u32| {
            let register = Register::new(extended, 2).or_else(|| Register::port(port));
            register.map(|register| Register { width: 2, ..register })
        };
        let timer = Register::new(&raw.x_pm_tmr_blk, 4).or_else(|| Register::port(raw.pm_tmr_blk.get()));
        let timer = timer
            .filter(|_| flags & fadt_flags::HW_REDUCED_ACPI == 0)
            .map(|register| Register { width: 4, ..register });
        let timer_bits = if flags & fadt_flags::TMR_VAL_EXT == 0 {
            24
        } else {
            32
        };
        // Sleep registers have 8 bits (sections 4.8.3.7 and 4.8.3.8).
        let sleep =
            |raw: &GenericAddress| Register::new(raw, 1).map(|register| Register { width: 1, ..register });
        Self {
            dsdt,
            facs: either(raw.x_firmware_ctrl.get(), raw.firmware_ctrl.get()),
            flags,
            reset: reset.map(|register| (Register { width: 1, ..register }, raw.reset_value)),
            pm1a_control: pm1(&raw.x_pm1a_cnt_blk, raw.pm1a_cnt_blk.get()),
            pm1b_control: pm1(&raw.x_pm1b_cnt_blk, raw.pm1b_cnt_blk.get()),
            sleep_control: sleep(&raw.sleep_control_reg),
            sleep_status: sleep(&raw.sleep_status_reg),
            pm_timer: timer.map(|register| (register, timer_bits)),
            acpi_enable: command.map(|port| (port, raw.acpi_enable)),
            century: (raw.century != 0).then_some(raw.century),
            iapc_boot_arch: raw.iapc_boot_arch.get(),
        }
    }

    /// Whether the machine has no fixed hardware registers, but those for sleep.
    #[must_use]
    pub const fn is_hardware_reduced(&self) -> bool {
        self.flags & fadt_flags::HW_REDUCED_ACPI != 0
    }
}
