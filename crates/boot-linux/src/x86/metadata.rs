//! Which fields of a setup header exist.

use core::fmt;

use zerocopy::{FromZeros, IntoBytes};

use super::setup_header::SetupHeader;

/// A boot protocol version, printed as `2.15`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BootProtocolVersion(
    /// Major version in the high byte, minor in the low byte, as in the header.
    pub u16,
);

impl fmt::Display for BootProtocolVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor] = self.0.to_be_bytes();
        write!(f, "{major}.{minor:02}")
    }
}

/// A setup header with the knowledge of which of its fields exist.
///
/// A field exists when the protocol version has it *and* the header, by its own length byte, reaches it. The
/// accessors give the documented default where a field does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SetupHeaderMetadata {
    header: SetupHeader,
    len: usize,
}

impl SetupHeaderMetadata {
    /// Keeps the first `len` bytes of `header`, counted from 0x1f1, and forgets what lies beyond: those bytes belong
    /// to something else. A `len` longer than the known header is cut.
    #[must_use]
    pub fn new(header: &SetupHeader, len: usize) -> Self {
        let len = len.min(size_of::<SetupHeader>());
        let mut kept = SetupHeader::new_zeroed();
        if let (Some(to), Some(from)) = (kept.as_mut_bytes().get_mut(..len), header.as_bytes().get(..len)) {
            to.copy_from_slice(from);
        }
        Self { header: kept, len }
    }

    /// The header; fields beyond its real length are zero.
    #[must_use]
    pub fn header(&self) -> &SetupHeader {
        &self.header
    }

    /// The bytes of the header up to its real length: what belongs at 0x1f1 of the zero page.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.header.as_bytes().get(..self.len).unwrap_or_default()
    }

    /// The boot protocol version.
    #[must_use]
    pub fn version(&self) -> BootProtocolVersion {
        BootProtocolVersion(self.header.version.get())
    }

    /// `get` of the header where the field that ends at `end` (offset in the zero page) exists since `since`.
    fn since<T>(&self, since: u16, end: usize, get: impl FnOnce(&SetupHeader) -> T) -> Option<T> {
        let reached = self.len.checked_add(0x1f1).is_some_and(|len| len >= end);
        (self.version().0 >= since && reached).then(|| get(&self.header))
    }

    /// Whether the header has the `cmd_line_ptr` field (2.02 on). Kernels without it find their command line, and
    /// everything else, through real-mode code only.
    #[must_use]
    pub fn has_cmd_line_ptr(&self) -> bool {
        self.since(0x202, 0x22c, |_| ()).is_some()
    }

    /// The highest address the initrd's last byte may have (2.03 on; 0x37ff_ffff before).
    #[must_use]
    pub fn initrd_addr_max(&self) -> u64 {
        self.since(0x203, 0x230, |header| header.initrd_addr_max.get())
            .unwrap_or(0x37ff_ffff)
            .into()
    }

    /// The alignment a relocatable kernel needs (2.05 on).
    #[must_use]
    pub fn kernel_alignment(&self) -> Option<u64> {
        self.since(0x205, 0x234, |header| header.kernel_alignment.get().into())
    }

    /// Whether the kernel may be loaded elsewhere than at its link address (2.05 on).
    #[must_use]
    pub fn is_relocatable(&self) -> bool {
        self.since(0x205, 0x235, |header| header.relocatable_kernel)
            .is_some_and(|flag| flag != 0)
    }

    /// The smallest alignment the kernel can live with, in bytes (2.10 on). A field of zero says nothing about it,
    /// and a shift of 64 or more is no alignment: `None` for both.
    #[must_use]
    pub fn min_alignment(&self) -> Option<u64> {
        self.since(0x20a, 0x236, |header| header.min_alignment)
            .filter(|shift| *shift != 0)
            .and_then(|shift| 1u64.checked_shl(shift.into()))
    }

    /// The extended load flags (2.12 on; zero before).
    #[must_use]
    pub fn xloadflags(&self) -> u16 {
        self.since(0x20c, 0x238, |header| header.xloadflags.get())
            .unwrap_or(0)
    }

    /// The longest command line, in bytes without the terminating zero (2.06 on; 255 before).
    #[must_use]
    pub fn cmdline_size(&self) -> u64 {
        self.since(0x206, 0x23c, |header| header.cmdline_size.get())
            .unwrap_or(255)
            .into()
    }

    /// Offset and length of the payload, from the start of the protected-mode code (2.08 on).
    #[must_use]
    pub fn payload(&self) -> Option<(u64, u64)> {
        self.since(0x208, 0x250, |header| {
            (
                header.payload_offset.get().into(),
                header.payload_length.get().into(),
            )
        })
    }

    /// Whether the header has the `setup_data` pointer (2.09 on).
    #[must_use]
    pub fn has_setup_data(&self) -> bool {
        self.since(0x209, 0x258, |_| ()).is_some()
    }

    /// The address the kernel would like to be loaded at (2.10 on).
    #[must_use]
    pub fn pref_address(&self) -> Option<u64> {
        self.since(0x20a, 0x260, |header| header.pref_address.get())
    }

    /// How much memory from its runtime start the kernel needs before it reads the memory map (2.10 on).
    #[must_use]
    pub fn init_size(&self) -> Option<u64> {
        self.since(0x20a, 0x264, |header| header.init_size.get().into())
    }

    /// Offset of the EFI handover entry (2.11 on).
    #[must_use]
    pub fn handover_offset(&self) -> Option<u64> {
        self.since(0x20b, 0x268, |header| header.handover_offset.get().into())
    }

    /// Offset of `kernel_info` from the start of the protected-mode code (2.15 on).
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

    #[test]
    fn a_field_exists_by_version_and_by_length() {
        let check = |version, end, init_size: Option<u64>, cmdline_size| {
            let metadata = metadata(version, end);
            assert_eq!(
                (metadata.init_size(), metadata.cmdline_size()),
                (init_size, cmdline_size),
                "{version:#x}"
            );
            assert_eq!(metadata.bytes().len(), end - 0x1f1);
        };
        check(0x20f, 0x26c, Some(0x1111_1111), 0x1111_1111);
        check(0x20a, 0x264, Some(0x1111_1111), 0x1111_1111);
        check(0x20a, 0x263, None, 0x1111_1111);
        check(0x209, 0x264, None, 0x1111_1111);
        check(0x205, 0x264, None, 255);
    }

    #[test]
    fn bytes_beyond_the_real_length_are_forgotten() {
        let metadata = metadata(0x20f, 0x230);
        assert_eq!(metadata.header().kernel_alignment.get(), 0);
        assert_eq!(metadata.initrd_addr_max(), 0x1111_1111);
        assert!(!metadata.is_relocatable());
        assert_eq!(metadata.version().0, 0x20f);
    }

    #[test]
    fn min_alignment_is_a_shift_that_may_say_nothing() {
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
