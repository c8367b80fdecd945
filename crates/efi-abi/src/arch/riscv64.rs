//! riscv64: the standard calling convention, UEFI 2.10 section 2.3.7.
#![expect(
    unsafe_code,
    reason = "naked functions: variable arguments, and returns past frames of an image"
)]

use core::arch::naked_asm;

use crate::boot::multiple;

/// Stores the eight register arguments below those on the stack, so that all arguments are one array; `a0` points to it.
macro_rules! collect_arguments {
    () => {
        "addi sp, sp, -80
         sd ra, 8(sp)
         sd a0, 16(sp)
         sd a1, 24(sp)
         sd a2, 32(sp)
         sd a3, 40(sp)
         sd a4, 48(sp)
         sd a5, 56(sp)
         sd a6, 64(sp)
         sd a7, 72(sp)
         addi a0, sp, 16"
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
        "call {install}",
        "ld ra, 8(sp)",
        "addi sp, sp, 80",
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
        "call {uninstall}",
        "ld ra, 8(sp)",
        "addi sp, sp, 80",
        "ret",
        uninstall = sym multiple::uninstall,
    )
}

/// Restores what [`call_image`] saved below the stack pointer, and returns to its caller with the status in `a0`.
macro_rules! restore {
    () => {
        ".option push
         .option arch, +d
         ld ra, 0(sp)
         ld s0, 8(sp)
         ld s1, 16(sp)
         ld s2, 24(sp)
         ld s3, 32(sp)
         ld s4, 40(sp)
         ld s5, 48(sp)
         ld s6, 56(sp)
         ld s7, 64(sp)
         ld s8, 72(sp)
         ld s9, 80(sp)
         ld s10, 88(sp)
         ld s11, 96(sp)
         fld fs0, 112(sp)
         fld fs1, 120(sp)
         fld fs2, 128(sp)
         fld fs3, 136(sp)
         fld fs4, 144(sp)
         fld fs5, 152(sp)
         fld fs6, 160(sp)
         fld fs7, 168(sp)
         fld fs8, 176(sp)
         fld fs9, 184(sp)
         fld fs10, 192(sp)
         fld fs11, 200(sp)
         .option pop
         addi sp, sp, 208
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
        "addi sp, sp, -208",
        ".option push",
        ".option arch, +d",
        "sd ra, 0(sp)",
        "sd s0, 8(sp)",
        "sd s1, 16(sp)",
        "sd s2, 24(sp)",
        "sd s3, 32(sp)",
        "sd s4, 40(sp)",
        "sd s5, 48(sp)",
        "sd s6, 56(sp)",
        "sd s7, 64(sp)",
        "sd s8, 72(sp)",
        "sd s9, 80(sp)",
        "sd s10, 88(sp)",
        "sd s11, 96(sp)",
        "fsd fs0, 112(sp)",
        "fsd fs1, 120(sp)",
        "fsd fs2, 128(sp)",
        "fsd fs3, 136(sp)",
        "fsd fs4, 144(sp)",
        "fsd fs5, 152(sp)",
        "fsd fs6, 160(sp)",
        "fsd fs7, 168(sp)",
        "fsd fs8, 176(sp)",
        "fsd fs9, 184(sp)",
        "fsd fs10, 192(sp)",
        "fsd fs11, 200(sp)",
        ".option pop",
        "sd sp, 0(a3)",
        "jalr a2",
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
    naked_asm!("mv sp, a0", "mv a0, a1", restore!())
}
