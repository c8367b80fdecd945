#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    warn(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unwrap_used
    )
)]

extern crate alloc;

#[cfg(feature = "bzip2")]
mod bzip2;
#[cfg(any(feature = "gzip", feature = "lz4", feature = "lzo"))]
mod checksum;
mod error;
#[cfg(feature = "gzip")]
mod gzip;
#[cfg(any(feature = "gzip", feature = "lz4", feature = "lzo"))]
mod input;
mod limits;
#[cfg(feature = "lz4")]
mod lz4;
#[cfg(any(feature = "lzma", feature = "xz"))]
mod lzma;
#[cfg(feature = "lzo")]
mod lzo;
mod output;
#[cfg(all(feature = "zstd", any(test, not(feature = "zstd-c"))))]
mod zstd;
#[cfg(feature = "zstd-c")]
mod zstd_c;
#[cfg(any(feature = "zstd", feature = "zstd-c"))]
mod zstd_frame;

use alloc::vec::Vec;

use boot_core::Codec;

pub use error::{DecompressError, Problem};
pub use limits::MAX_WINDOW;

use crate::output::Output;

/// Decompressed data.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Decompressed {
    /// The data.
    pub bytes: Vec<u8>,
    /// Length of the compressed data in the input; what follows is something else.
    pub consumed: usize,
}

/// Decompresses the data at the start of `input`, at most `limit` bytes.
///
/// The result takes as much memory as it has bytes, and the decoder at most [`MAX_WINDOW`] and some hundred KiB. [`Codec::Stored`] copies all of
/// `input`.
///
/// # Errors
///
/// [`DecompressError`] with the codec, the position in `input`, and what is wrong: see [`Problem`].
pub fn decompress(codec: Codec, input: &[u8], limit: usize) -> Result<Decompressed, DecompressError> {
    let mut output = Output::new(limit);
    let result = match codec {
        Codec::Stored => output
            .extend(input)
            .map(|()| input.len())
            .map_err(|problem| (0, problem)),
        #[cfg(feature = "gzip")]
        Codec::Gzip => gzip::decompress(input, &mut output),
        #[cfg(feature = "lzma")]
        Codec::Lzma => lzma::lzma(input, &mut output),
        #[cfg(feature = "xz")]
        Codec::Xz => lzma::xz(input, &mut output),
        #[cfg(feature = "bzip2")]
        Codec::Bzip2 => bzip2::decompress(input, &mut output),
        #[cfg(feature = "lzo")]
        Codec::Lzo => lzo::decompress(input, &mut output),
        #[cfg(feature = "lz4")]
        Codec::Lz4Legacy => lz4::legacy(input, &mut output),
        #[cfg(feature = "lz4")]
        Codec::Lz4Frame => lz4::frames(input, &mut output),
        #[cfg(feature = "zstd-c")]
        Codec::Zstd => zstd_c::decompress(input, &mut output),
        #[cfg(all(feature = "zstd", not(feature = "zstd-c")))]
        Codec::Zstd => zstd::decompress(input, &mut output),
        _ => Err((0, Problem::NotBuiltIn)),
    };
    match result {
        Ok(consumed) => Ok(Decompressed {
            bytes: output.into_bytes(),
            consumed,
        }),
        Err((position, problem)) => Err(DecompressError {
            codec,
            position,
            problem,
        }),
    }
}
