//! Writes files.

use std::io::{self, Write};
use std::sync::Arc;

use boot_core::arith;
use hv_core::{BareVm, DirtyPages, Operation, StateStore, StoredState, Vm};
use zerocopy::IntoBytes;

use super::error::SaveSnapshotError;
use super::raw::{
    CHECKSUM_LEN, Checksum, MAGIC, NO_DEADLINE, RawFeature, RawHeader, RawRegister, VERSION, arch_number,
};
use crate::backend::Backend;
use crate::base::{Base, PAGE};
use crate::control;
use crate::error::BackendError;
use crate::image::Image;
use crate::limits::Limits;
use crate::memory_error::MemoryFileError;
use crate::program;
use crate::program_bytes::ProgramBytes;
use crate::snapshot::State;

/// A writer that computes the checksum.
struct Output<'a> {
    inner: &'a mut dyn Write,
    sum: Checksum,
}

impl Output<'_> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.sum.add(bytes);
        self.inner.write_all(bytes)
    }
}

/// Writes the snapshot.
pub(super) fn write<B: Backend>(state: &State<B>, out: &mut dyn Write) -> Result<(), SaveSnapshotError> {
    let vm = state
        .backend
        .create()
        .map_err(BackendError::at(Operation::CreateVm))?;
    let (image, waiting) = (&*state.image, &*state.waiting);
    control::check(image, &vm.control(&waiting.saved, &waiting.image))?;
    let stored = vm.store(&waiting.saved, &waiting.image)?;
    // What a load makes of the program; the file has the pages that differ from it.
    let program = image.origin.program.read()?;
    let kind = image.origin.program.kind();
    let (planned, base) = plan(image, kind, &program, &vm)?;
    if !planned.is_same(image)? {
        return Err(SaveSnapshotError::ProgramChanged);
    }
    let pages = changed_pages(state, &base)?;
    let header = header(state, vm.arch(), &program, &stored, pages.len());
    let mut out = Output {
        inner: out,
        sum: Checksum::new(),
    };
    out.put(header.as_bytes())?;
    out.put(&program)?;
    for feature in &stored.features {
        let raw = RawFeature {
            id: feature.id.into(),
            value: feature.value.into(),
        };
        out.put(raw.as_bytes())?;
    }
    for register in &stored.registers {
        let raw = RawRegister {
            id: register.id.into(),
            len: value_len(&register.value).into(),
            reserved: 0.into(),
        };
        out.put(raw.as_bytes())?;
        out.put(&register.value)?;
    }
    for page in pages.iter() {
        out.put(&arith::to_u64(page).to_le_bytes())?;
    }
    let mut bytes = [0; PAGE];
    for page in pages.iter() {
        state
            .contents
            .read(page, &mut bytes)
            .map_err(MemoryFileError::from)?;
        out.put(&bytes)?;
    }
    let sum = out.sum.get().to_le_bytes();
    out.put(&sum)?;
    out.inner.flush()?;
    Ok(())
}

/// Plans the program again.
fn plan<V: BareVm>(
    image: &Image,
    kind: u32,
    program: &Arc<[u8]>,
    vm: &V,
) -> Result<(Image, Base), SaveSnapshotError> {
    // The kind is that of a program.
    let bytes = ProgramBytes::new(kind, program.to_vec()).ok_or(SaveSnapshotError::ProgramChanged)?;
    let origin = &image.origin;
    Ok(program::load(
        bytes,
        &origin.sizes,
        origin.tracking,
        &vm.abilities(),
        origin.max_payload,
    )?)
}

/// The pages of the snapshot that differ from those of `base`.
fn changed_pages<B: Backend>(state: &State<B>, base: &Base) -> Result<DirtyPages, MemoryFileError> {
    let mut candidates = base.present().clone();
    state.contents.add_pages(&mut candidates);
    let mut changed = DirtyPages::new(candidates.pages());
    let [mut here, mut there] = [[0; PAGE]; 2];
    for page in candidates.iter() {
        state.contents.read(page, &mut here)?;
        base.read(page, &mut there)?;
        if here != there {
            changed.insert(page);
        }
    }
    Ok(changed)
}

/// Length of the value of a register, at most a few KiB.
fn value_len(value: &[u8]) -> u32 {
    u32::try_from(value.len()).unwrap_or(u32::MAX)
}

fn header<B: Backend>(
    state: &State<B>,
    arch: boot_core::Arch,
    program: &[u8],
    stored: &StoredState,
    pages: usize,
) -> RawHeader {
    let image = &*state.image;
    let origin = &image.origin;
    let Limits {
        max_payload: _,
        deadline,
        max_messages,
        log_records,
        resident,
    } = state.limits;
    let deadline = deadline.map_or(NO_DEADLINE, |limit| {
        u64::try_from(limit.as_nanos()).unwrap_or(NO_DEADLINE)
    });
    let count = |len: usize| u32::try_from(len).unwrap_or(u32::MAX);
    let registers = stored.registers.iter();
    let registers_len: u64 = registers
        .map(|register| arith::to_u64(size_of::<RawRegister>().saturating_add(register.value.len())))
        .sum();
    let program_len = arith::to_u64(program.len());
    let features_len = arith::to_u64(size_of::<RawFeature>().saturating_mul(stored.features.len()));
    let page_count = arith::to_u64(pages);
    let file_len = [
        arith::to_u64(size_of::<RawHeader>()),
        program_len,
        features_len,
        registers_len,
        page_count.saturating_mul(arith::to_u64(PAGE).saturating_add(8)),
        CHECKSUM_LEN,
    ]
    .into_iter()
    .sum::<u64>();
    RawHeader {
        magic: MAGIC,
        version: VERSION.into(),
        arch: arch_number(arch).into(),
        file_len: file_len.into(),
        program_kind: origin.program.kind().into(),
        window: origin.sizes.window.into(),
        program_len: program_len.into(),
        heap: origin.sizes.heap.into(),
        stack: origin.sizes.stack.into(),
        memory_start: image.areas.memory.start().into(),
        memory_len: image.areas.memory.len().into(),
        doorbell: image.doorbell.value.into(),
        doorbell_kind: image.doorbell.kind,
        feature_count: count(stored.features.len()).into(),
        register_count: count(stored.registers.len()).into(),
        max_messages: max_messages.into(),
        registers_len: registers_len.into(),
        page_count: page_count.into(),
        sequence: state.sequence.into(),
        max_payload: origin.max_payload.into(),
        deadline: deadline.into(),
        resident: resident.into(),
        log_records: log_records.into(),
        reserved: 0.into(),
    }
}
