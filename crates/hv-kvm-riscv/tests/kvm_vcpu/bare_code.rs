//! Code of the guests of bare machines.

use hv_kvm_riscv::rewind::ImageParts;

use crate::{
    bare_machine::{CODE, DOORBELL, HANDLER, IDENTITY, MEMORY, PARAMETERS, ROOT, SATP, ring},
    guest_code::{
        A0, A6, A7, Code, EBREAK, ECALL, SFENCE_VMA, SRET, T0, T1, T2, Width, ZERO, add, addi, branch_equal,
        branch_unequal, csr, csr_read, csr_write, jump, jump_to, load, load_double, load_vectors, store,
        vsetvli,
    },
};

/// Address of 32 words of data in the page of parameters.
const DATA: u64 = PARAMETERS + 0x100;
/// Address of the data for vector registers.
pub(crate) const VECTORS: u64 = MEMORY + 0x1000;

/// Address of the next instruction of `code`.
pub(crate) fn here(code: &Code) -> u64 {
    CODE + u64::try_from(code.bytes().len()).unwrap()
}

/// Runs `block` if the parameter is not zero. Changes `t0`.
pub(crate) fn if_parameter(code: Code, block: &Code) -> Code {
    let skip = i32::try_from(block.bytes().len()).unwrap() + 4;
    code.set(T0, PARAMETERS)
        .then([load(Width::Double, T0, T0, 0), branch_equal(T0, ZERO, skip)])
        .then(block.words())
}

/// Rings with 0, 1, 2 and so on.
pub(crate) fn count() -> Code {
    let code = Code::new().set(A7, DOORBELL).set(A6, 0).set(T1, 0);
    code.then([add(A0, T1, ZERO), ECALL, addi(T1, T1, 1), jump(-12)])
}

/// Calls function `function` of `extension`; then rings with `a0`.
pub(crate) fn call(extension: u64, function: u64) -> Code {
    Code::new().set(A0, 0).call(extension, function).call(DOORBELL, 0)
}

/// Writes the first and last byte of page 0, all of page 1, and to pages 64 and 129; rings; and again.
pub(crate) fn write_pages() -> Code {
    let mut code = Code::new();
    for offset in [0, 0x0ff8, 0x1000, 64 * 0x1000 + 8, 130 * 0x1000 - 8] {
        code = code.store_value(Width::Double, MEMORY + offset, 0x1111);
    }
    let code = ring(code, 1);
    let back = -i32::try_from(code.bytes().len()).unwrap();
    code.then([jump(back)])
}

/// Writes a word to each of `addresses` and rings with the word that it then reads there.
pub(crate) fn write_and_read(addresses: &[u64]) -> Code {
    addresses.iter().fold(Code::new(), |code, &address| {
        code.store_value(Width::Word, address, 0x1234_5678)
            .then([load(Width::Word, A0, T0, 0)])
            .call(DOORBELL, 0)
    })
}

/// Rings with 1; changes every register that a guest with `parts` can change, `vstart` to this value; and rings with 2.
pub(crate) fn ring_and_dirty(parts: ImageParts, vstart: u64) -> Code {
    /// SPIE, SPP, VS and FS dirty, SUM, MXR.
    const SSTATUS: u64 = 1 << 5 | 1 << 8 | 3 << 9 | 3 << 13 | 1 << 18 | 1 << 19;
    let mut code = ring(Code::new(), 1);
    for (csr, value) in [
        (csr::SIE, 0x222),
        (csr::STVEC, HANDLER),
        (csr::SSCRATCH, 0x1111),
        (csr::SEPC, 0x2222),
        (csr::SCAUSE, 7),
        (csr::STVAL, 0x3333),
        (csr::SIP, 2),
        (csr::SCOUNTEREN, 1),
        (csr::SENVCFG, 1),
        (csr::SSTATUS, SSTATUS),
    ] {
        code = code.set_csr(csr, value);
    }
    if parts.contains(ImageParts::TIMER) {
        code = code.set_csr(csr::STIMECMP, 5);
    }
    if parts.contains(ImageParts::STATE_ENABLES) {
        code = code.set_csr(csr::SSTATEEN0, 1);
    }
    if parts.contains(ImageParts::SELECT) {
        // Priorities of the interrupts 0 to 7, and another selection.
        code = code
            .set_csr(csr::SISELECT, 0x30)
            .set_csr(csr::SIREG, 0x0707_0707_0707_0707)
            .set_csr(csr::SISELECT, 0x32);
    }
    code = code.set(T0, DATA);
    // QEMU does not note that a write of `fcsr` or `vcsr` alone changes the state: it is lost if the thread of the vCPU is scheduled out
    // before the next load of a register. So a load follows at once, from memory that was accessed before and does not fault.
    if parts.contains(ImageParts::FLOAT) {
        code = code.then([load_double(0, T0, 0)]);
        code = code.set(T1, 0x65).then([csr_write(ZERO, csr::FCSR, T1)]);
        code = code.then((0..32).map(|n| load_double(n, T0, 8 * i32::try_from(n).unwrap())));
    }
    if parts.contains(ImageParts::VECTOR) {
        // Eight registers from each of four places, twice.
        for _ in 0..2 {
            code = code
                .set(T1, 5)
                .set(T2, VECTORS)
                .then([csr_write(ZERO, csr::VCSR, T1)]);
            for vd in [0, 8, 16, 24] {
                code = code.then([load_vectors(vd, T2), addi(T2, T2, 8)]);
            }
        }
        // e16, m2, tail and mask agnostic: 0xc9.
        code = code.set(T1, 3).then([vsetvli(ZERO, T1, 0xc9)]);
        if vstart != 0 {
            code = code.set(T1, vstart).then([csr_write(ZERO, csr::VSTART, T1)]);
        }
    }
    code = code.set(T1, SATP).then([csr_write(ZERO, csr::SATP, T1)]);
    // Integer registers, the base last.
    let code = code.then(
        (1..32)
            .filter(|n| ![T0, A0, A6, A7].contains(n))
            .chain([T0])
            .map(|n| load(Width::Double, n, T0, 8 * i32::try_from(n).unwrap())),
    );
    ring(code, 2).then([jump(-4)])
}

/// Data for [`ring_and_dirty`]: at [`DATA`].
pub(crate) fn dirty_data() -> Vec<u8> {
    (0..32_u64)
        .flat_map(|n| (0x4000_0000_0000_1000 + n).to_le_bytes())
        .collect()
}

/// Offset of [`DATA`] in the mapping of the tables.
pub(crate) const DATA_OFFSET: usize = 0x1100;

/// Rings with 1, and executes a breakpoint instruction.
pub(crate) fn ring_and_break() -> Code {
    ring(Code::new(), 1).then([EBREAK, jump(0)])
}

/// Rings with 1. With a parameter, rings with 3; without, loops for ever.
pub(crate) fn ring_or_loop() -> Code {
    if_parameter(ring(Code::new(), 1), &ring(Code::new(), 3)).then([jump(0)])
}

/// Rings with 1. With a parameter, rings with 3; without, loops for ever in user mode.
pub(crate) fn ring_or_user_mode() -> Code {
    let code = if_parameter(ring(Code::new(), 1), &ring(Code::new(), 3));
    let code = code.set_csr(csr::SSTATUS, 0);
    // The length of this instruction sequence does not depend on the value.
    let with = |address| code.clone().set_csr(csr::SEPC, address).then([SRET]);
    let user = here(&with(0));
    with(user).then([jump(0)])
}

/// Rings with 1. With a parameter, rings with 3; without, runs `last`.
pub(crate) fn ring_or(last: &Code) -> Code {
    if_parameter(ring(Code::new(), 1), &ring(Code::new(), 3)).then(last.words())
}

/// Jumps to `address`.
pub(crate) fn go(address: u64) -> Code {
    Code::new().set(T0, address).then([jump_to(T0)])
}

/// Turns the address translation on and rings with 1. Without a parameter, maps 1 GiB at 0xc000_0000; then reads there and rings with 2. A
/// page fault goes to the trap handler.
pub(crate) fn stale_translation() -> Code {
    let code = Code::new().set_csr(csr::STVEC, HANDLER).set_csr(csr::SATP, SATP);
    let map = Code::new()
        .set(T0, ROOT + 3 * 8)
        .set(T1, IDENTITY)
        .then([store(Width::Double, T1, T0, 0)]);
    let skip = i32::try_from(map.bytes().len()).unwrap() + 4;
    let code = ring(code, 1)
        .set(T0, PARAMETERS)
        .then([load(Width::Double, T0, T0, 0), branch_unequal(T0, ZERO, skip)])
        .then(map.words())
        .set(T0, 0xc000_0000 + (MEMORY - 0x8000_0000))
        .then([load(Width::Double, T1, T0, 0)]);
    ring(code, 2)
}

/// Rings with 1. With a parameter, rings with 3; without, moves to addresses from 0xc000_0000 on, unmaps the lower ones, and rings with 2.
pub(crate) fn move_away() -> Code {
    const ALIAS: u64 = 0x4000_0000;
    let code = if_parameter(ring(Code::new(), 1), &ring(Code::new(), 3))
        .set_csr(csr::STVEC, HANDLER + ALIAS)
        .store_value(Width::Double, ROOT + 3 * 8, IDENTITY)
        .set_csr(csr::SATP, SATP);
    // The length of this instruction sequence does not depend on the address.
    let with = |address| code.clone().then(go(address).words());
    let alias = here(&with(0)) + ALIAS;
    let code = with(alias).store_value(Width::Double, ROOT + ALIAS + 2 * 8, 0);
    ring(code.then([SFENCE_VMA]), 2)
}

/// Rings with the trap cause.
pub(crate) fn ring_cause() -> Code {
    Code::new().then([csr_read(A0, csr::SCAUSE)]).call(DOORBELL, 0)
}

/// Rings with 1. Without a parameter: enables the timer interrupt, sets the timer to `ticks` from now, and rings with 2. With one, rings
/// with 3.
pub(crate) fn ring_and_set_timer(ticks: u64) -> Code {
    let code = if_parameter(ring(Code::new(), 1), &ring(Code::new(), 3));
    let code = code
        .set_csr(csr::STVEC, HANDLER)
        .set_csr(csr::SIE, 1 << 5)
        .set(T1, ticks)
        .then([
            csr_read(T0, csr::TIME),
            add(T0, T0, T1),
            csr_write(ZERO, csr::STIMECMP, T0),
        ])
        .set_csr(csr::SSTATUS, 1 << 1);
    ring(code, 2)
}

/// Reads the CSR `seed` and rings with 2.
pub(crate) fn read_seed() -> Code {
    let code = Code::new()
        .set_csr(csr::STVEC, HANDLER)
        .then([csr_write(T1, csr::SEED, ZERO)]);
    ring(code, 2)
}
