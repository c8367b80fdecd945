//! The register image.

use std::ops::Range;

use boot_core::arith;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned, little_endian::U64};

use crate::{Register, RegisterGroup};

/// Offset of a field of [`RawImage`].
macro_rules! offset {
    ($field:ident) => {
        std::mem::offset_of!($crate::rewind::RawImage, $field)
    };
}
pub(super) use offset;

/// Start of a [`RegisterImage`](hv_core::RegisterImage). The vector registers `v0` to `v31` follow, if the vCPU has them.
///
/// Registers that the vCPU does not have are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct RawImage {
    /// Program counter.
    pub pc: U64,
    /// `x1` to `x31`.
    pub x: [U64; 31],
    /// `f0` to `f31`.
    pub f: [U64; 32],
    /// Floating-point rounding and flags.
    pub fcsr: U64,
    /// Supervisor status.
    pub sstatus: U64,
    /// Interrupt enables.
    pub sie: U64,
    /// Trap vector.
    pub stvec: U64,
    /// Scratch register of the trap handler.
    pub sscratch: U64,
    /// Exception program counter.
    pub sepc: U64,
    /// Trap cause.
    pub scause: U64,
    /// Trap value.
    pub stval: U64,
    /// Pending interrupts.
    pub sip: U64,
    /// Address translation.
    pub satp: U64,
    /// Counter enables of user mode.
    pub scounteren: U64,
    /// Environment configuration of user mode.
    pub senvcfg: U64,
    /// State enables of user mode.
    pub sstateen0: U64,
    /// Register select of the alias CSRs.
    pub siselect: U64,
    /// Time of the timer interrupt.
    pub stimecmp: U64,
    /// First element of the next vector instruction.
    pub vstart: U64,
    /// Number of vector elements.
    pub vl: U64,
    /// Type of the vector elements.
    pub vtype: U64,
    /// Vector rounding and saturation.
    pub vcsr: U64,
    /// The optional parts of the image: [`ImageParts`].
    pub parts: U64,
    /// Zero.
    pub reserved: [U64; 12],
}

const _: () = assert!(size_of::<RawImage>() == 768);
const _: () = assert!(offset!(pc) == 0 && offset!(x) == 8 && offset!(f) == 256);
const _: () = assert!(offset!(fcsr) == 512 && offset!(sstatus) == 520 && offset!(sie) == 528);
const _: () = assert!(offset!(stvec) == 536 && offset!(sscratch) == 544 && offset!(sepc) == 552);
const _: () = assert!(offset!(scause) == 560 && offset!(stval) == 568 && offset!(sip) == 576);
const _: () = assert!(offset!(satp) == 584 && offset!(scounteren) == 592 && offset!(senvcfg) == 600);
const _: () = assert!(offset!(sstateen0) == 608 && offset!(siselect) == 616 && offset!(stimecmp) == 624);
const _: () = assert!(offset!(vstart) == 632 && offset!(vl) == 640 && offset!(vtype) == 648);
const _: () = assert!(offset!(vcsr) == 656 && offset!(parts) == 664 && offset!(reserved) == 672);

/// Optional registers of an image, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ImageParts(pub u32);

impl ImageParts {
    /// `f0` to `f31` of the D extension, and `fcsr`.
    pub const FLOAT: Self = Self(1);
    /// The registers of the V extension.
    pub const VECTOR: Self = Self(2);
    /// `stimecmp` (Sstc).
    pub const TIMER: Self = Self(4);
    /// `sstateen0` (Smstateen).
    pub const STATE_ENABLES: Self = Self(8);
    /// `siselect` (Ssaia).
    pub const SELECT: Self = Self(16);

    /// Whether all parts of `other` are among these.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// Which registers the images of a vCPU have, and where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RewindLayout {
    /// The optional registers.
    pub parts: ImageParts,
    /// Length of a vector register in bytes; zero without vectors.
    pub vlenb: u32,
    /// Registers in the image, each with its bytes there.
    pub places: Vec<(Register, Range<usize>)>,
    /// Registers that the guest can change and that the image does not have, in ascending order.
    pub others: Vec<Register>,
}

impl RewindLayout {
    /// Layout for a vCPU with `registers`, in ascending order, whose vector registers have `vlenb` bytes.
    ///
    /// `has_sstc`: the vCPU has the Sstc extension. Without it, no guest of a bare machine can change the timer.
    #[must_use]
    pub fn new(registers: &[Register], vlenb: u32, has_sstc: bool) -> Self {
        let has = |register: Register| registers.binary_search(&register).is_ok();
        let has_d = has(Register::FCSR_D);
        let has_v = has(Register::VLENB) && vlenb != 0;
        let mut layout = Self {
            vlenb: if has_v { vlenb } else { 0 },
            ..Self::default()
        };
        for (part, is_present) in [
            (ImageParts::FLOAT, has_d),
            (ImageParts::VECTOR, has_v),
            (ImageParts::TIMER, has_sstc && has(Register::TIMER_COMPARE)),
            (ImageParts::STATE_ENABLES, has(Register::SSTATEEN0)),
            (ImageParts::SELECT, has(Register::SISELECT)),
        ] {
            if is_present {
                layout.parts.0 |= part.0;
            }
        }
        for &register in registers {
            if let Some(start) = layout.start(register) {
                let end = start.saturating_add(register.size());
                layout.places.push((register, start..end));
            } else if can_change(register, has_d) {
                layout.others.push(register);
            }
        }
        layout
    }

    /// Length of the image in bytes.
    #[must_use]
    pub fn image_len(&self) -> usize {
        let vlenb = usize::try_from(self.vlenb).unwrap_or(usize::MAX);
        vlenb.saturating_mul(32).saturating_add(size_of::<RawImage>())
    }

    /// Offset of `register` in the image, if it has the register.
    fn start(&self, register: Register) -> Option<usize> {
        let has = |part| self.parts.contains(part).then_some(());
        let index = usize::from(register.index());
        let nth = |first: usize, index: usize| index.checked_mul(8)?.checked_add(first);
        match register {
            Register::PC => Some(offset!(pc)),
            Register::SSTATUS => Some(offset!(sstatus)),
            Register::SIE => Some(offset!(sie)),
            Register::STVEC => Some(offset!(stvec)),
            Register::SSCRATCH => Some(offset!(sscratch)),
            Register::SEPC => Some(offset!(sepc)),
            Register::SCAUSE => Some(offset!(scause)),
            Register::STVAL => Some(offset!(stval)),
            Register::SIP => Some(offset!(sip)),
            Register::SATP => Some(offset!(satp)),
            Register::SCOUNTEREN => Some(offset!(scounteren)),
            Register::SENVCFG => Some(offset!(senvcfg)),
            Register::SSTATEEN0 => has(ImageParts::STATE_ENABLES).map(|()| offset!(sstateen0)),
            Register::SISELECT => has(ImageParts::SELECT).map(|()| offset!(siselect)),
            Register::TIMER_COMPARE => has(ImageParts::TIMER).map(|()| offset!(stimecmp)),
            Register::FCSR_D => has(ImageParts::FLOAT).map(|()| offset!(fcsr)),
            Register::VSTART => has(ImageParts::VECTOR).map(|()| offset!(vstart)),
            Register::VL => has(ImageParts::VECTOR).map(|()| offset!(vl)),
            Register::VTYPE => has(ImageParts::VECTOR).map(|()| offset!(vtype)),
            Register::VCSR => has(ImageParts::VECTOR).map(|()| offset!(vcsr)),
            _ if Register::x(register.index()) == Some(register) => nth(offset!(pc), index),
            _ if Register::f64(register.index()) == Some(register) => {
                has(ImageParts::FLOAT)?;
                nth(offset!(f), index)
            }
            _ => {
                let number = register.vector_number(self.vlenb)?;
                let vlenb = usize::try_from(self.vlenb).ok()?;
                usize::from(number)
                    .checked_mul(vlenb)?
                    .checked_add(size_of::<RawImage>())
            }
        }
    }
}

/// Whether the guest of a bare machine can change a register that the image does not have.
fn can_change(register: Register, has_d: bool) -> bool {
    match register.group() {
        // Configuration; clocks; and a timer that only the SBI extension TIME arms, which is disabled.
        Some(
            RegisterGroup::CONFIG
            | RegisterGroup::ISA_EXTENSION
            | RegisterGroup::SBI_EXTENSION
            | RegisterGroup::TIMER,
        ) => false,
        // With the D extension, these are other names of its registers.
        Some(RegisterGroup::FP_F) => !has_d,
        // The mode is part of every saved state.
        Some(RegisterGroup::CORE) => register != Register::MODE,
        // The high halves exist on RV32 only.
        Some(RegisterGroup::CSR) => !matches!(
            register,
            Register::SIEH | Register::SIPH | Register::IPRIO1H | Register::IPRIO2H
        ),
        Some(RegisterGroup::VECTOR) => register != Register::VLENB,
        _ => true,
    }
}

impl RewindLayout {
    /// The value of `register` in `image` as a number; `None` if the image does not have it, or for more than eight bytes.
    #[must_use]
    pub fn number(&self, image: &[u8], register: Register) -> Option<u64> {
        let (_, place) = self.places.iter().find(|(found, _)| *found == register)?;
        let bytes = image.get(place.clone())?;
        let mut number = [0; 8];
        number.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(u64::from_le_bytes(number))
    }

    /// An image without values: only its parts.
    #[must_use]
    pub fn empty_image(&self) -> Vec<u8> {
        let mut image = vec![0; self.image_len()];
        let parts = offset!(parts);
        if let Some(bytes) = image.get_mut(parts..).and_then(|rest| rest.first_chunk_mut()) {
            *bytes = u64::from(self.parts.0).to_le_bytes();
        }
        image
    }

    /// Length of the image in bytes, as for the owner of the guest's memory.
    #[must_use]
    pub fn image_bytes(&self) -> u64 {
        arith::to_u64(self.image_len())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The registers that every vCPU has, in ascending order.
    fn base() -> Vec<Register> {
        let mut registers = vec![
            Register::ISA,
            Register::PC,
            Register::MODE,
            Register::SSTATUS,
            Register::SIE,
            Register::STVEC,
            Register::SSCRATCH,
            Register::SEPC,
            Register::SCAUSE,
            Register::STVAL,
            Register::SIP,
            Register::SATP,
            Register::SCOUNTEREN,
            Register::SENVCFG,
            Register::TIMER_FREQUENCY,
            Register::TIMER_TIME,
            Register::TIMER_COMPARE,
            Register::TIMER_STATE,
        ];
        registers.extend((1..32).filter_map(Register::x));
        registers.sort_unstable();
        registers
    }

    fn layout(more: &[Register], vlenb: u32, has_sstc: bool) -> RewindLayout {
        let mut registers = base();
        registers.extend_from_slice(more);
        registers.sort_unstable();
        RewindLayout::new(&registers, vlenb, has_sstc)
    }

    #[test]
    fn registers_have_places_of_their_own() {
        let mut more: Vec<_> = (0..32)
            .flat_map(|n| [Register::f64(n), Register::f32(n), Register::v(n, 32)])
            .flatten()
            .collect();
        more.extend([
            Register::FCSR_D,
            Register::FCSR_F,
            Register::VSTART,
            Register::VL,
            Register::VTYPE,
            Register::VCSR,
            Register::VLENB,
            Register::SSTATEEN0,
            Register::SISELECT,
            Register::IPRIO1,
            Register::SIEH,
            Register(0x8030_0000_7700_0001),
        ]);
        let layout = layout(&more, 32, true);
        assert_eq!(layout.parts, ImageParts(31));
        assert_eq!(layout.image_len(), 768 + 32 * 32);
        // What the image has no place for.
        assert_eq!(layout.others, [Register::IPRIO1, Register(0x8030_0000_7700_0001)]);
        let mut bytes = BTreeSet::new();
        for (register, place) in &layout.places {
            assert_eq!(place.len(), register.size(), "{register}");
            assert!(place.end <= layout.image_len(), "{register}");
            for byte in place.clone() {
                assert!(bytes.insert(byte), "{register} overlaps another register");
            }
        }
        // pc and x1 to x31, f0 to f31 and fcsr, 13 CSRs, the timer, 4 vector CSRs and 32 vector registers.
        assert_eq!(layout.places.len(), 32 + 33 + 13 + 1 + 4 + 32);
        let start = |register| {
            let (_, place) = layout
                .places
                .iter()
                .find(|(found, _)| *found == register)
                .unwrap();
            place.start
        };
        assert_eq!(start(Register::x(31).unwrap()), 31 * 8);
        assert_eq!(start(Register::f64(31).unwrap()), 256 + 31 * 8);
        assert_eq!(start(Register::v(31, 32).unwrap()), 768 + 31 * 32);
        assert_eq!(start(Register::TIMER_COMPARE), 624);
    }

    #[test]
    fn missing_registers_are_no_part() {
        let check = |more: &[Register], vlenb, has_sstc, expected: ImageParts, others: &[Register]| {
            let layout = layout(more, vlenb, has_sstc);
            assert_eq!((layout.parts, layout.others.as_slice()), (expected, others));
            assert_eq!(layout.image_len(), 768);
        };
        check(&[], 0, false, ImageParts(0), &[]);
        // A vector length without vectors.
        check(&[], 16, true, ImageParts::TIMER, &[]);
        // Single precision only.
        let single = [Register::f32(0).unwrap(), Register::FCSR_F];
        check(&single, 0, false, ImageParts(0), &single);
    }

    #[test]
    fn numbers_are_read_from_images() {
        let layout = layout(&[Register::FCSR_D], 0, false);
        let mut image = layout.empty_image();
        assert_eq!(image.len(), 768);
        assert_eq!(image[664], 1, "the parts");
        assert_eq!(image.iter().filter(|&&byte| byte != 0).count(), 1);
        image[512..520].copy_from_slice(&[1, 2, 3, 4, 5, 6, 7, 8]);
        image[584..592].copy_from_slice(&[1, 2, 3, 4, 5, 6, 7, 8]);
        // fcsr has 32 bits.
        assert_eq!(layout.number(&image, Register::FCSR_D), Some(0x0403_0201));
        assert_eq!(layout.number(&image, Register::SATP), Some(0x0807_0605_0403_0201));
        assert_eq!(layout.number(&image, Register::TIMER_COMPARE), None);
        assert_eq!(layout.number(&image[..584], Register::SATP), None);
    }
}
