//! The rewind code, by the assembler of the compiler.
#![expect(unsafe_code, reason = "contains assembly, and reads its bytes")]

use std::{arch::global_asm, mem::offset_of, slice};

use hv_kvm_riscv::rewind::{ImageParts, RawImage};

global_asm!(
    ".pushsection .rodata.rewind_code, \"a\", @progbits",
    ".option push",
    ".option arch, +v, +d",
    ".option norvc",
    ".option norelax",
    ".balign 4",
    "rewind_code_start:",
    "    nop",
    "    sfence.vma",
    "    fence.i",
    "    ld t0, {parts}(a0)",
    ".macro load_csr name, number, offset",
    "    ld t1, \\offset(a0)",
    "    csrw \\number, t1",
    ".endm",
    "    load_csr sie, 0x104, {sie}",
    "    load_csr stvec, 0x105, {stvec}",
    "    load_csr sscratch, 0x140, {sscratch}",
    "    load_csr sepc, 0x141, {sepc}",
    "    load_csr scause, 0x142, {scause}",
    "    load_csr stval, 0x143, {stval}",
    "    load_csr sip, 0x144, {sip}",
    "    load_csr scounteren, 0x106, {scounteren}",
    "    load_csr senvcfg, 0x10a, {senvcfg}",
    "    andi t1, t0, {has_timer}",
    "    beqz t1, 1f",
    "    load_csr stimecmp, 0x14d, {stimecmp}",
    "1:  andi t1, t0, {has_state_enables}",
    "    beqz t1, 2f",
    "    load_csr sstateen0, 0x10c, {sstateen0}",
    "2:  andi t1, t0, {has_select}",
    "    beqz t1, 3f",
    "    load_csr siselect, 0x150, {siselect}",
    "3:  andi t1, t0, {has_float}",
    "    beqz t1, 4f",
    "    ld t1, {fcsr}(a0)",
    "    fscsr t1",
    ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
    "    fld f\\n, {f} + 8 * \\n(a0)",
    ".endr",
    "4:  andi t1, t0, {has_vector}",
    "    beqz t1, 5f",
    "    load_csr vcsr, vcsr, {vcsr}",
    "    csrw vstart, zero",
    "    addi t1, a0, {v}",
    "    csrr t2, vlenb",
    "    slli t2, t2, 3",
    "    vl8re8.v v0, (t1)",
    "    add t1, t1, t2",
    "    vl8re8.v v8, (t1)",
    "    add t1, t1, t2",
    "    vl8re8.v v16, (t1)",
    "    add t1, t1, t2",
    "    vl8re8.v v24, (t1)",
    "    ld t1, {vl}(a0)",
    "    ld t2, {vtype}(a0)",
    "    vsetvl zero, t1, t2",
    "    load_csr vstart, vstart, {vstart}",
    "5:  load_csr sstatus, sstatus, {sstatus}",
    "    load_csr satp, satp, {satp}",
    "    sfence.vma",
    ".irp n, 1,2,3,4,5,6,7,8,9,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31,10",
    "    ld x\\n, 8 * \\n(a0)",
    ".endr",
    "    jr a1",
    "    sfence.vma",
    "    fence.i",
    "    ecall",
    "rewind_code_end:",
    ".option pop",
    ".popsection",
    parts = const offset_of!(RawImage, parts),
    sie = const offset_of!(RawImage, sie),
    stvec = const offset_of!(RawImage, stvec),
    sscratch = const offset_of!(RawImage, sscratch),
    sepc = const offset_of!(RawImage, sepc),
    scause = const offset_of!(RawImage, scause),
    stval = const offset_of!(RawImage, stval),
    sip = const offset_of!(RawImage, sip),
    scounteren = const offset_of!(RawImage, scounteren),
    senvcfg = const offset_of!(RawImage, senvcfg),
    stimecmp = const offset_of!(RawImage, stimecmp),
    sstateen0 = const offset_of!(RawImage, sstateen0),
    siselect = const offset_of!(RawImage, siselect),
    f = const offset_of!(RawImage, f),
    fcsr = const offset_of!(RawImage, fcsr),
    v = const size_of::<RawImage>(),
    vl = const offset_of!(RawImage, vl),
    vtype = const offset_of!(RawImage, vtype),
    vcsr = const offset_of!(RawImage, vcsr),
    vstart = const offset_of!(RawImage, vstart),
    sstatus = const offset_of!(RawImage, sstatus),
    satp = const offset_of!(RawImage, satp),
    has_timer = const ImageParts::TIMER.0,
    has_state_enables = const ImageParts::STATE_ENABLES.0,
    has_select = const ImageParts::SELECT.0,
    has_float = const ImageParts::FLOAT.0,
    has_vector = const ImageParts::VECTOR.0,
);

unsafe extern "C" {
    #[link_name = "rewind_code_start"]
    static START: u8;
    #[link_name = "rewind_code_end"]
    static END: u8;
}

/// The assembled bytes.
pub(crate) fn code() -> &'static [u8] {
    let (start, end) = (&raw const START, &raw const END);
    // SAFETY: both symbols are in one section of the program, the second one after the first one.
    let len = unsafe { end.offset_from_unsigned(start) };
    // SAFETY: the bytes between the symbols are constant data of the program.
    unsafe { slice::from_raw_parts(start, len) }
}
