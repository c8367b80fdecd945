//! Sources that fail, shrink or are very long; and the plugins.

use boot_core::FormatErrorKind::{Malformed, Read, Unsupported};
use boot_core::{ByteSource, KernelFormat, ReadError, ReadErrorKind, SizedSource, detect};
use fmt_pe::pe::{PeError, PeFile};
use fmt_pe::{
    ARM64_IMAGE, Arm64Image, FORMATS, LinuxImageError, PE, RISCV_IMAGE, RiscvImage, ZBOOT, ZbootImage,
};
use fmt_test::{Fields, TestSource};

use crate::file_writer::{File, image_samples, offset, pe_samples};
use crate::{image_invariants, pe_invariants};

/// Debug output of everything that the parsers return for `source`, or the error of the source.
fn parse_all(source: &dyn ByteSource) -> Result<String, ReadError> {
    let kernel = |error: LinuxImageError| match error {
        LinuxImageError::Read(error) => Err(error),
        error => Ok(error.to_string()),
    };
    let pe = |error: PeError| match error {
        PeError::Read(error) => Err(error),
        error => Ok(error.to_string()),
    };
    let mut words = vec![
        Arm64Image::parse(source).map_or_else(kernel, |image| Ok(format!("{image:?}")))?,
        RiscvImage::parse(source).map_or_else(kernel, |image| Ok(format!("{image:?}")))?,
        ZbootImage::parse(source).map_or_else(kernel, |image| Ok(format!("{image:?}")))?,
    ];
    match PeFile::parse(SizedSource::new(source)?) {
        Ok(None) => {}
        Ok(Some(file)) => {
            words.push(
                file.compute_check_sum()
                    .map_or_else(pe, |sum| Ok(sum.to_string()))?,
            );
            match file.relocations() {
                Err(error) => words.push(pe(error)?),
                Ok(relocations) => {
                    for relocation in relocations {
                        words.push(relocation.map_or_else(pe, |r| Ok(format!("{r:?}")))?);
                    }
                }
            }
        }
        Err(error) => words.push(pe(error)?),
    }
    Ok(words.join("\n"))
}

/// A failing operation gives the error of the source, whichever operation it is.
#[test]
fn the_nth_operation_fails() {
    for (name, file) in image_samples().into_iter().chain(pe_samples()) {
        let mut operations = 0;
        let outcome = loop {
            let source = TestSource::new(file.clone()).failing_after(operations);
            match parse_all(&source) {
                Err(error) => assert!(matches!(error.kind, ReadErrorKind::Source(_)), "{name}: {error}"),
                Ok(outcome) => break outcome,
            }
            operations += 1;
        };
        assert_eq!(outcome, parse_all(&file).unwrap(), "{name}");
        assert!((7..=118).contains(&operations), "{name}: {operations} operations");
    }
}

#[test]
fn a_file_that_shrinks_is_an_error() {
    let file = File::arm64().efi_stub(0xaa64).build();
    for len in 0..0x200 {
        let source = TestSource::new(file.clone()).shrunk_to(0x200 - len);
        let outcome = Arm64Image::parse(&source);
        match outcome {
            Err(LinuxImageError::Read(error)) => assert!(matches!(error.kind, ReadErrorKind::Shrunk)),
            // The headers are complete.
            Ok(Some(kernel)) if len == 0 => assert_eq!(kernel.image().source_len(), 0x1000),
            outcome => panic!("cut to {:#x}: {outcome:?}", 0x200 - len),
        }
    }
}

/// The parsers read only headers, however long the file is.
#[test]
fn a_huge_file_is_not_read() {
    let huge = |file: File, len| TestSource::new(file.build()).sparse(len);
    for (file, len) in [
        (File::arm64().efi_stub(0xaa64), 1 << 48),
        (File::riscv().efi_stub(0x5064), 1 << 62),
    ] {
        let source = huge(file.clone(), len);
        let image = detect(&FORMATS, &source).unwrap();
        assert_eq!(image.extent().len(), len);
        // `detect` reads a block at a time.
        assert!(source.largest_read() <= 0x2000);
        let source = huge(file, len);
        let parsed = [
            Arm64Image::parse(&source).unwrap().is_some(),
            RiscvImage::parse(&source).unwrap().is_some(),
        ];
        assert!(parsed[0] != parsed[1]);
        assert!(source.largest_read() <= 256);
    }
    for (file, len) in [
        (File::arm64(), (1 << 48) + 1),
        (File::arm64_old(), u64::MAX),
        (File::riscv(), u64::MAX),
    ] {
        let source = huge(file, len);
        let error = detect(&FORMATS, &source).unwrap_err();
        assert!(
            std::error::Error::source(&error)
                .unwrap()
                .to_string()
                .starts_with("the kernel needs")
        );
    }
    let source = huge(
        File::pe()
            .u16(offset::SECTIONS, 512)
            .u32(offset::SIZE_OF_HEADERS, 0x5188)
            .u32(offset::SIZE_OF_IMAGE, u32::MAX),
        u64::MAX,
    );
    let pe = PeFile::parse(SizedSource::new(&source).unwrap()).map(|pe| pe.map(|pe| pe.sections().len()));
    assert!(matches!(pe, Err(PeError::Malformed(_))), "{pe:?}");
    // The section table of 512 headers.
    assert_eq!(source.largest_read(), 512 * 40);
}

#[test]
fn every_sample_is_accepted_or_refused() {
    for (name, file) in image_samples() {
        let is_accepted = image_invariants::check_all(&file);
        assert_eq!(is_accepted, name != "riscv32", "{name}");
        pe_invariants::check(&file);
    }
    for (name, file) in pe_samples() {
        assert_eq!(pe_invariants::check(&file), name != "rom", "{name}");
    }
}

#[test]
fn the_plugins_return_the_images_and_errors_of_the_parsers() {
    let plugins: [(&dyn KernelFormat, &str, u32); 4] = [
        (&ARM64_IMAGE, "arm64-image", 60),
        (&RISCV_IMAGE, "riscv-image", 60),
        (&ZBOOT, "efi-zboot", 60),
        (&PE, "pe", 100),
    ];
    for (i, (plugin, name, priority)) in plugins.into_iter().enumerate() {
        assert_eq!((plugin.name(), plugin.priority().value()), (name, priority));
        assert_eq!(
            (FORMATS[i].name(), FORMATS[i].priority().value()),
            (name, priority)
        );
        assert!(plugin.parse(b"\x7fELF").unwrap().is_none());
    }
    let check = |plugin: &dyn KernelFormat, source: &dyn ByteSource, kind, text: &str| {
        let error = plugin.parse(source).unwrap_err();
        assert_eq!((error.format, error.kind), (plugin.name(), kind));
        let inner = error.get_ref();
        assert!(inner.to_string().starts_with(text), "{inner}");
        assert!(inner.is::<LinuxImageError>() != inner.is::<PeError>());
    };
    check(
        &ARM64_IMAGE,
        &File::arm64().u64(0x08, 1).build(),
        Malformed,
        "text_offset at 0x8",
    );
    check(
        &RISCV_IMAGE,
        &File::riscv().u32(0x20, 1 << 16).build(),
        Unsupported,
        "the riscv header version",
    );
    check(
        &ZBOOT,
        &File::zboot().build(),
        Unsupported,
        "it is an EFI zboot image",
    );
    check(
        &PE,
        &File::pe().u16(offset::MAGIC, 0).build(),
        Malformed,
        "the magic number",
    );
    check(&PE, &File::pe().build(), Unsupported, "it is an EFI application");
    for (plugin, _, _) in plugins {
        for (operations, text) in [(0, "cannot read the source"), (1, "cannot read bytes 0x0..")] {
            let source = TestSource::new(File::pe().build()).failing_after(operations);
            check(plugin, &source, Read, text);
        }
    }
}

#[cfg(feature = "registry")]
#[test]
fn the_formats_are_registered() {
    let formats = boot_core::registry::formats().unwrap();
    let names: Vec<&str> = formats.iter().map(|format| format.name()).collect();
    assert_eq!(names, ["arm64-image", "efi-zboot", "riscv-image", "pe"]);
}
