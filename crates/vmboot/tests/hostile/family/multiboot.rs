//! Multiboot (section 3.1) and Multiboot2 (section 3.1) headers, in ELF files and with addresses of their own.

use fmt_test::elf::{EM_386, EM_X86_64, Elf, load};

use crate::change::{Base, Field, Sink, moved};
use crate::multiboot_writer::{Addresses, file, tag, v1, v1_at, v2, v2_tags_at};

const BASE: u32 = 0x10_0000;

const AT: Addresses = Addresses {
    header: BASE,
    load: BASE,
    load_end: BASE + 0x180,
    bss_end: BASE + 0x1000,
    entry: BASE + 4,
};

/// The header of version 1.
const V1: [Field; 12] = [
    ("magic", 0, 4),
    ("flags", 4, 4),
    ("checksum", 8, 4),
    ("header_addr", 12, 4),
    ("load_addr", 16, 4),
    ("load_end_addr", 20, 4),
    ("bss_end_addr", 24, 4),
    ("entry_addr", 28, 4),
    ("mode_type", 32, 4),
    ("width", 36, 4),
    ("height", 40, 4),
    ("depth", 44, 4),
];

/// The header of version 2.
const V2: [Field; 4] = [
    ("magic", 0, 4),
    ("architecture", 4, 4),
    ("header_length", 8, 4),
    ("checksum", 12, 4),
];

/// A tag of version 2.
const TAG: [Field; 3] = [("type", 0, 2), ("flags", 2, 2), ("size", 4, 4)];

/// Writes the checksum of version 1 at the start of the file.
fn seal_v1(file: &mut [u8]) {
    seal(file, 2);
}

/// Writes the checksum of version 2 at the start of the file.
fn seal_v2(file: &mut [u8]) {
    seal(file, 3);
}

/// Makes the sum of the first words and of that behind them zero.
fn seal(file: &mut [u8], words: usize) {
    let Some((header, rest)) = file.split_at_mut_checked(4 * words) else {
        return;
    };
    let words = header
        .chunks_exact(4)
        .map(|word| u32::from_le_bytes(word.try_into().unwrap()));
    let sum = words.fold(0, u32::wrapping_add);
    if let Some(checksum) = rest.get_mut(..4) {
        checksum.copy_from_slice(&sum.wrapping_neg().to_le_bytes());
    }
}

/// An ELF file that begins with `header` in memory, and the offset of the header.
fn elf(machine: u16, header: &[u8]) -> (Vec<u8>, usize) {
    let mut data = header.to_vec();
    data.resize(0x180, 0x90);
    let (file, offsets) = Elf::new(machine, BASE.into(), vec![load(BASE.into(), &data, 0x1000)]).write();
    (file, usize::try_from(offsets[0]).unwrap())
}

/// All files.
pub(crate) fn make(sink: &mut Sink<'_>) {
    version_1(sink);
    version_2(sink);
}

fn version_1(sink: &mut Sink<'_>) {
    let at_start = file(0x200, 0, &v1_at(AT));
    let with_video = file(0x200, 0, &v1(5, &[0, 0, 0, 0, 0, 0, 80, 25, 0]));
    for (name, bytes) in [("v1", &at_start), ("v1 video", &with_video)] {
        for seal in [|_: &mut [u8]| (), seal_v1] {
            let base = Base {
                seal,
                ..Base::new(name, bytes)
            };
            base.edges_of(&V1, sink);
            let [_, flags, _, header, load, load_end, bss_end, entry, ..] = V1;
            base.pairs_of(
                &[
                    [header, load],
                    [load, load_end],
                    [load_end, bss_end],
                    [flags, entry],
                ],
                sink,
            );
            base.truncations(0x40, sink);
        }
    }
    for machine in [EM_386, EM_X86_64] {
        for header in [v1(3, &[]), v1_at(AT), v1(5, &[0, 0, 0, 0, 0, 0, 80, 25, 0])] {
            let (bytes, at) = elf(machine, &header);
            Base::new(&format!("v1 in ELF {machine} {}", header.len()), &bytes)
                .edges_of(&moved(&V1, at), sink);
        }
    }
    // The header has to be in the first 8,192 bytes, at a multiple of four.
    for at in [
        1,
        2,
        3,
        4,
        8191 - 32,
        8192 - 32,
        8192 - 28,
        8192 - 12,
        8192 - 8,
        8192 - 4,
        8192,
        8196,
    ] {
        let header = v1_at(Addresses {
            header: BASE + at,
            load_end: BASE + 0x3000,
            bss_end: 0,
            ..AT
        });
        sink(&format!("v1 at {at}"), file(0x3000, at as usize, &header));
    }
}

fn version_2(sink: &mut Sink<'_>) {
    let [addresses, entry] = v2_tags_at(AT);
    let tags = [
        addresses,
        entry,
        tag(1, 0, &[4, 6]),
        tag(1, 1, &[8, 9]),
        tag(4, 0, &[3]),
        tag(5, 0, &[1024, 768, 32]),
        tag(6, 0, &[]),
        tag(7, 0, &[]),
        tag(8, 0, &[BASE]),
        tag(9, 0, &[BASE]),
        tag(10, 0, &[BASE, u32::MAX, 0x1000, 2]),
    ];
    let header = v2(&tags);
    let bytes = file(0x200, 0, &header);
    for seal in [|_: &mut [u8]| (), seal_v2] {
        let base = Base {
            seal,
            ..Base::new("v2", &bytes)
        };
        base.edges_of(&V2, sink);
        base.truncations(header.len() + 1, sink);
    }
    all_tags("v2", &bytes, 0, &tags, sink);
    let (bytes, at) = elf(EM_X86_64, &v2(&tags[2..]));
    all_tags("v2 in ELF", &bytes, at, &tags[2..], sink);
    // One tag each, without an end tag: the header ends within it.
    for (index, tag) in tags.iter().enumerate() {
        let bytes = file(0x200, 0, &v2(std::slice::from_ref(tag)));
        for cut in 1..=tag.len() as u64 {
            let (name, cut) = Base {
                seal: seal_v2,
                ..Base::new("v2 cut", &bytes)
            }
            .with(&[(V2[2], 16 + tag.len() as u64 - cut)]);
            sink(&format!("{name} in tag {index}"), cut);
        }
    }
    for at in [4, 8, 32768 - 72, 32768 - 16, 32768 - 8, 32768, 32776_u32] {
        let at_header = Addresses {
            header: BASE + at,
            load_end: BASE + 0x9000,
            bss_end: 0,
            ..AT
        };
        sink(
            &format!("v2 at {at}"),
            file(0x9000, at as usize, &v2(&v2_tags_at(at_header))),
        );
    }
}

/// Header and content of each tag at its edges. The header is at `start`.
fn all_tags(name: &str, bytes: &[u8], start: usize, tags: &[Vec<u8>], sink: &mut Sink<'_>) {
    let base = Base::new(name, bytes);
    let mut at = start + 16;
    for tag in tags {
        let fields = moved(&TAG, at);
        base.edges_of(&fields, sink);
        let words: Vec<Field> = (at + 8..at + tag.len())
            .step_by(4)
            .map(|at| ("word", at, 4))
            .collect();
        base.edges_of(&words, sink);
        for pair in words.windows(2) {
            base.pairs_of(&[[pair[0], pair[1]]], sink);
        }
        at = (at + tag.len()).next_multiple_of(8);
    }
    // The end tag.
    base.edges_of(&moved(&TAG, at), sink);
}
