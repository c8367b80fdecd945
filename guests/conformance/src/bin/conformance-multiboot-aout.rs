//! A Multiboot kernel with load addresses in its header, equal to those in its ELF headers.
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
    .set FLAGS, 0x10003                     # page-aligned modules, memory information, load addresses
    .section .multiboot, "a", @progbits
    .balign 8
    .long   0x1badb002
    .long   FLAGS
    .long   -(0x1badb002 + FLAGS)
    .long   __multiboot_header_phys         # header_addr
    .long   __phys_base                     # load_addr
    .long   __data_end_phys                 # load_end_addr
    .long   __image_end_phys                # bss_end_addr
    .long   __multiboot_start_phys          # entry_addr
    "#,
    options(att_syntax)
);

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("This program needs the target x86_64-unknown-none.");
    std::process::exit(2);
}
