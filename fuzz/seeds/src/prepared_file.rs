//! Files of prepared boots: the first byte chooses whether the rest is a whole file or a description.

use boot_core::{
    Arch, BootProtocol as _, BootRequest, Cmdline, Endian, EntryAbi, GuestRange, ImageBuilder, Machine,
    MemoryMap, SourceRange, Sources,
};
use guest_ram::PreparedBoot;

use crate::seed::Seed;

/// The file of a small kernel with zeros behind it.
fn file() -> Vec<u8> {
    const LEN: u64 = 0x1800;
    let kernel = vec![0x90; 0x1800];
    let image = ImageBuilder::new("elf", Arch::X86_64, Endian::Little, LEN)
        .segment(
            SourceRange::whole(LEN),
            GuestRange::new(0x20_0000, 0x4000).expect("a range"),
        )
        .entry(EntryAbi::ELF64, 0x20_0000)
        .build()
        .expect("a correct image");
    let machine = Machine::new(Arch::X86_64, MemoryMap::pc(4 << 20).expect("4 MiB of RAM"));
    let cmdline = Cmdline::new();
    let request = BootRequest::new(&image, &machine, &cmdline);
    let plan = proto_linux_x86::PROTOCOL.plan(&request).expect("a small kernel");
    let boot = PreparedBoot::new(&plan, &Sources::kernel(&kernel)).expect("a memory file");
    let mut file = Vec::new();
    boot.with_notes("{}".into())
        .save(&mut file)
        .expect("a vector has room");
    file
}

pub(crate) fn seeds() -> Vec<Seed> {
    let file = file();
    let (header, rest) = file.split_at(32);
    let len = u64::from_le_bytes(header[24..].try_into().expect("8 bytes"));
    let description = &rest[..usize::try_from(len).expect("a short description")];
    let with = |choice: u8, bytes: &[u8]| [&[choice], bytes].concat();
    vec![
        ("file", with(0, &file)),
        ("header", with(0, &file[..0x200])),
        ("description", with(1, description)),
    ]
}
