//! The tables of register ids against the kernel's own structures and answers.

use std::mem::offset_of;

use hv_core::{Vcpu as _, Vm as _};
use hv_kvm_arm64::{KvmVm, RegGroup, RegId, VcpuFeatures};
use kvm_bindings::{kvm_regs, user_fpsimd_state, user_pt_regs};

use crate::guest::{self, Test, TestResult, Verdict, expect};

pub(crate) const TESTS: &[Test] = &[
    ("register::ids_match_the_kernels_structures", structures),
    ("register::every_listed_register_has_a_value", listed),
    ("register::affinities_are_as_the_machine_says", affinities),
];

fn structures() -> TestResult {
    let word = |offset: usize| u64::try_from(offset / 4);
    let regs = offset_of!(kvm_regs, regs);
    let fp = offset_of!(kvm_regs, fp_regs);
    for (id, offset) in [
        (RegId::x(0), regs + offset_of!(user_pt_regs, regs)),
        (RegId::x(30), regs + offset_of!(user_pt_regs, regs) + 30 * 8),
        (Some(RegId::SP_EL0), regs + offset_of!(user_pt_regs, sp)),
        (Some(RegId::PC), regs + offset_of!(user_pt_regs, pc)),
        (Some(RegId::PSTATE), regs + offset_of!(user_pt_regs, pstate)),
        (Some(RegId::SP_EL1), offset_of!(kvm_regs, sp_el1)),
        (Some(RegId::ELR_EL1), offset_of!(kvm_regs, elr_el1)),
        (Some(RegId::SPSR_EL1), offset_of!(kvm_regs, spsr)),
        (Some(RegId::SPSR_FIQ), offset_of!(kvm_regs, spsr) + 4 * 8),
        (RegId::v(0), fp + offset_of!(user_fpsimd_state, vregs)),
        (RegId::v(31), fp + offset_of!(user_fpsimd_state, vregs) + 31 * 16),
        (Some(RegId::FPSR), fp + offset_of!(user_fpsimd_state, fpsr)),
        (Some(RegId::FPCR), fp + offset_of!(user_fpsimd_state, fpcr)),
    ] {
        let id = id.ok_or("the register exists")?;
        expect(&id.to_string(), &(id.0 & 0xffff), &word(offset)?)?;
    }
    Ok(Verdict::Passed)
}

fn listed() -> TestResult {
    let mut vcpu = KvmVm::new(&guest::layout(1)?, VcpuFeatures::default())?.create_vcpu(0)?;
    let registers = vcpu.registers()?;
    for &register in &registers {
        if !register.is_arm64() {
            return Err(format!("{register} is not a register of arm64").into());
        }
        let value = vcpu.register(register)?;
        expect(&register.to_string(), &value.bytes().len(), &register.size())?;
    }
    // All core registers are listed, and each of them has a name.
    let core: Vec<_> = registers
        .iter()
        .filter(|id| id.group() == RegGroup::CORE)
        .collect();
    expect("core registers", &core.len(), &(31 + 3 + 2 + 5 + 32 + 2))?;
    for id in core {
        id.name().ok_or(format!("{id} has no name"))?;
    }
    for id in [
        RegId::SCTLR_EL1,
        RegId::TTBR0_EL1,
        RegId::TTBR1_EL1,
        RegId::TCR_EL1,
        RegId::MAIR_EL1,
        RegId::VBAR_EL1,
        RegId::ESR_EL1,
        RegId::FAR_EL1,
        RegId::MPIDR_EL1,
        RegId::TPIDR_EL0,
        RegId::CNTKCTL_EL1,
        RegId::MDSCR_EL1,
        RegId::TIMER_CTL,
        RegId::TIMER_CNT,
        RegId::TIMER_CVAL,
        RegId::PTIMER_CTL,
        RegId::PTIMER_CVAL,
        RegId::PSCI_VERSION,
    ] {
        if !registers.contains(&id) {
            return Err(format!("KVM does not list {id}").into());
        }
    }
    for n in 0..16 {
        for id in [
            RegId::dbgbvr(n),
            RegId::dbgbcr(n),
            RegId::dbgwvr(n),
            RegId::dbgwcr(n),
        ] {
            let id = id.ok_or("there are sixteen of each")?;
            if !registers.contains(&id) {
                return Err(format!("KVM does not list {id}").into());
            }
        }
    }
    // The counter is the one of the swapped pair that moves, and the compare value the one that stays.
    let read = |vcpu: &mut hv_kvm_arm64::KvmVcpu, id| vcpu.register(id).map(|value| value.to_u64());
    let (before, stays) = (
        read(&mut vcpu, RegId::TIMER_CNT)?,
        read(&mut vcpu, RegId::TIMER_CVAL)?,
    );
    let (after, stayed) = (
        read(&mut vcpu, RegId::TIMER_CNT)?,
        read(&mut vcpu, RegId::TIMER_CVAL)?,
    );
    if after <= before {
        return Err(format!("the counter does not count: {before:x?}, {after:x?}").into());
    }
    expect("compare value", &stayed, &stays)?;
    Ok(Verdict::Passed)
}

fn affinities() -> TestResult {
    use boot_core::machine::Arm64Cpu;

    let vm = KvmVm::new(&guest::layout(18)?, VcpuFeatures::default())?;
    for index in 0..18 {
        let mut vcpu = vm.create_vcpu(index)?;
        expect("number", &vcpu.index(), &index)?;
        let mpidr = vcpu.register(RegId::MPIDR_EL1)?.to_u64().ok_or("64 bits")?;
        expect(
            "affinity",
            &(mpidr & Arm64Cpu::AFFINITY),
            &Arm64Cpu::affinity_of(index),
        )?;
    }
    Ok(Verdict::Passed)
}
