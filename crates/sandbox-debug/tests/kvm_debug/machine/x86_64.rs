//! The guest of x86_64.

use boot_core::{Arch, cpu::x86_64::State};
use boot_paging::Scheme;
use hv_core::Vcpu;
use hv_kvm_x86::BareConfig;
pub(super) use hv_kvm_x86::{HarnessError as Harness, KvmBareVcpu, KvmBareVm, KvmError};
use sandbox_debug::TargetError;

use crate::layout::{CODE, STACK};

pub(super) const CONFIG: BareConfig = BareConfig::new(0x6c);
pub(super) const SCHEME: Option<Scheme> = Some(Scheme::X86_64);

pub(crate) const ARCH: Arch = Arch::X86_64;
/// Positions of the counter and of the program counter in gdb's block of registers, in 64-bit words.
pub(crate) const COUNTER: usize = 0;
pub(crate) const COUNTER_NAME: &str = "$eax";
pub(crate) const PC: usize = 16;
/// What gdb calls the kind of a breakpoint.
pub(crate) const BREAKPOINT_LEN: u64 = 1;
/// Where the return address is in the function, as gdb's expression.
pub(crate) const CALLER: &str = "*(unsigned long *)($rbp + 8)";

/// Calls a function again and again, which increments `EAX`, writes it to memory, and rings.
pub(super) fn program() -> Vec<u8> {
    let parts: [&[u8]; 9] = [
        &[0x31, 0xc0],                      // xor eax, eax
        &[0xe8, 0x02, 0x00, 0x00, 0x00],    // call function
        &[0xeb, 0xf9],                      // jmp to the call
        &[0x55],                            // push rbp
        &[0x48, 0x89, 0xe5],                // mov rbp, rsp
        &[0xff, 0xc0],                      // inc eax
        &[0x89, 0x04, 0x25, 0, 0, 0x30, 0], // mov [0x300000], eax
        &[0xe7, 0x6c],                      // out 0x6c, eax
        &[0x5d, 0xc3],                      // pop rbp; ret
    ];
    parts.concat()
}

/// What gdb calls the instruction at [`INC`].
pub(crate) const INSTRUCTION: &str = "inc";

/// Addresses in the program.
pub(crate) const RETURN: u64 = CODE + 7;
pub(crate) const INC: u64 = CODE + 13;
pub(crate) const STORE: u64 = CODE + 15;
/// The instruction after [`STORE`].
pub(crate) const NEXT: u64 = CODE + 22;
pub(crate) const POP: u64 = CODE + 24;

pub(super) fn start(vcpu: &mut KvmBareVcpu, tables: u64) -> Result<(), TargetError> {
    let mut state = State::long_mode(CODE, tables, 8, 16);
    // EFER.NXE: the page tables have pages without code.
    state.efer |= 1 << 11;
    state.rsp = STACK;
    Ok(vcpu.set_state(&state.into())?)
}
