//! The chain of page digests (section 8.17.2, "SNP_LAUNCH_UPDATE", structure `PAGE_INFO`).

use core::fmt;

use zerocopy::little_endian::{U16, U64};
use zerocopy::{Immutable, IntoBytes, KnownLayout, Unaligned};

use super::vmsa::{VMSA_GPA, Vmsa};
use crate::hash::{hex, sha384};

/// `PAGE_TYPE` of a page in a launch (section 8.17.2, table "Encodings for the PAGE_TYPE field").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PageType(pub u8);

impl PageType {
    /// A page whose content is measured.
    pub const NORMAL: Self = Self(1);
    /// The save area of a vCPU, whose content is measured.
    pub const VMSA: Self = Self(2);
    /// A page that the security processor clears.
    pub const ZERO: Self = Self(3);
    /// A page whose content is not measured.
    pub const UNMEASURED: Self = Self(4);
    /// The secrets page.
    pub const SECRETS: Self = Self(5);
    /// The CPUID page.
    pub const CPUID: Self = Self(6);
}

/// `PAGE_INFO`: what the launch digest takes in for one page.
#[derive(IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct PageInfo {
    digest_cur: [u8; 48],
    contents: [u8; 48],
    length: U16,
    page_type: u8,
    /// Bit 0 is `IMI_PAGE`.
    imi_page: u8,
    vmpl3_perms: u8,
    vmpl2_perms: u8,
    vmpl1_perms: u8,
    reserved: u8,
    gpa: U64,
}

const _: () = assert!(size_of::<PageInfo>() == 0x70);

/// `PAGE_INFO.LENGTH`: the size of the structure.
const PAGE_INFO_LEN: u16 = 0x70;

/// The launch digest, `LD` of the guest context, while pages are added to it. [`Display`](fmt::Display) prints it in hexadecimal
/// digits, as attestation reports have it in `MEASUREMENT`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct LaunchDigest([u8; 48]);

impl LaunchDigest {
    /// The digest after `SNP_LAUNCH_START`: zeros.
    #[must_use]
    pub const fn new() -> Self {
        Self([0; 48])
    }

    /// A digest to continue from, such as that of firmware whose file is not at hand.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 48]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 48] {
        &self.0
    }

    /// Adds a page whose content is measured, at the guest physical address `gpa`.
    pub fn add_page(&mut self, page_type: PageType, gpa: u64, content: &[u8; 4096]) {
        self.add(page_type, gpa, sha384(content));
    }

    /// Adds pages with the same content.
    pub(super) fn add_same_pages(&mut self, addresses: impl Iterator<Item = u64>, content: &[u8; 4096]) {
        let contents = sha384(content);
        addresses.for_each(|gpa| self.add(PageType::NORMAL, gpa, contents));
    }

    /// Adds a page whose content is not measured: of the types `ZERO`, `UNMEASURED`, `SECRETS` and `CPUID`.
    pub fn add_without_content(&mut self, page_type: PageType, gpa: u64) {
        self.add(page_type, gpa, [0; 48]);
    }

    /// Adds the save areas of `count` vCPUs with the same state.
    pub fn add_vmsa(&mut self, vmsa: &Vmsa, count: u32) {
        let contents = sha384(vmsa.as_bytes());
        (0..count).for_each(|_| self.add(PageType::VMSA, VMSA_GPA, contents));
    }

    fn add(&mut self, page_type: PageType, gpa: u64, contents: [u8; 48]) {
        let info = PageInfo {
            digest_cur: self.0,
            contents,
            length: U16::new(PAGE_INFO_LEN),
            page_type: page_type.0,
            imi_page: 0,
            vmpl3_perms: 0,
            vmpl2_perms: 0,
            vmpl1_perms: 0,
            reserved: 0,
            gpa: U64::new(gpa),
        };
        self.0 = sha384(info.as_bytes());
    }
}

impl Default for LaunchDigest {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for LaunchDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

impl fmt::Debug for LaunchDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LaunchDigest({self})")
    }
}
