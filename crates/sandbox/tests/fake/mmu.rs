//! What the CPU and the exception handlers of a guest that copies pages do: every access is translated by the guest's page tables.

use boot_paging::{Access, PageSize, Scheme, translate};
use hv_core::fake::{FakeCpu, FakeFault};
use sandbox_abi::BootInfo;

use crate::guest::boot_info;

const PAGE: u64 = 0x1000;
const ADDR: u64 = 0x000f_ffff_ffff_f000;

/// The page tables follow the outbox.
fn root(info: &BootInfo) -> u64 {
    info.outbox.get() + u64::from(info.window_len.get())
}

fn word(cpu: &FakeCpu<'_>, addr: u64) -> Option<u64> {
    let mut bytes = [0; 8];
    cpu.read(addr, &mut bytes).ok()?;
    Some(u64::from_le_bytes(bytes))
}

fn set_word(cpu: &FakeCpu<'_>, addr: u64, value: u64) {
    cpu.write(addr, &value.to_le_bytes()).unwrap();
}

/// Reads memory at a virtual address.
pub(crate) fn read(cpu: &FakeCpu<'_>, addr: u64, bytes: &mut [u8]) -> Result<(), FakeFault> {
    let info = boot_info(cpu);
    if info.scratch.get() == 0 {
        return cpu.read(addr, bytes);
    }
    for (at, byte) in (addr..).zip(bytes) {
        let page = translate(Scheme::X86_64, root(&info), at, |addr| word(cpu, addr));
        // What the page tables of this program do not map is read by its physical address.
        let phys = page.map_or(at, |page| page.translate(at).unwrap());
        cpu.read(phys, std::slice::from_mut(byte))?;
    }
    Ok(())
}

/// Writes memory at a virtual address.
pub(crate) fn write(cpu: &FakeCpu<'_>, addr: u64, bytes: &[u8]) -> Result<(), FakeFault> {
    let info = boot_info(cpu);
    if info.scratch.get() == 0 {
        return cpu.write(addr, bytes);
    }
    for (at, byte) in (addr..).zip(bytes) {
        let mut page = translate(Scheme::X86_64, root(&info), at, |addr| word(cpu, addr)).unwrap();
        if page.attributes.access.contains(Access::COPY_ON_WRITE) {
            copy(cpu, &info, at);
            page = translate(Scheme::X86_64, root(&info), at, |addr| word(cpu, addr)).unwrap();
        }
        assert!(page.attributes.access.contains(Access::WRITE) && page.size <= PageSize::Size2M);
        cpu.write(page.translate(at).unwrap(), &[*byte])?;
    }
    Ok(())
}

/// Takes a copy of the page at a virtual address.
fn copy(cpu: &FakeCpu<'_>, info: &BootInfo, addr: u64) {
    let mut table = root(info);
    for shift in [39, 30, 21, 12] {
        let at = table + (addr >> shift & 0x1ff) * 8;
        let entry = word(cpu, at).unwrap();
        if shift == 12 {
            let copy = next_page(cpu, info);
            let mut bytes = [0; 0x1000];
            cpu.read(entry & ADDR, &mut bytes).unwrap();
            cpu.write(copy, &bytes).unwrap();
            set_word(cpu, at, entry & !ADDR & !(1 << 9) | copy | 0x42);
        } else if entry & 0x80 != 0 {
            table = next_page(cpu, info);
            for part in 0..512 {
                set_word(cpu, table + part * 8, (entry & !0x80) + part * PAGE);
            }
            set_word(cpu, at, table | 0x27);
        } else {
            table = entry & ADDR;
        }
    }
}

/// The next page for a copy.
fn next_page(cpu: &FakeCpu<'_>, info: &BootInfo) -> u64 {
    let used = word(cpu, info.scratch.get()).unwrap();
    assert!(used < info.copy_count.get(), "out of pages for copies");
    set_word(cpu, info.scratch.get(), used + 1);
    info.copies.get() + used * PAGE
}
