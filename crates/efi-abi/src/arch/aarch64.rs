//! arm64: AAPCS64, UEFI 2.10 section 2.3.6.
#![expect(
    unsafe_code,
    reason = "naked functions: variable arguments, and returns past frames of an image"
)]

use core::arch::naked_asm;

use crate::boot::multiple;

/// Stores the eight register arguments below those on the stack, so that all arguments are one array; `x0` points to it.
macro_rules! collect_arguments {
    () => {
        "stp x29, x30, [sp, #-80]!
         mov x29, sp
         stp x0, x1, [sp, #16]
         stp x2, x3, [sp, #32]
         stp x4, x5, [sp, #48]
         stp x6, x7, [sp, #64]
         add x0, sp, #16"
    };
}

/// `InstallMultipleProtocolInterfaces`.
///
/// # Safety
///
/// The arguments are those of the service.
#[unsafe(naked)]
pub(crate) unsafe extern "efiapi" fn install_multiple() {
    naked_asm!(
        collect_arguments!(),
        "bl {install}",
        "ldp x29, x30, [sp], #80",
        "ret",
        install = sym multiple::install,
    )
}

/// `UninstallMultipleProtocolInterfaces`.
///
/// # Safety
///
/// The arguments are those of the service.
#[unsafe(naked)]
pub(crate) unsafe extern "efiapi" fn uninstall_multiple() {
    naked_asm!(
        collect_arguments!(),
        "bl {uninstall}",
        "ldp x29, x30, [sp], #80",
        "ret",
        uninstall = sym multiple::uninstall,
    )
}

/// Restores what [`call_image`] saved below the stack pointer, and returns to its caller with the status in `x0`.
macro_rules! restore {
    () => {
        ".arch_extension fp
         ldp x19, x20, [sp, #16]
         ldp x21, x22, [sp, #32]
         ldp x23, x24, [sp, #48]
         ldp x25, x26, [sp, #64]
         ldp x27, x28, [sp, #80]
         ldp d8, d9, [sp, #96]
         ldp d10, d11, [sp, #112]
         ldp d12, d13, [sp, #128]
         ldp d14, d15, [sp, #144]
         ldp x29, x30, [sp], #160
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
        ".arch_extension fp",
        "stp x29, x30, [sp, #-160]!",
        "stp x19, x20, [sp, #16]",
        "stp x21, x22, [sp, #32]",
        "stp x23, x24, [sp, #48]",
        "stp x25, x26, [sp, #64]",
        "stp x27, x28, [sp, #80]",
        "stp d8, d9, [sp, #96]",
        "stp d10, d11, [sp, #112]",
        "stp d12, d13, [sp, #128]",
        "stp d14, d15, [sp, #144]",
        "mov x29, sp",
        "str x29, [x3]",
        "blr x2",
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
    naked_asm!("mov sp, x0", "mov x0, x1", restore!())
}
