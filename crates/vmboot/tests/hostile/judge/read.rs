//! Bounds on what parsers read, and the wrapper of unified kernel images.

use bls::uki::{Uki, UkiError};
use boot_core::{ByteSource, Codec, FormatError, FormatErrorKind, Payload, SizedSource};
use fmt_test::CountingSource;
use fmt_wrapped::Wrapper;

/// How often detection may read as many bytes as a file has: each of the seven formats once, and the format that accepts it its tables once more.
pub(super) const KERNEL_COPIES: u64 = 8;

/// The same for wrappers: each looks at the headers, and one unpacks the payload.
pub(super) const LAYER_COPIES: u64 = 8;

/// Bytes that are read of any file.
const HEADERS: u64 = 0x1000;

/// Largest number of reads: one for each 16 bytes of a file, the length of the shortest entry of a table, and those of its headers.
fn max_reads(len: u64) -> u64 {
    64 + len / 16
}

/// Asserts that the work on a source is bounded by its length, not by numbers in it.
pub(super) fn check_work(source: &CountingSource<'_>, copies: u64) {
    let len = source.len().unwrap_or_default();
    let (reads, bytes) = (source.reads(), source.bytes_read());
    assert!(
        reads <= max_reads(len),
        "{reads} reads of a file of {len:#x} bytes"
    );
    let max = copies * len + HEADERS;
    assert!(bytes <= max, "{bytes:#x} bytes read of a file of {len:#x} bytes");
}

/// Unified kernel images as wrappers of their kernels, as the command opens them.
pub(super) struct UkiWrapper;

impl Wrapper for UkiWrapper {
    fn name(&self) -> &'static str {
        "uki"
    }

    fn payload(&self, source: &dyn ByteSource) -> Result<Option<Payload>, FormatError> {
        let malformed = |error| FormatError::new("uki", FormatErrorKind::Malformed, error);
        let source = SizedSource::new(source).map_err(|error| malformed(UkiError::Read(error)))?;
        let uki = match Uki::parse(source) {
            Ok(Some(uki)) => uki,
            Ok(None) => return Ok(None),
            Err(UkiError::Pe(error)) if error.kind() != FormatErrorKind::Read => return Ok(None),
            Err(error) => return Err(malformed(error)),
        };
        let linux = uki.profile(None).map_err(malformed)?.linux;
        let payload = Payload::new(linux).with_codec(Some(Codec::Stored));
        Ok(Some(payload.with_unpacked_len(Some(linux.len()))))
    }
}
