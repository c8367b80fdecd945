//! Setup headers of all versions and lengths.

use core::fmt;

use zerocopy::{FromZeros, IntoBytes};

use super::setup_header::SetupHeader;

/// A boot protocol version. `Display` prints it as in boot.rst: `2.15`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BootProtocolVersion(
    /// Major version in the high byte, minor version in the low byte, as in the field `version`: 0x20f for 2.15.
    pub u16,
);

impl fmt::Display for BootProtocolVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor] = self.0.to_be_bytes();
        write!(f, "{major}.{minor:02}")
    }
}

/// A setup header of a certain version and length.
///
/// A field exists if the boot protocol version has it and the length of the header includes it. For a field that does
/// not exist, an accessor returns the default of boot.rst, or `None`. "Since" in the documentation of an accessor is
/// the version that added the field. Values are not validated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SetupHeaderMetadata {
    header: SetupHeader,
    len: usize,
}

impl SetupHeaderMetadata {
    /// A header of `len` bytes from offset 0x1f1 on; the bytes of `header` beyond are cleared. In a bzImage, the header
    /// ends at 0x202 plus the byte at 0x201. A `len` above the size of [`SetupHeader`] is reduced to that size.
    #[must_use]
    pub fn new(header: &SetupHeader, len: usize) -> Self {
        let len = len.min(size_of::<SetupHeader>());
        let mut kept = SetupHeader::new_zeroed();
        if let (Some(to), Some(from)) = (kept.as_mut_bytes().get_mut(..len), header.as_bytes().get(..len)) {
            to.copy_from_slice(from);
        }
        Self { header: kept, len }
    }

    /// The header. Fields beyond its length are zero.
    #[must_use]
    pub fn header(&self) -> &SetupHeader {
        &self.header
    }

    /// The bytes of the header in its length. Boot loaders copy them to offset 0x1f1 of the zero page.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.header.as_bytes().get(..self.len).unwrap_or_default()
    }

    /// Boot protocol version.
    #[must_use]
    pub fn version(&self) -> BootProtocolVersion {
        BootProtocolVersion(self.header.version.get())
    }

    /// The result of `get` if the field exists. `since` is the version that added the field, `end` the offset in the
    /// zero page where the field ends.
    fn since<T>(&self, since: u16, end: usize, get: impl FnOnce(&SetupHeader) -> T) -> Option<T> {
        let is_included = self.len.checked_add(0x1f1).is_some_and(|len| len >= end);
        (self.version().0 >= since && is_included).then(|| get(&self.header))
    }

    /// True if the field `cmd_line_ptr` exists (since 2.02). Without it, the command line can be passed only to the
    /// real-mode code of the kernel.
    #[must_use]
    pub fn has_cmd_line_ptr(&self) -> bool {
        self.since(0x202, 0x22c, |_| ()).is_some()
    }

    /// Highest address of the last byte of the initrd (since 2.03; 0x37ff_ffff before).
    #[must_use]
    pub fn initrd_addr_max(&self) -> u64 {
        self.since(0x203, 0x230, |header| header.initrd_addr_max.get())
            .unwrap_or(0x37ff_ffff)
            .into()
    }

    /// Alignment of a relocatable kernel in bytes (since 2.05).
    #[must_use]
    pub fn kernel_alignment(&self) -> Option<u64> {
        self.since(0x205, 0x234, |header| header.kernel_alignment.get().into())
    }

    /// True if the kernel may be loaded at another address than its link address (since 2.05).
    #[must_use]
    pub fn is_relocatable(&self) -> bool {
        self.since(0x205, 0x235, |header| header.relocatable_kernel)
            .is_some_and(|flag| flag != 0)
    }

    /// Lowest alignment that the kernel supports, in bytes (since 2.10). The field is the exponent of a power of two;
    /// `None` also if it is zero, which means unspecified, or 64 or more, which is invalid.
    #[must_use]
    pub fn min_alignment(&self) -> Option<u64> {
        self.since(0x20a, 0x236, |header| header.min_alignment)
            .filter(|shift| *shift != 0)
            .and_then(|shift| 1u64.checked_shl(shift.into()))
    }

    /// Extended load flags (since 2.12; zero before). See [`xloadflags`](super::xloadflags).
    #[must_use]
    pub fn xloadflags(&self) -> u16 {
        self.since(0x20c, 0x238, |header| header.xloadflags.get())
            .unwrap_or(0)
    }

    /// Maximum length of the command line in bytes, without the terminating NUL (since 2.06; 255 before).
    #[must_use]
    pub fn cmdline_size(&self) -> u64 {
        self.since(0x206, 0x23c, |header| header.cmdline_size.get())
            .unwrap_or(255)
            .into()
    }

    /// Offset of the payload from the start of the protected-mode code, and its length, in bytes (since 2.08). The
    /// offset is zero if there is no payload.
    #[must_use]
    pub fn payload(&self) -> Option<(u64, u64)> {
        self.since(0x208, 0x250, |header| {
            (
                header.payload_offset.get().into(),
                header.payload_length.get().into(),
            )
        })
    }

    /// True if the field `setup_data` exists (since 2.09).
    #[must_use]
    pub fn has_setup_data(&self) -> bool {
        self.since(0x209, 0x258, |_| ()).is_some()
    }

    /// Preferred load address (since 2.10). It may be zero, which means unset.
    #[must_use]
    pub fn pref_address(&self) -> Option<u64> {
        self.since(0x20a, 0x260, |header| header.pref_address.get())
    }

    /// Memory in bytes that the kernel needs, from the address where it runs, before it reads the memory map (since 2.10).
    #[must_use]
    pub fn init_size(&self) -> Option<u64> {
        self.since(0x20a, 0x264, |header| header.init_size.get().into())
    }

    /// Offset of the EFI handover entry point from the start of the protected-mode code (since 2.11). The 64-bit entry
    /// point is 512 bytes further.
    #[must_use]
    pub fn handover_offset(&self) -> Option<u64> {
        self.since(0x20b, 0x268, |header| header.handover_offset.get().into())
    }

    /// Offset of `kernel_info` from the start of the protected-mode code (since 2.15). It may be zero, which means unset.
    #[must_use]
    pub fn kernel_info_offset(&self) -> Option<u64> {
        self.since(0x20f, 0x26c, |header| header.kernel_info_offset.get().into())
    }
}

#[cfg(test)]
mod tests {
    use zerocopy::FromBytes;

    use super::*;

    fn metadata(version: u16, end: usize) -> SetupHeaderMetadata {
        let mut header = SetupHeader::read_from_bytes(&[0x11; size_of::<SetupHeader>()]).unwrap();
        header.version = version.into();
        SetupHeaderMetadata::new(&header, end - 0x1f1)
    }

    /// An accessor whose field was added in version `since` and ends at `end`: its value, and the default.
    fn check<T: PartialEq + fmt::Debug>(
        get: impl Fn(&SetupHeaderMetadata) -> T,
        since: u16,
        end: usize,
        value: &T,
        default: &T,
    ) {
        for (version, end, expected) in [
            (since, end, value),
            (0x20f, 0x26c, value),
            (since - 1, 0x26c, default),
            (since, end - 1, default),
            (since - 1, end - 1, default),
        ] {
            let found = get(&metadata(version, end));
            assert_eq!(found, *expected, "version {version:#x}, end {end:#x}");
        }
    }

    #[test]
    fn a_field_exists_by_version_and_by_length() {
        type Header = SetupHeaderMetadata;
        const VALUE: u32 = 0x1111_1111;
        let wide = u64::from(VALUE);
        check(Header::has_cmd_line_ptr, 0x202, 0x22c, &true, &false);
        check(Header::initrd_addr_max, 0x203, 0x230, &wide, &0x37ff_ffff);
        check(Header::kernel_alignment, 0x205, 0x234, &Some(wide), &None);
        check(Header::is_relocatable, 0x205, 0x235, &true, &false);
        check(Header::min_alignment, 0x20a, 0x236, &Some(1 << 0x11), &None);
        check(Header::xloadflags, 0x20c, 0x238, &0x1111, &0);
        check(Header::cmdline_size, 0x206, 0x23c, &wide, &255);
        check(Header::payload, 0x208, 0x250, &Some((wide, wide)), &None);
        check(Header::has_setup_data, 0x209, 0x258, &true, &false);
        check(
            Header::pref_address,
            0x20a,
            0x260,
            &Some(0x1111_1111_1111_1111),
            &None,
        );
        check(Header::init_size, 0x20a, 0x264, &Some(wide), &None);
        check(Header::handover_offset, 0x20b, 0x268, &Some(wide), &None);
        check(Header::kernel_info_offset, 0x20f, 0x26c, &Some(wide), &None);
    }

    #[test]
    fn each_accessor_reads_its_own_field() {
        let mut header = SetupHeader::new_zeroed();
        header.version = 0x20f.into();
        header.initrd_addr_max = 1.into();
        header.kernel_alignment = 2.into();
        header.min_alignment = 3;
        header.xloadflags = 4.into();
        header.cmdline_size = 5.into();
        header.payload_offset = 6.into();
        header.payload_length = 7.into();
        header.pref_address = 8.into();
        header.init_size = 9.into();
        header.handover_offset = 10.into();
        header.kernel_info_offset = 11.into();
        let metadata = SetupHeaderMetadata::new(&header, usize::MAX);
        assert_eq!(metadata.initrd_addr_max(), 1);
        assert_eq!(metadata.kernel_alignment(), Some(2));
        assert!(!metadata.is_relocatable());
        assert_eq!(metadata.min_alignment(), Some(8));
        assert_eq!(metadata.xloadflags(), 4);
        assert_eq!(metadata.cmdline_size(), 5);
        assert_eq!(metadata.payload(), Some((6, 7)));
        assert_eq!(metadata.pref_address(), Some(8));
        assert_eq!(metadata.init_size(), Some(9));
        assert_eq!(metadata.handover_offset(), Some(10));
        assert_eq!(metadata.kernel_info_offset(), Some(11));
        assert_eq!(metadata.header(), &header);
        assert_eq!(metadata.bytes(), header.as_bytes());
    }

    #[test]
    fn bytes_beyond_the_real_length_are_cleared() {
        let metadata = metadata(0x20f, 0x230);
        assert_eq!(metadata.header().kernel_alignment.get(), 0);
        assert_eq!(metadata.initrd_addr_max(), 0x1111_1111);
        assert!(!metadata.is_relocatable());
        assert_eq!(metadata.version().0, 0x20f);
        assert_eq!(metadata.bytes(), &metadata.header().as_bytes()[..0x230 - 0x1f1]);
        assert_eq!(metadata.bytes()[0], 0x11);
    }

    #[test]
    fn min_alignment_is_a_shift_from_1_to_63() {
        let check = |shift, expected| {
            let mut header = SetupHeader::new_zeroed();
            header.version = 0x20a.into();
            header.min_alignment = shift;
            let metadata = SetupHeaderMetadata::new(&header, 0x264 - 0x1f1);
            assert_eq!(metadata.min_alignment(), expected, "{shift}");
        };
        check(0, None);
        check(12, Some(0x1000));
        check(21, Some(0x20_0000));
        check(64, None);
    }

    #[test]
    fn versions_print_as_documented() {
        let print = |version| std::string::ToString::to_string(&BootProtocolVersion(version));
        assert_eq!(print(0x20f), "2.15");
        assert_eq!(print(0x204), "2.04");
    }
}
