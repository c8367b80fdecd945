//! Notes of a core dump.

use hv_core::{AarchRegisters, GuestRegisters, RiscvRegisters, X86Registers};
use object::elf::{NT_ARM_TLS, NT_FPREGSET, NT_PRSTATUS, NT_X86_XSTATE, NoteType};

/// Owner of the notes that all systems have.
const CORE: &str = "CORE";
const LINUX: &str = "LINUX";

/// Process id of the vCPU. Debuggers take 0 for no process.
const PID: u32 = 1;

/// Adds a note (gABI, "Note Section").
pub(super) fn push(notes: &mut Vec<u8>, owner: &str, kind: u32, descriptor: &[u8]) {
    let len = |len: usize| u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes();
    notes.extend_from_slice(&len(owner.len().saturating_add(1)));
    notes.extend_from_slice(&len(descriptor.len()));
    notes.extend_from_slice(&kind.to_le_bytes());
    notes.extend_from_slice(owner.as_bytes());
    notes.push(0);
    align(notes);
    notes.extend_from_slice(descriptor);
    align(notes);
}

fn align(notes: &mut Vec<u8>) {
    notes.resize(notes.len().next_multiple_of(4), 0);
}

/// Adds the notes of the registers.
pub(super) fn push_registers(notes: &mut Vec<u8>, registers: &GuestRegisters, signal: u32) {
    let mut add = |owner, kind: NoteType, descriptor: &[u8]| push(notes, owner, kind.0, descriptor);
    match registers {
        GuestRegisters::X86_64(registers) => {
            add(CORE, NT_PRSTATUS, &status(signal, &x86_64(registers)));
            add(CORE, NT_FPREGSET, &registers.fxsave());
            add(LINUX, NT_X86_XSTATE, &xstate(registers));
        }
        GuestRegisters::Aarch64(registers) => {
            add(CORE, NT_PRSTATUS, &status(signal, &aarch64(registers)));
            add(CORE, NT_FPREGSET, &aarch64_simd(registers));
            add(LINUX, NT_ARM_TLS, &registers.tpidr_el0.to_le_bytes());
        }
        GuestRegisters::Riscv64(registers) => {
            add(CORE, NT_PRSTATUS, &status(signal, &riscv64(registers)));
            add(CORE, NT_FPREGSET, &riscv64_float(registers));
        }
        _ => {}
    }
}

/// `struct elf_prstatus` of 64-bit systems with these general registers.
fn status(signal: u32, registers: &[u64]) -> Vec<u8> {
    let mut bytes = Vec::new();
    // struct elf_siginfo: signal, code, error.
    bytes.extend_from_slice(&signal.to_le_bytes());
    bytes.extend_from_slice(&[0; 8]);
    // The current signal, and padding.
    bytes.extend_from_slice(&signal.to_le_bytes());
    // Pending and held signals.
    bytes.extend_from_slice(&[0; 16]);
    bytes.extend_from_slice(&PID.to_le_bytes());
    // Parent, group and session; four times.
    bytes.extend_from_slice(&[0; 12 + 4 * 16]);
    bytes.extend(words(registers));
    // There is a note of floating-point registers.
    bytes.extend_from_slice(&1_u64.to_le_bytes());
    bytes
}

fn words(values: &[u64]) -> impl Iterator<Item = u8> {
    values.iter().flat_map(|value| value.to_le_bytes())
}

/// `struct user_regs_struct` of x86_64.
fn x86_64(registers: &X86Registers) -> [u64; 27] {
    /// `orig_rax` outside of a system call.
    const NO_CALL: u64 = u64::MAX;
    let cpu = &registers.cpu;
    let selector = |segment: boot_core::cpu::x86_64::SegmentRegister| u64::from(segment.selector);
    [
        cpu.r15,
        cpu.r14,
        cpu.r13,
        cpu.r12,
        cpu.rbp,
        cpu.rbx,
        cpu.r11,
        cpu.r10,
        cpu.r9,
        cpu.r8,
        cpu.rax,
        cpu.rcx,
        cpu.rdx,
        cpu.rsi,
        cpu.rdi,
        NO_CALL,
        cpu.rip,
        selector(cpu.cs),
        cpu.rflags,
        cpu.rsp,
        selector(cpu.ss),
        cpu.fs.base,
        cpu.gs.base,
        selector(cpu.ds),
        selector(cpu.es),
        selector(cpu.fs),
        selector(cpu.gs),
    ]
}

/// The XSAVE area as Linux writes it to core dumps: with `XCR0` in the bytes that the CPU does not use.
fn xstate(registers: &X86Registers) -> Vec<u8> {
    const XCR0: usize = 464;
    let mut area = registers.xsave.clone();
    area.resize(area.len().max(X86Registers::XSAVE_MIN), 0);
    if let Some(bytes) = area.get_mut(XCR0..XCR0.saturating_add(8)) {
        bytes.copy_from_slice(&registers.xcr0.to_le_bytes());
    }
    area
}

/// `struct user_pt_regs` of arm64.
fn aarch64(registers: &AarchRegisters) -> [u64; 34] {
    let mut values = [0; 34];
    let last = [registers.sp(), registers.pc, registers.pstate];
    for (to, from) in values.iter_mut().zip(registers.x.iter().chain(&last)) {
        *to = *from;
    }
    values
}

/// `struct user_fpsimd_state` of arm64.
fn aarch64_simd(registers: &AarchRegisters) -> Vec<u8> {
    let mut bytes: Vec<u8> = registers.v.iter().flat_map(|value| value.to_le_bytes()).collect();
    bytes.extend_from_slice(&registers.fpsr.to_le_bytes());
    bytes.extend_from_slice(&registers.fpcr.to_le_bytes());
    bytes.extend_from_slice(&[0; 8]);
    bytes
}

/// `struct user_regs_struct` of riscv64: the program counter takes the place of `x0`.
fn riscv64(registers: &RiscvRegisters) -> [u64; 32] {
    let mut values = registers.x;
    values[0] = registers.pc;
    values
}

/// `struct __riscv_d_ext_state`.
fn riscv64_float(registers: &RiscvRegisters) -> Vec<u8> {
    let mut bytes: Vec<u8> = words(&registers.f).collect();
    bytes.extend_from_slice(&registers.fcsr.to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes
}
