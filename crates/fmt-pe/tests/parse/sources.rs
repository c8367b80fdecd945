//! Sources that fail, lie about their length, or are very long; and the plugins.

use std::cell::Cell;

use boot_core::FormatErrorKind::{Malformed, Read, Unsupported};
use boot_core::{ByteSource, KernelFormat, ReadError, ReadErrorKind, SizedSource, detect};
use fmt_pe::pe::{PeError, PeFile};
use fmt_pe::{
    ARM64_IMAGE, Arm64Image, FORMATS, GZIP, KernelError, PE, RISCV_IMAGE, RiscvImage, ZBOOT, Zboot,
};

use crate::file::{File, at, image_samples, pe_samples};
use crate::{image_promises, pe_promises};

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

/// Everything that can be read from `source`, in words; or the error of the source.
fn read_all(source: &dyn ByteSource) -> Result<String, ReadError> {
    let kernel = |error: KernelError| match error {
        KernelError::Read(error) => Err(error),
        error => Ok(error.to_string()),
    };
    let pe = |error: PeError| match error {
        PeError::Read(error) => Err(error),
        error => Ok(error.to_string()),
    };
    let mut words = vec![
        Arm64Image::read(source).map_or_else(kernel, |image| Ok(format!("{image:?}")))?,
        RiscvImage::read(source).map_or_else(kernel, |image| Ok(format!("{image:?}")))?,
        Zboot::read(source).map_or_else(kernel, |image| Ok(format!("{image:?}")))?,
        fmt_pe::is_gzip(source).map_or_else(kernel, |is| Ok(is.to_string()))?,
    ];
    match PeFile::open(SizedSource::new(source)?) {
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

/// The error of the failing operation comes out, whichever it is, and nothing is made up.
#[test]
fn the_nth_operation_fails() {
    for (name, file) in image_samples().into_iter().chain(pe_samples()) {
        let mut operations = 0;
        let outcome = loop {
            let source = Odd::new(file.clone());
            source.left.set(operations);
            match read_all(&source) {
                Err(error) => assert!(matches!(error.kind, ReadErrorKind::Source(_)), "{name}: {error}"),
                Ok(outcome) => break outcome,
            }
            operations += 1;
        };
        assert_eq!(outcome, read_all(&file).unwrap(), "{name}");
        assert!((9..=120).contains(&operations), "{name}: {operations} operations");
    }
}

#[test]
fn a_file_that_shrinks_is_an_error() {
    let mut source = Odd::new(File::arm64().stub(0xaa64).build());
    for len in 0..0x200 {
        source.bytes.truncate(0x200 - len);
        let outcome = Arm64Image::read(&source);
        match outcome {
            Err(KernelError::Read(error)) => assert!(matches!(error.kind, ReadErrorKind::Shrunk)),
            // The headers are there.
            Ok(Some(kernel)) if len == 0 => assert_eq!(kernel.image().source_len(), 0x1000),
            outcome => panic!("cut to {:#x}: {outcome:?}", 0x200 - len),
        }
    }
}

/// The parsers read headers, however long the file is.
#[test]
fn a_huge_file_is_not_read() {
    let huge = |file: File, len| {
        let mut source = Odd::new(file.build());
        (source.len, source.is_sparse) = (len, true);
        source
    };
    for (file, len) in [
        (File::arm64().stub(0xaa64), 1 << 48),
        (File::riscv().stub(0x5064), 1 << 62),
    ] {
        let source = huge(file, len);
        let image = detect(&FORMATS, &source).unwrap();
        assert_eq!(image.extent().len(), len);
        assert!(source.largest_read.get() <= 256);
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
            .u16(at::SECTIONS, 512)
            .u32(at::SIZE_OF_HEADERS, 0x5188)
            .u32(at::SIZE_OF_IMAGE, u32::MAX),
        u64::MAX,
    );
    let pe = PeFile::open(SizedSource::new(&source).unwrap()).map(|pe| pe.map(|pe| pe.sections().len()));
    assert!(matches!(pe, Err(PeError::Malformed(_))), "{pe:?}");
    assert!(source.largest_read.get() <= 256);
}

#[test]
fn every_sample_is_judged() {
    for (name, file) in image_samples() {
        let is_accepted = image_promises::check_all(&file);
        assert_eq!(is_accepted, !matches!(name, "gzip" | "riscv32"), "{name}");
        pe_promises::check(&file);
    }
    for (name, file) in pe_samples() {
        assert_eq!(pe_promises::check(&file), name != "rom", "{name}");
    }
}

#[test]
fn the_plugins_say_what_the_parsers_say() {
    let plugins: [(&dyn KernelFormat, &str, u32); 5] = [
        (&ARM64_IMAGE, "arm64-image", 60),
        (&RISCV_IMAGE, "riscv-image", 60),
        (&ZBOOT, "efi-zboot", 60),
        (&GZIP, "gzip", 100),
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
        assert!(inner.is::<KernelError>() != inner.is::<PeError>());
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
        "its header version",
    );
    check(
        &ZBOOT,
        &File::zboot().build(),
        Unsupported,
        "it is an EFI zboot image",
    );
    check(
        &GZIP,
        &File::gzip().build(),
        Unsupported,
        "it is compressed with gzip",
    );
    check(
        &PE,
        &File::pe().u16(at::MAGIC, 0).build(),
        Malformed,
        "the magic number",
    );
    check(&PE, &File::pe().build(), Unsupported, "it is an EFI application");
    for (plugin, _, _) in plugins {
        let source = Odd::new(File::pe().build());
        source.left.set(1);
        check(plugin, &source, Read, "cannot read bytes 0x0..");
    }
}

#[cfg(feature = "registry")]
#[test]
fn the_registry_knows_the_formats() {
    let formats = boot_core::registry::formats().unwrap();
    let names: Vec<&str> = formats.iter().map(|format| format.name()).collect();
    assert_eq!(names, ["arm64-image", "efi-zboot", "riscv-image", "gzip", "pe"]);
}
