//! A relocatable Multiboot2 kernel that prefers the highest address.
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
    .section .multiboot, "a", @progbits
    .balign 8
header:
    .long   0xe85250d6
    .long   0                               # i386
    .long   header_end - header
    .long   -(0xe85250d6 + (header_end - header))

    .balign 8
    .short  1, 0                            # information request
    .long   28
    .long   1, 2, 4, 6, 3                   # command line, name, memory, memory map, modules

    .balign 8
    .short  1, 1                            # the same, optional: framebuffer, ELF symbols, an unknown tag
    .long   20
    .long   8, 9, 0x7777

    .balign 8
    .short  3, 0                            # entry address
    .long   12
    .long   __multiboot2_start_phys

    .balign 8
    .short  5, 1                            # framebuffer, optional
    .long   20
    .long   1024, 768, 32

    .balign 8
    .short  6, 0                            # module alignment
    .long   8

    .balign 8
    .short  10, 0                           # relocatable
    .long   24
    .long   0x100000                        # lowest address
    .long   0xffffffff                      # highest address
    .long   0x1000                          # alignment
    .long   2                               # preference: highest

    .balign 8
    .short  0, 0                            # end
    .long   8
header_end:
    "#,
    options(att_syntax)
);

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("This program needs the target x86_64-unknown-none.");
    std::process::exit(2);
}
