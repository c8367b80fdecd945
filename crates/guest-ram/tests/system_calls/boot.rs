//! A boot whose plan has every kind of load.

use std::fs::File;
use std::io::Write;

use boot_core::{
    Arch, BootPlan, BootProtocol, BootRequest, Cmdline, Endian, EntryAbi, GuestMemory, GuestRange,
    ImageBuilder, LoadContent, Machine, MemoryMap, SourceRange, Sources,
};

const KERNEL: u64 = 0x100_0000;
/// Long enough for several threads.
const FILE_LEN: u64 = 0x60_0000;
/// As much again is zeroed.
const KERNEL_LEN: u64 = 2 * FILE_LEN;

pub(crate) struct Boot {
    pub(crate) machine: Machine,
    kernel: File,
    plan: BootPlan,
}

impl Boot {
    pub(crate) fn new() -> Self {
        let mut kernel = tempfile::tempfile().unwrap();
        let bytes: Vec<u8> = (0..FILE_LEN)
            .map(|at| u8::try_from(at % 251).unwrap() + 1)
            .collect();
        kernel.write_all(&bytes).unwrap();
        let image = ImageBuilder::new("elf", Arch::X86_64, Endian::Little, FILE_LEN)
            .segment(
                SourceRange::whole(FILE_LEN),
                GuestRange::new(KERNEL, KERNEL_LEN).unwrap(),
            )
            .entry(EntryAbi::ELF64, KERNEL)
            .build()
            .unwrap();
        let machine = Machine::new(Arch::X86_64, MemoryMap::pc(64 << 20).unwrap());
        let cmdline: Cmdline = "quiet".parse().unwrap();
        let plan = proto_linux_x86::PROTOCOL
            .plan(&BootRequest::new(&image, &machine, &cmdline))
            .unwrap();
        let contents = plan.loads().iter().map(|load| &load.content);
        assert!(
            contents
                .clone()
                .any(|content| matches!(content, LoadContent::File { .. }))
                && contents
                    .clone()
                    .any(|content| matches!(content, LoadContent::Bytes(_)))
                && contents.clone().any(|content| *content == LoadContent::Zeros)
        );
        Self {
            machine,
            kernel,
            plan,
        }
    }

    pub(crate) fn kernel(&self) -> &File {
        &self.kernel
    }

    pub(crate) fn load(&self, memory: &mut dyn GuestMemory) -> bool {
        self.plan.load(&Sources::kernel(&self.kernel), memory).is_ok()
    }

    /// Whether the kernel's bytes and zeros are in memory. Makes no system call.
    pub(crate) fn is_loaded(memory: &dyn GuestMemory) -> bool {
        let mut found = [0; 2];
        let mut at = |offset: u64| {
            memory.read(KERNEL + offset, &mut found).unwrap();
            found
        };
        at(0) == [1, 2]
            && at(251 * 0x5000) == [1, 2]
            && at(FILE_LEN) == [0, 0]
            && at(KERNEL_LEN - 2) == [0, 0]
    }
}
