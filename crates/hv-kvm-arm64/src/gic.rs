//! The interrupt controller (GIC): addresses, interrupt lines and the registers of its state, as plain data.
//!
//! Documentation/virt/kvm/devices/arm-vgic-v3.rst, arm-vgic.rst (version 2) and arm-vgic-its.rst; registers: Arm IHI 0069
//! (GICv3) and IHI 0048 (GICv2).

use std::fmt;

use crate::register;

/// Number of interrupt ids of the GIC: the largest number that KVM accepts, which is a multiple of 32 below 1024.
pub const INTIDS: u32 = 992;

/// The first shared peripheral interrupt.
const FIRST_SPI: u32 = 32;

/// Number of shared peripheral interrupts.
pub const SPIS: u32 = INTIDS - FIRST_SPI;

/// The interrupt of the performance monitors that the Arm Base System Architecture recommends: PPI 7, so INTID 23.
pub const PMU_INTID: u32 = 23;

/// `KVM_ARM_IRQ_TYPE_SPI`.
const TYPE_SPI: u32 = 1;

/// `KVM_ARM_IRQ_TYPE_SHIFT`.
const TYPE_SHIFT: u32 = 24;

/// The `irq` argument of `KVM_IRQ_LINE` for shared peripheral interrupt `spi` (counted from 0 as in device trees); `None` if
/// there is no such interrupt.
#[must_use]
pub const fn irq_line(spi: u32) -> Option<u32> {
    if spi < SPIS {
        Some(TYPE_SPI << TYPE_SHIFT | (spi + FIRST_SPI))
    } else {
        None
    }
}

/// The size of one vCPU's redistributor: two frames of 64 KiB.
pub const REDISTRIBUTOR_LEN: u64 = 0x2_0000;

/// The value of `KVM_VGIC_V3_ADDR_TYPE_REDIST_REGION`: `count` redistributors from `base`, as region number `index`. `None`
/// if `base` is not a multiple of 64 KiB below 2^52, `count` is not 1 to 4095, or `index` is above 4095.
#[must_use]
pub const fn redistributor_region(base: u64, count: u64, index: u64) -> Option<u64> {
    const BASE: u64 = 0x000f_ffff_ffff_0000;
    if base & !BASE != 0 || count == 0 || count > 0xfff || index > 0xfff {
        return None;
    }
    Some(count << 52 | base | index)
}

/// The part of a GIC attribute that selects the vCPU with this `MPIDR_EL1`: Aff3, Aff2, Aff1, Aff0 in the upper 32 bits.
#[must_use]
pub const fn attribute_mpidr(mpidr: u64) -> u64 {
    let affinities = mpidr & 0x00ff_ffff;
    let aff3 = mpidr >> 32 & 0xff;
    (aff3 << 24 | affinities) << 32
}

/// A register of a GICv3's CPU interface, by its encoding as a system register.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IccRegister(pub u16);

macro_rules! icc_registers {
    ($($(#[$doc:meta])* $name:ident = $op1:literal $crn:literal $crm:literal $op2:literal,)*) => {
        impl IccRegister {
            $($(#[$doc])* pub const $name: Self = Self(register::encode(3, $op1, $crn, $crm, $op2));)*

            /// Name of the register without the prefix `ICC_`; `None` for registers without a constant.
            #[must_use]
            pub fn name(self) -> Option<&'static str> {
                [$((Self::$name, stringify!($name)),)*]
                    .into_iter()
                    .find_map(|(register, name)| (register == self).then_some(name))
            }

            /// Registers of a saved CPU interface, in the order in which they are restored: the control register before the
            /// binary points, which depend on it. The second to fourth active priority registers exist only on hosts with
            /// enough priority bits.
            pub const STATE: &'static [Self] = &[$(Self::$name,)*];
        }
    };
}

icc_registers! {
    /// System register interface enable.
    SRE_EL1 = 0 12 12 5,
    /// Control.
    CTLR_EL1 = 0 12 12 4,
    /// Group 0 enable.
    IGRPEN0_EL1 = 0 12 12 6,
    /// Group 1 enable.
    IGRPEN1_EL1 = 0 12 12 7,
    /// Priority mask.
    PMR_EL1 = 0 4 6 0,
    /// Binary point of group 0.
    BPR0_EL1 = 0 12 8 3,
    /// Binary point of group 1.
    BPR1_EL1 = 0 12 12 3,
    /// Active priorities of group 0.
    AP0R0_EL1 = 0 12 8 4,
    /// Active priorities of group 0, second.
    AP0R1_EL1 = 0 12 8 5,
    /// Active priorities of group 0, third.
    AP0R2_EL1 = 0 12 8 6,
    /// Active priorities of group 0, fourth.
    AP0R3_EL1 = 0 12 8 7,
    /// Active priorities of group 1.
    AP1R0_EL1 = 0 12 9 0,
    /// Active priorities of group 1, second.
    AP1R1_EL1 = 0 12 9 1,
    /// Active priorities of group 1, third.
    AP1R2_EL1 = 0 12 9 2,
    /// Active priorities of group 1, fourth.
    AP1R3_EL1 = 0 12 9 3,
}

impl fmt::Debug for IccRegister {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "ICC_{name}"),
            None => write!(f, "ICC register {:#06x}", self.0),
        }
    }
}

/// Effect of writes to a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteMode {
    /// The register takes the value.
    Plain,
    /// A write sets the bits that are ones and keeps the others. A write to the register at this offset clears the bits that
    /// are ones.
    SetClear(u32),
}

/// A block of 32-bit registers at consecutive offsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegisterBlock {
    /// Offset of the first register.
    pub offset: u32,
    /// Number of registers.
    pub count: u32,
    /// Effect of writes.
    pub write: WriteMode,
}

impl RegisterBlock {
    const fn new(offset: u32, count: u32, write: WriteMode) -> Self {
        Self { offset, count, write }
    }

    /// For each register its offset, and for [`WriteMode::SetClear`] the offset of the register that clears its bits.
    pub fn registers(self) -> impl Iterator<Item = (u32, Option<u32>)> {
        (0..self.count).map(move |n| {
            let at = |offset: u32| offset.saturating_add(n.saturating_mul(4));
            let clear = match self.write {
                WriteMode::Plain => None,
                WriteMode::SetClear(clear) => Some(at(clear)),
            };
            (at(self.offset), clear)
        })
    }
}

/// Number of words for one bit, two bits, eight bits and 64 bits per SPI.
const BITS: u32 = SPIS / 32;
const PAIRS: u32 = SPIS / 16;
const BYTES: u32 = SPIS / 4;
const QUADS: u32 = SPIS * 2;

/// Registers of a GICv3 distributor for the shared peripheral interrupts (IHI 0069, "Distributor register map"), in the order
/// in which they are restored: the control register with affinity routing, the configuration, enables, pending and active
/// state.
pub const DISTRIBUTOR_V3: &[RegisterBlock] = &[
    // GICD_CTLR.
    RegisterBlock::new(0x0000, 1, WriteMode::Plain),
    // GICD_IGROUPR, GICD_IPRIORITYR, GICD_ICFGR, GICD_IROUTER.
    RegisterBlock::new(0x0084, BITS, WriteMode::Plain),
    RegisterBlock::new(0x0420, BYTES, WriteMode::Plain),
    RegisterBlock::new(0x0c08, PAIRS, WriteMode::Plain),
    RegisterBlock::new(0x6100, QUADS, WriteMode::Plain),
    // GICD_ISENABLER.
    RegisterBlock::new(0x0104, BITS, WriteMode::SetClear(0x0184)),
    // GICD_ISPENDR. Writes through this interface set the value; GICD_ICPENDR is ignored.
    RegisterBlock::new(0x0204, BITS, WriteMode::Plain),
    // GICD_ISACTIVER.
    RegisterBlock::new(0x0304, BITS, WriteMode::SetClear(0x0384)),
];

/// Offset of the second frame of a redistributor, for the private interrupts.
const SGI_FRAME: u32 = 0x1_0000;

/// Offset of `GICR_CTLR`, which is zero while the registers of [`REDISTRIBUTOR`] are written.
pub const REDISTRIBUTOR_CONTROL: u32 = 0;

/// Registers of a GICv3 redistributor: private interrupts and LPI tables of one vCPU (IHI 0069,
/// "Redistributor register map").
pub const REDISTRIBUTOR: &[RegisterBlock] = &[
    // GICR_WAKER.
    RegisterBlock::new(0x0014, 1, WriteMode::Plain),
    // GICR_PROPBASER and GICR_PENDBASER before GICR_CTLR: they are read-only while LPIs are enabled there.
    RegisterBlock::new(0x0070, 4, WriteMode::Plain),
    RegisterBlock::new(REDISTRIBUTOR_CONTROL, 1, WriteMode::Plain),
    // GICR_IGROUPR0, GICR_IPRIORITYR, GICR_ICFGR.
    RegisterBlock::new(SGI_FRAME + 0x0080, 1, WriteMode::Plain),
    RegisterBlock::new(SGI_FRAME + 0x0400, 8, WriteMode::Plain),
    RegisterBlock::new(SGI_FRAME + 0x0c00, 2, WriteMode::Plain),
    // GICR_ISENABLER0, GICR_ISPENDR0, GICR_ISACTIVER0.
    RegisterBlock::new(SGI_FRAME + 0x0100, 1, WriteMode::SetClear(SGI_FRAME + 0x0180)),
    RegisterBlock::new(SGI_FRAME + 0x0200, 1, WriteMode::Plain),
    RegisterBlock::new(SGI_FRAME + 0x0300, 1, WriteMode::SetClear(SGI_FRAME + 0x0380)),
];

/// Registers of a GICv2 distributor for the shared peripheral interrupts (IHI 0048, "Distributor register map").
pub const DISTRIBUTOR_V2: &[RegisterBlock] = &[
    // GICD_CTLR, GICD_IGROUPR, GICD_IPRIORITYR, GICD_ITARGETSR, GICD_ICFGR.
    RegisterBlock::new(0x0000, 1, WriteMode::Plain),
    RegisterBlock::new(0x0084, BITS, WriteMode::Plain),
    RegisterBlock::new(0x0420, BYTES, WriteMode::Plain),
    RegisterBlock::new(0x0820, BYTES, WriteMode::Plain),
    RegisterBlock::new(0x0c08, PAIRS, WriteMode::Plain),
    // GICD_ISENABLER, GICD_ISPENDR, GICD_ISACTIVER.
    RegisterBlock::new(0x0104, BITS, WriteMode::SetClear(0x0184)),
    RegisterBlock::new(0x0204, BITS, WriteMode::SetClear(0x0284)),
    RegisterBlock::new(0x0304, BITS, WriteMode::SetClear(0x0384)),
];

/// Banked registers of a GICv2 distributor: those of the private interrupts. Their offsets do not overlap those of
/// [`CPU_INTERFACE_V2`].
pub const BANKED_V2: &[RegisterBlock] = &[
    // GICD_IGROUPR0, GICD_IPRIORITYR, GICD_ICFGR.
    RegisterBlock::new(0x0080, 1, WriteMode::Plain),
    RegisterBlock::new(0x0400, 8, WriteMode::Plain),
    RegisterBlock::new(0x0c00, 2, WriteMode::Plain),
    // GICD_ISENABLER0, GICD_ISPENDR0, GICD_ISACTIVER0.
    RegisterBlock::new(0x0100, 1, WriteMode::SetClear(0x0180)),
    RegisterBlock::new(0x0200, 1, WriteMode::SetClear(0x0280)),
    RegisterBlock::new(0x0300, 1, WriteMode::SetClear(0x0380)),
    // GICD_SPENDSGIR and GICD_CPENDSGIR: pending software-generated interrupts, by sender.
    RegisterBlock::new(0x0f20, 4, WriteMode::SetClear(0x0f10)),
];

/// Registers of the CPU interface of a GICv2 (IHI 0048, "CPU interface register map"). In `KVM_DEV_ARM_VGIC_GRP_CPU_REGS`, the
/// value of `GICC_PMR` is the priority mask shifted right by three bits.
pub const CPU_INTERFACE_V2: &[RegisterBlock] = &[
    // GICC_CTLR, GICC_PMR and GICC_BPR; GICC_ABPR; GICC_APR.
    RegisterBlock::new(0x0000, 3, WriteMode::Plain),
    RegisterBlock::new(0x001c, 1, WriteMode::Plain),
    RegisterBlock::new(0x00d0, 4, WriteMode::Plain),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn lines_are_spis_by_their_intid() {
        // bits 31..28 vcpu2, 27..24 type, 23..16 vcpu, 15..0 id (api.rst, section 4.25).
        assert_eq!(irq_line(0), Some(0x0100_0020));
        assert_eq!(irq_line(1), Some(0x0100_0021));
        assert_eq!(irq_line(959), Some(0x0100_03df));
        assert_eq!(irq_line(960), None);
        assert_eq!(irq_line(u32::MAX), None);
        assert!(INTIDS.is_multiple_of(32) && INTIDS < 1024);
    }

    #[test]
    fn redistributor_regions_are_packed() {
        let check = |base, count, index, expected| {
            assert_eq!(
                redistributor_region(base, count, index),
                expected,
                "{base:#x} {count} {index}"
            );
        };
        check(0x0c00_0000, 1, 0, Some(0x0010_0000_0c00_0000));
        check(0x0c00_0000, 512, 0, Some(0x2000_0000_0c00_0000));
        check(0x1_0001_0000, 2, 3, Some(0x0020_0001_0001_0003));
        check(0x0c00_8000, 1, 0, None);
        check(1 << 52, 1, 0, None);
        check(0x0c00_0000, 0, 0, None);
        check(0x0c00_0000, 0x1000, 0, None);
        check(0x0c00_0000, 1, 0x1000, None);
    }

    #[test]
    fn affinities_move_together() {
        assert_eq!(attribute_mpidr(0x8000_0001), 0x0000_0001_0000_0000);
        assert_eq!(attribute_mpidr(0x0000_0004_8103_0201), 0x0403_0201_0000_0000);
    }

    /// Encodings from IHI 0069, "AArch64 System register descriptions".
    #[test]
    #[expect(clippy::unusual_byte_groupings, reason = "op0, op1, CRn, CRm, op2")]
    fn cpu_interface_registers() {
        assert_eq!(IccRegister::PMR_EL1.0, 0b11_000_0100_0110_000);
        assert_eq!(IccRegister::CTLR_EL1.0, 0b11_000_1100_1100_100);
        assert_eq!(IccRegister::IGRPEN1_EL1.0, 0b11_000_1100_1100_111);
        assert_eq!(IccRegister::AP1R3_EL1.0, 0b11_000_1100_1001_011);
        assert_eq!(format!("{:?}", IccRegister::BPR1_EL1), "ICC_BPR1_EL1");
        let unique: BTreeSet<_> = IccRegister::STATE.iter().collect();
        assert_eq!(unique.len(), IccRegister::STATE.len());
        assert!(
            IccRegister::STATE
                .iter()
                .all(|register| register.name().is_some())
        );
    }

    #[test]
    fn blocks_are_disjoint_and_inside_their_frames() {
        let check = |blocks: &[RegisterBlock], len: u32, last_of_each: &[u32]| {
            let offsets: Vec<_> = blocks.iter().flat_map(|block| block.registers()).collect();
            let unique: BTreeSet<_> = offsets.iter().map(|(offset, _)| offset).collect();
            assert_eq!(unique.len(), offsets.len());
            assert!(
                offsets
                    .iter()
                    .all(|(offset, _)| offset + 4 <= len && offset % 4 == 0)
            );
            let last: Vec<_> = blocks
                .iter()
                .filter_map(|block| block.registers().last())
                .map(|(offset, _)| offset)
                .collect();
            assert_eq!(last, last_of_each);
        };
        // The last register of each kind that has a place for INTID 991, worked out from the register maps.
        check(
            DISTRIBUTOR_V3,
            0x1_0000,
            &[0x0, 0x00f8, 0x07dc, 0x0cf4, 0x7efc, 0x0178, 0x0278, 0x0378],
        );
        check(
            REDISTRIBUTOR,
            0x2_0000,
            &[
                0x14, 0x7c, 0x0, 0x1_0080, 0x1_041c, 0x1_0c04, 0x1_0100, 0x1_0200, 0x1_0300,
            ],
        );
        check(
            DISTRIBUTOR_V2,
            0x1000,
            &[0x0, 0x00f8, 0x07dc, 0x0bdc, 0x0cf4, 0x0178, 0x0278, 0x0378],
        );
        check(CPU_INTERFACE_V2, 0x2000, &[0x8, 0x1c, 0xdc]);
        check(
            BANKED_V2,
            0x1000,
            &[0x80, 0x41c, 0xc04, 0x100, 0x200, 0x300, 0xf2c],
        );
        // What a vCPU has of a GICv2 is kept under its offset alone.
        check(
            &[BANKED_V2, CPU_INTERFACE_V2].concat(),
            0x1000,
            &[0x80, 0x41c, 0xc04, 0x100, 0x200, 0x300, 0xf2c, 0x8, 0x1c, 0xdc],
        );
        let clears: Vec<_> = DISTRIBUTOR_V3
            .iter()
            .flat_map(|block| block.registers())
            .filter_map(|(offset, clear)| Some(clear? - offset))
            .collect();
        assert!(
            clears.iter().all(|&distance| distance == 0x80),
            "I*ENABLER and I*ACTIVER"
        );
    }
}
