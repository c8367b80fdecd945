//! What holds for every guest, checked without code of the planner. The fuzz target uses it, too.

use std::collections::BTreeMap;

use boot_core::{
    BootPlan, ByteSource, GuestMemory, GuestRange, KernelImage, MemoryError, MemoryMap, Sources,
};
use boot_paging::{Access, MemoryType, Page, Pages};
use boot_sandbox::GuestImage;
use proto_sandbox::{Entry, GuestLayout, SandboxPlan, Sizes, plan};

/// Memory of a machine of which only the written pages exist; the others are zero.
pub(crate) struct Memory {
    map: MemoryMap,
    pages: BTreeMap<u64, Box<[u8; 0x1000]>>,
}

impl Memory {
    pub(crate) fn new(map: MemoryMap) -> Self {
        let pages = BTreeMap::new();
        Self { map, pages }
    }

    /// Applies `access` to the parts of `range` in each page: the page, the offset in it, and the offset in the range.
    fn each(range: GuestRange, mut access: impl FnMut(u64, std::ops::Range<usize>, usize)) {
        let mut at = range.start();
        while at < range.end() {
            let end = range.end().min((at & !0xfff) + 0x1000);
            let start = usize::try_from(at & 0xfff).unwrap();
            let len = usize::try_from(end - at).unwrap();
            access(
                at & !0xfff,
                start..start + len,
                usize::try_from(at - range.start()).unwrap(),
            );
            at = end;
        }
    }
}

impl GuestMemory for Memory {
    fn check(&self, range: GuestRange) -> Result<(), MemoryError> {
        if self.map.is_ram(range) {
            Ok(())
        } else {
            Err(MemoryError::NotBacked(range))
        }
    }

    fn write(&mut self, addr: u64, bytes: &[u8]) -> Result<(), MemoryError> {
        let range = GuestRange::new(addr, bytes.len() as u64).unwrap();
        self.check(range)?;
        Self::each(range, |page, part, offset| {
            let page = self.pages.entry(page).or_insert_with(|| Box::new([0; 0x1000]));
            let len = part.len();
            page[part].copy_from_slice(&bytes[offset..offset + len]);
        });
        Ok(())
    }

    fn zero(&mut self, range: GuestRange) -> Result<(), MemoryError> {
        self.check(range)?;
        let touched = range.aligned_out(0x1000).unwrap();
        for (page, bytes) in self.pages.range_mut(touched.start()..touched.end()) {
            let end = page + 0x1000;
            let part = range.start().max(*page) - page..range.end().min(end) - page;
            bytes[usize::try_from(part.start).unwrap()..usize::try_from(part.end).unwrap()].fill(0);
        }
        Ok(())
    }

    fn read(&self, addr: u64, buf: &mut [u8]) -> Result<(), MemoryError> {
        let range = GuestRange::new(addr, buf.len() as u64).unwrap();
        self.check(range)?;
        Self::each(range, |page, part, offset| {
            let to = &mut buf[offset..offset + part.len()];
            match self.pages.get(&page) {
                Some(page) => to.copy_from_slice(&page[part]),
                None => to.fill(0),
            }
        });
        Ok(())
    }
}

/// Memory after a plan is loaded.
pub(crate) fn load(map: MemoryMap, plan: &BootPlan, file: &dyn ByteSource) -> Memory {
    let mut memory = Memory::new(map);
    plan.load(&Sources::kernel(file), &mut memory).unwrap();
    memory
}

/// The pages that tables map.
pub(crate) fn pages(plan: &SandboxPlan) -> Vec<Page> {
    let tables = &plan.tables;
    let all = Pages::new(tables.scheme(), tables.root(), 0x400, |addr| tables.read(addr));
    all.map(Result::unwrap).collect()
}

/// Access to the page at `addr`; `None` if it is not mapped.
pub(crate) fn access(plan: &SandboxPlan, addr: u64) -> Option<Access> {
    plan.tables
        .translate(addr)
        .ok()
        .map(|page| page.attributes.access)
}

/// Takes a file through all steps of a host. Each step fails with an error, or its result has all properties.
///
/// Returns whether the file is a guest that can start.
pub(crate) fn file(bytes: &[u8], sizes: Sizes) -> bool {
    let Ok(Some(image)) = fmt_elf::parse(&bytes) else {
        return false;
    };
    match boot_sandbox::read_functions(&bytes, &image) {
        Ok(table) => {
            assert!(table.exports.len() <= 4096 && table.imports.len() <= 4096);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    let layout = match GuestLayout::new(&image, &sizes) {
        Ok(layout) => layout,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return false;
        }
    };
    let found = plan(&image, &layout, &Entry::new(image.arch())).unwrap();
    check(&image, &layout, &found);
    let memory = load(layout.memory_map(), &found.plan, &bytes);
    for (index, entry) in found.tables.tables().iter().flatten().enumerate() {
        let mut bytes = [0; 8];
        memory
            .read(found.tables.root() + 8 * index as u64, &mut bytes)
            .unwrap();
        assert_eq!(u64::from_le_bytes(bytes), *entry);
    }
    true
}

/// Checks that the tables map what the guest may access, and nothing else.
pub(crate) fn check(image: &KernelImage, layout: &GuestLayout, plan: &SandboxPlan) {
    let guest = image.metadata::<GuestImage>().unwrap();
    check_places(layout);
    let memory = layout.memory_map();
    let before = |range: GuestRange| GuestRange::new(range.start() - 0x1_0000, 0x1_0000).unwrap();
    let after = GuestRange::new(layout.stack.end(), 0x1_0000).unwrap();
    let guards = [before(layout.fault_stack), before(layout.stack), after];
    for page in pages(plan) {
        let Page {
            virt,
            phys,
            size,
            attributes,
            ..
        } = page;
        let range = GuestRange::new(virt, size.bytes()).unwrap();
        let access = attributes.access;
        let is_writable = access.contains(Access::WRITE);
        assert_eq!(virt, phys);
        assert!(
            !(is_writable && access.contains(Access::EXECUTE)),
            "{range} is writable and executable"
        );
        assert!(!access.contains(Access::USER) && range.end() <= 1 << 38);
        if attributes.memory == MemoryType::Device {
            assert_eq!(
                (virt, size.bytes(), access),
                (0x3f_ffff_f000, 0x1000, Access::WRITE)
            );
            continue;
        }
        assert!(memory.is_ram(range), "{range} is no memory");
        assert!(!range.overlaps(layout.tables), "{range} has tables");
        assert!(
            !guards.iter().any(|guard| guard.overlaps(range)),
            "{range} is in a guard"
        );
        let is_host = range.overlaps(layout.host) || range.overlaps(layout.image);
        assert!(!(is_host && is_writable), "{range} is writable");
        assert!(
            !(layout.memory.overlaps(range) && access.contains(Access::EXECUTE)),
            "{range}"
        );
        let parts = [
            layout.outbox,
            layout.host,
            layout.image,
            layout.data,
            layout.fault_stack,
            layout.stack,
            layout.heap,
        ];
        assert!(
            parts.iter().any(|part| part.contains(range)),
            "{range} is in no part"
        );
    }
    let ends = |range: GuestRange| (!range.is_empty()).then(|| [range.start(), range.end() - 1]);
    for segment in guest.segments() {
        let relro = guest.link().relro.filter(|_| segment.access.write);
        for addr in ends(segment.range()).unwrap() {
            let found = access(plan, addr).unwrap();
            assert_eq!(
                found.contains(Access::EXECUTE),
                segment.access.execute,
                "{segment}"
            );
            let may_be_constant = relro.is_some_and(|relro| relro.contains_addr(addr));
            let is_expected = found.contains(Access::WRITE) == segment.access.write || may_be_constant;
            assert!(is_expected, "{segment}");
        }
    }
    for (range, expected) in [
        (layout.outbox, Access::WRITE),
        (layout.inbox, Access::empty()),
        (layout.fault_stack, Access::WRITE),
        (layout.stack, Access::WRITE),
        (layout.heap, Access::WRITE),
    ] {
        for addr in ends(range).into_iter().flatten() {
            assert_eq!(access(plan, addr), Some(expected), "{range}");
        }
    }
    if !layout.heap.is_empty() {
        let page = plan.tables.translate(layout.heap.start()).unwrap();
        assert_eq!(page.size.bytes(), 0x20_0000);
    }
    let len = 0x1000 * plan.tables.tables().len() as u64;
    assert!(plan.tables.root() == layout.tables.start() && len <= layout.tables.len());
}

/// Checks that parts do not overlap, and that slots are pages of a host.
fn check_places(layout: &GuestLayout) {
    let slots = [
        layout.host.span(layout.image),
        layout.memory.span(layout.exchange),
    ];
    for (at, slot) in slots.iter().enumerate() {
        let page = if layout.arch == boot_core::Arch::Aarch64 {
            0x1_0000
        } else {
            0x1000
        };
        assert_eq!((slot.start() % page, slot.end() % page), (0, 0), "{slot}");
        assert!(slots[..at].iter().all(|other| other.end() <= slot.start()));
    }
    assert_eq!(layout.memory.end(), layout.exchange.start());
    assert_eq!(layout.exchange, layout.outbox.span(layout.tables));
    assert_eq!(layout.outbox.end(), layout.tables.start());
    assert_eq!(layout.host.end(), layout.image.start());
    assert_eq!(layout.image.end(), layout.memory.start());
    assert!(layout.host.contains(layout.inbox));
    let in_order = [layout.data, layout.fault_stack, layout.stack, layout.heap];
    for pair in in_order.windows(2) {
        assert!(pair[0].end() + 0x1_0000 <= pair[1].start(), "{pair:?}");
    }
    assert_eq!(layout.heap.start() % 0x20_0000, 0);
    assert!(in_order.iter().all(|part| layout.memory.contains(*part)));
    assert_eq!(layout.heap.end(), layout.memory.end());
    for stack in [layout.fault_stack, layout.stack] {
        assert_eq!((stack.start() % 0x1000, stack.end() % 0x1000), (0, 0));
    }
    assert!(layout.memory.end() <= 0x10_0000_0000);
}
