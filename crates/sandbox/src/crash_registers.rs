//! Registers of a crash as those of a CPU.

use boot_core::CpuState;

use crate::crash::{CrashKind, Registers};

/// The signal of a process that ends for this reason.
pub(crate) fn signal(kind: &CrashKind) -> u8 {
    const SIGABRT: u8 = 6;
    const SIGSEGV: u8 = 11;
    match kind {
        CrashKind::Exception { .. } | CrashKind::StackOverflow | CrashKind::Exit(_) => SIGSEGV,
        _ => SIGABRT,
    }
}

/// Replaces the registers of `state` that `crash` has.
pub(crate) fn replace(state: &mut CpuState, crash: &Registers) {
    match state {
        CpuState::X86_64(state) => {
            let general = [
                &mut state.rax,
                &mut state.rdx,
                &mut state.rcx,
                &mut state.rbx,
                &mut state.rsi,
                &mut state.rdi,
                &mut state.rbp,
                &mut state.rsp,
                &mut state.r8,
                &mut state.r9,
                &mut state.r10,
                &mut state.r11,
                &mut state.r12,
                &mut state.r13,
                &mut state.r14,
                &mut state.r15,
            ];
            for (to, from) in general.into_iter().zip(crash.general) {
                *to = from;
            }
            state.rip = crash.pc;
            state.rflags = crash.status;
            state.cr2 = crash.fault_address;
        }
        CpuState::Aarch64(state) => {
            for (to, from) in state.x.iter_mut().zip(crash.general) {
                *to = from;
            }
            state.sp_el1 = crash.sp;
            state.pc = crash.pc;
        }
        CpuState::Riscv64(state) => {
            state.x = crash.general;
            state.pc = crash.pc;
        }
        _ => {}
    }
}
