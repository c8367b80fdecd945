//! A PVH kernel like a vmlinux: the 32-bit entry point is in the note, the 64-bit entry point in the ELF header.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![cfg_attr(
    target_os = "none",
    expect(
        unsafe_code,
        reason = "an ELF note is data in a section that only assembly can name"
    )
)]

use conformance as _;

#[cfg(target_os = "none")]
core::arch::global_asm!(
    r#"
    .section .note.Xen, "a", @note
    .balign 4
    .long   4                       # length of the name
    .long   4                       # length of the description
    .long   18                      # XEN_ELFNOTE_PHYS32_ENTRY
    .asciz  "Xen"
    .long   __pvh_start_phys
    "#,
    options(att_syntax)
);

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("This program needs the target x86_64-unknown-none.");
    std::process::exit(2);
}
