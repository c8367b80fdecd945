//! Files of snapshots: the first byte chooses whether checksum and length are corrected.

use fmt_test::elf::EM_X86_64;
use fmt_test::guest::Guest;
use hv_core::fake::{FakeCpu, FakeExit};
use sandbox::{Fake, FakeProgram, GuestProgram, SandboxBuilder};
use sandbox_abi::{BootInfo, FunctionFlags, Header, MessageKind, layout};
use zerocopy::{FromZeros, IntoBytes};

use crate::seed::Seed;

/// Writes a page of the heap, if there is one, and says that the guest is ready.
fn start(cpu: &mut FakeCpu<'_>) -> FakeExit {
    let mut info = BootInfo::new_zeroed();
    cpu.read(layout::BOOT_INFO, info.as_mut_bytes())
        .expect("boot information");
    if info.heap_len.get() > 0 {
        cpu.write(info.heap.get(), b"heap").expect("the heap is writable");
    }
    cpu.registers()[1] = 7;
    let header = Header::new(MessageKind::READY, 0);
    cpu.write(info.outbox.get(), header.as_bytes())
        .expect("an outbox");
    FakeExit::Doorbell(0)
}

/// A snapshot of a program at its start.
fn file(program: impl Into<GuestProgram>, heap: u64) -> Vec<u8> {
    let builder = SandboxBuilder::on(Fake::new(|| start).with_features(1), program);
    let mut sandbox = builder
        .heap(heap)
        .window(0x1000)
        .build()
        .expect("a correct program");
    let mut file = vec![1];
    let snapshot = sandbox.snapshot().expect("a ready sandbox");
    snapshot.write_to(&mut file).expect("a vector has room");
    file
}

pub(crate) fn seeds() -> Vec<Seed> {
    let program = FakeProgram::new()
        .export("bytes", 0, FunctionFlags::BYTES)
        .data(b"data".to_vec());
    let mut guest = Guest::new(EM_X86_64);
    guest.imports.clear();
    let small = file(program.clone(), 0);
    let mut uncorrected = small.clone();
    uncorrected[0] = 0;
    vec![
        ("header", small[..=152].to_vec()),
        ("fake", small),
        ("uncorrected", uncorrected),
        ("heap", file(program, 2 << 20)),
        ("elf", file(GuestProgram::bytes(guest.elf().bytes()), 2 << 20)),
    ]
}
