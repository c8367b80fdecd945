//! The start of a kernel.
#![expect(unsafe_code, reason = "registers of the CPU")]

use core::arch::global_asm;
use core::mem::offset_of;

use boot_core::cpu::x86_64::{State, efer};

/// Registers that `start.s` loads. The first ten bytes of a descriptor table register are limit and base.
#[repr(C)]
struct Registers {
    general: [u64; 16],
    cr0: u64,
    cr3: u64,
    cr4: u64,
    data_selector: u64,
    gdtr: [u8; 16],
    idtr: [u8; 16],
}

/// Offset of general register `number`, in the order of [`Registers::new`].
const fn general(number: usize) -> usize {
    offset_of!(Registers, general) + 8 * number
}

global_asm!(
    include_str!("start.s"),
    RAX = const general(0),
    RBX = const general(1),
    RCX = const general(2),
    RDX = const general(3),
    RSI = const general(4),
    RDI = const general(5),
    RSP = const general(6),
    RBP = const general(7),
    R8 = const general(8),
    R9 = const general(9),
    R10 = const general(10),
    R11 = const general(11),
    R12 = const general(12),
    R13 = const general(13),
    R14 = const general(14),
    R15 = const general(15),
    CR0 = const offset_of!(Registers, cr0),
    CR3 = const offset_of!(Registers, cr3),
    CR4 = const offset_of!(Registers, cr4),
    DS = const offset_of!(Registers, data_selector),
    GDTR = const offset_of!(Registers, gdtr),
    IDTR = const offset_of!(Registers, idtr),
    options(att_syntax)
);

unsafe extern "C" {
    fn start_64_bit(registers: *const Registers) -> !;
    fn start_32_bit(registers: *const Registers) -> !;
    static gdtr: [u8; 10];
    static mut start_target: [u8; 16];
}

/// Selectors of the firmware's own descriptors, for protocols that specify none.
const OWN_CODE32: u16 = 0x18;
const OWN_DATA: u16 = 0x10;

/// The bytes of a descriptor table register.
fn table(base: u64, limit: u16) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..2].copy_from_slice(&limit.to_le_bytes());
    bytes[2..10].copy_from_slice(&base.to_le_bytes());
    bytes
}

impl Registers {
    fn new(state: &State) -> Self {
        let general = [
            state.rax, state.rbx, state.rcx, state.rdx, state.rsi, state.rdi, state.rsp, state.rbp, state.r8,
            state.r9, state.r10, state.r11, state.r12, state.r13, state.r14, state.r15,
        ];
        Self {
            general,
            cr0: state.cr0,
            cr3: state.cr3,
            cr4: state.cr4,
            data_selector: state.ds.selector.into(),
            gdtr: table(state.gdtr.base, state.gdtr.limit),
            idtr: table(state.idtr.base, state.idtr.limit),
        }
    }
}

/// Starts the kernel.
///
/// # Safety
///
/// The state is that of a plan that was loaded: code, tables and descriptors are in memory. Nothing that the program owns is needed
/// afterwards.
pub(crate) unsafe fn start(state: &State) -> ! {
    let mut registers = Registers::new(state);
    let is_64_bit = state.efer & efer::LME != 0;
    let mut selector = state.cs.selector;
    if state.gdtr.limit == 0 {
        // SAFETY: nothing writes it.
        let own = unsafe { &gdtr };
        registers.gdtr[..10].copy_from_slice(own);
        registers.data_selector = OWN_DATA.into();
        selector = OWN_CODE32;
    }
    let mut target = [0; 16];
    target[..8].copy_from_slice(&state.rip.to_le_bytes());
    let at = if is_64_bit { 8 } else { 4 };
    target[at..at + 2].copy_from_slice(&selector.to_le_bytes());
    let place = &raw mut start_target;
    // SAFETY: one CPU runs, and only the code that is called next reads it.
    unsafe { place.write(target) };
    let start = if is_64_bit { start_64_bit } else { start_32_bit };
    // SAFETY: the caller guarantees that the kernel is loaded; both functions load its registers and jump to it.
    unsafe { start(&raw const registers) }
}
