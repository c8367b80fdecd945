//! The tables of register ids against the kernel's own structures and answers.

use std::mem::offset_of;

use hv_core::{Vcpu as _, Vm as _};
use hv_kvm_arm64::{KvmVm, Register, RegisterGroup};
use kvm_bindings::{kvm_regs, user_fpsimd_state, user_pt_regs};

use crate::guest::{self, Test, TestResult, expect};

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
        (Register::x(0), regs + offset_of!(user_pt_regs, regs)),
        (Register::x(30), regs + offset_of!(user_pt_regs, regs) + 30 * 8),
        (Some(Register::SP_EL0), regs + offset_of!(user_pt_regs, sp)),
        (Some(Register::PC), regs + offset_of!(user_pt_regs, pc)),
        (Some(Register::PSTATE), regs + offset_of!(user_pt_regs, pstate)),
        (Some(Register::SP_EL1), offset_of!(kvm_regs, sp_el1)),
        (Some(Register::ELR_EL1), offset_of!(kvm_regs, elr_el1)),
        (Some(Register::SPSR_EL1), offset_of!(kvm_regs, spsr)),
        (Some(Register::SPSR_FIQ), offset_of!(kvm_regs, spsr) + 4 * 8),
        (Register::v(0), fp + offset_of!(user_fpsimd_state, vregs)),
        (
            Register::v(31),
            fp + offset_of!(user_fpsimd_state, vregs) + 31 * 16,
        ),
        (Some(Register::FPSR), fp + offset_of!(user_fpsimd_state, fpsr)),
        (Some(Register::FPCR), fp + offset_of!(user_fpsimd_state, fpcr)),
    ] {
        let id = id.ok_or("the register exists")?;
        expect(&id.to_string(), &(id.0 & 0xffff), &word(offset)?)?;
    }
    Ok(None)
}

fn listed() -> TestResult {
    let mut vcpu = KvmVm::new(&guest::layout(1)?)?.create_vcpu(0)?;
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
        .filter(|id| id.group() == RegisterGroup::CORE)
        .collect();
    expect("core registers", &core.len(), &(31 + 3 + 2 + 5 + 32 + 2))?;
    for id in core {
        id.name().ok_or(format!("{id} has no name"))?;
    }
    for id in [
        Register::SCTLR_EL1,
        Register::TTBR0_EL1,
        Register::TTBR1_EL1,
        Register::TCR_EL1,
        Register::MAIR_EL1,
        Register::VBAR_EL1,
        Register::ESR_EL1,
        Register::FAR_EL1,
        Register::MPIDR_EL1,
        Register::TPIDR_EL0,
        Register::CNTKCTL_EL1,
        Register::MDSCR_EL1,
        Register::TIMER_CTL,
        Register::TIMER_CNT,
        Register::TIMER_CVAL,
        Register::PTIMER_CTL,
        Register::PTIMER_CVAL,
        Register::PSCI_VERSION,
    ] {
        if !registers.contains(&id) {
            return Err(format!("KVM does not list {id}").into());
        }
    }
    for n in 0..16 {
        for id in [
            Register::dbgbvr(n),
            Register::dbgbcr(n),
            Register::dbgwvr(n),
            Register::dbgwcr(n),
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
        read(&mut vcpu, Register::TIMER_CNT)?,
        read(&mut vcpu, Register::TIMER_CVAL)?,
    );
    let (after, stayed) = (
        read(&mut vcpu, Register::TIMER_CNT)?,
        read(&mut vcpu, Register::TIMER_CVAL)?,
    );
    if after <= before {
        return Err(format!("the counter does not count: {before:x?}, {after:x?}").into());
    }
    expect("compare value", &stayed, &stays)?;
    Ok(None)
}

fn affinities() -> TestResult {
    use boot_core::machine::Arm64Cpu;

    let vm = KvmVm::new(&guest::layout(18)?)?;
    for index in 0..18 {
        let mut vcpu = vm.create_vcpu(index)?;
        expect("number", &vcpu.index(), &index)?;
        let mpidr = vcpu.register(Register::MPIDR_EL1)?.to_u64().ok_or("64 bits")?;
        expect(
            "affinity",
            &(mpidr & Arm64Cpu::AFFINITY_MASK),
            &Arm64Cpu::affinity_of(index),
        )?;
    }
    Ok(None)
}
