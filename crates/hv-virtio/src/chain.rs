//! Descriptor chains of a virtqueue (Virtio 1.2, section 2.7) as the buffers of one request.

use boot_core::{GuestMemory as _, GuestRange};
use guest_ram::GuestRam;
use virtio_queue::DescriptorChain;
use vm_memory::GuestMemoryMmap;

use crate::config::SEG_MAX;

/// Largest number of descriptors of a chain: the header, the segments of data and the status.
const MAX_DESCRIPTORS: usize = SEG_MAX.saturating_add(2);

/// A chain that the device cannot answer: it has no place for a status, or its end is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChainError {
    /// The chain ends at a descriptor that does not exist or cannot be read: a cycle, an index outside the table, a table outside RAM, a
    /// malformed indirect table, or more than 2^32 bytes.
    Broken,
    /// More descriptors than the header, `SEG_MAX` segments and the status.
    TooLong,
    /// A buffer that the device reads follows one that it writes (2.7.4.2).
    Order,
    /// No byte for the status, or not in RAM.
    NoStatus,
}

/// Buffers of a chain, in its order, without empty ones. They need not be in RAM.
#[derive(Debug, Default)]
pub(crate) struct Buffers(Vec<Buffer>);

/// A buffer in guest physical memory. It may extend past the last address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Buffer {
    addr: u64,
    len: u32,
}

impl Buffers {
    /// The number of bytes.
    pub(crate) fn len(&self) -> u64 {
        self.0.iter().map(|buffer| u64::from(buffer.len)).sum()
    }

    /// The ranges, or `None` if one is not in RAM.
    pub(crate) fn in_ram(&self, ram: &GuestRam) -> Option<Vec<GuestRange>> {
        let range = |buffer: &Buffer| {
            GuestRange::new(buffer.addr, buffer.len.into()).filter(|range| ram.check(*range).is_ok())
        };
        self.0.iter().map(range).collect()
    }

    /// Removes and reads the first bytes; `None` if there are fewer, or they are not in RAM.
    fn take_front<const N: usize>(&mut self, ram: &GuestRam) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        let mut rest = &mut bytes[..];
        let mut used = 0_usize;
        for buffer in &mut self.0 {
            let count = rest.len().min(usize::try_from(buffer.len).ok()?);
            let (part, after) = std::mem::take(&mut rest).split_at_mut_checked(count)?;
            ram.read(buffer.addr, part).ok()?;
            rest = after;
            let taken = u32::try_from(count).ok()?;
            buffer.len = buffer.len.checked_sub(taken)?;
            if buffer.len > 0 {
                buffer.addr = buffer.addr.checked_add(taken.into())?;
                break;
            }
            used = used.checked_add(1)?;
        }
        if !rest.is_empty() {
            return None;
        }
        self.0.drain(..used);
        Some(bytes)
    }

    /// Removes the last byte and returns its address.
    fn take_last(&mut self) -> Option<u64> {
        let last = self.0.last_mut()?;
        last.len = last.len.checked_sub(1)?;
        let addr = last.addr.checked_add(last.len.into())?;
        if last.len == 0 {
            self.0.pop();
        }
        Some(addr)
    }
}

/// Length of the header of a request (5.2.6).
pub(crate) const HEADER_LEN: usize = 16;

/// The buffers of one request (5.2.6). Drivers may divide them among descriptors in any way (2.7.4).
#[derive(Debug)]
pub(crate) struct RequestBuffers {
    /// Type and sector; `None` if the chain has fewer bytes, or they are not in RAM.
    pub(crate) header: Option<[u8; HEADER_LEN]>,
    /// Buffers that the device reads, after the header.
    pub(crate) readable: Buffers,
    /// Buffers that the device writes, before the status.
    pub(crate) writable: Buffers,
    /// Address of the status, which is in RAM.
    pub(crate) status: u64,
}

impl RequestBuffers {
    /// Reads the descriptors of `chain`, and the header of its request.
    pub(crate) fn read(
        mut chain: DescriptorChain<&GuestMemoryMmap>,
        ram: &GuestRam,
    ) -> Result<Self, ChainError> {
        let (mut readable, mut writable) = (Buffers::default(), Buffers::default());
        let mut last = None;
        // The iterator ends at the end of the chain and at every error. In the latter case the last descriptor has a successor.
        for (number, descriptor) in chain.by_ref().enumerate() {
            if number >= MAX_DESCRIPTORS {
                return Err(ChainError::TooLong);
            }
            last = Some(descriptor);
            let buffer = Buffer {
                addr: descriptor.addr().0,
                len: descriptor.len(),
            };
            if buffer.len == 0 {
                continue;
            }
            if descriptor.is_write_only() {
                writable.0.push(buffer);
            } else if writable.0.is_empty() {
                readable.0.push(buffer);
            } else {
                return Err(ChainError::Order);
            }
        }
        if last.is_none_or(|descriptor| descriptor.has_next()) {
            return Err(ChainError::Broken);
        }
        let status = writable.take_last().ok_or(ChainError::NoStatus)?;
        GuestRange::new(status, 1)
            .filter(|range| ram.check(*range).is_ok())
            .ok_or(ChainError::NoStatus)?;
        Ok(Self {
            header: readable.take_front(ram),
            readable,
            writable,
            status,
        })
    }
}
