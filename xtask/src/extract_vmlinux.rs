//! Extracts the vmlinux from a bzImage, like the kernel's `scripts/extract-vmlinux`.
//!
//! The setup header has the location of the compressed payload: `payload_offset` and `payload_length` of
//! `Documentation/arch/x86/boot.rst`, since protocol 2.08. xtask does not depend on the `fmt-bzimage` crate, so that it
//! builds when that crate does not.

pub(crate) mod error;

use std::fs::{self, File};
use std::io::{self, Read, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use self::error::{ExtractError, HEADER};
use crate::error::{Error, WithPath as _};
use crate::process::Running;

/// A zstd frame starts with this number, stored little-endian (RFC 8878, section 3.1.1).
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Limit of the decompressed size; a larger size is taken for damage.
const LARGEST_VMLINUX: u64 = 1 << 30;

/// Location of the compressed bytes in a bzImage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Payload {
    /// From the start of the file.
    offset: u64,
    length: u64,
}

/// Finds the payload, given the start of the file and the file's length.
fn locate(start: &[u8], file: u64) -> Result<Payload, ExtractError> {
    let header: &[u8; HEADER] = start
        .first_chunk()
        .ok_or(ExtractError::TooShort { found: start.len() })?;
    let magic = bytes(header, 0x202);
    if magic != *b"HdrS" {
        return Err(ExtractError::NoMagic { found: magic });
    }
    let version = u16::from_le_bytes(bytes(header, 0x206));
    if version < 0x0208 {
        return Err(ExtractError::TooOld { version });
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
    // A payload has at least the magic number and, as its last four bytes, the decompressed size.
    if payload.length < 8 || payload.offset + payload.length > file {
        return Err(ExtractError::OutsideFile { offset, length, file });
    }
    Ok(payload)
}

/// `N` bytes at a constant offset inside the header.
fn bytes<const N: usize>(header: &[u8; HEADER], offset: usize) -> [u8; N] {
    let mut found = [0; N];
    found.copy_from_slice(&header[offset..offset + N]);
    found
}

/// Extracts the vmlinux in the bzImage `image` to the file `vmlinux`, which exists only once it is complete.
pub(crate) fn extract(image: &Path, vmlinux: &Path) -> Result<(), Error> {
    let malformed = |source| Error::ExtractVmlinux {
        path: image.to_path_buf(),
        source,
    };
    let mut file = File::open(image).with_path(image)?;
    let length = file.metadata().with_path(image)?.len();
    let mut start = Vec::with_capacity(HEADER);
    Read::by_ref(&mut file)
        .take(HEADER as u64)
        .read_to_end(&mut start)
        .with_path(image)?;
    let payload = locate(&start, length).map_err(malformed)?;

    let mut magic = [0; 4];
    file.seek(SeekFrom::Start(payload.offset)).with_path(image)?;
    file.read_exact(&mut magic).with_path(image)?;
    if magic != ZSTD_MAGIC {
        return Err(malformed(ExtractError::NotZstd { found: magic }));
    }
    let mut size = [0; 4];
    file.seek(SeekFrom::Start(payload.offset + payload.length - 4))
        .with_path(image)?;
    file.read_exact(&mut size).with_path(image)?;
    let size = u64::from(u32::from_le_bytes(size));
    if size == 0 || size > LARGEST_VMLINUX {
        return Err(malformed(ExtractError::BadSize { size }));
    }
    file.seek(SeekFrom::Start(payload.offset)).with_path(image)?;
    let partial = vmlinux.with_extension("partial");
    let found = decompress(file.take(payload.length - 4), &partial, size, image)?;
    if found != size {
        fs::remove_file(&partial).with_path(&partial)?;
        return Err(malformed(ExtractError::WrongSize {
            expected: size,
            found,
        }));
    }
    fs::rename(&partial, vmlinux).with_path(vmlinux)
}

/// Puts another zstd frame in place of the payload of a bzImage; its data have the same length. The code of the bzImage has the addresses of what
/// is behind the payload, so that the frame has to fit; the kernel ignores the zeros behind it.
pub(crate) fn replace(image: &mut [u8], frame: &[u8]) -> Result<(), ExtractError> {
    let Payload { offset, length } = locate(image, image.len() as u64)?;
    // The last four bytes are the length of the data.
    let room = length - 4;
    let frame_len = frame.len() as u64;
    if frame_len > room {
        return Err(ExtractError::NoRoom {
            frame: frame_len,
            room,
        });
    }
    // Offset and length are within the image.
    let start = usize::try_from(offset).unwrap_or(usize::MAX);
    let payload = &mut image[start..][..usize::try_from(room).unwrap_or(usize::MAX)];
    payload.fill(0);
    payload[..frame.len()].copy_from_slice(frame);
    Ok(())
}

/// Runs the zstd tool and reads at most one byte more than `size`. Returns the number of bytes read.
fn decompress(mut packed: impl Read + Send, output: &Path, size: u64, image: &Path) -> Result<u64, Error> {
    let mut command = Command::new("zstd");
    command
        .args(["-d", "-q", "-c"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut running = Running::start(&mut command)?;
    let (stdin, stdout) = (running.child().stdin.take(), running.child().stdout.take());
    let mut file = File::create(output).with_path(output)?;
    let taken = thread::scope(|scope| {
        if let Some(mut stdin) = stdin {
            // zstd closes its end when it fails; its exit code then reports the failure.
            scope.spawn(move || io::copy(&mut packed, &mut stdin));
        }
        stdout.map_or(Ok(0), |stdout| io::copy(&mut stdout.take(size + 1), &mut file))
    });
    let taken = taken
        .and_then(|taken| file.flush().map(|()| taken))
        .with_path(output)?;
    if taken > size {
        // zstd still has output to write; dropping `running` ends it.
        return Ok(taken);
    }
    let status = running.wait()?;
    if !status.success() {
        return Err(Error::ExtractVmlinux {
            path: image.to_path_buf(),
            source: ExtractError::Zstd(status),
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
        check(
            &header(0x0207, 3, 0x40, 0x100),
            0x940,
            Err("2.07 has no payload_offset"),
        );
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
        let error = extract(&image, &vmlinux).unwrap_err().to_string();
        assert!(!vmlinux.exists());
        error
    }

    #[test]
    fn a_payload_that_is_not_what_it_claims_is_refused() {
        let with_size = |size: u32| [&ZSTD_MAGIC[..], &size.to_le_bytes()[..]].concat();
        assert!(error_of(b"\x02\x21\x4c\x18....").contains("only zstd"));
        assert!(error_of(&with_size(0)).contains("field is 0 bytes"));
        assert!(error_of(&with_size(u32::MAX)).contains("field is 4294967295 bytes"));
    }
}
