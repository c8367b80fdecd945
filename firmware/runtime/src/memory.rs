//! The machine's RAM.
#![expect(unsafe_code, reason = "memory by its physical address")]

use alloc::vec::Vec;

use boot_core::{ByteSource, GuestMemory, GuestRange, MemoryError};

/// Ranges of identity-mapped physical memory that are free for a kernel: what is written there belongs to nobody else.
pub struct PhysicalMemory {
    free: Vec<GuestRange>,
}

impl PhysicalMemory {
    /// The ranges of `ram` without those of `own`.
    ///
    /// # Safety
    ///
    /// All of `ram` is RAM, mapped at its physical address, and nothing but its parts in `own` is in use: no reference to the rest exists
    /// while this value does.
    pub unsafe fn new(ram: impl Iterator<Item = GuestRange>, own: &[GuestRange]) -> Self {
        let mut free: Vec<_> = ram.collect();
        for own in own {
            free = free.iter().flat_map(|range| without(*range, *own)).collect();
        }
        Self { free }
    }

    /// The bytes of `range`.
    fn pointer(&self, range: GuestRange) -> Result<*mut u8, MemoryError> {
        self.check(range)?;
        let addr = usize::try_from(range.start());
        let addr = addr.ok().ok_or(MemoryError::NotBacked(range))?;
        Ok(core::ptr::with_exposed_provenance_mut(addr))
    }

    fn slice_mut(&mut self, range: GuestRange) -> Result<&mut [u8], MemoryError> {
        let (pointer, len) = (self.pointer(range)?, usize::try_from(range.len()));
        let len = len.ok().ok_or(MemoryError::NotBacked(range))?;
        // SAFETY: the range is in `free`: mapped RAM to which no other reference exists, as `new` demands; `self` is borrowed for as long.
        // `check` refuses address 0.
        Ok(unsafe { core::slice::from_raw_parts_mut(pointer, len) })
    }
}

/// What is left of `range` without `own`: up to two ranges that are not empty.
pub fn without(range: GuestRange, own: GuestRange) -> impl Iterator<Item = GuestRange> {
    let before = GuestRange::from_bounds(range.start(), range.end().min(own.start().max(range.start())));
    let after = GuestRange::from_bounds(range.start().max(own.end().min(range.end())), range.end());
    [before, after]
        .into_iter()
        .flatten()
        .filter(|range| !range.is_empty())
}

/// The range of `len` bytes at `addr`.
fn access(addr: u64, len: usize) -> Result<GuestRange, MemoryError> {
    let range = u64::try_from(len).ok().and_then(|len| GuestRange::new(addr, len));
    range.ok_or(MemoryError::NotBacked(GuestRange::EMPTY))
}

impl GuestMemory for PhysicalMemory {
    fn check(&self, range: GuestRange) -> Result<(), MemoryError> {
        let is_free = range.start() != 0 && self.free.iter().any(|free| free.contains(range));
        is_free.then_some(()).ok_or(MemoryError::NotBacked(range))
    }

    fn write(&mut self, addr: u64, bytes: &[u8]) -> Result<(), MemoryError> {
        self.slice_mut(access(addr, bytes.len())?)?.copy_from_slice(bytes);
        Ok(())
    }

    fn zero(&mut self, range: GuestRange) -> Result<(), MemoryError> {
        self.slice_mut(range)?.fill(0);
        Ok(())
    }

    fn read(&self, addr: u64, buf: &mut [u8]) -> Result<(), MemoryError> {
        let pointer = self.pointer(access(addr, buf.len())?)?;
        // SAFETY: the range is in `free`: mapped RAM, which only a method with `&mut self` changes. `buf` is other memory: references to
        // the range exist only while `self` is borrowed mutably.
        unsafe { core::ptr::copy_nonoverlapping(pointer, buf.as_mut_ptr(), buf.len()) };
        Ok(())
    }

    fn copy_from(
        &mut self,
        range: GuestRange,
        source: &dyn ByteSource,
        offset: u64,
    ) -> Result<(), MemoryError> {
        Ok(source.read_exact_at(offset, self.slice_mut(range)?)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: u64, end: u64) -> GuestRange {
        GuestRange::from_bounds(start, end).unwrap()
    }

    #[test]
    fn own_memory_is_cut_out() {
        let check = |own: GuestRange, expected: &[GuestRange]| {
            let free: Vec<_> = without(range(0x1000, 0x5000), own).collect();
            assert_eq!(free, expected, "{own}");
        };
        check(
            range(0x2000, 0x3000),
            &[range(0x1000, 0x2000), range(0x3000, 0x5000)],
        );
        check(range(0, 0x3000), &[range(0x3000, 0x5000)]);
        check(range(0x4000, 0x9000), &[range(0x1000, 0x4000)]);
        check(range(0, 0x9000), &[]);
        check(range(0x6000, 0x9000), &[range(0x1000, 0x5000)]);
        check(range(0, 0x1000), &[range(0x1000, 0x5000)]);
    }

    #[test]
    fn accesses_reach_free_memory_only() {
        let mut ram = vec![7_u8; 0x3000];
        let start = ram.as_mut_ptr().expose_provenance() as u64;
        let own = range(start + 0x1000, start + 0x2000);
        // SAFETY: the memory is that of the vector, which is not used before the value is dropped.
        let mut memory = unsafe { PhysicalMemory::new([range(start, start + 0x3000)].into_iter(), &[own]) };
        memory.write(start + 4, b"boot").unwrap();
        memory.zero(range(start + 0x2ff0, start + 0x3000)).unwrap();
        memory
            .copy_from(range(start + 8, start + 10), &b"xab", 1)
            .unwrap();
        let mut read = [0; 8];
        memory.read(start + 4, &mut read).unwrap();
        assert_eq!(&read, b"bootab\x07\x07");
        assert!(memory.write(start + 0xfff, &[0, 0]).is_err());
        assert!(memory.read(start + 0x1000, &mut [0]).is_err());
        assert!(memory.check(range(0, 1)).is_err());
        assert!(memory.write(u64::MAX, &[0, 0]).is_err());
        drop(memory);
        assert_eq!(
            (ram[0xfff], ram[0x2fff], &ram[..6]),
            (7, 0, &b"\x07\x07\x07\x07bo"[..])
        );
    }
}
