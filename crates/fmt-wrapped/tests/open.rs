//! Wrapped files: their layers, and the errors of those that are damaged.

use std::error::Error;

use boot_core::{ByteSource, Codec, FormatError, Payload, ReadError, SizedSource, SourceRange};
use fmt_wrapped::{
    Limits, OpenError, OpenProblem, UImageHeader, UnpackError, WRAPPERS, Wrapper, find, open, unpack,
};
use zerocopy::{FromZeros, IntoBytes};

/// "boot", as gzip stores it.
const BOOT: &[u8] = b"\x1f\x8b\x08\0\0\0\0\0\0\x03\x01\x04\0\xfb\xffboot\xc4\xae\xed\x46\x04\0\0\0";

/// Data as gzip stores them, without compression.
fn gzip(data: &[u8]) -> Vec<u8> {
    let len = u16::try_from(data.len()).unwrap();
    let start = b"\x1f\x8b\x08\0\0\0\0\0\0\x03\x01";
    let lens = [len.to_le_bytes(), (!len).to_le_bytes()].concat();
    let end = [crc32fast::hash(data).to_le_bytes(), u32::from(len).to_le_bytes()].concat();
    [start, &lens[..], data, &end[..]].concat()
}

/// A zboot image with this payload, and bytes behind it.
fn zboot(codec: &[u8], payload: &[u8], behind: &[u8]) -> Vec<u8> {
    let mut file = [0; 64];
    file[..2].copy_from_slice(b"MZ");
    file[4..8].copy_from_slice(b"zimg");
    file[8..12].copy_from_slice(&64_u32.to_le_bytes());
    file[12..16].copy_from_slice(&u32::try_from(payload.len()).unwrap().to_le_bytes());
    file[24..24 + codec.len()].copy_from_slice(codec);
    [&file[..], payload, behind].concat()
}

/// A uImage with a kernel, whose header `change` changes before its checksum is computed.
fn uimage(compression: u8, data: &[u8], change: impl FnOnce(&mut UImageHeader)) -> Vec<u8> {
    let mut header = UImageHeader::new_zeroed();
    header.magic.set(UImageHeader::MAGIC);
    header.size.set(u32::try_from(data.len()).unwrap());
    header.data_crc.set(crc32fast::hash(data));
    header.image_type = UImageHeader::KERNEL;
    header.compression = compression;
    change(&mut header);
    let crc = crc32fast::hash(header.as_bytes());
    header.header_crc.set(crc);
    [header.as_bytes(), data].concat()
}

/// Checks the names of the wrappers and the innermost content.
fn check(file: &[u8], wrappers: &[&str], content: &[u8]) {
    let layers = open(&file, &WRAPPERS, &Limits::default()).unwrap();
    let names: Vec<_> = layers.iter().map(|layer| layer.wrapper).collect();
    assert_eq!(names, wrappers);
    let innermost = layers.last().map_or(file, |layer| &layer.content);
    assert!(innermost == content, "{innermost:x?}");
}

/// Checks the text of an error: that of the layer and its causes.
fn check_error(file: &[u8], expected: &str) -> OpenError {
    let limits = Limits { layers: 3, len: 4096 };
    let error = open(&file, &WRAPPERS, &limits).unwrap_err();
    let mut texts = vec![error.to_string()];
    let mut source = error.source();
    while let Some(cause) = source {
        texts.push(cause.to_string());
        source = cause.source();
    }
    assert_eq!(texts.join(": "), expected);
    error
}

#[test]
fn layers_are_opened_up_to_what_is_not_wrapped() {
    check(b"", &[], b"");
    check(b"boot", &[], b"boot");
    check(BOOT, &["compressed"], b"boot");
    assert_eq!(gzip(b"boot"), BOOT);
    check(&gzip(BOOT), &["compressed", "compressed"], b"boot");
    check(&[BOOT, b"tail"].concat(), &["compressed"], b"boot");
    check(&zboot(b"gzip", BOOT, b""), &["efi-zboot"], b"boot");
    check(&uimage(1, BOOT, |_| ()), &["uimage"], b"boot");
    check(&uimage(0, BOOT, |_| ()), &["uimage", "compressed"], b"boot");
    let image = uimage(0, &gzip(&zboot(b"gzip", BOOT, b"")), |header| {
        header.image_type = 14;
    });
    check(&image, &["uimage", "compressed", "efi-zboot"], b"boot");
    // The data of U-Boot's number 5 have either frame of LZ4.
    check(
        &uimage(5, b"\x02\x21\x4c\x18\x05\0\0\0\x40boot", |_| ()),
        &["uimage"],
        b"boot",
    );
    check(
        &zboot(b"lz4", b"\x02\x21\x4c\x18\x05\0\0\0\x40boot", b"\x04\0\0\0"),
        &["efi-zboot"],
        b"boot",
    );
}

#[test]
fn other_files_are_not_wrapped() {
    // An ELF file, a script of U-Boot, and the magic number of LZMA without its header.
    check(b"\x7fELF", &[], b"\x7fELF");
    let script = uimage(0, b"boot", |header| {
        header.image_type = 6;
    });
    check(&script, &[], &script);
    for text in [
        &b"\x5d\0\0"[..],
        b"\x5d\0\0\x80\0\x01\x02\x03\x04\x05\x06\x07\x08",
    ] {
        check(text, &[], text);
    }
}

#[test]
fn damaged_files_are_errors() {
    let bomb = gzip(&[0; 4097]);
    check_error(
        &bomb,
        "layer 1 (compressed) cannot be opened: gzip data, at byte 4111: the decompressed data is longer than the limit of 4096 bytes",
    );
    check_error(
        &gzip(&BOOT[..20]),
        "layer 2 (compressed) cannot be opened: gzip data, at byte 19: the data ends too early",
    );
    check_error(
        &zboot(b"lz4", b"\x02\x21\x4c\x18\x05\0\0\0\x40boot", b"\x05\0\0\0"),
        "layer 1 (efi-zboot) cannot be opened: its declared length is 5 bytes, but it unpacks to 4",
    );
    check_error(
        &zboot(b"lz4", b"\x02\x21\x4c\x18\x05\0\0\0\x40boot", b"\x01\x10\0\0"),
        "layer 1 (efi-zboot) cannot be opened: its declared length is 4097 bytes, more than the limit of 4096",
    );
    check_error(
        &zboot(b"magic", b"????", b""),
        "layer 1 (efi-zboot) cannot be opened: the compression of the payload is unknown",
    );
    check_error(
        &zboot(b"gzip", b"", b""),
        "layer 1 cannot be opened: the efi-zboot file is malformed: the payload (payload_offset at 0x8: 0x40, payload_size at 0xc: 0x0) is empty or outside the file, which has 0x40 bytes; is the file truncated?",
    );
    let nested = gzip(&gzip(&gzip(BOOT)));
    let error = check_error(
        &nested,
        "layer 4 (compressed) cannot be opened: there are more than 3 layers",
    );
    assert!(matches!(error.problem, OpenProblem::TooDeep { limit: 3 }));
}

#[test]
fn headers_of_uimages_are_checked() {
    let malformed = |file: &[u8], expected: &str| {
        check_error(
            file,
            &format!("layer 1 cannot be opened: the uimage file is malformed: {expected}"),
        );
    };
    let good = uimage(1, BOOT, |_| ());
    malformed(&good[..63], "the file has 63 bytes, but the header has 64");
    let size = |size| uimage(1, BOOT, |header| header.size.set(size));
    let available = BOOT.len();
    malformed(
        &size(0),
        &format!("ih_size at 0xc is 0x0, but {available:#x} bytes follow the header"),
    );
    malformed(
        &size(u32::MAX),
        &format!("ih_size at 0xc is 0xffffffff, but {available:#x} bytes follow the header"),
    );
    for at in [0x8, 0x20, 0x3f] {
        let mut changed = good.clone();
        changed[at] ^= 1;
        let error = open(&changed, &WRAPPERS, &Limits::default()).unwrap_err();
        assert!(
            error
                .source()
                .unwrap()
                .source()
                .unwrap()
                .to_string()
                .starts_with("ih_hcrc at 0x4 is ")
        );
    }
    let mut changed = good.clone();
    changed[70] ^= 1;
    let error = open(&changed, &WRAPPERS, &Limits::default()).unwrap_err();
    assert!(
        error
            .source()
            .unwrap()
            .source()
            .unwrap()
            .to_string()
            .starts_with("ih_dcrc at 0x18 is ")
    );
    check_error(
        &uimage(9, BOOT, |_| ()),
        "layer 1 cannot be opened: the uimage file is not supported: ih_comp at 0x1f is 9, expected 0 to 6",
    );
}

#[test]
fn codecs_without_a_decoder_are_named() {
    let error = open(&&b"BZh9"[..], &WRAPPERS, &Limits::default()).unwrap_err();
    assert_eq!(error.is_not_built_in(), cfg!(not(feature = "bzip2")), "{error}");
    assert!(
        !check_error(
            &BOOT[..9],
            "layer 1 (compressed) cannot be opened: gzip data, at byte 0: the data ends too early"
        )
        .is_not_built_in()
    );
}

/// A wrapper of another crate: the bytes behind "WRAP".
struct Other;

impl Wrapper for Other {
    fn name(&self) -> &'static str {
        "other"
    }

    fn payload(&self, source: &dyn ByteSource) -> Result<Option<Payload>, FormatError> {
        let source = SizedSource::new(source).unwrap();
        let mut magic = [0; 4];
        source.read_prefix_at(0, &mut magic).unwrap();
        let range = SourceRange::new(4, source.len() - 4).unwrap();
        Ok((magic == *b"WRAP").then(|| Payload::new(range).with_codec(Some(Codec::Stored))))
    }
}

#[test]
fn other_crates_add_wrappers() {
    let file = [&b"WRAP"[..], BOOT].concat();
    assert_eq!(find(&WRAPPERS, &file).unwrap(), None);
    let wrappers = [&Other as &dyn Wrapper]
        .into_iter()
        .chain(WRAPPERS)
        .collect::<Vec<_>>();
    let layers = open(&file, &wrappers, &Limits::default()).unwrap();
    let names: Vec<_> = layers.iter().map(|layer| layer.wrapper).collect();
    assert_eq!(names, ["other", "compressed"]);
}

/// A source without memory behind it, which can fail.
struct Slow(Vec<u8>, bool);

impl ByteSource for Slow {
    fn len(&self) -> Result<u64, ReadError> {
        ByteSource::len(&self.0)
    }

    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), ReadError> {
        if self.1 {
            return self.0.read_exact_at(u64::MAX, buf);
        }
        self.0.read_exact_at(offset, buf)
    }
}

#[test]
fn payloads_are_read_where_they_are_not_in_memory() {
    let payload = Payload::new(SourceRange::whole(27)).with_codec(Some(Codec::Gzip));
    assert_eq!(unpack(&Slow(BOOT.to_vec(), false), &payload, 4).unwrap(), b"boot");
    let error = unpack(&Slow(BOOT.to_vec(), true), &payload, 4).unwrap_err();
    assert!(matches!(error, UnpackError::Read(_)), "{error}");
    let past = Payload::new(SourceRange::whole(28)).with_codec(Some(Codec::Gzip));
    let error = unpack(&BOOT, &past, 4).unwrap_err();
    assert!(matches!(error, UnpackError::Read(_)), "{error}");
    assert!(open(&Slow(BOOT.to_vec(), true), &WRAPPERS, &Limits::default()).is_err());
}

proptest::proptest! {
    /// Any file ends in layers within the limits, or in an error.
    #[test]
    fn arbitrary_files_never_panic(start in 0..6_usize, rest: Vec<u8>) {
        let starts: [&[u8]; 6] = [b"", &BOOT[..15], &zboot(b"gzip", BOOT, b"")[..64], b"\x27\x05\x19\x56", b"\x28\xb5\x2f\xfd", b"\x02\x21\x4c\x18"];
        let file = [starts[start], &rest].concat();
        let limits = Limits { layers: 2, len: 1 << 16 };
        if let Ok(layers) = open(&file, &WRAPPERS, &limits) {
            proptest::prop_assert!(layers.len() <= 2);
            for layer in layers {
                proptest::prop_assert!(layer.content.len() <= 1 << 16);
            }
        }
    }
}
