//! The machines of the corpus: 64 MiB of RAM, one CPU.

use std::num::NonZeroU32;

use boot_core::machine::Isa;
use boot_core::{Arch, Machine, MemoryMap};
use hv_core::virt::{self, Gic, RiscvIrqchip};

/// RAM of each machine in bytes.
const RAM: u64 = 64 << 20;

/// The reference machines of all architectures.
pub(crate) fn all() -> [Machine; 3] {
    let one = NonZeroU32::MIN;
    [
        Machine::new(Arch::X86_64, MemoryMap::pc(RAM).unwrap()),
        virt::arm64_machine(RAM, one, Gic::V3WithIts).unwrap(),
        virt::riscv64_machine(RAM, one, &Isa::rv64gc(), 10_000_000, RiscvIrqchip::Plic).unwrap(),
    ]
}
