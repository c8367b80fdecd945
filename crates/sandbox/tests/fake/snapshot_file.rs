//! Loads arbitrary files as snapshots. Shared with the fuzz target `sandbox_snapshot_file`.

use hv_core::fake::{FakeCpu, FakeExit};
use sandbox::{
    BuildError, CallError, Fake, LoadOptions, LoadSnapshotError, SandboxBuilder, Snapshot, Status,
};
use sandbox_abi::{BootInfo, Header, MessageKind, layout};
use zerocopy::{FromZeros, IntoBytes};

/// Length of the header of a file.
pub(crate) const HEADER_LEN: usize = 152;

/// Makes the last eight bytes the checksum of those before (FNV-1a of 64 bits).
pub(crate) fn fix_checksum(file: &mut [u8]) {
    let Some((bytes, checksum)) = file.split_last_chunk_mut::<8>() else {
        return;
    };
    let sum = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    *checksum = sum.to_le_bytes();
}

/// A guest that answers every call with the empty result, whatever its registers and its memory are.
pub(crate) fn answer(cpu: &mut FakeCpu<'_>) -> FakeExit {
    let mut inbox = Header::new_zeroed();
    cpu.read(layout::INBOX, inbox.as_mut_bytes()).unwrap();
    let kind = match inbox.kind {
        MessageKind::CALL => MessageKind::RETURN,
        _ => MessageKind::READY,
    };
    let answer = Header::new(kind, inbox.sequence.get());
    let mut info = BootInfo::new_zeroed();
    cpu.read(layout::BOOT_INFO, info.as_mut_bytes()).unwrap();
    cpu.write(info.outbox.get(), answer.as_bytes()).unwrap();
    FakeExit::Doorbell(0)
}

/// Loads a file. If it is a snapshot, sandboxes start from it, return to it, and it can be saved again.
pub(crate) fn check_file(file: &[u8]) {
    let options = LoadOptions::default().with_max_memory(256 << 20);
    let load = |file: &[u8]| -> Result<Snapshot<Fake>, LoadSnapshotError> {
        let fake = Fake::new(|| answer).with_features(0b111);
        Snapshot::read_from(fake, &file, options)
    };
    let Ok(loaded) = load(file) else {
        return;
    };
    let builder = SandboxBuilder::from_snapshot(&loaded);
    let mut sandbox = match builder.build() {
        Ok(sandbox) => sandbox,
        Err(BuildError::MissingImport { .. }) => return,
        Err(error) => panic!("a loaded snapshot is no start: {error}"),
    };
    assert!(sandbox.memory().limit <= 256 << 20);
    let mut functions = sandbox.functions();
    let name = functions.find(|function| function.takes_bytes());
    let name = name.map(|function| function.name.clone());
    drop(functions);
    for _ in 0..2 {
        if let Some(name) = &name {
            let mut result = vec![1];
            match sandbox.call_bytes(name, &[], &mut result) {
                Ok(()) => assert!(result.is_empty()),
                // Limits of the file that do not allow a call, or two functions of one name.
                Err(error) => {
                    let status = CallError::poisons(&error).map_or(Status::Ready, Status::Poisoned);
                    assert_eq!(sandbox.status(), status, "{error}");
                }
            }
        }
        sandbox.restore(&loaded).unwrap();
        assert_eq!(sandbox.status(), Status::Ready);
    }
    let mut again = Vec::new();
    loaded.write_to(&mut again).unwrap();
    // The second one is the same: the first has no pages that are as at the start.
    let mut canonical = Vec::new();
    load(&again).unwrap().write_to(&mut canonical).unwrap();
    assert!(again == canonical);
}
