//! Programs of the fake hypervisor, whose code is a closure.

mod copies;

use boot_core::{GuestMemory, GuestRange, LoadError, MemoryError, arith, cpu::x86_64};
use boot_paging::{Attributes, Mapping, PageTables, Scheme};
use sandbox_abi::{BootInfo, DoorbellKind, FunctionFlags, PORT_DOORBELL, ScratchState, VERSION, layout};
use zerocopy::{FromZeros, IntoBytes};

use crate::base::Base;
use crate::copy_on_write::{Tracking, default_scratch};
use crate::function::FunctionInfo;
use crate::image::{Areas, BootDoorbell, Image, ImageOrigin, Program};
use crate::memory_error::MemoryFileError;

/// A program for the [`Fake`](crate::Fake) hypervisor: tables of functions and data. The code is the closure of the hypervisor.
///
/// Its memory has the layout of [`sandbox_abi::layout`], with a page of image, and boot information for the guest.
#[derive(Clone, Debug, Default)]
pub struct FakeProgram {
    exports: Vec<FunctionInfo>,
    imports: Vec<FunctionInfo>,
    data: Vec<u8>,
}

/// Length of the image in bytes.
const IMAGE_LEN: u64 = layout::PAGE;

/// Page tables for the image, in `range`.
fn page_tables(range: GuestRange) -> Vec<u8> {
    let count = usize::try_from(range.len() / layout::PAGE).unwrap_or_default();
    let tables = PageTables::new(Scheme::X86_64, range.start(), count).map(|mut tables| {
        // One table of each level, as many as there are.
        let image = Mapping::identity(layout::IMAGE, IMAGE_LEN, Attributes::default());
        let _mapped = tables.map(&image);
        tables
    });
    tables.map_or_else(|_| Vec::new(), |tables| tables.to_bytes())
}

impl FakeProgram {
    /// First address of the data.
    pub const DATA: u64 = layout::IMAGE + IMAGE_LEN;

    /// Length of the page tables in bytes: the end of the memory. They map the image, and then the mappings of the sandbox; the CPU does
    /// not use them. If the guest [copies](crate::CopyOnWrite::Guest) pages, other page tables of x86_64 are in their place, and a scratch
    /// area behind them, for a guest that follows them itself.
    pub const TABLES_LEN: u64 = 4 * layout::PAGE;

    /// A program without functions and data.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a function that the program offers. The first has number 0.
    #[must_use]
    pub fn export(mut self, name: &str, signature: u64, flags: FunctionFlags) -> Self {
        self.exports.push(FunctionInfo::new(name, signature, flags));
        self
    }

    /// Adds a function that the program needs. The first has number 0.
    #[must_use]
    pub fn import(mut self, name: &str, signature: u64, flags: FunctionFlags) -> Self {
        self.imports.push(FunctionInfo::new(name, signature, flags));
        self
    }

    /// Sets the bytes at [`DATA`](Self::DATA).
    #[must_use]
    pub fn data(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.data = bytes.into();
        self
    }

    /// The program as bytes, in postcard's format.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let functions = |functions: &[FunctionInfo]| -> Vec<(String, u64, u32)> {
            let record = |info: &FunctionInfo| (info.name.clone(), info.signature, info.flags.bits());
            functions.iter().map(record).collect()
        };
        let program = (functions(&self.exports), functions(&self.imports), &self.data);
        // Vectors have room, and all lengths are known.
        postcard::to_allocvec(&program).unwrap_or_default()
    }

    /// The program of these bytes; `None` unless they are one.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        type Functions = Vec<(String, u64, u32)>;
        let (program, rest): ((Functions, Functions, Vec<u8>), _) = postcard::take_from_bytes(bytes).ok()?;
        let functions = |functions: Functions| -> Option<Vec<FunctionInfo>> {
            let info = |(name, signature, flags): (String, u64, u32)| {
                let known = [FunctionFlags::TYPED, FunctionFlags::BYTES];
                let flags = known.into_iter().find(|known| known.bits() == flags)?;
                Some(FunctionInfo::new(name, signature, flags))
            };
            functions.into_iter().map(info).collect()
        };
        let (exports, imports, data) = program;
        rest.is_empty().then_some(Self {
            exports: functions(exports)?,
            imports: functions(imports)?,
            data,
        })
    }

    /// Loads the program, which is that of `origin`.
    pub(crate) fn load(&self, origin: ImageOrigin) -> Result<(Image, Base), MemoryFileError> {
        let sizes = origin.sizes;
        let mut end = Self::DATA;
        let mut area = |gap: u64, len: u64| {
            let start = end.saturating_add(gap);
            end = start.saturating_add(len);
            GuestRange::from_bounds(start, end).unwrap_or(GuestRange::EMPTY)
        };
        let pages = |len: u64| arith::align_up(len, layout::PAGE).unwrap_or(len);
        let data = area(0, pages(arith::to_u64(self.data.len())));
        let fault_stack = area(layout::GUARD, layout::FAULT_STACK);
        let stack = area(layout::GUARD, pages(sizes.stack));
        let heap = area(layout::GUARD, pages(sizes.heap));
        let whole = |start, len| GuestRange::new(start, len).unwrap_or(GuestRange::EMPTY);
        let outbox = whole(heap.end(), sizes.window.into());
        let scratch_len = match origin.tracking {
            Tracking::DirtyLog => None,
            Tracking::Copies { scratch } => {
                let memory = whole(Self::DATA, heap.end().saturating_sub(Self::DATA));
                Some(pages(scratch.unwrap_or_else(|| default_scratch(memory))))
            }
        };
        let tables_len = scratch_len.map_or(Self::TABLES_LEN, |_| copies::TABLES_LEN);
        let tables = whole(outbox.end(), tables_len);
        let table_bytes = match scratch_len {
            None => page_tables(tables),
            Some(len) => {
                let memory = [data, stack, heap];
                copies::page_tables(outbox, memory, fault_stack, len)
            }
        };
        let scratch = scratch_len.map_or(GuestRange::EMPTY, |len| {
            whole(tables.end(), copies::HEAD_LEN.saturating_add(len))
        });
        let first_copy = scratch.start().saturating_add(copies::HEAD_LEN);
        let copies = GuestRange::from_bounds(first_copy, scratch.end()).unwrap_or(GuestRange::EMPTY);
        let info = BootInfo {
            magic: BootInfo::MAGIC.into(),
            major: VERSION.0.into(),
            minor: VERSION.1.into(),
            inbox: layout::INBOX.into(),
            outbox: outbox.start().into(),
            window_len: sizes.window.into(),
            doorbell_kind: DoorbellKind::PORT,
            doorbell: u64::from(PORT_DOORBELL).into(),
            stack: stack.start().into(),
            stack_top: stack.end().into(),
            fault_stack_top: fault_stack.end().into(),
            heap: heap.start().into(),
            heap_len: heap.len().into(),
            scratch: scratch.start().into(),
            copies: copies.start().into(),
            copy_count: (copies.len() / layout::PAGE)
                .saturating_sub(ScratchState::RESERVE)
                .into(),
            ..BootInfo::new_zeroed()
        };
        let load = |memory: &mut dyn GuestMemory| -> Result<(), LoadError> {
            let mut write = |label: &'static str, addr: u64, bytes: &[u8]| {
                memory
                    .write(addr, bytes)
                    .map_err(|source: MemoryError| LoadError::Incomplete {
                        label: label.into(),
                        range: whole(addr, arith::to_u64(bytes.len())),
                        source,
                    })
            };
            write("boot information", layout::BOOT_INFO, info.as_bytes())?;
            write("image", layout::IMAGE, b"image")?;
            write("page tables", tables.start(), &table_bytes)?;
            write("data", data.start(), &self.data)
        };
        let mut entry = x86_64::State::long_mode(layout::IMAGE, tables.start(), 0x10, 0x18);
        // Addresses are physical: nothing reads the page tables.
        entry.cr0 &= !x86_64::cr0::PG;
        Image::load(Program {
            areas: Areas {
                image: whole(layout::IMAGE, IMAGE_LEN),
                memory: whole(Self::DATA, heap.end().saturating_sub(Self::DATA)),
                outbox,
                tables,
                scratch,
                copies,
                fault_stack,
                stack,
            },
            exports: self.exports.clone(),
            imports: self.imports.clone(),
            entry: entry.into(),
            vectors: 0,
            doorbell: BootDoorbell {
                kind: DoorbellKind::PORT,
                value: PORT_DOORBELL.into(),
            },
            origin,
            load: &load,
        })
    }
}
