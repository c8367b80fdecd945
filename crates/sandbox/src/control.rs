//! Control registers of a guest: those that its plan gives.

use boot_core::CpuState;
use boot_core::cpu::x86_64::{SegmentRegister, State};
use hv_core::ControlRegisters;

use crate::image::Image;

/// A register that decides how a guest translates addresses has another value than the plan of the guest gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{register} of the guest is {found:#x}, its plan gives {expected:#x}")]
#[non_exhaustive]
pub struct ControlError {
    /// Name of the register, or of a part of it.
    pub register: &'static str,
    /// The value of the plan.
    pub expected: u64,
    /// The value that was found.
    pub found: u64,
}

/// A register: its name, the value of the plan, and the one that was found.
type Comparison = (&'static str, u64, u64);

/// Bits of `CR4` that a guest may set for its own use: `FSGSBASE` and `OSXSAVE` (Intel SDM volume 3A, 2.5).
const FREE_CR4: u64 = 1 << 16 | 1 << 18;

/// Checks that a guest of `image` has the control registers of its plan, as it has them while it waits for calls.
pub(crate) fn check(image: &Image, found: &ControlRegisters) -> Result<(), ControlError> {
    let [first, tcr, ttbr0, sctlr] = image.mmu;
    let comparisons: Vec<Comparison> = match (&image.entry, found) {
        (CpuState::X86_64(plan), ControlRegisters::X86_64(found)) => x86_64(plan, found),
        (CpuState::Aarch64(_), ControlRegisters::Aarch64(found)) => vec![
            ("MAIR_EL1", first, found.mair_el1),
            ("TCR_EL1", tcr, found.tcr_el1),
            ("TTBR0_EL1", ttbr0, found.ttbr0_el1),
            ("SCTLR_EL1", sctlr, found.sctlr_el1),
            ("VBAR_EL1", image.vectors, found.vbar_el1),
            ("TCR2_EL1", 0, found.tcr2_el1),
        ],
        (CpuState::Riscv64(_), ControlRegisters::Riscv64(found)) => {
            vec![("satp", first, found.satp), ("stvec", image.vectors, found.stvec)]
        }
        // Back ends give those of their architecture, and the image is one of it.
        _ => vec![("the architecture", 0, 1)],
    };
    let differs = |&(_, expected, found): &Comparison| expected != found;
    match comparisons.into_iter().find(differs) {
        None => Ok(()),
        Some((register, expected, found)) => Err(ControlError {
            register,
            expected,
            found,
        }),
    }
}

/// Registers of x86_64. The data segments `FS` and `GS` are free, because their bases are those of thread-local storage.
fn x86_64(plan: &State, found: &State) -> Vec<Comparison> {
    let mut comparisons = vec![
        ("CR0", plan.cr0, found.cr0),
        ("CR3", plan.cr3, found.cr3),
        ("CR4", plan.cr4 & !FREE_CR4, found.cr4 & !FREE_CR4),
        ("EFER", plan.efer, found.efer),
        ("the base of GDTR", plan.gdtr.base, found.gdtr.base),
        (
            "the limit of GDTR",
            plan.gdtr.limit.into(),
            found.gdtr.limit.into(),
        ),
        ("the base of IDTR", plan.idtr.base, found.idtr.base),
        (
            "the limit of IDTR",
            plan.idtr.limit.into(),
            found.idtr.limit.into(),
        ),
    ];
    let segments = [
        ("CS", &plan.cs, &found.cs),
        ("DS", &plan.ds, &found.ds),
        ("ES", &plan.es, &found.es),
        ("SS", &plan.ss, &found.ss),
        ("TR", &plan.tr, &found.tr),
    ];
    for (name, plan, found) in segments {
        let fields = |segment: &SegmentRegister| {
            [
                u64::from(segment.selector),
                segment.base,
                segment.limit.into(),
                segment.rights.bits().into(),
            ]
        };
        let pairs = fields(plan).into_iter().zip(fields(found));
        comparisons.extend(pairs.map(|(plan, found)| (name, plan, found)));
    }
    comparisons
}

#[cfg(test)]
mod tests {
    use boot_core::cpu::x86_64::{AccessRights, DescriptorTable};

    use super::*;

    #[test]
    fn control_registers_of_x86_64_are_those_of_the_plan() {
        let plan = State::long_mode(0x1000, 0x2000, 8, 16);
        let check = |change: fn(&mut State), expected: Option<&str>| {
            let mut found = plan;
            change(&mut found);
            let comparisons = x86_64(&plan, &found).into_iter();
            let mut differ = comparisons.filter(|(_, expected, found)| expected != found);
            assert_eq!(differ.next().map(|(register, ..)| register), expected);
        };
        check(|_| {}, None);
        check(|state| (state.rip, state.rsp, state.cr2) = (1, 2, 3), None);
        check(|state| state.fs.base = 0x1234, None);
        check(|state| state.gs.selector = 0x18, None);
        check(|state| state.cr4 ^= FREE_CR4, None);
        check(|state| state.cr4 |= 1 << 12, Some("CR4"));
        check(|state| state.cr0 ^= 1 << 16, Some("CR0"));
        check(|state| state.cr3 += 0x1000, Some("CR3"));
        check(|state| state.efer ^= 1 << 11, Some("EFER"));
        check(
            |state| state.gdtr = DescriptorTable::new(0x1000, 0),
            Some("the base of GDTR"),
        );
        check(|state| state.idtr.limit = 7, Some("the limit of IDTR"));
        check(|state| state.cs.rights = AccessRights::CODE32, Some("CS"));
        check(|state| state.ss.base = 1, Some("SS"));
        check(|state| state.tr.selector = 0x18, Some("TR"));
    }
}
