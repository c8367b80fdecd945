//! Properties of the parser with arbitrary files: it returns an error or an image with the invariants of `KernelImage`.

use boot_core::{EntryAbi, KernelImage};
use boot_multiboot::{MULTIBOOT, MULTIBOOT2};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::writer::{Addresses, file, tag, v1, v1_at, v2, v2_tags_at};
use fmt_test::elf::{EM_386, EM_X86_64, Elf, load, note, notes, words};

/// Checks the invariants of `KernelImage`, and that an image with a Multiboot entry point has the metadata of its header.
fn check_invariants(image: &KernelImage, bytes: &[u8]) -> Result<(), TestCaseError> {
    prop_assert_eq!(image.source_len(), bytes.len() as u64);
    prop_assert!(!image.segments().is_empty());
    prop_assert!(!image.entries().is_empty());
    let mut end = 0;
    for segment in image.segments() {
        prop_assert!(!segment.range.is_empty() && segment.range.start() >= end);
        prop_assert!(image.extent().contains(segment.range));
        prop_assert!(segment.source.len() <= segment.range.len());
        prop_assert!(segment.source.end() <= image.source_len());
        end = segment.range.end();
    }
    for entry in image.entries() {
        let mut segments = image.segments().iter();
        prop_assert!(segments.any(|segment| segment.range.contains_addr(entry.addr)));
    }
    let first: Option<&boot_multiboot::MultibootMetadata> = image.metadata();
    let second: Option<&boot_multiboot::Multiboot2Metadata> = image.metadata();
    let is_ignored = |warning: &boot_core::Warning| {
        matches!(
            warning.downcast_ref(),
            Some(fmt_multiboot::Warning::HeadersIgnored { .. })
        )
    };
    let are_headers_ignored = image.warnings().iter().any(is_ignored);
    prop_assert_eq!(first.is_some() || second.is_some(), !are_headers_ignored);
    prop_assert!(!are_headers_ignored || image.entry(EntryAbi::PVH).is_some());
    prop_assert!(first.is_some() || image.entry(MULTIBOOT).is_none());
    prop_assert!(second.is_some() || image.entry(MULTIBOOT2).is_none());
    for header in [
        first.map(|header| header.offset),
        second.map(|header| header.offset),
    ]
    .into_iter()
    .flatten()
    {
        prop_assert!(header < 32768);
    }
    Ok(())
}

fn addresses() -> impl Strategy<Value = Addresses> {
    let near = prop_oneof![3 => 0u32..0x200, 1 => Just(0), 1 => any::<u32>()];
    (
        prop_oneof![4 => Just(0x10_0000u32), 1 => any::<u32>()],
        [near.clone(), near.clone(), near.clone(), near],
    )
        .prop_map(|(base, [header, end, bss, entry])| Addresses {
            header: base.wrapping_add(header),
            load: base,
            load_end: if end == 0 { 0 } else { base.wrapping_add(end) },
            bss_end: if bss == 0 {
                0
            } else {
                base.wrapping_add(bss).wrapping_add(0x200)
            },
            entry: base.wrapping_add(entry),
        })
}

fn header() -> impl Strategy<Value = Vec<u8>> {
    let any_tag = (0u16..13, 0u16..2, prop::collection::vec(any::<u32>(), 0..6))
        .prop_map(|(kind, flags, rest)| tag(kind, flags, &rest));
    prop_oneof![
        (any::<u32>(), prop::collection::vec(any::<u32>(), 0..10)).prop_map(|(flags, rest)| v1(flags, &rest)),
        addresses().prop_map(v1_at),
        addresses().prop_map(|at| v2(&v2_tags_at(at))),
        (prop::collection::vec(any_tag, 0..6), any::<bool>(), addresses()).prop_map(|(mut tags, has, at)| {
            if has {
                tags.extend(v2_tags_at(at));
            }
            v2(&tags)
        }),
    ]
}

fn any_file() -> impl Strategy<Value = Vec<u8>> {
    let raw = (0usize..0x400, 0usize..0x30, header())
        .prop_map(|(more, at, header)| file(at * 8 + header.len() + more, at * 8, &header));
    let elf = (
        prop::collection::vec(header(), 1..3),
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(|(headers, is_64, has_pvh)| {
            let mut data = headers.concat();
            data.resize(data.len().next_multiple_of(8), 0x90);
            let mut parts = vec![load(0x10_0000, &data, 0x2000), load(0x20_0000, &[1; 9], 0x1000)];
            if has_pvh {
                parts.push(notes(&note(4, "Xen", 18, &words(&[0x10_0004])), 4));
            }
            Elf::new(if is_64 { EM_X86_64 } else { EM_386 }, 0x10_0000, parts).bytes()
        });
    prop_oneof![raw, elf]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn headers_in_any_file(bytes in any_file()) {
        if let Ok(Some(image)) = fmt_multiboot::parse(&bytes) {
            check_invariants(&image, &bytes)?;
        }
    }

    #[test]
    fn damaged_files(mut bytes in any_file(), damage in prop::collection::vec((any::<Index>(), any::<u8>()), 0..5), cut in any::<Option<Index>>()) {
        for (index, byte) in damage {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len() * 2));
        }
        if let Ok(Some(image)) = fmt_multiboot::parse(&bytes) {
            check_invariants(&image, &bytes)?;
        }
    }

    /// An ELF file that fmt-elf accepts keeps every entry point that it has there, unless a warning names it.
    #[test]
    fn entry_points_are_left_out_only_with_a_warning(bytes in any_file()) {
        let (Ok(Some(elf)), Ok(Some(image))) = (fmt_elf::parse(&bytes), fmt_multiboot::parse(&bytes)) else {
            return Ok(());
        };
        for entry in elf.entries() {
            let left_out = fmt_multiboot::Warning::EntryLeftOut { abi: entry.abi };
            let is_warned = image.warnings().iter().any(|warning| warning.downcast_ref() == Some(&left_out));
            prop_assert_eq!(image.entry(entry.abi) == Some(*entry), !is_warned);
            prop_assert!(entry.abi != EntryAbi::PVH || !is_warned);
        }
    }
}
