//! x86_64: the calling convention of Microsoft, UEFI 2.10 section 2.3.4.
#![expect(
    unsafe_code,
    reason = "naked functions: variable arguments, and returns past frames of an image"
)]

use core::arch::naked_asm;

use crate::boot::multiple;

/// `InstallMultipleProtocolInterfaces`. The caller reserves 32 bytes for the four register arguments, below the others: stored
/// there, all arguments are one array.
///
/// # Safety
///
/// The arguments are those of the service.
#[unsafe(naked)]
pub(crate) unsafe extern "efiapi" fn install_multiple() {
    naked_asm!(
        "mov [rsp + 8], rcx",
        "mov [rsp + 16], rdx",
        "mov [rsp + 24], r8",
        "mov [rsp + 32], r9",
        "lea rcx, [rsp + 8]",
        // 32 bytes for the callee's register arguments, and 8 to align the stack.
        "sub rsp, 40",
        "call {install}",
        "add rsp, 40",
        "ret",
        install = sym multiple::install,
    )
}

/// `UninstallMultipleProtocolInterfaces`, as [`install_multiple`].
///
/// # Safety
///
/// The arguments are those of the service.
#[unsafe(naked)]
pub(crate) unsafe extern "efiapi" fn uninstall_multiple() {
    naked_asm!(
        "mov [rsp + 8], rcx",
        "mov [rsp + 16], rdx",
        "mov [rsp + 24], r8",
        "mov [rsp + 32], r9",
        "lea rcx, [rsp + 8]",
        "sub rsp, 40",
        "call {uninstall}",
        "add rsp, 40",
        "ret",
        uninstall = sym multiple::uninstall,
    )
}

/// Restores what [`call_image`] saved below the stack pointer, and returns to its caller with the status in `rax`.
macro_rules! restore {
    () => {
        "movaps xmm6, [rsp]
         movaps xmm7, [rsp + 16]
         movaps xmm8, [rsp + 32]
         movaps xmm9, [rsp + 48]
         movaps xmm10, [rsp + 64]
         movaps xmm11, [rsp + 80]
         movaps xmm12, [rsp + 96]
         movaps xmm13, [rsp + 112]
         movaps xmm14, [rsp + 128]
         movaps xmm15, [rsp + 144]
         ldmxcsr [rsp + 160]
         fldcw [rsp + 164]
         add rsp, 168
         pop r15
         pop r14
         pop r13
         pop r12
         pop rsi
         pop rdi
         pop rbx
         pop rbp
         ret"
    };
}

/// Calls the entry point of an image on the current stack: its status. The stack pointer at which the registers of the caller
/// are saved goes to `return_point`, for [`return_from_image`].
///
/// # Safety
///
/// `entry` is the entry point of a loaded image, and `return_point` is valid for a write.
#[unsafe(naked)]
pub(crate) unsafe extern "efiapi" fn call_image(
    handle: usize,
    system_table: usize,
    entry: usize,
    return_point: *mut usize,
) -> usize {
    naked_asm!(
        "push rbp",
        "push rbx",
        "push rdi",
        "push rsi",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        // After the return address and eight registers, 168 bytes align the stack to 16.
        "sub rsp, 168",
        "movaps [rsp], xmm6",
        "movaps [rsp + 16], xmm7",
        "movaps [rsp + 32], xmm8",
        "movaps [rsp + 48], xmm9",
        "movaps [rsp + 64], xmm10",
        "movaps [rsp + 80], xmm11",
        "movaps [rsp + 96], xmm12",
        "movaps [rsp + 112], xmm13",
        "movaps [rsp + 128], xmm14",
        "movaps [rsp + 144], xmm15",
        "stmxcsr [rsp + 160]",
        "fnstcw [rsp + 164]",
        "mov [r9], rsp",
        // The handle and the system table are in the registers of the entry point's arguments.
        "sub rsp, 32",
        "call r8",
        "add rsp, 32",
        restore!(),
    )
}

/// Returns from [`call_image`] with a status, past the frames of the image.
///
/// # Safety
///
/// `return_point` is what the innermost `call_image` that has not returned has stored, and no frame above it has destructors
/// to run.
#[unsafe(naked)]
pub(crate) unsafe extern "efiapi" fn return_from_image(return_point: usize, status: usize) -> ! {
    naked_asm!("mov rsp, rcx", "mov rax, rdx", "cld", restore!())
}
