//! Files in which a kernel is wrapped: each codec, uImage, FIT images, zboot files, and all of these in each other.

use fmt_test::elf::{EM_X86_64, Elf, load};

use crate::change::{Base, Field, Sink, bytes};

/// "boot" as data of each codec.
const PACKED: [(&str, &[u8]); 7] = [
    ("gzip", b"\x1f\x8b\x08\0\0\0\0\0\0\x03\x01\x04\0\xfb\xffboot\xc4\xae\xed\x46\x04\0\0\0"),
    ("lz4", b"\x04\x22\x4d\x18\x74\x40\xbd\x04\0\0\x80boot\x44\xd8\x42\x97\0\0\0\0\x44\xd8\x42\x97"),
    ("lz4-legacy", b"\x02\x21\x4c\x18\x05\0\0\0\x40boot"),
    ("zstd", b"\x28\xb5\x2f\xfd\x04\x58\x21\0\0boot\xc4\xd1\x26\x08"),
    (
        "xz",
        b"\xfd\x37\x7a\x58\x5a\0\0\x01\x69\x22\xde\x36\x02\0\x21\x01\x16\0\0\0\x74\x2f\xe5\xa3\x01\0\x03boot\0\
          \xc4\xae\xed\x46\0\x01\x18\x04\x6b\xe9\xf0\xa5\x90\x42\x99\x0d\x01\0\0\0\0\x01\x59\x5a",
    ),
    (
        "lzo",
        b"\x89LZO\0\r\n\x1a\n\x10\x40\x20\xa0\x09\x40\x03\x09\x03\0\0\x0d\0\0\0\0\x6b\x0a\xaf\x1c\0\0\0\0\0\x29\x4e\
          \x02\xb6\0\0\0\x04\0\0\0\x04\x04\x2b\x01\xb5boot\0\0\0\0",
    ),
    (
        "bzip2",
        b"BZh11AY&SYO\xc5d\xd4\0\0/\x91\x80@\x04\x22\x0d\x10\0 \0TC\x02\x02\x95\x1356\x85\xb1t_\x0b\x05\x82\xd8\xb0_\
          \x8bB\xf1w$S\x85\x09\x04\xfcVM@",
    ),
];

/// " kernel, " many times, as LZMA data: a header with 13 bytes and a stream.
const LZMA: &[u8] =
    b"]\0\0\x80\0\xff\xff\xff\xff\xff\xff\xff\xff\0\x30\x88\x09f\x94St\xb6qi\xd8\xe6%\xb3G2\xff\xff\xfc\xd2\xd0\0";

/// The header of a uImage, big-endian.
const UIMAGE: [Field; 11] = [
    ("magic", 0, 4),
    ("header_crc", 4, 4),
    ("time", 8, 4),
    ("size", 12, 4),
    ("load", 16, 4),
    ("entry", 20, 4),
    ("data_crc", 24, 4),
    ("os", 28, 1),
    ("arch", 29, 1),
    ("type", 30, 1),
    ("compression", 31, 1),
];

/// A kernel that the PC loads.
pub(crate) fn kernel() -> Vec<u8> {
    Elf::new(
        EM_X86_64,
        0x10_0000,
        vec![load(0x10_0000, &[0x90; 0x100], 0x1000)],
    )
    .bytes()
}

/// Data as gzip stores them, without compression.
pub(crate) fn gzip(data: &[u8]) -> Vec<u8> {
    let len = u16::try_from(data.len()).unwrap();
    let lens = [len.to_le_bytes(), (!len).to_le_bytes()].concat();
    let end = [crc32fast::hash(data).to_le_bytes(), u32::from(len).to_le_bytes()].concat();
    [b"\x1f\x8b\x08\0\0\0\0\0\0\x03\x01", &lens[..], data, &end[..]].concat()
}

/// A zboot file with this payload.
pub(crate) fn zboot(codec: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut file = vec![0; 64];
    file[..2].copy_from_slice(b"MZ");
    file[4..8].copy_from_slice(b"zimg");
    file[8..12].copy_from_slice(&64_u32.to_le_bytes());
    file[12..16].copy_from_slice(&u32::try_from(payload.len()).unwrap().to_le_bytes());
    file[24..24 + codec.len()].copy_from_slice(codec);
    file.extend_from_slice(payload);
    file
}

/// A uImage with a kernel of this compression.
pub(crate) fn uimage(compression: u8, data: &[u8]) -> Vec<u8> {
    let mut file = vec![0; 64];
    file[..4].copy_from_slice(&0x2705_1956_u32.to_be_bytes());
    file[12..16].copy_from_slice(&u32::try_from(data.len()).unwrap().to_be_bytes());
    file[28..32].copy_from_slice(&[5, 22, 2, compression]);
    file.extend_from_slice(data);
    seal_uimage(&mut file);
    file
}

/// Writes both checksums of a uImage.
fn seal_uimage(file: &mut [u8]) {
    if let Some((header, data)) = file.split_at_mut_checked(64) {
        header[24..28].copy_from_slice(&crc32fast::hash(data).to_be_bytes());
        seal_uimage_header(header);
    }
}

/// Writes the checksum of the header of a uImage.
fn seal_uimage_header(file: &mut [u8]) {
    if let Some(header) = file.get_mut(..64) {
        header[4..8].fill(0);
        let crc = crc32fast::hash(header);
        header[4..8].copy_from_slice(&crc.to_be_bytes());
    }
}

/// A FIT image whose only kernel has these properties.
pub(crate) fn fit(properties: &[(&str, &[u8])]) -> Vec<u8> {
    let mut fdt = vm_fdt::FdtWriter::new().unwrap();
    let root = fdt.begin_node("").unwrap();
    let images = fdt.begin_node("images").unwrap();
    let kernel = fdt.begin_node("k").unwrap();
    for (name, value) in properties {
        fdt.property(name, value).unwrap();
    }
    fdt.end_node(kernel).unwrap();
    fdt.end_node(images).unwrap();
    let configurations = fdt.begin_node("configurations").unwrap();
    fdt.property_string("default", "c").unwrap();
    let configuration = fdt.begin_node("c").unwrap();
    fdt.property_string("kernel", "k").unwrap();
    fdt.end_node(configuration).unwrap();
    fdt.end_node(configurations).unwrap();
    fdt.end_node(root).unwrap();
    fdt.finish().unwrap()
}

/// All files.
pub(crate) fn make(sink: &mut Sink<'_>) {
    for (name, packed) in PACKED.into_iter().chain([("lzma", LZMA)]) {
        sink(name, packed.to_vec());
        let base = Base::new(name, packed);
        base.edges_of(&bytes(0, packed.len()), sink);
        base.truncations(packed.len(), sink);
        for seal in [seal_uimage, |_: &mut [u8]| ()] {
            let file = uimage(0, packed);
            let base = Base {
                is_big_endian: true,
                seal,
                ..Base::new("uimage", &file)
            };
            base.edges_of(&bytes(64, 80.min(file.len())), sink);
        }
    }
    base_of_lengths(sink);
    uimages(sink);
    fits(sink);
    nested(sink);
}

/// Lengths in headers that no byte alone has: the dictionary and the length of LZMA, and the block sizes of LZ4 and LZO.
fn base_of_lengths(sink: &mut Sink<'_>) {
    Base::new("lzma", LZMA).edges_of(&[("dictionary", 1, 4), ("length", 5, 8)], sink);
    Base::new("lz4", PACKED[1].1).edges_of(&[("block", 7, 4)], sink);
    Base::new("lz4-legacy", PACKED[2].1).edges_of(&[("block", 4, 4)], sink);
    let lzo = Base {
        is_big_endian: true,
        ..Base::new("lzo", PACKED[5].1)
    };
    lzo.edges_of(&[("unpacked", 38, 4), ("packed", 42, 4)], sink);
    lzo.pairs_of(&[[("unpacked", 38, 4), ("packed", 42, 4)]], sink);
    Base::new("gzip", PACKED[0].1).edges_of(&[("crc", 19, 4), ("length", 23, 4)], sink);
}

fn uimages(sink: &mut Sink<'_>) {
    let files = [
        uimage(0, &kernel()),
        uimage(1, &gzip(&kernel())),
        uimage(0, &gzip(&kernel())),
    ];
    for (index, file) in files.iter().enumerate() {
        let name = format!("uimage {index}");
        sink(&name, file.clone());
        for seal in [|_: &mut [u8]| (), seal_uimage_header] {
            let base = Base {
                is_big_endian: true,
                seal,
                ..Base::new(&name, file)
            };
            base.edges_of(&UIMAGE, sink);
            base.truncations(66, sink);
        }
    }
}

fn fits(sink: &mut Sink<'_>) {
    let packed = gzip(&kernel());
    let len = u32::try_from(packed.len()).unwrap().to_be_bytes();
    let embedded = fit(&[("compression", b"gzip\0"), ("data", &packed)]);
    let mut external = fit(&[
        ("compression", b"gzip\0"),
        ("data-offset", &[0; 4]),
        ("data-size", &len),
    ]);
    external.resize(external.len().next_multiple_of(4), 0);
    external.extend_from_slice(&packed);
    for (name, file) in [("fit", &embedded), ("fit external", &external)] {
        sink(name, file.clone());
        let base = Base {
            is_big_endian: true,
            ..Base::new(name, file)
        };
        let words: Vec<Field> = (0..40).step_by(4).map(|at| ("header", at, 4)).collect();
        base.edges_of(&words, sink);
        base.pairs_of(
            &[[words[2], words[9]], [words[3], words[8]], [words[1], words[2]]],
            sink,
        );
        base.truncations(64, sink);
        // Each word of the structure block, outside of the data.
        let word =
            |at: usize| usize::try_from(u32::from_be_bytes(file[at..at + 4].try_into().unwrap())).unwrap();
        let (start, end) = (word(8), word(8) + word(36));
        for at in (start..end)
            .step_by(4)
            .filter(|at| *at < start + 0xa0 || *at + 0x50 > end)
        {
            base.edges_of(&[("structure", at, 4)], sink);
        }
        base.edges_of(&bytes(word(12), word(12) + word(32)), sink);
    }
}

/// Each wrapper in each other, up to one layer more than is opened, and wrappers that are their own content.
fn nested(sink: &mut Sink<'_>) {
    type Wrap = fn(&[u8]) -> Vec<u8>;
    let wraps: [(&str, Wrap); 5] = [
        ("gzip", gzip),
        ("zboot", |data| zboot(b"gzip", &gzip(data))),
        ("uimage", |data| uimage(0, data)),
        ("fit", |data| fit(&[("compression", b"none\0"), ("data", data)])),
        ("uki", |data| {
            fmt_test::pe::Pe::new(fmt_test::pe::AMD64)
                .section(".linux", data)
                .build()
        }),
    ];
    let mut files = vec![("kernel".to_owned(), kernel())];
    for _ in 0..3 {
        let mut next = Vec::new();
        for (name, file) in &files {
            for (wrap, make) in wraps {
                let name = format!("{wrap} of {name}");
                let file = make(file);
                sink(&name, file.clone());
                next.push((name, file));
            }
        }
        files = next;
    }
    for (wrap, make) in wraps {
        let mut file = kernel();
        for depth in 1..8 {
            file = make(&file);
            sink(&format!("{depth} times {wrap}"), file.clone());
        }
    }
}
