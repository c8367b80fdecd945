//! The zero page (Linux `Documentation/arch/x86/zero-page.rst`).

use alloc::vec::Vec;

use boot_core::memory_map::pc;
use boot_core::{GuestRange, KernelImage, MemoryMap};
use boot_linux::x86::{
    BootParams, E820_MAX_ENTRIES_ZEROPAGE, E820Entry, LOADER_UNDEFINED, SETUP_E820_EXT, SetupHeader,
    SetupHeaderMetadata, VID_MODE_NORMAL, loadflags, xloadflags,
};
use zerocopy::{FromZeros, IntoBytes};

use crate::error::LinuxX86Error;
use crate::setup_data::{MAX_DATA, SetupDataList};

/// Number of entries of one `setup_data` node.
const ENTRIES_PER_NODE: usize = MAX_DATA / size_of::<E820Entry>();

/// The memory map as e820 entries: a table in the zero page, and `setup_data` nodes with the entries that do not fit.
#[derive(Clone, Debug)]
pub struct E820 {
    entries: Vec<E820Entry>,
}

impl E820 {
    /// The e820 entries of `map`, for a kernel with the setup header `metadata`.
    ///
    /// # Errors
    ///
    /// [`LinuxX86Error::TooManyRegions`] for more regions than the zero page has entries, if the kernel does not support
    /// `setup_data`.
    pub fn new(map: &MemoryMap, metadata: &SetupHeaderMetadata) -> Result<Self, LinuxX86Error> {
        let entries: Vec<_> = map
            .regions()
            .iter()
            .map(|region| E820Entry {
                addr: region.range.start().into(),
                size: region.range.len().into(),
                kind: region.kind.e820_type().into(),
            })
            .collect();
        if entries.len() > E820_MAX_ENTRIES_ZEROPAGE && !metadata.has_setup_data() {
            return Err(LinuxX86Error::TooManyRegions {
                regions: entries.len(),
                max: E820_MAX_ENTRIES_ZEROPAGE,
                version: metadata.version(),
            });
        }
        Ok(Self { entries })
    }

    /// The entries in the zero page.
    fn table(&self) -> &[E820Entry] {
        let len = self.entries.len().min(E820_MAX_ENTRIES_ZEROPAGE);
        self.entries.get(..len).unwrap_or_default()
    }

    /// Appends nodes with the entries that do not fit the zero page.
    pub fn push_nodes<'a>(&'a self, list: &mut SetupDataList<'a>) {
        let rest = self.entries.get(E820_MAX_ENTRIES_ZEROPAGE..);
        for entries in rest.unwrap_or_default().chunks(ENTRIES_PER_NODE) {
            list.push_short(SETUP_E820_EXT, entries.as_bytes());
        }
    }
}

/// Addresses in the zero page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct BootAddresses {
    /// The kernel's protected-mode code: the start of its first segment.
    pub code: u64,
    /// The command line.
    pub cmdline: u64,
    /// The initrd.
    pub initrd: Option<GuestRange>,
    /// The first `setup_data` node; zero without nodes.
    pub setup_data: u64,
    /// The ACPI RSDP; zero without ACPI.
    pub rsdp: u64,
}

impl BootAddresses {
    /// The addresses of kernel and command line, without initrd, `setup_data` and ACPI.
    #[must_use]
    pub const fn new(code: u64, cmdline: u64) -> Self {
        Self {
            code,
            cmdline,
            initrd: None,
            setup_data: 0,
            rsdp: 0,
        }
    }
}

/// The zero page of a kernel with the setup header `metadata`.
///
/// Fields that a loader need not fill are zero: no display (`screen_info`), EDD, APM, IST or EFI.
#[must_use]
pub fn zero_page(
    metadata: &SetupHeaderMetadata,
    map: &MemoryMap,
    e820: &E820,
    addresses: &BootAddresses,
) -> BootParams {
    let mut page = BootParams::new_zeroed();
    let header = metadata.bytes();
    if let Some(to) = page.hdr.as_mut_bytes().get_mut(..header.len()) {
        to.copy_from_slice(header);
    }
    fill_header(&mut page.hdr, addresses);
    let initrd = addresses.initrd.unwrap_or(GuestRange::EMPTY);
    let ((image, ext_image), (size, ext_size)) = (split(initrd.start()), split(initrd.len()));
    page.hdr.ramdisk_image = image.into();
    page.hdr.ramdisk_size = size.into();
    page.ext_ramdisk_image = ext_image.into();
    page.ext_ramdisk_size = ext_size.into();
    let (cmdline, ext_cmdline) = split(addresses.cmdline);
    page.hdr.cmd_line_ptr = cmdline.into();
    page.ext_cmd_line_ptr = ext_cmdline.into();
    page.acpi_rsdp_addr = addresses.rsdp.into();
    page.alt_mem_k = alt_mem_k(map).into();
    let table = e820.table();
    page.e820_entries = u8::try_from(table.len()).unwrap_or(u8::MAX);
    for (to, from) in page.e820_table.iter_mut().zip(table) {
        *to = *from;
    }
    page
}

fn fill_header(header: &mut SetupHeader, addresses: &BootAddresses) {
    header.type_of_loader = LOADER_UNDEFINED;
    header.ext_loader_type = 0;
    header.ext_loader_ver = 0;
    header.vid_mode = VID_MODE_NORMAL.into();
    // The other flags are for real-mode code, which does not run, or internal to the kernel.
    header.loadflags &= loadflags::LOADED_HIGH;
    // The field has 32 bits. A kernel above 4 GiB is started at its 64-bit entry point and does not read it.
    if let Ok(code) = u32::try_from(addresses.code) {
        header.code32_start = code.into();
    }
    // X86_SUBARCH_PC.
    header.hardware_subarch = 0.into();
    header.setup_data = addresses.setup_data.into();
}

/// RAM from 1 MiB to the first hole in KiB, as for the BIOS call E801h.
fn alt_mem_k(map: &MemoryMap) -> u32 {
    let high = map
        .ram()
        .find(|ram| ram.contains_addr(pc::HIGH_RAM_START))
        .and_then(|ram| ram.end().checked_sub(pc::HIGH_RAM_START));
    u32::try_from(high.unwrap_or(0) >> 10).unwrap_or(u32::MAX)
}

/// Low and high 32 bits.
fn split(value: u64) -> (u32, u32) {
    // Each half has 32 bits.
    let half = |bits: u64| u32::try_from(bits).unwrap_or_default();
    (half(value & 0xffff_ffff), half(value >> 32))
}

/// The setup header for an ELF kernel, which has none.
///
/// Its boot protocol version is 2.12, which has all fields that a loader fills; Linux uses the same in the zero page of its
/// PVH entry. The limits are those of the kernel's sources: a command line of `COMMAND_LINE_SIZE` (2048 with its NUL), and
/// an initrd below 2 GiB for 64-bit kernels (`initrd_addr_max` in `header.S`). The initrd of 32-bit kernels must be in
/// lowmem, which ends at 896 MiB (boot.rst, "initrd_addr_max").
#[must_use]
pub fn elf_setup_header(image: &KernelImage, long_mode: bool) -> SetupHeaderMetadata {
    const VERSION: u16 = 0x020c;
    /// From offset 0x202 to 0x268, the end of `handover_offset`, which is the last field of 2.12.
    const JUMP: u8 = 0x66;
    /// From offset 0x1f1 to the same end.
    const LEN: usize = 0x268 - 0x1f1;
    /// The default of `CONFIG_PHYSICAL_ALIGN`.
    const ALIGNMENT: u32 = 0x20_0000;
    let extent = image.extent();
    let mut header = SetupHeader::new_zeroed();
    header.boot_flag = 0xaa55.into();
    header.jump = [0xeb, JUMP];
    header.header = *b"HdrS";
    header.version = VERSION.into();
    header.loadflags = loadflags::LOADED_HIGH;
    header.initrd_addr_max = if long_mode { 0x7fff_ffff } else { 0x37ff_ffff }.into();
    header.kernel_alignment = ALIGNMENT.into();
    header.xloadflags = if long_mode { xloadflags::KERNEL_64 } else { 0 }.into();
    header.cmdline_size = 2047.into();
    header.pref_address = extent.start().into();
    header.init_size = u32::try_from(extent.len()).unwrap_or(u32::MAX).into();
    SetupHeaderMetadata::new(&header, LEN)
}
