//! A guest that copies pages and then writes arbitrary page tables. Shared with the fuzz target `sandbox_copies`.

use hv_core::fake::{FakeCpu, FakeExit};
use sandbox::{CopyOnWrite, Fake, FakeProgram, Sandbox, SandboxBuilder, SnapshotError};
use sandbox_abi::{BootInfo, FunctionFlags, Header, MessageKind, layout};
use zerocopy::{FromZeros, IntoBytes};

const PAGE: u64 = 0x1000;

/// Bytes of one change of a page table.
const CHANGE: usize = 6;

/// Heap of the guest in bytes.
const HEAP: u64 = 0x40_0000;

fn boot_info(cpu: &FakeCpu<'_>) -> BootInfo {
    let mut info = BootInfo::new_zeroed();
    cpu.read(layout::BOOT_INFO, info.as_mut_bytes())
        .expect("boot information");
    info
}

/// Changes one word of page tables or pages for copies, if it is there.
fn change(cpu: &FakeCpu<'_>, info: &BootInfo, change: [u8; CHANGE]) {
    let [area, low, high, kind, value_low, value_high] = change;
    let tables = info.outbox.get() + u64::from(info.window_len.get());
    let word = 8 * u64::from(u16::from_le_bytes([low, high]));
    let value = u64::from(u16::from_le_bytes([value_low, value_high]));
    let at = if area % 2 == 0 { tables } else { info.copies.get() };
    let flags = [0x27, 0x63, 0x221, 0xa3][usize::from(kind >> 6)];
    let address = match kind % 8 {
        0 => tables + value % 32 * PAGE,
        1 => info.copies.get() + value * PAGE,
        2 => info.heap.get() + value * PAGE,
        3 => layout::HOST + value * PAGE,
        4 => value << 36,
        5 => value << 21,
        6 => info.copies.get() + value % 16 * PAGE,
        _ => tables,
    };
    // A change of memory without a slot is no change.
    let _outside = cpu.write(at + word, &(address | flags).to_le_bytes());
}

/// A guest that makes the changes of each call.
fn guest(cpu: &mut FakeCpu<'_>) -> FakeExit {
    let mut header = Header::new(MessageKind::READY, 0);
    let mut bytes = [0; Header::LEN];
    cpu.read(layout::INBOX, &mut bytes).expect("a header");
    let inbox: Header = zerocopy::transmute!(bytes);
    let info = boot_info(cpu);
    if inbox.sequence.get() != 0 {
        header = Header::new(MessageKind::RETURN, inbox.sequence.get()).with_body(0);
        let mut body = vec![0; usize::try_from(inbox.len.get()).expect("a length")];
        cpu.read(layout::INBOX + 64, &mut body).expect("a body");
        for bytes in body.as_chunks::<CHANGE>().0 {
            change(cpu, &info, *bytes);
        }
    }
    cpu.write(info.outbox.get(), header.as_bytes())
        .expect("an outbox");
    FakeExit::Doorbell(0)
}

fn build() -> Sandbox<Fake> {
    let program = FakeProgram::new()
        .data(b"data")
        .export("change", 0, FunctionFlags::BYTES);
    SandboxBuilder::on(Fake::new(|| guest), program)
        .heap(HEAP)
        .copy_on_write(CopyOnWrite::Guest)
        .scratch(0x10_0000)
        .build()
        .expect("a sandbox")
}

/// Makes changes of `script`, one part of it in each call, and takes a snapshot after each.
pub(crate) fn run(script: &[u8]) {
    let mut sandbox = build();
    let start = sandbox.snapshot().expect("a first snapshot");
    let mut result = Vec::new();
    for part in script.chunks(CHANGE * 16) {
        sandbox
            .call_bytes("change", part, &mut result)
            .expect("the guest returns");
        match sandbox.snapshot() {
            Ok(snapshot) => {
                assert!(
                    snapshot.copied() <= 0x11_0000,
                    "no more than the pages for copies"
                );
                let mut clone = Sandbox::clone_from(&snapshot).expect("a clone");
                clone
                    .call_bytes("change", &[], &mut result)
                    .expect("the clone returns");
                sandbox.restore(&snapshot).expect("the sandbox returns");
            }
            Err(SnapshotError::PageTables(_)) => {}
            Err(error) => panic!("{error}"),
        }
        sandbox
            .call_bytes("change", part, &mut result)
            .expect("the guest returns");
    }
    // A restore does not read what the guest wrote.
    sandbox.restore(&start).expect("the sandbox returns to its start");
    let again = sandbox.snapshot().expect("page tables are those of the start");
    assert_eq!(again.copied(), 0);
}
