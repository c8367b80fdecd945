//! Access to physical memory through a movable window of one large page.
#![expect(unsafe_code, reason = "the window is a page table entry and a raw address")]

use core::arch::asm;
use core::arch::x86_64::__cpuid;

use clauses::memory::PhysicalMemory;
use contract::{Digest, Fnv1a64};

use super::entry;

const PAGE: usize = 4096;
const LARGE: u64 = 2 << 20;
/// Linear address of the window: entry 0 of the page directory whose entry 8 maps the image.
const WINDOW: usize = 0xffff_ffff_8000_0000;
const WINDOW_ENTRY: usize = 0;
/// Indexes in `__tables` of the page directory of the window, and of the PML4.
const WINDOW_TABLE: usize = 5;
const PML4: usize = 1;
const PRESENT_WRITABLE_LARGE: u64 = 0x83;
const UNCACHED: u64 = 0x18;

unsafe extern "C" {
    #[link_name = "__tables"]
    static TABLES: [[u64; PAGE / 8]; 7];
}

/// The window. There is only one, so this is created only once.
pub(crate) struct Phys {
    /// Physical address and attributes of the mapped large page.
    mapped: Option<(u64, u64)>,
    /// End of the physical address space, exclusive.
    limit: u64,
    attributes: u64,
}

impl Phys {
    /// Creates the window and removes the identity mapping of the entry code.
    pub(crate) fn new() -> Self {
        let bits = if __cpuid(0x8000_0000).eax >= 0x8000_0008 {
            __cpuid(0x8000_0008).eax & 0xff
        } else {
            36
        };
        for entry in 0..511 {
            set_entry(PML4, entry, 0);
        }
        let mut this = Self {
            mapped: None,
            limit: 1 << bits.clamp(32, 52),
            attributes: 0,
        };
        this.flush_all();
        this
    }

    /// Makes all further accesses uncached.
    pub(crate) fn set_uncached(&mut self) {
        self.attributes = UNCACHED;
    }

    /// Fills `buffer` from `address`. Bytes outside the physical address space read as 0xff.
    pub(crate) fn read(&mut self, address: u64, buffer: &mut [u8]) {
        let (mut at, mut rest) = (address, buffer);
        while !rest.is_empty() {
            let in_page = usize::try_from(LARGE - at % LARGE)
                .unwrap_or(usize::MAX)
                .min(rest.len());
            let (part, remaining) = rest.split_at_mut(in_page);
            match self.pointer(at) {
                // SAFETY: the window maps these addresses up to the end of the large page, and `part` does not cross it. No Rust
                // object is in the window, so the two do not overlap. Only `write` changes the memory, not concurrently.
                Some(pointer) => unsafe { pointer.copy_to_nonoverlapping(part.as_mut_ptr(), part.len()) },
                None => part.fill(0xff),
            }
            at = at.wrapping_add(u64::try_from(in_page).unwrap_or(0));
            rest = remaining;
        }
    }

    /// Reads one byte by a one-byte access.
    pub(crate) fn read_byte(&mut self, address: u64) -> u8 {
        // SAFETY: the window maps this address, and no Rust object is in the window.
        self.pointer(address)
            .map_or(0xff, |pointer| unsafe { pointer.read_volatile() })
    }

    /// Writes `byte` to `address`, which must be outside the image of this program. Returns whether the CPU can address it.
    pub(crate) fn write(&mut self, address: u64, byte: u8) -> bool {
        let base = entry::record().base;
        assert!(
            !(base..base + entry::image_length()).contains(&address),
            "a write into the program itself"
        );
        let Some(pointer) = self.pointer(address) else {
            return false;
        };
        // SAFETY: the window maps this address for writing, and no Rust object is outside the image.
        unsafe { pointer.write_volatile(byte) };
        true
    }

    pub(crate) fn read_u32(&mut self, address: u64) -> u32 {
        let mut bytes = [0; 4];
        self.read(address, &mut bytes);
        u32::from_le_bytes(bytes)
    }

    pub(crate) fn read_u64(&mut self, address: u64) -> u64 {
        let mut bytes = [0; 8];
        self.read(address, &mut bytes);
        u64::from_le_bytes(bytes)
    }

    /// The digest of `len` bytes from `address`.
    pub(crate) fn digest(&mut self, address: u64, len: u64) -> Digest {
        let mut hash = Fnv1a64::new();
        let mut chunk = [0; 512];
        let mut done = 0;
        while done < len {
            let part = usize::try_from(len - done).map_or(chunk.len(), |rest| rest.min(chunk.len()));
            let part = &mut chunk[..part];
            self.read(address + done, part);
            hash.update(part);
            done += u64::try_from(part.len()).unwrap_or(u64::MAX);
        }
        Digest {
            len,
            hash: hash.finish(),
        }
    }

    /// Pointer to `address` in the window, after mapping its page.
    fn pointer(&mut self, address: u64) -> Option<*mut u8> {
        if address >= self.limit {
            return None;
        }
        let page = address & !(LARGE - 1);
        if self.mapped != Some((page, self.attributes)) {
            set_entry(
                WINDOW_TABLE,
                WINDOW_ENTRY,
                page | self.attributes | PRESENT_WRITABLE_LARGE,
            );
            self.mapped = Some((page, self.attributes));
            // SAFETY: invlpg drops the translation of the window; the next access loads the new entry.
            unsafe { asm!("invlpg [{}]", in(reg) WINDOW, options(nostack, preserves_flags)) };
        }
        let offset = usize::try_from(address & (LARGE - 1)).ok()?;
        Some(core::ptr::with_exposed_provenance_mut(WINDOW + offset))
    }

    fn flush_all(&mut self) {
        self.mapped = None;
        // SAFETY: loading CR3 with its current value only drops cached translations; the entries of the image and of the stack
        // did not change.
        unsafe { asm!("mov {0}, cr3", "mov cr3, {0}", out(reg) _, options(nostack, preserves_flags)) };
    }
}

impl PhysicalMemory for Phys {
    fn limit(&self) -> u64 {
        self.limit
    }

    fn read_u64(&mut self, address: u64) -> u64 {
        Self::read_u64(self, address)
    }

    fn write_u64(&mut self, address: u64, value: u64) -> bool {
        (address..)
            .zip(value.to_le_bytes())
            .all(|(at, byte)| self.write(at, byte))
    }
}

fn set_entry(table: usize, entry: usize, value: u64) {
    assert!(entry < PAGE / 8, "a page table has 512 entries");
    let tables: *mut [u64; PAGE / 8] = (&raw const TABLES).cast_mut().cast();
    // SAFETY: `table` is below seven, the number of tables in the linker script, and `entry` is below 512, so the pointer is
    // inside the tables.
    let pointer = unsafe { tables.cast::<u64>().add(table * (PAGE / 8) + entry) };
    // SAFETY: the tables belong to this program, are writable, and are accessed only here.
    unsafe { pointer.write_volatile(value) };
}
