//! The table of hashes with which a VMM hands kernel, initrd and command line to OVMF (QEMU `docs/system/i386/amd-memory-encryption.rst`,
//! "kernel-hashes"; edk2 `OvmfPkg/AmdSev/BlobVerifierLibSevHashes`).

use boot_core::ReadError;
use zerocopy::little_endian::U16;
use zerocopy::{Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::content::Content;
use crate::ovmf::guid;
use crate::{HashAlgorithm, Hasher};

const TABLE: [u8; 16] = guid(0x9438_d606, 0x4f22, 0x4cc9, 0xb479_a793_d411_fd21);
const KERNEL: [u8; 16] = guid(0x4de7_9437, 0xabd2, 0x427f, 0xb835_d5b1_72d2_045b);
const INITRD: [u8; 16] = guid(0x44ba_f731, 0x3a2f, 0x4bd7, 0x9af1_41e2_9169_781d);
const CMDLINE: [u8; 16] = guid(0x97d0_2dd8, 0xbd20, 0x4c94, 0xaa78_e771_4d36_ab2a);

#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Entry {
    guid: [u8; 16],
    length: U16,
    hash: [u8; 32],
}

/// Length of an entry and of the table in bytes.
const ENTRY_LEN: u16 = 50;
const TABLE_LEN: u16 = 168;

#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Table {
    guid: [u8; 16],
    length: U16,
    cmdline: Entry,
    initrd: Entry,
    kernel: Entry,
    /// To a multiple of 16 bytes.
    padding: [u8; 8],
}

const _: () = assert!(size_of::<Entry>() == 50 && size_of::<Table>() == KernelHashes::LEN);

/// The table of hashes, SHA-256, of kernel, initrd and command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelHashes(Table);

impl KernelHashes {
    /// Length in bytes with the padding at the end.
    pub const LEN: usize = 176;

    /// The table for these files. The command line has no NUL at its end; its hash has one. Without an initrd, its hash is that of
    /// nothing.
    ///
    /// # Errors
    ///
    /// The error of a source.
    pub fn new(
        kernel: &Content<'_>,
        initrd: Option<&Content<'_>>,
        cmdline: &[u8],
    ) -> Result<Self, ReadError> {
        let nothing = Content::bytes(&[]);
        let line = Content::bytes(cmdline);
        Ok(Self(Table {
            guid: TABLE,
            length: U16::new(TABLE_LEN),
            cmdline: entry(CMDLINE, &line, &[0])?,
            initrd: entry(INITRD, initrd.unwrap_or(&nothing), &[])?,
            kernel: entry(KERNEL, kernel, &[])?,
            padding: [0; 8],
        }))
    }

    /// The bytes with the padding.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; Self::LEN] {
        zerocopy::transmute_ref!(&self.0)
    }

    /// A page of zeros with the table at this offset; `None` if that crosses the end of the page.
    #[must_use]
    pub fn page(&self, offset: usize) -> Option<[u8; 4096]> {
        let mut page = [0; 4096];
        let range = offset..offset.checked_add(Self::LEN)?;
        page.get_mut(range)?.copy_from_slice(self.as_bytes());
        Some(page)
    }
}

fn entry(guid: [u8; 16], content: &Content<'_>, end: &[u8]) -> Result<Entry, ReadError> {
    let mut hasher = Hasher::new(HashAlgorithm::Sha256);
    content.hash(&mut hasher)?;
    hasher.update(end);
    let mut hash = [0; 32];
    hash.copy_from_slice(hasher.finish().as_bytes());
    Ok(Entry {
        guid,
        length: U16::new(ENTRY_LEN),
        hash,
    })
}
