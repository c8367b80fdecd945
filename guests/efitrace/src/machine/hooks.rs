//! The stubs that replace the entries of the tables.
#![expect(
    unsafe_code,
    reason = "stubs are assembly, whose addresses are external symbols"
)]

use core::arch::global_asm;

use super::tables::ORIGINALS;
use super::trace::{on_call, on_return};
use crate::services::SERVICES;

const COUNT: usize = SERVICES.len();

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

/// The address of the stub of the first service; see [`tables`](super::tables).
pub(super) fn stubs() -> usize {
    (&raw const efitrace_stubs).addr()
}
