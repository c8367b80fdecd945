//! The payload of an image, and its compression.

use core::fmt;

use crate::SourceRange;

/// A compression format of a kernel's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum Codec {
    /// Not compressed.
    Stored,
    /// gzip (RFC 1952).
    Gzip,
    /// bzip2.
    Bzip2,
    /// LZMA in its stand-alone `.lzma` container.
    Lzma,
    /// XZ.
    Xz,
    /// LZO in the `lzop` container.
    Lzo,
    /// LZ4 in the legacy frame that the kernel's build writes.
    Lz4Legacy,
    /// LZ4 in the standard frame.
    Lz4Frame,
    /// Zstandard (RFC 8878).
    Zstd,
}

impl Codec {
    /// The name used in machine-readable output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Gzip => "gzip",
            Self::Bzip2 => "bzip2",
            Self::Lzma => "lzma",
            Self::Xz => "xz",
            Self::Lzo => "lzo",
            Self::Lz4Legacy => "lz4-legacy",
            Self::Lz4Frame => "lz4",
            Self::Zstd => "zstd",
        }
    }

    /// The command that decompresses its standard input to its standard output. `None` for [`Codec::Stored`].
    #[must_use]
    pub const fn decompress_command(self) -> Option<&'static str> {
        Some(match self {
            Self::Stored => return None,
            Self::Gzip => "gzip -dc",
            Self::Bzip2 => "bzip2 -dc",
            Self::Lzma => "xz --format=lzma -dc",
            Self::Xz => "xz -dc",
            Self::Lzo => "lzop -dc",
            Self::Lz4Legacy | Self::Lz4Frame => "lz4 -dc",
            Self::Zstd => "zstd -dc",
        })
    }

    /// The codec whose magic number is at the start of `bytes`: at most six bytes. [`Codec::Stored`] for an ELF file,
    /// `None` where no magic number is known.
    #[must_use]
    pub fn detect(bytes: &[u8]) -> Option<Self> {
        const MAGICS: [(&[u8], Codec); 9] = [
            (&[0x1f, 0x8b], Codec::Gzip),
            (b"BZh", Codec::Bzip2),
            (&[0x5d, 0x00, 0x00], Codec::Lzma),
            (&[0xfd, b'7', b'z', b'X', b'Z', 0x00], Codec::Xz),
            (&[0x89, b'L', b'Z', b'O'], Codec::Lzo),
            (&[0x02, 0x21, 0x4c, 0x18], Codec::Lz4Legacy),
            (&[0x04, 0x22, 0x4d, 0x18], Codec::Lz4Frame),
            (&[0x28, 0xb5, 0x2f, 0xfd], Codec::Zstd),
            (&[0x7f, b'E', b'L', b'F'], Codec::Stored),
        ];
        MAGICS
            .into_iter()
            .find(|(magic, _)| bytes.starts_with(magic))
            .map(|(_, codec)| codec)
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A kernel inside an image, usually compressed: for example the vmlinux in a bzImage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Payload {
    /// Its compression; `None` where the magic number is of no known codec.
    pub codec: Option<Codec>,
    /// Its bytes in the source.
    pub source: SourceRange,
    /// Uncompressed length in bytes, if the container states one. A hint: it is not verified.
    pub unpacked_len: Option<u64>,
}

impl Payload {
    /// A payload at these bytes of the source, of an unknown codec and length.
    #[must_use]
    pub const fn new(source: SourceRange) -> Self {
        Self {
            codec: None,
            source,
            unpacked_len: None,
        }
    }

    /// The same with a codec.
    #[must_use]
    pub const fn with_codec(self, codec: Option<Codec>) -> Self {
        Self { codec, ..self }
    }

    /// The same with the length that the container states.
    #[must_use]
    pub const fn with_unpacked_len(self, unpacked_len: Option<u64>) -> Self {
        Self { unpacked_len, ..self }
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    #[test]
    fn codecs_are_detected_by_their_magic_numbers() {
        let check = |bytes: &[u8], codec: Codec, name| {
            assert_eq!(Codec::detect(bytes), Some(codec));
            assert_eq!(Codec::detect(&[bytes, &[0; 8]].concat()), Some(codec));
            assert_eq!(Codec::detect(&bytes[1..]), None);
            assert_eq!((codec.name(), &*codec.to_string()), (name, name));
        };
        check(b"\x1f\x8b", Codec::Gzip, "gzip");
        check(b"BZh", Codec::Bzip2, "bzip2");
        check(b"\x5d\0\0", Codec::Lzma, "lzma");
        check(b"\xfd7zXZ\0", Codec::Xz, "xz");
        check(b"\x89LZO", Codec::Lzo, "lzo");
        check(b"\x02\x21\x4c\x18", Codec::Lz4Legacy, "lz4-legacy");
        check(b"\x04\x22\x4d\x18", Codec::Lz4Frame, "lz4");
        check(b"\x28\xb5\x2f\xfd", Codec::Zstd, "zstd");
        check(b"\x7fELF", Codec::Stored, "stored");
        assert_eq!(Codec::detect(b""), None);
        assert_eq!(Codec::Stored.decompress_command(), None);
        assert_eq!(Codec::Lz4Legacy.decompress_command(), Some("lz4 -dc"));
    }

    #[test]
    fn payloads_keep_what_was_set() {
        let source = SourceRange::whole(5);
        let payload = Payload::new(source);
        assert_eq!(
            (payload.source, payload.codec, payload.unpacked_len),
            (source, None, None)
        );
        let payload = payload.with_codec(Some(Codec::Xz)).with_unpacked_len(Some(9));
        assert_eq!(
            (payload.source, payload.codec, payload.unpacked_len),
            (source, Some(Codec::Xz), Some(9))
        );
    }
}
