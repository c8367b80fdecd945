//! Sources that fail, shrink or are very long; and the plugin.

use boot_core::{ByteSource, FormatErrorKind, KernelFormat, ReadErrorKind, detect};
use fmt_bzimage::{BzImage, BzImageError, FORMAT};
use fmt_test::{Fields, TestSource};

use crate::bzimage_writer::{Image, samples};
use crate::invariants;

/// A failing operation gives the error of the source, whichever operation it is.
#[test]
fn the_nth_operation_fails() {
    for (name, file) in samples() {
        let mut operations = 0;
        let outcome = loop {
            let source = TestSource::new(file.clone()).failing_after(operations);
            match BzImage::parse(&source) {
                Err(BzImageError::Read(error)) => {
                    assert!(matches!(error.kind, ReadErrorKind::Source(_)), "{name}: {error}");
                }
                outcome => break outcome.map_err(|error| error.to_string()),
            }
            operations += 1;
        };
        let expected = BzImage::parse(&file).map_err(|error| error.to_string());
        assert_eq!(outcome, expected, "{name}");
        assert!((2..=12).contains(&operations), "{name}: {operations} operations");
    }
}

#[test]
fn a_file_that_shrinks_is_an_error() {
    let file = Image::new(0x20f).build();
    for len in 0x206..0x1e10 {
        let source = TestSource::new(file.clone()).shrunk_to(len);
        let outcome = BzImage::parse(&source);
        let Err(BzImageError::Read(error)) = outcome else {
            panic!("cut to {len:#x}: {outcome:?}");
        };
        assert!(
            matches!(error.kind, ReadErrorKind::Shrunk),
            "cut to {len:#x}: {error}"
        );
    }
}

/// The parser reads only headers, however long the file is.
#[test]
fn a_huge_file_is_not_read() {
    for len in [1 << 40, u64::MAX] {
        let file = Image::new(0x20f).u32(0x1f4, u32::MAX).u32(0x260, 0).build();
        let source = TestSource::new(file).sparse(len);
        let kernel = BzImage::parse(&source).unwrap().unwrap();
        assert_eq!(kernel.image().extent().len(), 16 * u64::from(u32::MAX));
        assert!(source.largest_read() <= 512);

        // Without a size in the header, the rest of the file is the code.
        let source = TestSource::new(Image::new(0x203).build()).sparse(len);
        let outcome = BzImage::parse(&source);
        match len {
            u64::MAX => assert!(matches!(outcome, Err(BzImageError::Malformed(_))), "{outcome:?}"),
            _ => assert_eq!(outcome.unwrap().unwrap().protected_mode_code().len(), len - 0x600),
        }
    }
}

#[test]
fn every_sample_is_accepted_or_refused() {
    for (name, file) in samples() {
        let outcome = BzImage::parse(&file);
        match &outcome {
            Ok(Some(kernel)) => invariants::check(&file, kernel),
            Err(BzImageError::Unsupported(_)) if name == "zimage" => {}
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn the_plugin_returns_the_image_and_errors_of_the_parser() {
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
        "the image is a zImage",
    );
    let source = TestSource::new(new().build()).failing_after(1);
    check(&source, FormatErrorKind::Read, "cannot read bytes 0x1f1..0x26c");
}
