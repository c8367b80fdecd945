//! Unpacking the vmlinux out of a bzImage.
//!
//! The setup header says where the compressed payload lies (`Documentation/arch/x86/boot.rst`, `payload_offset` and
//! `payload_length`, since protocol 2.08). This reads just these fields; everything else in the header is the business of
//! the `fmt-bzimage` crate, which the developer tasks must not depend on: they have to build when it does not.

pub(crate) mod error;

use std::fs::{self, File};
use std::io::{self, Read, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use self::error::{HEADER, PayloadError};
use crate::error::{At as _, Error};
use crate::process::Running;

/// A zstd frame starts with this number, stored little-endian (RFC 8878, section 3.1.1).
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// No vmlinux is larger than this; a size above it is damage, and is not unpacked.
const LARGEST_VMLINUX: u64 = 1 << 30;

/// Where the compressed bytes lie in a bzImage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Payload {
    /// From the start of the file.
    offset: u64,
    length: u64,
}

/// Finds the payload, given the start of the file and the file's length.
fn locate(start: &[u8], file: u64) -> Result<Payload, PayloadError> {
    let header: &[u8; HEADER] = start
        .first_chunk()
        .ok_or(PayloadError::TooShort { found: start.len() })?;
    let magic = bytes(header, 0x202);
    if magic != *b"HdrS" {
        return Err(PayloadError::NoMagic { found: magic });
    }
    let version = u16::from_le_bytes(bytes(header, 0x206));
    if version < 0x0208 {
        return Err(PayloadError::TooOld { version });
    }
    let [setup_sects] = bytes(header, 0x1f1);
    let offset = u32::from_le_bytes(bytes(header, 0x248));
    let length = u32::from_le_bytes(bytes(header, 0x24c));
    // The offset counts from the protected-mode code, which follows the boot sector and the setup sectors.
    let setup = if setup_sects == 0 {
        4
    } else {
        u64::from(setup_sects)
    };
    let payload = Payload {
        offset: (setup + 1) * 512 + u64::from(offset),
        length: u64::from(length),
    };
    // The last four bytes are the unpacked size, so a payload that is all magic and size is the shortest.
    if payload.length < 8 || payload.offset + payload.length > file {
        return Err(PayloadError::OutsideFile { offset, length, file });
    }
    Ok(payload)
}

/// `N` bytes at a constant offset inside the header.
fn bytes<const N: usize>(header: &[u8; HEADER], offset: usize) -> [u8; N] {
    let mut found = [0; N];
    found.copy_from_slice(&header[offset..offset + N]);
    found
}

/// Unpacks the vmlinux in the bzImage `image` into the file `vmlinux`, which is there in whole or not at all.
pub(crate) fn unpack(image: &Path, vmlinux: &Path) -> Result<(), Error> {
    let malformed = |source| Error::Payload {
        path: image.to_path_buf(),
        source,
    };
    let mut file = File::open(image).at(image)?;
    let length = file.metadata().at(image)?.len();
    let mut start = Vec::with_capacity(HEADER);
    Read::by_ref(&mut file)
        .take(HEADER as u64)
        .read_to_end(&mut start)
        .at(image)?;
    let payload = locate(&start, length).map_err(malformed)?;

    let mut magic = [0; 4];
    file.seek(SeekFrom::Start(payload.offset)).at(image)?;
    file.read_exact(&mut magic).at(image)?;
    if magic != ZSTD_MAGIC {
        return Err(malformed(PayloadError::NotZstd { found: magic }));
    }
    let mut size = [0; 4];
    file.seek(SeekFrom::Start(payload.offset + payload.length - 4))
        .at(image)?;
    file.read_exact(&mut size).at(image)?;
    let size = u64::from(u32::from_le_bytes(size));
    if size == 0 || size > LARGEST_VMLINUX {
        return Err(malformed(PayloadError::BadSize { size }));
    }
    file.seek(SeekFrom::Start(payload.offset)).at(image)?;
    let partial = vmlinux.with_extension("partial");
    let found = decompress(file.take(payload.length - 4), &partial, size, image)?;
    if found != size {
        fs::remove_file(&partial).at(&partial)?;
        return Err(malformed(PayloadError::WrongSize {
            expected: size,
            found,
        }));
    }
    fs::rename(&partial, vmlinux).at(vmlinux)
}

/// Runs the zstd tool, and takes no more than one byte beyond `size`. Gives the number of bytes taken.
fn decompress(mut packed: impl Read + Send, output: &Path, size: u64, image: &Path) -> Result<u64, Error> {
    let mut command = Command::new("zstd");
    command
        .args(["-d", "-q", "-c"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut running = Running::start(&mut command)?;
    let (stdin, stdout) = (running.child().stdin.take(), running.child().stdout.take());
    let mut file = File::create(output).at(output)?;
    let taken = thread::scope(|scope| {
        if let Some(mut stdin) = stdin {
            // zstd closes its end when it fails; that it failed is then seen by its exit code.
            scope.spawn(move || io::copy(&mut packed, &mut stdin));
        }
        stdout.map_or(Ok(0), |stdout| io::copy(&mut stdout.take(size + 1), &mut file))
    });
    let taken = taken.and_then(|taken| file.flush().map(|()| taken)).at(output)?;
    if taken > size {
        // zstd waits for somebody to take the rest; dropping it ends it.
        return Ok(taken);
    }
    let status = running.wait()?;
    if !status.success() {
        return Err(Error::Payload {
            path: image.to_path_buf(),
            source: PayloadError::Zstd(status),
        });
    }
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The start of a bzImage with these fields.
    fn header(version: u16, setup_sects: u8, offset: u32, length: u32) -> Vec<u8> {
        let mut header = vec![0; HEADER];
        header[0x202..0x206].copy_from_slice(b"HdrS");
        header[0x206..0x208].copy_from_slice(&version.to_le_bytes());
        header[0x1f1] = setup_sects;
        header[0x248..0x24c].copy_from_slice(&offset.to_le_bytes());
        header[0x24c..0x250].copy_from_slice(&length.to_le_bytes());
        header
    }

    fn check(start: &[u8], file: u64, expected: Result<Payload, &str>) {
        match (locate(start, file), expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected),
            (Err(found), Err(words)) => assert!(found.to_string().contains(words), "{found} / {words}"),
            (found, expected) => panic!("{found:?} instead of {expected:?}"),
        }
    }

    #[test]
    fn the_payload_lies_behind_the_setup_sectors() {
        check(
            &header(0x020f, 3, 0x40, 0x100),
            0x940,
            Ok(Payload {
                offset: 0x840,
                length: 0x100,
            }),
        );
        check(
            &header(0x0208, 0, 0, 8),
            5 * 512 + 8,
            Ok(Payload {
                offset: 5 * 512,
                length: 8,
            }),
        );
    }

    #[test]
    fn a_header_that_lies_is_refused() {
        check(&header(0x020f, 3, 0x40, 0x100), 0x93f, Err("past the end"));
        check(&header(0x020f, 3, u32::MAX, u32::MAX), 0x940, Err("past the end"));
        check(&header(0x020f, 3, 0, 7), 0x10000, Err("past the end"));
        check(&header(0x0207, 3, 0x40, 0x100), 0x940, Err("2.07 does not say"));
        check(&[0; HEADER], 0x940, Err("HdrS"));
        check(&[0; HEADER - 1], 0x940, Err("591 bytes"));
        check(&[], 0, Err("0 bytes"));
    }

    /// A bzImage whose payload is `payload`; gives the words of the error that unpacking it ends with.
    fn error_of(payload: &[u8]) -> String {
        let directory = tempfile::tempdir().unwrap();
        let image = directory.path().join("bzImage");
        let mut bytes = header(0x020f, 1, 0, u32::try_from(payload.len()).unwrap());
        bytes.resize(1024, 0);
        bytes.extend_from_slice(payload);
        fs::write(&image, bytes).unwrap();
        let vmlinux = directory.path().join("vmlinux");
        let error = unpack(&image, &vmlinux).unwrap_err().to_string();
        assert!(!vmlinux.exists());
        error
    }

    #[test]
    fn a_payload_that_is_not_what_it_claims_is_refused() {
        let with_size = |size: u32| [&ZSTD_MAGIC[..], &size.to_le_bytes()[..]].concat();
        assert!(error_of(b"\x02\x21\x4c\x18....").contains("only zstd"));
        assert!(error_of(&with_size(0)).contains("unpack to 0 bytes"));
        assert!(error_of(&with_size(u32::MAX)).contains("unpack to 4294967295 bytes"));
    }
}
