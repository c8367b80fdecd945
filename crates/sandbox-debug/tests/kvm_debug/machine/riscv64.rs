//! The guest of riscv64.

use boot_core::{Arch, cpu::riscv64::State};
use boot_paging::Scheme;
use hv_core::Vcpu;
use hv_kvm_riscv::BareConfig;
pub(super) use hv_kvm_riscv::{HarnessError as Harness, KvmBareVcpu, KvmBareVm, KvmError};
use sandbox_debug::TargetError;

use crate::layout::{CODE, STACK};

pub(super) const CONFIG: BareConfig = BareConfig::new(0x0900_0000, 0x40_0000, 0x41_0000);
pub(super) const SCHEME: Option<Scheme> = Some(Scheme::Sv39);

pub(crate) const ARCH: Arch = Arch::Riscv64;
/// Positions of the counter, `s1`, and of the program counter in gdb's block of registers, in 64-bit words.
pub(crate) const COUNTER: usize = 9;
pub(crate) const COUNTER_NAME: &str = "$s1";
pub(crate) const PC: usize = 32;
/// What gdb calls the kind of a breakpoint.
pub(crate) const BREAKPOINT_LEN: u64 = 4;
/// Where the return address is in the function, as gdb's expression.
pub(crate) const CALLER: &str = "*(unsigned long *)($s0 - 8)";

/// Calls a function again and again, which increments `s1`, writes it to memory, and rings.
pub(super) fn program() -> Vec<u8> {
    const PROGRAM: [u32; 18] = [
        0x0000_0493, // li s1, 0
        0x0080_00ef, // jal function
        0xffdf_f06f, // j to the call
        0xff01_0113, // addi sp, sp, -16
        0x0011_3423, // sd ra, 8(sp)
        0x0081_3023, // sd s0, 0(sp)
        0x0101_0413, // addi s0, sp, 16
        0x0030_05b7, // lui a1, 0x300
        0x0014_8493, // addi s1, s1, 1
        0x0095_a023, // sw s1, 0(a1)
        0x0004_8513, // mv a0, s1
        0x0900_08b7, // lui a7, 0x9000
        0x0000_0813, // li a6, 0
        0x0000_0073, // ecall
        0x0081_3083, // ld ra, 8(sp)
        0x0001_3403, // ld s0, 0(sp)
        0x0101_0113, // addi sp, sp, 16
        0x0000_8067, // ret
    ];
    PROGRAM.iter().flat_map(|code| code.to_le_bytes()).collect()
}

/// What gdb calls the instruction at [`INC`].
pub(crate) const INSTRUCTION: &str = "addi";

/// Addresses in the program.
pub(crate) const RETURN: u64 = CODE + 8;
pub(crate) const INC: u64 = CODE + 32;
pub(crate) const STORE: u64 = CODE + 36;
/// The instruction after [`STORE`].
pub(crate) const NEXT: u64 = CODE + 40;
pub(crate) const POP: u64 = CODE + 56;

pub(super) fn start(vcpu: &mut KvmBareVcpu, tables: u64) -> Result<(), TargetError> {
    /// `satp.MODE` of Sv39.
    const SV39: u64 = 8 << 60;
    let mut state = State::new(CODE);
    state.satp = SV39 | tables >> 12;
    state.x[2] = STACK;
    Ok(vcpu.set_state(&state.into())?)
}
