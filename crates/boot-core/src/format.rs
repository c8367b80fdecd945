//! The plugin trait of image formats, and format detection.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::error::Error;
use core::fmt;

use crate::{
    BackingStore, ByteSource, CachedSource, FileKind, KernelImage, Priority, ReadError, SizedSource, identify,
};

/// A kernel image format: the plugin trait of format crates. [`detect`] tries formats on an image.
///
/// Implementations read headers through [`SizedSource`] and create the image with [`ImageBuilder`](crate::ImageBuilder).
pub trait KernelFormat: Sync {
    /// The format's name: lower case, unique among the formats in use.
    fn name(&self) -> &'static str;

    /// The position of this format in the order of [`detect`]: lower priorities first, equal ones in the order of their
    /// names. A format whose images are also images of another format needs the lower priority of the two.
    fn priority(&self) -> Priority {
        Priority::STANDARD
    }

    /// Parses the image.
    ///
    /// Returns `Ok(None)` for an image without the magic number of this format. An image that has it but is malformed
    /// or not supported is an error.
    ///
    /// # Errors
    ///
    /// [`FormatError`] for an image of this format that cannot be parsed.
    fn parse(&self, source: &dyn ByteSource) -> Result<Option<KernelImage>, FormatError>;
}

/// Category of a format error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FormatErrorKind {
    /// The image violates the specification of its format.
    Malformed,
    /// The image is valid but needs a feature that the format crate does not implement.
    Unsupported,
    /// The image could not be read.
    Read,
}

/// An image that a format recognised but could not parse. The format crate's typed error is its `source`.
#[derive(Debug)]
pub struct FormatError {
    /// The name of the format.
    pub format: &'static str,
    /// Category of the error.
    pub kind: FormatErrorKind,
    error: Box<dyn Error + Send + Sync>,
}

impl FormatError {
    /// Wraps the error of a format crate.
    pub fn new(
        format: &'static str,
        kind: FormatErrorKind,
        error: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self {
            format,
            kind,
            error: error.into(),
        }
    }

    /// The format crate's own error.
    #[must_use]
    pub fn get_ref(&self) -> &(dyn Error + Send + Sync + 'static) {
        &*self.error
    }
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            FormatErrorKind::Malformed => "is malformed",
            FormatErrorKind::Unsupported => "is not supported",
            FormatErrorKind::Read => "cannot be read",
        };
        write!(f, "the {} file {kind}", self.format)
    }
}

impl Error for FormatError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.error)
    }
}

/// Why no format parsed an image.
#[derive(Debug)]
#[non_exhaustive]
pub enum DetectError {
    /// The source cannot be read.
    Read(ReadError),
    /// The source is empty.
    Empty,
    /// No format recognised the image.
    Unknown {
        /// The names of the formats, in the order of trial.
        tried: Vec<&'static str>,
        /// The first bytes of the image, up to eight.
        first_bytes: Vec<u8>,
        /// What the file is, if its magic number is a known one.
        kind: Option<FileKind>,
    },
    /// A format recognised the image but could not parse it.
    Format(FormatError),
}

impl fmt::Display for DetectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(_) => write!(f, "the image cannot be read"),
            Self::Empty => write!(f, "the image is empty"),
            Self::Unknown { kind: Some(kind), .. } => {
                write!(f, "not a kernel image of a known format: the file is {kind}")
            }
            Self::Unknown {
                tried, first_bytes, ..
            } => {
                write!(f, "not a kernel image of a known format: it begins with ")?;
                match core::str::from_utf8(first_bytes) {
                    Ok(text) if text.chars().all(is_text) => write!(f, "the text {text:?}")?,
                    _ => {
                        f.write_str("the bytes")?;
                        for byte in first_bytes {
                            write!(f, " {byte:02x}")?;
                        }
                    }
                }
                let names = if tried.is_empty() {
                    "none".into()
                } else {
                    tried.join(", ")
                };
                write!(f, " (formats tried: {names})")
            }
            Self::Format(error) => error.fmt(f),
        }
    }
}

/// Whether a character is of a text.
fn is_text(character: char) -> bool {
    !character.is_control() || matches!(character, '\n' | '\r' | '\t')
}

impl Error for DetectError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Read(error) => Some(error),
            Self::Empty | Self::Unknown { .. } => None,
            Self::Format(error) => error.source(),
        }
    }
}

/// Parses the image with the first format that recognises it. Formats are tried in the order of their priorities, equal
/// priorities in the order of names; the order of the slice does not matter.
///
/// Formats read the image through a [`CachedSource`], unless its bytes are in memory.
///
/// # Errors
///
/// [`DetectError`] where no format recognises the image, or the first that does cannot parse it.
pub fn detect(formats: &[&dyn KernelFormat], source: &dyn ByteSource) -> Result<KernelImage, DetectError> {
    let cached = CachedSource::new(source);
    let source = match source.backing_store() {
        BackingStore::Bytes(_) => source,
        _ => &cached,
    };
    let sized = SizedSource::new(source).map_err(DetectError::Read)?;
    if sized.is_empty() {
        return Err(DetectError::Empty);
    }
    let mut formats = formats.to_vec();
    formats.sort_unstable_by_key(|format| (format.priority(), format.name()));
    for format in &formats {
        if let Some(image) = format.parse(source).map_err(DetectError::Format)? {
            return Ok(image);
        }
    }
    let mut first_bytes = alloc::vec![0; 8];
    let read = sized
        .read_prefix_at(0, &mut first_bytes)
        .map_err(DetectError::Read)?;
    first_bytes.truncate(read);
    Err(DetectError::Unknown {
        tried: formats.iter().map(|format| format.name()).collect(),
        first_bytes,
        kind: identify(&sized).map_err(DetectError::Read)?,
    })
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    #[test]
    fn errors_print_their_kind_and_keep_their_source() {
        let check = |kind, expected| {
            let error = FormatError::new("flat", kind, "bad magic");
            assert_eq!(error.to_string(), expected);
            assert_eq!((error.format, error.kind), ("flat", kind));
            assert_eq!(error.get_ref().to_string(), "bad magic");
            assert_eq!(error.source().unwrap().to_string(), "bad magic");
            let detected = DetectError::Format(error);
            assert_eq!(detected.to_string(), expected);
            assert_eq!(detected.source().unwrap().to_string(), "bad magic");
        };
        check(FormatErrorKind::Malformed, "the flat file is malformed");
        check(FormatErrorKind::Unsupported, "the flat file is not supported");
        check(FormatErrorKind::Read, "the flat file cannot be read");
    }

    #[test]
    fn unknown_files_are_named_without_any_format() {
        let check = |bytes: &[u8], expected: Option<&str>| {
            let error = detect(&[], &bytes).unwrap_err();
            let DetectError::Unknown { kind, .. } = &error else {
                panic!("{error:?}");
            };
            assert_eq!(kind.map(|kind| kind.name), expected);
            if let Some(kind) = kind {
                let text = "not a kernel image of a known format: the file is ";
                assert_eq!(error.to_string(), std::format!("{text}{kind}"));
            }
        };
        check(&[0x1f, 0x8b, 8, 0], Some("compressed with gzip"));
        check(&[&[0; 56][..], b"ARM\x64"].concat(), Some("an arm64 Image"));
        check(b"\x7fELF", Some("an ELF file"));
        check(b"text", None);
    }

    #[test]
    fn detection_errors_print_what_was_tried() {
        let error = DetectError::Unknown {
            tried: ["elf", "pe"].to_vec(),
            first_bytes: [0x4d, 0x80].to_vec(),
            kind: None,
        };
        assert_eq!(
            error.to_string(),
            "not a kernel image of a known format: it begins with the bytes 4d 80 (formats tried: elf, pe)"
        );
        let text = DetectError::Unknown {
            tried: ["elf"].to_vec(),
            first_bytes: b"a file\n".to_vec(),
            kind: None,
        };
        assert_eq!(
            text.to_string(),
            "not a kernel image of a known format: it begins with the text \"a file\\n\" (formats tried: elf)"
        );
        assert!(error.source().is_none());
        let untried = DetectError::Unknown {
            tried: Vec::new(),
            first_bytes: [0].to_vec(),
            kind: None,
        };
        assert_eq!(
            untried.to_string(),
            "not a kernel image of a known format: it begins with the bytes 00 (formats tried: none)"
        );
        assert_eq!(DetectError::Empty.to_string(), "the image is empty");
        assert!(DetectError::Empty.source().is_none());
        let read = || ReadError::new(0, 1, crate::source::ReadErrorKind::Shrunk);
        assert_eq!(DetectError::Read(read()).to_string(), "the image cannot be read");
        let source = DetectError::Read(read()).source().unwrap().to_string();
        assert_eq!(source, read().to_string());
    }
}
