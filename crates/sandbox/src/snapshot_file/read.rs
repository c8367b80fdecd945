//! Reads files, which may be hostile: each byte once, and no allocation larger than the file.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use boot_core::{Arch, ByteSource, SizedSource, arith};
use hv_core::{BareVm, Operation, StateStore, StoredFeature, StoredRegister, StoredState, Vm};
use proto_sandbox::Sizes;
use sandbox_abi::layout;
use zerocopy::{FromBytes, FromZeros, IntoBytes};

use super::error::{FileError, LoadSnapshotError};
use super::options::LoadOptions;
use super::raw::{
    CHECKSUM_LEN, Checksum, MAGIC, NO_DEADLINE, RawFeature, RawHeader, RawRegister, VERSION, arch_number,
};
use crate::backend::Backend;
use crate::base::PAGE;
use crate::contents::Contents;
use crate::control;
use crate::error::BackendError;
use crate::image::Image;
use crate::limits::Limits;
use crate::program;
use crate::program_bytes::ProgramBytes;
use crate::requirements;
use crate::snapshot::State;
use crate::waiting::Waiting;

/// Reads a file from its start to its end.
struct Input<'a> {
    source: SizedSource<'a>,
    at: u64,
    sum: Checksum,
}

impl<'a> Input<'a> {
    fn new(source: &'a dyn ByteSource) -> Result<Self, LoadSnapshotError> {
        Ok(Self {
            source: SizedSource::new(source)?,
            at: 0,
            sum: Checksum::new(),
        })
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), LoadSnapshotError> {
        self.source.read_exact_at(self.at, bytes)?;
        // The range was in the file.
        self.at = self.at.saturating_add(arith::to_u64(bytes.len()));
        self.sum.add(bytes);
        Ok(())
    }

    fn value<T: FromZeros + FromBytes + IntoBytes>(&mut self) -> Result<T, LoadSnapshotError> {
        let mut value = T::new_zeroed();
        self.fill(value.as_mut_bytes())?;
        Ok(value)
    }

    /// The next `len` bytes, which are in the file: [`check_lengths`].
    fn bytes(&mut self, len: u64) -> Result<Vec<u8>, LoadSnapshotError> {
        self.source.range(self.at, len)?;
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }
}

/// Reads a snapshot for machines of `backend`.
pub(super) fn read<B: Backend>(
    backend: B,
    source: &dyn ByteSource,
    options: &LoadOptions,
) -> Result<State<B>, LoadSnapshotError> {
    let mut input = Input::new(source)?;
    let header = header(&mut input)?;
    let arch = check_start(&header)?;
    check_lengths(&header, input.source.len())?;
    let (found, max) = (header.memory_len.get(), options.max_memory);
    if found > max {
        return Err(LoadSnapshotError::TooMuchMemory { found, max });
    }
    let sizes = sizes(&header)?;
    let limits = limits(&header, options)?;

    let vm = backend.create().map_err(BackendError::at(Operation::CreateVm))?;
    let abilities = vm.abilities();
    if let Some(what) = requirements::missing(&abilities) {
        return Err(LoadSnapshotError::Unsupported { what });
    }
    let tracking = options.copy_on_write.tracking(&abilities, options.scratch);
    let tracking = tracking.map_err(|what| LoadSnapshotError::Unsupported { what })?;
    if arch != vm.arch() {
        let (expected, found) = (vm.arch(), arch);
        return Err(LoadSnapshotError::Arch { expected, found });
    }

    let kind = header.program_kind.get();
    let program = input.bytes(header.program_len.get())?;
    let program = ProgramBytes::new(kind, program).ok_or(FileError::Field {
        field: "program_kind",
        found: kind.into(),
    })?;
    let (image, base) = program::load(program, &sizes, tracking, &abilities, limits.max_payload)?;
    check_image(&image, &header)?;

    let stored = StoredState {
        arch,
        features: features(&mut input, header.feature_count.get())?,
        registers: registers(&mut input, &header)?,
    };
    let (saved, registers) = vm.load(&stored)?;
    control::check(&image, &vm.control(&saved, &registers))?;

    let numbers = page_numbers(&mut input, &header)?;
    let bytes = input.bytes(arith::to_u64(numbers.len().saturating_mul(PAGE)))?;
    let expected = input.sum.get();
    let found = u64::from_le_bytes(input.value()?);
    if found != expected {
        return Err(FileError::Checksum { expected, found }.into());
    }
    let contents = Contents::with_pages(Arc::new(base), numbers, bytes)?;
    Ok(State {
        backend: Arc::new(backend),
        image: Arc::new(image),
        copied: contents.layer_len(),
        contents,
        flat: OnceLock::new(),
        waiting: Arc::new(Waiting::new(saved, registers)),
        sequence: header.sequence.get(),
        limits,
    })
}

/// Reads the header. A file that is shorter is no snapshot.
fn header(input: &mut Input<'_>) -> Result<RawHeader, LoadSnapshotError> {
    if input.source.len() < arith::to_u64(size_of::<RawHeader>()) {
        return Err(FileError::NotASnapshot.into());
    }
    input.value()
}

/// Checks what tells whether the rest of the header can be understood.
fn check_start(header: &RawHeader) -> Result<Arch, FileError> {
    if header.magic != MAGIC {
        return Err(FileError::NotASnapshot);
    }
    let (expected, found) = (VERSION, header.version.get());
    if found != expected {
        return Err(FileError::Version { expected, found });
    }
    let found = header.arch.get();
    let known = [Arch::X86_64, Arch::Aarch64, Arch::Riscv64];
    let arch = known.into_iter().find(|arch| arch_number(*arch) == found);
    let arch = arch.ok_or(FileError::UnknownArch { found })?;
    match header.reserved.get() {
        0 => Ok(arch),
        found => Err(FileError::Field {
            field: "reserved",
            found: found.into(),
        }),
    }
}

/// Checks that the parts make up the file, before anything is allocated for them.
fn check_lengths(header: &RawHeader, found: u64) -> Result<(), FileError> {
    let page = arith::to_u64(PAGE.saturating_add(size_of::<u64>()));
    let feature = arith::to_u64(size_of::<RawFeature>());
    let expected = [
        Some(arith::to_u64(size_of::<RawHeader>())),
        Some(header.program_len.get()),
        u64::from(header.feature_count.get()).checked_mul(feature),
        Some(header.registers_len.get()),
        header.page_count.get().checked_mul(page),
        Some(CHECKSUM_LEN),
    ]
    .into_iter()
    .try_fold(0u64, |sum, part| sum.checked_add(part?));
    for expected in [expected, Some(header.file_len.get())] {
        if expected != Some(found) {
            let expected = expected.unwrap_or(u64::MAX);
            return Err(FileError::Length { expected, found });
        }
    }
    Ok(())
}

/// The sizes that the memory was planned with, which has room for them. The planner rounds them, and knows the smallest ones of the program.
fn sizes(header: &RawHeader) -> Result<Sizes, FileError> {
    let window = header.window.get();
    let memory = header.memory_len.get();
    let is_window = (layout::MIN_WINDOW..=layout::MAX_WINDOW).contains(&window)
        && u64::from(window).is_multiple_of(layout::PAGE);
    for (field, found, fits) in [
        ("window", window.into(), is_window),
        (
            "heap",
            header.heap.get(),
            header.heap.get() <= Sizes::MAX_HEAP.min(memory),
        ),
        (
            "stack",
            header.stack.get(),
            (1..=Sizes::MAX_STACK.min(memory)).contains(&header.stack.get()),
        ),
    ] {
        if !fits {
            return Err(FileError::Field { field, found });
        }
    }
    Ok(Sizes {
        heap: header.heap.get(),
        stack: header.stack.get(),
        window,
    })
}

/// The limits of the file, none above the default: the file is not trusted, and the builder sets others.
fn limits(header: &RawHeader, options: &LoadOptions) -> Result<Limits, LoadSnapshotError> {
    let default = Limits::default();
    let (found, max) = (header.max_payload.get(), options.max_payload);
    if found > max {
        return Err(LoadSnapshotError::TooLargePayloads { found, max });
    }
    let deadline = match header.deadline.get() {
        NO_DEADLINE => Duration::MAX,
        deadline => Duration::from_nanos(deadline),
    };
    Ok(Limits {
        max_payload: found,
        deadline: default.deadline.map(|default| default.min(deadline)),
        max_messages: header.max_messages.get().min(default.max_messages),
        log_records: header.log_records.get().min(default.log_records),
        resident: header.resident.get().min(default.resident),
    })
}

/// Checks that the program gives the layout of the file.
fn check_image(image: &Image, header: &RawHeader) -> Result<(), LoadSnapshotError> {
    let memory = image.areas.memory;
    let found = (header.memory_start.get(), header.memory_len.get());
    if found != (memory.start(), memory.len()) {
        return Err(FileError::Layout {
            expected: memory.start(),
            expected_len: memory.len(),
            found: found.0,
            found_len: found.1,
        }
        .into());
    }
    let doorbell = image.doorbell;
    let found = (header.doorbell_kind, header.doorbell.get());
    if found != (doorbell.kind, doorbell.value) {
        return Err(LoadSnapshotError::Doorbell {
            expected_kind: doorbell.kind.number(),
            expected: doorbell.value,
            found_kind: found.0.number(),
            found: found.1,
        });
    }
    Ok(())
}

fn features(input: &mut Input<'_>, count: u32) -> Result<Vec<StoredFeature>, LoadSnapshotError> {
    let feature = |_| {
        let raw: RawFeature = input.value()?;
        Ok(StoredFeature {
            id: raw.id.get(),
            value: raw.value.get(),
        })
    };
    (0..count).map(feature).collect()
}

fn registers(input: &mut Input<'_>, header: &RawHeader) -> Result<Vec<StoredRegister>, LoadSnapshotError> {
    let bytes = input.bytes(header.registers_len.get())?;
    let mut rest = bytes.as_slice();
    let count = header.register_count.get();
    let mut registers = Vec::new();
    for number in 0..count {
        let misfit = || FileError::Registers { number };
        let (raw, after) = RawRegister::read_from_prefix(rest).ok().ok_or_else(misfit)?;
        let len = usize::try_from(raw.len.get()).ok().ok_or_else(misfit)?;
        let (value, after) = after.split_at_checked(len).ok_or_else(misfit)?;
        if raw.reserved != 0 {
            let found = raw.reserved.get().into();
            let field = "reserved";
            return Err(FileError::Field { field, found }.into());
        }
        registers.push(StoredRegister {
            id: raw.id.get(),
            value: value.to_vec(),
        });
        rest = after;
    }
    if rest.is_empty() {
        Ok(registers)
    } else {
        Err(FileError::Registers { number: count }.into())
    }
}

/// The numbers of the pages, in ascending order and inside of the memory.
fn page_numbers(input: &mut Input<'_>, header: &RawHeader) -> Result<Vec<usize>, LoadSnapshotError> {
    let pages = header.memory_len.get() / layout::PAGE;
    let len = header
        .page_count
        .get()
        .saturating_mul(arith::to_u64(size_of::<u64>()));
    let bytes = input.bytes(len)?;
    let mut first = 0;
    let mut numbers = Vec::with_capacity(bytes.len() / size_of::<u64>());
    for number in bytes.as_chunks().0 {
        let number = u64::from_le_bytes(*number);
        let index = usize::try_from(number).ok();
        let Some(index) = index.filter(|_| (first..pages).contains(&number)) else {
            return Err(FileError::Page { number, pages }.into());
        };
        numbers.push(index);
        first = number.saturating_add(1);
    }
    Ok(numbers)
}
