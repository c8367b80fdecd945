//! The stubs that replace the entries of the tables.
#![expect(
    unsafe_code,
    reason = "stubs are assembly, and tables are raw memory of the firmware"
)]

use core::arch::global_asm;
use core::cell::UnsafeCell;

use super::trace::{on_call, on_return};
use crate::services::{BOOT_COUNT, SERVICES};

const COUNT: usize = SERVICES.len();

/// Length of a stub in bytes.
const STUB: usize = 16;

/// Length of the header of a table in bytes (UEFI specification 2.10, section 4.2).
const HEADER: usize = 24;

/// The reserved entry of the boot services table, which is left as it is.
const RESERVED: usize = 17;

/// The firmware's functions, by the index of their service. The assembly reads it.
#[repr(transparent)]
struct Originals(UnsafeCell<[u64; COUNT]>);

// SAFETY: the firmware runs one processor (UEFI specification 2.10, section 2.3), and the table is written before the stubs are
// in use.
unsafe impl Sync for Originals {}

static ORIGINALS: Originals = Originals(UnsafeCell::new([0; COUNT]));

// `enter`: the index of the service is in r11. Saves all registers with arguments, and calls `on_call(index, frame)` with
// interrupts off. The frame is r10, r9, r8, rdx, rcx, rax, r11, the return address, and the arguments, of which the first four are only
// home space. With the result 0, jumps to the firmware's function with the registers and the stack of the call; otherwise the
// result is returned as the status.
//
// `leave`: the return address of logged calls. Calls `on_return(status, place)`, which writes the return address to its old place.
global_asm!(
    r"
    .balign 16
efitrace_enter:
    push r11
    push rax
    push rcx
    push rdx
    push r8
    push r9
    push r10
    push rbp
    mov rbp, rsp
    pushfq
    cli
    cld
    mov rcx, r11
    lea rdx, [rbp + 8]
    sub rsp, 0x20
    and rsp, -16
    call {on_call}
    lea rsp, [rbp - 8]
    popfq
    pop rbp
    pop r10
    pop r9
    pop r8
    pop rdx
    pop rcx
    test rax, rax
    jnz 2f
    pop rax
    pop r11
    push rax
    lea rax, [rip + {originals}]
    mov r11, [rax + r11 * 8]
    pop rax
    jmp r11
2:
    add rsp, 16
    ret

    .global efitrace_leave
efitrace_leave:
    sub rsp, 8
    push rax
    push rbp
    mov rbp, rsp
    pushfq
    cli
    mov rcx, rax
    lea rdx, [rbp + 16]
    sub rsp, 0x20
    and rsp, -16
    call {on_return}
    lea rsp, [rbp - 8]
    popfq
    pop rbp
    pop rax
    ret

    .balign 16
    .global efitrace_stubs
efitrace_stubs:
    .set efitrace_index, 0
    .rept {count}
    .byte 0x41, 0xbb                            # mov r11d, imm32
    .long efitrace_index
    .byte 0xe9                                  # jmp rel32
    .long efitrace_enter - . - 4
    .balign 16
    .set efitrace_index, efitrace_index + 1
    .endr
    ",
    on_call = sym on_call,
    on_return = sym on_return,
    originals = sym ORIGINALS,
    count = const COUNT,
);

unsafe extern "C" {
    static efitrace_stubs: u8;
    static efitrace_leave: u8;
}

/// The address to which logged calls return.
pub(super) fn leave() -> u64 {
    (&raw const efitrace_leave).addr() as u64
}

/// The boot and the runtime services table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tables {
    boot: *mut u64,
    runtime: *mut u64,
}

impl Tables {
    /// The tables at these addresses.
    ///
    /// # Safety
    ///
    /// They are those of the system table, and stay writable while this value is used.
    pub(super) unsafe fn new(boot: *mut u64, runtime: *mut u64) -> Self {
        Self { boot, runtime }
    }

    /// The entry of a service.
    fn entry(self, index: usize) -> *mut u64 {
        let (table, index) = match index.checked_sub(BOOT_COUNT) {
            None => (self.boot, index),
            Some(index) => (self.runtime, index),
        };
        table.wrapping_byte_add(HEADER).wrapping_add(index)
    }

    /// Saves the firmware's functions and replaces them by the stubs.
    pub(super) fn hook(self) {
        let stubs = (&raw const efitrace_stubs).addr();
        let originals = ORIGINALS.0.get().cast::<u64>();
        for index in (0..COUNT).filter(|index| *index != RESERVED) {
            let entry = self.entry(index);
            // SAFETY: the entry is inside a table, as `new` requires.
            let original = unsafe { entry.read() };
            // SAFETY: the index is below the length, and no stub is in use yet.
            unsafe { originals.wrapping_add(index).write(original) };
        }
        for index in (0..COUNT).filter(|index| *index != RESERVED) {
            // SAFETY: the entry is inside a table that is writable, as `new` requires.
            unsafe { self.entry(index).write((stubs + STUB * index) as u64) };
        }
    }

    /// Restores the firmware's functions.
    pub(super) fn unhook(self) {
        let originals = ORIGINALS.0.get().cast::<u64>();
        for index in (0..COUNT).filter(|index| *index != RESERVED) {
            // SAFETY: the index is below the length, and nothing is written since `hook`.
            let original = unsafe { originals.wrapping_add(index).read() };
            // SAFETY: the entry is inside a table that is writable, as `new` requires.
            unsafe { self.entry(index).write(original) };
        }
    }
}
