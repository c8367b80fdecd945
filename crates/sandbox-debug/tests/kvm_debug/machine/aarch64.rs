//! The guest of arm64. Its MMU is off.

use boot_core::{Arch, cpu::aarch64::State};
use boot_paging::Scheme;
use hv_core::Vcpu;
use hv_kvm_arm64::BareConfig;
pub(super) use hv_kvm_arm64::{HarnessError as Harness, KvmBareVcpu, KvmBareVm, KvmError};
use sandbox_debug::TargetError;

use crate::layout::{CODE, STACK};

pub(super) const CONFIG: BareConfig = BareConfig::new(0xc600_5342, 0x3f_ffff_f000);
pub(super) const SCHEME: Option<Scheme> = None;

pub(crate) const ARCH: Arch = Arch::Aarch64;
/// Positions of the counter, `X19`, and of the program counter in gdb's block of registers, in 64-bit words.
pub(crate) const COUNTER: usize = 19;
pub(crate) const COUNTER_NAME: &str = "$w19";
pub(crate) const PC: usize = 32;
/// What gdb calls the kind of a breakpoint.
pub(crate) const BREAKPOINT_LEN: u64 = 4;
/// Where the return address is in the function, as gdb's expression.
pub(crate) const CALLER: &str = "*(unsigned long *)($x29 + 8)";

/// Calls a function again and again, which increments `W19`, writes it to memory, and rings.
pub(super) fn program() -> Vec<u8> {
    const PROGRAM: [u32; 14] = [
        0x5280_0013, // mov w19, #0
        0x9400_0002, // bl function
        0x17ff_ffff, // b to the call
        0xa9bf_7bfd, // stp x29, x30, [sp, #-16]!
        0x9100_03fd, // mov x29, sp
        0x52a0_0601, // mov w1, #0x300000
        0x1100_0673, // add w19, w19, #1
        0xb900_0033, // str w19, [x1]
        0x528a_6840, // mov w0, #0x5342
        0x72b8_c000, // movk w0, #0xc600, lsl #16
        0xd400_0002, // hvc #0
        0xa8c1_7bfd, // ldp x29, x30, [sp], #16
        0xd65f_03c0, // ret
        0,
    ];
    PROGRAM.iter().flat_map(|code| code.to_le_bytes()).collect()
}

/// What gdb calls the instruction at [`INC`].
pub(crate) const INSTRUCTION: &str = "add";

/// Addresses in the program.
pub(crate) const RETURN: u64 = CODE + 8;
pub(crate) const INC: u64 = CODE + 24;
pub(crate) const STORE: u64 = CODE + 28;
/// The instruction after [`STORE`].
pub(crate) const NEXT: u64 = CODE + 32;
pub(crate) const POP: u64 = CODE + 44;

pub(super) fn start(vcpu: &mut KvmBareVcpu, _tables: u64) -> Result<(), TargetError> {
    let mut state = State::new(CODE);
    state.sp_el1 = STACK;
    Ok(vcpu.set_state(&state.into())?)
}
