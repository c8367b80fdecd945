//! CPU states as bytes, for the digest of a plan.

use boot_core::cpu::{aarch64, riscv64, x86_64};
use boot_core::{CpuState, Endian};

use crate::MeasureError;

/// Calls `f` with the record of a CPU: its tag and its registers.
pub(crate) fn encode(state: &CpuState, f: &mut dyn FnMut(&[u8])) -> Result<(), MeasureError> {
    match state {
        CpuState::X86_64(state) => {
            f(&[4]);
            x86(state, f);
        }
        CpuState::Aarch64(state) => {
            f(&[5]);
            arm64(state, f);
        }
        CpuState::Riscv64(state) => {
            f(&[6]);
            riscv(state, f);
        }
        _ => return Err(MeasureError::UnknownCpu(state.arch())),
    }
    Ok(())
}

fn x86(state: &x86_64::State, f: &mut dyn FnMut(&[u8])) {
    let general = [
        state.rax,
        state.rbx,
        state.rcx,
        state.rdx,
        state.rsi,
        state.rdi,
        state.rsp,
        state.rbp,
        state.r8,
        state.r9,
        state.r10,
        state.r11,
        state.r12,
        state.r13,
        state.r14,
        state.r15,
        state.rip,
        state.rflags,
    ];
    let segments = [
        state.cs, state.ds, state.es, state.fs, state.gs, state.ss, state.tr, state.ldtr,
    ];
    let control = [
        state.cr0,
        state.cr2,
        state.cr3,
        state.cr4,
        state.efer,
        state.apic_base,
    ];
    numbers(&general, f);
    for segment in segments {
        f(&segment.selector.to_le_bytes());
        f(&segment.rights.bits().to_le_bytes());
        f(&segment.limit.to_le_bytes());
        f(&segment.base.to_le_bytes());
    }
    for table in [state.gdtr, state.idtr] {
        f(&table.limit.to_le_bytes());
        f(&table.base.to_le_bytes());
    }
    numbers(&control, f);
}

fn arm64(state: &aarch64::State, f: &mut dyn FnMut(&[u8])) {
    numbers(&state.x, f);
    numbers(&[state.sp_el1, state.pc, state.pstate], f);
    f(&[u8::from(state.data_endian == Endian::Big)]);
}

fn riscv(state: &riscv64::State, f: &mut dyn FnMut(&[u8])) {
    numbers(&state.x, f);
    numbers(&[state.pc, state.satp], f);
}

fn numbers(values: &[u64], f: &mut dyn FnMut(&[u8])) {
    for value in values {
        f(&value.to_le_bytes());
    }
}
