//! Guest physical addresses that a PC under KVM uses for itself.
//!
//! ```text
//!   0xfec0_0000  I/O APIC                       emulated in the kernel
//!   0xfee0_0000  local APIC, and MSI writes     emulated in the kernel
//!   0xfffb_c000  identity page table, one page  used by KVM on Intel hosts without unrestricted guests
//!   0xfffb_d000  task state segment, 3 pages    likewise
//!  0x1_0000_0000 RAM may go on here
//! ```

use boot_core::GuestRange;

/// The I/O APIC's registers (the address every PC chipset uses).
pub const IO_APIC: u64 = 0xfec0_0000;

/// The local APIC's registers after reset (SDM 3A 11.4.1); writes by devices to this MiB are message-signalled interrupts.
pub const LOCAL_APIC: u64 = 0xfee0_0000;

/// Where `KVM_SET_IDENTITY_MAP_ADDR` puts its page: just below the task state segment.
pub const IDENTITY_MAP: u64 = 0xfffb_c000;

/// Where `KVM_SET_TSS_ADDR` puts its three pages.
pub const TSS: u64 = 0xfffb_d000;

/// What no RAM slot may overlap: from the I/O APIC to the end of the first 4 GiB.
///
/// A machine's memory map must leave this range out, as `boot_core::MemoryMap::pc` does.
pub const RESERVED: GuestRange = GuestRange::from_bounds(IO_APIC, 0x1_0000_0000).unwrap();

#[cfg(test)]
mod tests {
    use boot_core::MemoryMap;

    use super::*;

    #[test]
    fn nothing_overlaps() {
        const PAGE: u64 = 0x1000;
        let ranges = [
            (IO_APIC, PAGE),
            (LOCAL_APIC, 0x10_0000),
            (IDENTITY_MAP, PAGE),
            (TSS, 3 * PAGE),
        ]
        .map(|(start, len)| GuestRange::new(start, len).unwrap());
        assert!(ranges.is_sorted_by(|a, b| a.end() <= b.start()));
        assert!(ranges.iter().all(|&range| RESERVED.contains(range)));
    }

    #[test]
    fn memory_maps_of_pcs_leave_it_out() {
        for size in [2 << 20, 3 << 30, 4 << 30, 64 << 30] {
            let map = MemoryMap::pc(size).unwrap();
            assert!(map.ram().all(|ram| !ram.overlaps(RESERVED)), "{size:#x}");
        }
    }
}
