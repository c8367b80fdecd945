//! Sources that fail, lie about their length, or are very long; and the plugin.

use std::cell::Cell;

use boot_core::{ByteSource, FormatErrorKind, KernelFormat, ReadError, ReadErrorKind, detect};
use fmt_bzimage::{BzImage, BzImageError, FORMAT};

use crate::image::{Image, samples};
use crate::promises;

/// Claims to be `len` bytes long, of which it holds the first; the rest is zero, or missing.
struct Odd {
    bytes: Vec<u8>,
    len: u64,
    is_sparse: bool,
    /// How many more operations succeed.
    left: Cell<u32>,
    largest_read: Cell<usize>,
}

impl Odd {
    fn new(bytes: Vec<u8>) -> Self {
        Self {
            len: bytes.len() as u64,
            bytes,
            is_sparse: false,
            left: Cell::new(u32::MAX),
            largest_read: Cell::new(0),
        }
    }

    fn count(&self, offset: u64, len: usize) -> Result<(), ReadError> {
        let left = self.left.get().checked_sub(1);
        self.left
            .set(left.ok_or_else(|| ReadError::new(offset, len, ReadErrorKind::Source("no more".into())))?);
        Ok(())
    }
}

impl ByteSource for Odd {
    fn len(&self) -> Result<u64, ReadError> {
        self.count(0, 0)?;
        Ok(self.len)
    }

    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), ReadError> {
        self.count(offset, buf.len())?;
        self.largest_read.set(self.largest_read.get().max(buf.len()));
        for (at, byte) in (offset..).zip(buf.iter_mut()) {
            *byte = match self.bytes.get(at as usize) {
                Some(byte) => *byte,
                None if self.is_sparse => 0,
                None => return Err(ReadError::new(offset, 1, ReadErrorKind::Shrunk)),
            };
        }
        Ok(())
    }
}

/// The error of the failing operation comes out, whichever it is, and nothing is made up.
#[test]
fn the_nth_operation_fails() {
    for (name, file) in samples() {
        let mut operations = 0;
        let outcome = loop {
            let source = Odd::new(file.clone());
            source.left.set(operations);
            match BzImage::read(&source) {
                Err(BzImageError::Read(error)) => {
                    assert!(matches!(error.kind, ReadErrorKind::Source(_)), "{name}: {error}");
                }
                outcome => break outcome.map_err(|error| error.to_string()),
            }
            operations += 1;
        };
        let expected = BzImage::read(&file).map_err(|error| error.to_string());
        assert_eq!(outcome, expected, "{name}");
        assert!((2..=12).contains(&operations), "{name}: {operations} operations");
    }
}

#[test]
fn a_file_that_shrinks_is_an_error() {
    let file = Image::new(0x20f).build();
    for len in 0x206..0x1e10 {
        let mut source = Odd::new(file.clone());
        source.bytes.truncate(len);
        let outcome = BzImage::read(&source);
        let Err(BzImageError::Read(error)) = outcome else {
            panic!("cut to {len:#x}: {outcome:?}");
        };
        assert!(
            matches!(error.kind, ReadErrorKind::Shrunk),
            "cut to {len:#x}: {error}"
        );
    }
}

/// The parser reads headers, however long the file is.
#[test]
fn a_huge_file_is_not_read() {
    for len in [1 << 40, u64::MAX] {
        let mut source = Odd::new(Image::new(0x20f).u32(0x1f4, u32::MAX).u32(0x260, 0).build());
        (source.len, source.is_sparse) = (len, true);
        let kernel = BzImage::read(&source).unwrap().unwrap();
        assert_eq!(kernel.image().extent().len(), 16 * u64::from(u32::MAX));
        assert!(source.largest_read.get() <= 512);

        // Without a size in the header, the rest of the file is the code.
        let mut source = Odd::new(Image::new(0x203).build());
        (source.len, source.is_sparse) = (len, true);
        let outcome = BzImage::read(&source);
        match len {
            u64::MAX => assert!(matches!(outcome, Err(BzImageError::Malformed(_))), "{outcome:?}"),
            _ => assert_eq!(outcome.unwrap().unwrap().code().len(), len - 0x600),
        }
    }
}

#[test]
fn every_sample_is_judged() {
    for (name, file) in samples() {
        let outcome = BzImage::read(&file);
        match &outcome {
            Ok(Some(kernel)) => promises::check(&file, kernel),
            Err(BzImageError::Unsupported(_)) if name == "zimage" => {}
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn the_plugin_says_what_the_parser_says() {
    assert_eq!((FORMAT.name(), FORMAT.priority().value()), ("bzimage", 50));
    let image = detect(&[&FORMAT], &Image::new(0x20f).build()).unwrap();
    assert_eq!(image.format(), "bzimage");
    assert!(FORMAT.parse(b"MZ").unwrap().is_none());

    let check = |source: &dyn ByteSource, kind, text: &str| {
        let error = FORMAT.parse(source).unwrap_err();
        assert_eq!((error.format, error.kind), ("bzimage", kind));
        assert!(
            error.get_ref().to_string().starts_with(text),
            "{}",
            error.get_ref()
        );
        assert!(error.get_ref().is::<BzImageError>());
    };
    let new = || Image::new(0x20f);
    check(
        &new().u16(0x1fe, 0).build(),
        FormatErrorKind::Malformed,
        "boot_flag at 0x1fe",
    );
    check(
        &new().u8(0x211, 0).build(),
        FormatErrorKind::Unsupported,
        "it is a zImage",
    );
    let source = Odd::new(new().build());
    source.left.set(1);
    check(&source, FormatErrorKind::Read, "cannot read bytes 0x1f1..0x26c");
}
