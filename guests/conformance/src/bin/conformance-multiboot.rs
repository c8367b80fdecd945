//! A Multiboot kernel without load addresses in its header: it is loaded by its ELF headers.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![cfg_attr(
    target_os = "none",
    expect(
        unsafe_code,
        reason = "a Multiboot header is data in a section that only assembly can name"
    )
)]

use conformance as _;

#[cfg(target_os = "none")]
core::arch::global_asm!(
    r#"
    .set FLAGS, 0x3                         # page-aligned modules, memory information
    .section .multiboot, "a", @progbits
    .balign 8
    .long   0x1badb002
    .long   FLAGS
    .long   -(0x1badb002 + FLAGS)
    "#,
    options(att_syntax)
);

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("This program needs the target x86_64-unknown-none.");
    std::process::exit(2);
}
