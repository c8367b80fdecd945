//! Structures of the ACPI specification 6.5, in its order.

use core::mem::offset_of;

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Generic address structure (section 5.2.3.2).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct GenericAddress {
    /// Address space: 0 memory, 1 I/O ports, 2 PCI configuration space.
    pub address_space_id: u8,
    /// Width of the register in bits.
    pub register_bit_width: u8,
    /// Offset of the register in bits.
    pub register_bit_offset: u8,
    /// Size of accesses: 1 to 4 for 1, 2, 4 and 8 bytes; 0 is undefined.
    pub access_size: u8,
    /// Address; 0 for no register.
    pub address: U64,
}

const _: () = assert!(size_of::<GenericAddress>() == 12 && offset_of!(GenericAddress, address) == 4);

/// Signature of [`Rsdp`].
pub const RSDP_SIGNATURE: [u8; 8] = *b"RSD PTR ";

/// Root system description pointer (section 5.2.5.3), with the fields of revision 0.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Rsdp {
    /// [`RSDP_SIGNATURE`].
    pub signature: [u8; 8],
    /// Makes the sum of these 20 bytes zero.
    pub checksum: u8,
    /// Name of the vendor.
    pub oem_id: [u8; 6],
    /// 0, or 2 and above if [`RsdpExtension`] follows.
    pub revision: u8,
    /// Address of the RSDT.
    pub rsdt_address: U32,
}

const _: () = assert!(size_of::<Rsdp>() == 20 && offset_of!(Rsdp, rsdt_address) == 16);

/// Fields of [`Rsdp`] from revision 2 on.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct RsdpExtension {
    /// Length of both parts in bytes.
    pub length: U32,
    /// Address of the XSDT.
    pub xsdt_address: U64,
    /// Makes the sum of both parts zero.
    pub extended_checksum: u8,
    /// Zeros.
    pub reserved: [u8; 3],
}

const _: () = assert!(size_of::<RsdpExtension>() == 16 && offset_of!(RsdpExtension, xsdt_address) == 4);

/// Header of all tables (section 5.2.6).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct TableHeader {
    /// Signature.
    pub signature: [u8; 4],
    /// Length of the table with its header in bytes.
    pub length: U32,
    /// Revision.
    pub revision: u8,
    /// Makes the sum of all bytes zero.
    pub checksum: u8,
    /// Name of the vendor.
    pub oem_id: [u8; 6],
    /// Name of the table.
    pub oem_table_id: [u8; 8],
    /// Revision of the table by its vendor.
    pub oem_revision: U32,
    /// Vendor of the tool that made the table.
    pub creator_id: [u8; 4],
    /// Revision of the tool.
    pub creator_revision: U32,
}

const _: () = assert!(size_of::<TableHeader>() == 36 && offset_of!(TableHeader, creator_id) == 28);

/// Fixed ACPI description table (section 5.2.9) after its header. Older revisions end earlier; the fields that they lack are zero.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct FadtBody {
    /// Address of the FACS.
    pub firmware_ctrl: U32,
    /// Address of the DSDT.
    pub dsdt: U32,
    /// Reserved.
    pub reserved0: u8,
    /// Kind of the machine.
    pub preferred_pm_profile: u8,
    /// Interrupt of ACPI events.
    pub sci_int: U16,
    /// Port of the SMI command; 0 if ACPI is always enabled.
    pub smi_cmd: U32,
    /// Value for the port that enables ACPI.
    pub acpi_enable: u8,
    /// Value for the port that disables ACPI.
    pub acpi_disable: u8,
    /// S4BIOS request.
    pub s4bios_req: u8,
    /// Processor performance control.
    pub pstate_cnt: u8,
    /// Port of PM1a event block.
    pub pm1a_evt_blk: U32,
    /// Port of PM1b event block.
    pub pm1b_evt_blk: U32,
    /// Port of PM1a control block.
    pub pm1a_cnt_blk: U32,
    /// Port of PM1b control block; 0 for none.
    pub pm1b_cnt_blk: U32,
    /// Port of PM2 control block.
    pub pm2_cnt_blk: U32,
    /// Port of the PM timer.
    pub pm_tmr_blk: U32,
    /// Ports of general purpose events.
    pub gpe_blks: [U32; 2],
    /// Lengths of the blocks.
    pub block_lens: [u8; 6],
    /// First event of GPE1.
    pub gpe1_base: u8,
    /// Support of C states.
    pub cst_cnt: u8,
    /// Latencies, flushes and duty cycles of processors.
    pub processors: [u8; 10],
    /// Offset of the day of alarms in the RTC's memory.
    pub day_alrm: u8,
    /// Offset of the month of alarms in the RTC's memory.
    pub mon_alrm: u8,
    /// Offset of the century in the RTC's memory; 0 for none.
    pub century: u8,
    /// Flags of the PC architecture.
    pub iapc_boot_arch: U16,
    /// Reserved.
    pub reserved1: u8,
    /// Flags: see [`fadt_flags`].
    pub flags: U32,
    /// Register for a reset.
    pub reset_reg: GenericAddress,
    /// Its value.
    pub reset_value: u8,
    /// Flags of the Arm architecture.
    pub arm_boot_arch: U16,
    /// Minor version.
    pub fadt_minor_version: u8,
    /// 64-bit address of the FACS.
    pub x_firmware_ctrl: U64,
    /// 64-bit address of the DSDT.
    pub x_dsdt: U64,
    /// PM1a event block.
    pub x_pm1a_evt_blk: GenericAddress,
    /// PM1b event block.
    pub x_pm1b_evt_blk: GenericAddress,
    /// PM1a control block.
    pub x_pm1a_cnt_blk: GenericAddress,
    /// PM1b control block.
    pub x_pm1b_cnt_blk: GenericAddress,
    /// PM2 control block.
    pub x_pm2_cnt_blk: GenericAddress,
    /// PM timer.
    pub x_pm_tmr_blk: GenericAddress,
    /// General purpose events.
    pub x_gpe_blks: [GenericAddress; 2],
    /// Sleep control register of machines with reduced hardware.
    pub sleep_control_reg: GenericAddress,
    /// Sleep status register of machines with reduced hardware.
    pub sleep_status_reg: GenericAddress,
    /// Vendor of the hypervisor.
    pub hypervisor_vendor_identity: U64,
}

const _: () = assert!(
    size_of::<FadtBody>() == 240
        && offset_of!(FadtBody, pm1a_cnt_blk) == 64 - 36
        && offset_of!(FadtBody, pm_tmr_blk) == 76 - 36
        && offset_of!(FadtBody, x_pm_tmr_blk) == 208 - 36
        && offset_of!(FadtBody, century) == 108 - 36
        && offset_of!(FadtBody, flags) == 112 - 36
        && offset_of!(FadtBody, reset_reg) == 116 - 36
        && offset_of!(FadtBody, x_dsdt) == 140 - 36
        && offset_of!(FadtBody, x_pm1a_cnt_blk) == 172 - 36
        && offset_of!(FadtBody, sleep_control_reg) == 244 - 36
);

/// Bits of [`FadtBody::flags`] (table 5.10).
pub mod fadt_flags {
    /// The PM timer has 32 bits, otherwise 24.
    pub const TMR_VAL_EXT: u32 = 1 << 8;
    /// The reset register exists.
    pub const RESET_REG_SUP: u32 = 1 << 10;
    /// The machine has no fixed hardware registers, but those for sleep.
    pub const HW_REDUCED_ACPI: u32 = 1 << 20;
}
