//! The plan of a guest's start.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::error::Error;

use boot_core::cpu::x86_64::{cr0, cr4, efer};
use boot_core::cpu::{aarch64, riscv64, x86_64};
use boot_core::{
    Arch, BootPlan, BootRequest, Cmdline, Constraints, CpuState, GuestRange, KernelImage, Machine,
    PlacedKernel, PlanBuilder, PlanError, RamAllocator, arith,
};
use boot_paging::PageTables;
use boot_sandbox::GuestImage;
use sandbox_abi::layout::{BOOT_INFO, GDT, IDT, PAGE, REWIND_CODE};
use sandbox_abi::{BootInfo, VERSION};
use zerocopy::IntoBytes;

use crate::entry::Entry;
use crate::layout::GuestLayout;
use crate::{descriptor, label, mmu, rules, tables};

/// Name of the protocol.
pub(crate) const NAME: &str = "sandbox";

/// Everything that a guest starts with.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SandboxPlan {
    /// Contents of memory and the registers of the CPU. Inbox, outbox, stacks and heap are not part of it: they are zero.
    pub plan: BootPlan,
    /// The page tables. They may be extended within the space of [`GuestLayout::tables`].
    pub tables: PageTables,
}

impl SandboxPlan {
    /// The contents of [`GuestLayout::tables`]: the page tables, and zeros up to the end of `layout`. A guest that keeps to its page tables
    /// leaves them as they are.
    #[must_use]
    pub fn table_bytes(&self, layout: &GuestLayout) -> Vec<u8> {
        let mut bytes = self.tables.to_bytes();
        let len = usize::try_from(layout.tables.len()).unwrap_or_default();
        bytes.resize(len.max(bytes.len()), 0);
        bytes
    }
}

/// Plans the start of the guest `image`, whose layout is `layout`.
///
/// The entry state of x86_64 is 64-bit mode with `CR4.OSFXSR`, `CR4.OSXMMEXCPT` and the bits of [`Entry::cr4`].
///
/// # Errors
///
/// The image breaks a rule, `entry` is not possible ([`EntryError`](crate::EntryError)), or `layout` is that of another image.
pub fn plan(image: &KernelImage, layout: &GuestLayout, entry: &Entry<'_>) -> Result<SandboxPlan, PlanError> {
    let machine = Machine::new(layout.arch, layout.memory_map());
    let cmdline = Cmdline::new();
    build(&BootRequest::new(image, &machine, &cmdline), layout, entry)
}

/// Plans the boot in the memory of the request's machine.
pub(crate) fn build(
    request: &BootRequest<'_>,
    layout: &GuestLayout,
    entry: &Entry<'_>,
) -> Result<SandboxPlan, PlanError> {
    let image = request.image;
    let guest = rules::check(image).map_err(error)?;
    let arch = image.arch();
    entry.check(arch).map_err(error)?;
    let tables = tables::build(layout, guest, entry.has_doorbell_page()).map_err(error)?;

    let mut allocator = RamAllocator::for_request(request)?;
    let kernel = PlacedKernel::place(image, &mut allocator)?;
    let mut pieces = alloc::vec![
        (
            label::BOOT_INFO,
            BOOT_INFO,
            boot_info(layout, entry, &tables).as_bytes().to_vec()
        ),
        (label::PAGE_TABLES, tables.root(), tables.to_bytes()),
    ];
    if arch == Arch::X86_64 {
        let stacks = descriptor::Stacks {
            exceptions: layout.fault_stack.end(),
            page_faults: (!layout.scratch.is_empty()).then(|| layout.scratch.start().saturating_add(PAGE)),
        };
        pieces.push((label::GDT, GDT, descriptor::gdt(stacks)));
        pieces.push((label::IDT, IDT, descriptor::idt(guest.note().vectors, stacks)));
    }
    if !entry.rewind_code.is_empty() {
        pieces.push((label::REWIND_CODE, REWIND_CODE, entry.rewind_code.to_vec()));
    }
    let builder = PlanBuilder::new(NAME, request, &kernel).cpu(state(layout, guest, &tables, entry.cr4));
    let plan = pieces.into_iter().fold(builder, add).build()?;
    Ok(SandboxPlan { plan, tables })
}

/// Adds a load of all `bytes` at `addr`.
fn add(builder: PlanBuilder, (label, addr, bytes): (&'static str, u64, Vec<u8>)) -> PlanBuilder {
    let range = GuestRange::new(addr, arith::to_u64(bytes.len())).unwrap_or(GuestRange::EMPTY);
    builder.bytes(label, range, bytes, Constraints::aligned(0x1000))
}

/// An error of this crate.
pub(crate) fn error(source: impl Error + Send + Sync + 'static) -> PlanError {
    PlanError::Protocol {
        protocol: NAME,
        source: Box::new(source),
    }
}

fn boot_info(layout: &GuestLayout, entry: &Entry<'_>, tables: &PageTables) -> BootInfo {
    let (copies, copy_count) = layout.copies();
    BootInfo {
        magic: BootInfo::MAGIC.into(),
        major: VERSION.0.into(),
        minor: VERSION.1.into(),
        inbox: layout.inbox.start().into(),
        outbox: layout.outbox.start().into(),
        // At most `MAX_WINDOW`.
        window_len: u32::try_from(layout.inbox.len()).unwrap_or_default().into(),
        doorbell_kind: entry.doorbell_kind,
        doorbell: entry.doorbell.into(),
        stack: layout.stack.start().into(),
        stack_top: layout.stack.end().into(),
        fault_stack_top: layout.fault_stack.end().into(),
        heap: layout.heap.start().into(),
        heap_len: layout.heap.len().into(),
        max_payload: entry.max_payload.into(),
        mmu: mmu::registers(tables),
        scratch: layout.scratch.start().into(),
        copies: copies.into(),
        copy_count: copy_count.into(),
        reserved: Default::default(),
    }
}

/// The state of the CPU at [`Note::entry`](sandbox_abi::Note::entry).
fn state(layout: &GuestLayout, guest: &GuestImage, tables: &PageTables, cr4: u64) -> CpuState {
    let entry = guest.note().entry;
    match layout.arch {
        Arch::Aarch64 => {
            let mut state = aarch64::State::new(entry);
            let [x0, ..] = &mut state.x;
            *x0 = BOOT_INFO;
            state.into()
        }
        Arch::Riscv64 => {
            let mut state = riscv64::State::new(entry);
            let [_, _, _, _, _, _, _, _, _, _, a0, ..] = &mut state.x;
            *a0 = BOOT_INFO;
            state.into()
        }
        _ => {
            let mut state = x86_64_state(entry, layout.stack.end(), tables.root_register());
            state.cr4 |= cr4;
            state.into()
        }
    }
}

fn x86_64_state(entry: u64, stack_top: u64, cr3: u64) -> x86_64::State {
    let mut state = x86_64::State::long_mode(entry, cr3, descriptor::CODE, descriptor::DATA);
    // As after a call: the address of the stack at a function's entry is 8 more than a multiple of 16.
    state.rsp = stack_top.saturating_sub(8);
    state.tr = descriptor::task_register();
    state.gdtr = descriptor::gdtr();
    state.idtr = descriptor::idtr();
    state.cr0 |= cr0::MP | cr0::NE | cr0::WP | cr0::AM;
    state.cr4 |= cr4::OSFXSR | cr4::OSXMMEXCPT;
    state.efer |= efer::NXE;
    state
}
