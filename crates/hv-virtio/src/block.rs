//! Requests to a block device (Virtio 1.2, section 5.2.6).

use boot_core::{GuestMemory as _, GuestRange};
use guest_ram::GuestRam;
use virtio_bindings::virtio_blk::{
    VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_OK, VIRTIO_BLK_S_UNSUPP, VIRTIO_BLK_T_FLUSH, VIRTIO_BLK_T_GET_ID,
    VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT,
};

use crate::Disk;
use crate::chain::{Buffers, ChainError, HEADER_LEN, RequestBuffers};

/// Largest number of bytes of a request. Drivers that negotiate `SIZE_MAX` and `SEG_MAX` may exceed it, but none do: larger requests
/// fail.
pub(crate) const MAX_DATA: u64 = 16 << 20;

/// Why a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    /// `VIRTIO_BLK_S_IOERR`.
    Io,
    /// `VIRTIO_BLK_S_UNSUPP`.
    Unsupported,
}

/// A request that was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answered {
    /// Number of bytes that the device wrote to the buffers, with the status.
    pub(crate) written: u32,
    /// Number of bytes that were transferred in either direction.
    pub(crate) transferred: u64,
}

/// Carries out the request in `buffers` and writes its status.
pub(crate) fn answer(
    disk: &mut Disk,
    ram: &mut GuestRam,
    buffers: &RequestBuffers,
) -> Result<Answered, ChainError> {
    let (status, written, transferred) = match carry_out(disk, ram, buffers) {
        Ok(done) => (VIRTIO_BLK_S_OK, done.written, done.transferred),
        Err(Failure::Io) => (VIRTIO_BLK_S_IOERR, 0, 0),
        Err(Failure::Unsupported) => (VIRTIO_BLK_S_UNSUPP, 0, 0),
    };
    let [status, ..] = status.to_le_bytes();
    ram.write(buffers.status, &[status])
        .or(Err(ChainError::NoStatus))?;
    Ok(Answered {
        // At most `MAX_DATA`, and the status.
        written: u32::try_from(written.saturating_add(1)).unwrap_or(u32::MAX),
        transferred,
    })
}

/// Bytes that a request moved.
struct Moved {
    written: u64,
    transferred: u64,
}

fn carry_out(disk: &mut Disk, ram: &mut GuestRam, buffers: &RequestBuffers) -> Result<Moved, Failure> {
    let header = buffers.header.ok_or(Failure::Io)?;
    let Header { kind, sector } = Header::parse(header);
    let RequestBuffers {
        readable, writable, ..
    } = buffers;
    let (from_driver, to_driver) = (readable.len(), writable.len());
    if from_driver.saturating_add(to_driver) > MAX_DATA {
        return Err(Failure::Io);
    }
    match kind {
        VIRTIO_BLK_T_IN if from_driver == 0 => {
            let mut offset = disk.offset(sector, to_driver).ok_or(Failure::Io)?;
            for range in ranges(writable, ram)? {
                disk.read(ram, offset, range).or(Err(Failure::Io))?;
                offset = offset.saturating_add(range.len());
            }
            Ok(Moved {
                written: to_driver,
                transferred: to_driver,
            })
        }
        VIRTIO_BLK_T_OUT if to_driver == 0 => {
            if disk.is_read_only() {
                return Err(Failure::Io);
            }
            let mut offset = disk.offset(sector, from_driver).ok_or(Failure::Io)?;
            for range in ranges(readable, ram)? {
                disk.write(ram, offset, range).or(Err(Failure::Io))?;
                offset = offset.saturating_add(range.len());
            }
            Ok(Moved {
                written: 0,
                transferred: from_driver,
            })
        }
        // What was written is in memory, and nothing is more durable.
        VIRTIO_BLK_T_FLUSH if from_driver == 0 && to_driver == 0 => Ok(Moved {
            written: 0,
            transferred: 0,
        }),
        VIRTIO_BLK_T_GET_ID if from_driver == 0 => get_id(disk, ram, writable),
        VIRTIO_BLK_T_IN | VIRTIO_BLK_T_OUT | VIRTIO_BLK_T_FLUSH | VIRTIO_BLK_T_GET_ID => Err(Failure::Io),
        _ => Err(Failure::Unsupported),
    }
}

/// Writes the identifier to the first bytes of `writable`.
fn get_id(disk: &Disk, ram: &mut GuestRam, writable: &Buffers) -> Result<Moved, Failure> {
    let mut rest = &disk.id()[..];
    for range in ranges(writable, ram)? {
        let count = usize::try_from(range.len()).unwrap_or(usize::MAX).min(rest.len());
        let (part, after) = rest.split_at_checked(count).ok_or(Failure::Io)?;
        ram.write(range.start(), part).or(Err(Failure::Io))?;
        rest = after;
    }
    if !rest.is_empty() {
        return Err(Failure::Io);
    }
    let written = u64::try_from(disk.id().len()).unwrap_or_default();
    Ok(Moved {
        written,
        transferred: written,
    })
}

/// The ranges of `buffers`, all of which must be in RAM before anything is transferred.
fn ranges(buffers: &Buffers, ram: &GuestRam) -> Result<Vec<GuestRange>, Failure> {
    buffers.in_ram(ram).ok_or(Failure::Io)
}

/// The header of a request: type, a reserved field and the first sector.
struct Header {
    kind: u32,
    sector: u64,
}

impl Header {
    fn parse(bytes: [u8; HEADER_LEN]) -> Self {
        let [a, b, c, d, _, _, _, _, sector @ ..] = bytes;
        Self {
            kind: u32::from_le_bytes([a, b, c, d]),
            sector: u64::from_le_bytes(sector),
        }
    }
}
