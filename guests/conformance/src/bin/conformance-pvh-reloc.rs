//! A relocatable PVH kernel.
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
    .long   __pvh_start_reloc_phys

    .long   4
    .long   12
    .long   19                      # XEN_ELFNOTE_PHYS32_RELOC
    .asciz  "Xen"
    .long   0x1000                  # alignment
    .long   0x100000                # lowest address
    .long   0xffffffff              # highest address
    "#,
    options(att_syntax)
);

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("This program needs the target x86_64-unknown-none.");
    std::process::exit(2);
}
