//! What holds for every plan, checked without code of the planner.

use std::collections::BTreeMap;

use boot_core::{KernelImage, MemoryMap};
use boot_paging::{Access, MemoryType, Page, Pages, Scheme};
use boot_sandbox::GuestImage;
use proto_sandbox::{GuestLayout, SandboxPlan};

/// Pages of 4 KiB by their address, with their access and memory type.
pub(crate) type Map = BTreeMap<u64, (Access, MemoryType)>;

/// The pages that the tables map, by 4 KiB. Each is mapped to itself.
pub(crate) fn pages(plan: &SandboxPlan) -> Map {
    let tables = &plan.tables;
    let mut map = Map::new();
    let all = Pages::new(tables.scheme(), tables.root(), 0x400, |addr| tables.read(addr));
    for page in all {
        let Page {
            virt,
            phys,
            size,
            attributes,
            ..
        } = page.unwrap();
        assert_eq!(virt, phys);
        for addr in (virt..virt + size.bytes()).step_by(0x1000) {
            assert!(map.insert(addr, (attributes.access, attributes.memory)).is_none());
        }
    }
    map
}

fn ram(map: &MemoryMap, addr: u64) -> bool {
    map.ram().any(|range| range.contains_addr(addr))
}

/// Checks that the tables map what the guest may access, and nothing else.
pub(crate) fn check(image: &KernelImage, layout: &GuestLayout, plan: &SandboxPlan) {
    let guest = image.metadata::<GuestImage>().unwrap();
    let map = pages(plan);
    let memory = layout.memory_map();
    for (addr, (access, kind)) in &map {
        assert!(
            !access.contains(Access::WRITE | Access::EXECUTE),
            "{addr:#x} is writable and executable"
        );
        assert!(!access.contains(Access::USER));
        assert!(*addr >= 0x1800_0000 && *addr < 1 << 38, "{addr:#x}");
        assert!(!layout.tables.contains_addr(*addr), "table {addr:#x} is mapped");
        match kind {
            MemoryType::Normal => assert!(ram(&memory, *addr), "{addr:#x}"),
            MemoryType::Device => assert_eq!((*addr, ram(&memory, *addr)), (0x3f_ffff_f000, false)),
        }
        let is_host = layout.host.contains_addr(*addr) || layout.image.contains_addr(*addr);
        assert!(
            !(is_host && access.contains(Access::WRITE)),
            "{addr:#x} is writable"
        );
    }
    let access = |addr: u64| map.get(&(addr & !0xfff)).map(|(access, _)| *access);
    let relro = guest.link().relro;
    for segment in guest.segments() {
        let range = segment.range();
        for addr in [range.start(), range.end() - 1] {
            let found = access(addr).unwrap();
            assert_eq!(
                found.contains(Access::EXECUTE),
                segment.access.execute,
                "{segment}"
            );
            let is_constant = relro.is_some_and(|relro| relro.contains_addr(addr));
            assert!(
                found.contains(Access::WRITE) == segment.access.write || is_constant,
                "{segment}"
            );
        }
    }
    for range in [layout.fault_stack, layout.stack] {
        assert_eq!((range.start() % 0x1000, range.end() % 16), (0, 0));
        for addr in [range.start(), range.end() - 1] {
            assert_eq!(access(addr), Some(Access::WRITE));
        }
        for addr in [
            range.start() - 1,
            range.start() - 0x1_0000,
            range.end(),
            range.end() + 0xffff,
        ] {
            assert_eq!(access(addr), None, "guard at {addr:#x}");
        }
    }
    for range in [layout.outbox, layout.heap]
        .into_iter()
        .filter(|range| !range.is_empty())
    {
        for addr in [range.start(), range.end() - 1] {
            assert_eq!(access(addr), Some(Access::WRITE));
        }
    }
    for range in [layout.inbox] {
        for addr in [range.start(), range.end() - 1] {
            assert_eq!(access(addr), Some(Access::empty()));
        }
    }
    // The heap has the largest pages.
    if !layout.heap.is_empty() {
        let page = plan.tables.translate(layout.heap.start()).unwrap();
        assert_eq!(
            (page.size.bytes(), layout.heap.start() % 0x20_0000),
            (0x20_0000, 0)
        );
    }
    assert!(matches!(
        plan.tables.scheme(),
        Scheme::X86_64 | Scheme::Arm64 | Scheme::Sv39
    ));
    let tables = plan
        .plan
        .loads()
        .iter()
        .find(|load| load.label == "page tables")
        .unwrap();
    assert!(layout.tables.contains(tables.range));
}
