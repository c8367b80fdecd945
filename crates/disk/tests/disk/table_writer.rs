//! Writes disks with partition tables field by field, for tests and for the seeds of the fuzz target.

use disk::partition::raw::{
    GPT_PROTECTIVE, GPT_REVISION, GPT_SIGNATURE, GptHeader, GptPartitionEntry, MBR_SIGNATURE,
    MasterBootRecord, MbrPartitionRecord,
};
use disk::{BlockSize, Guid, guid, partition_types};
use zerocopy::{FromBytes, FromZeros, IntoBytes};

/// GUID of the disks.
pub(crate) const DISK_GUID: Guid = guid!("01020304-0506-0708-090a-0b0c0d0e0f10");

/// A disk with a GPT.
pub(crate) struct Gpt {
    pub(crate) block_size: BlockSize,
    pub(crate) block_count: u64,
    pub(crate) entry_size: u32,
    pub(crate) entry_count: u32,
    /// First and last block, type and name of each partition; its GUID ends with its number.
    pub(crate) partitions: Vec<(u64, u64, Guid, &'static str)>,
}

impl Gpt {
    /// A disk of 160 blocks with an ESP, an XBOOTLDR and a root partition.
    pub(crate) fn new(block_size: BlockSize) -> Self {
        Self {
            block_size,
            block_count: 160,
            entry_size: 128,
            entry_count: 128,
            partitions: vec![
                (40, 59, partition_types::ESP, "ESP"),
                (60, 79, partition_types::XBOOTLDR, "boot äöü 🥾"),
                (
                    100,
                    119,
                    partition_types::LINUX_ROOT_ARM64,
                    "a name of thirty-six UTF-16 units ...",
                ),
            ],
        }
    }

    /// GUID of a partition.
    pub(crate) fn partition_guid(number: u32) -> Guid {
        let mut bytes = guid!("00000000-aaaa-4bbb-8c8c-8c8c8c8c8c8c").to_bytes();
        bytes[..4].copy_from_slice(&number.to_le_bytes());
        Guid::from_bytes(bytes)
    }

    /// Number of blocks of the entry array.
    pub(crate) fn array_blocks(&self) -> u64 {
        u64::from(self.entry_size * self.entry_count).div_ceil(self.block_size.as_u64())
    }

    fn entry_array(&self) -> Vec<u8> {
        let size = self.entry_size as usize;
        let mut array = vec![0; size * self.entry_count as usize];
        for ((first, last, kind, name), number) in self.partitions.iter().zip(1..) {
            let mut entry = GptPartitionEntry::new_zeroed();
            entry.partition_type_guid = kind.to_bytes();
            entry.unique_partition_guid = Self::partition_guid(number).to_bytes();
            entry.starting_lba = (*first).into();
            entry.ending_lba = (*last).into();
            for (slot, unit) in entry.partition_name.iter_mut().zip(name.encode_utf16()) {
                *slot = unit.into();
            }
            let start = (number as usize - 1) * size;
            array[start..start + 128].copy_from_slice(entry.as_bytes());
        }
        array
    }

    fn header(&self, my: u64, alternate: u64, array: u64) -> GptHeader {
        GptHeader {
            signature: GPT_SIGNATURE,
            revision: GPT_REVISION.into(),
            header_size: 92.into(),
            header_crc32: 0.into(),
            reserved: 0.into(),
            my_lba: my.into(),
            alternate_lba: alternate.into(),
            first_usable_lba: (2 + self.array_blocks()).into(),
            last_usable_lba: (self.block_count - 2 - self.array_blocks()).into(),
            disk_guid: DISK_GUID.to_bytes(),
            partition_entry_lba: array.into(),
            number_of_partition_entries: self.entry_count.into(),
            size_of_partition_entry: self.entry_size.into(),
            partition_entry_array_crc32: 0.into(),
        }
    }

    /// The disk.
    pub(crate) fn write(&self) -> Vec<u8> {
        let size = self.block_size.as_usize();
        let last = self.block_count - 1;
        let mut disk = vec![0; size * self.block_count as usize];
        let protective = record(GPT_PROTECTIVE, 1, u32::try_from(last).unwrap());
        disk[..512].copy_from_slice(mbr(0, &[protective]).as_bytes());
        let array = self.entry_array();
        let backup_array = last - self.array_blocks();
        for (my, alternate, at) in [(1, last, 2), (last, 1, backup_array)] {
            let start = at as usize * size;
            disk[start..start + array.len()].copy_from_slice(&array);
            let header = self.header(my, alternate, at);
            let start = my as usize * size;
            disk[start..start + 92].copy_from_slice(header.as_bytes());
            seal(&mut disk, self.block_size, my);
        }
        disk
    }
}

/// Computes both checksums of the header at a block, as far as its fields can be followed.
pub(crate) fn seal(disk: &mut [u8], block_size: BlockSize, block: u64) {
    let size = block_size.as_usize();
    let start = block as usize * size;
    let Some((mut header, _)) = disk
        .get(start..)
        .and_then(|bytes| GptHeader::read_from_prefix(bytes).ok())
    else {
        return;
    };
    let array = header.partition_entry_lba.get().saturating_mul(size as u64);
    let len = u64::from(header.number_of_partition_entries.get())
        .saturating_mul(header.size_of_partition_entry.get().into());
    let place = usize::try_from(array).ok().zip(usize::try_from(len).ok());
    let array = place.and_then(|(array, len)| disk.get(array..)?.get(..len));
    if let Some(array) = array {
        header.partition_entry_array_crc32 = crc32(array).into();
    }
    header.header_crc32 = 0.into();
    disk[start..start + 92].copy_from_slice(header.as_bytes());
    // Disks of the fuzzer may end inside the block.
    let covered = (header.header_size.get() as usize)
        .clamp(92, size)
        .min(disk.len() - start);
    header.header_crc32 = crc32(&disk[start..start + covered]).into();
    disk[start..start + 92].copy_from_slice(header.as_bytes());
}

/// CRC32 bit by bit, independent of the library's.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = !0_u32;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 };
        }
    }
    !crc
}

/// A partition record.
pub(crate) fn record(os_type: u8, start: u32, count: u32) -> MbrPartitionRecord {
    MbrPartitionRecord {
        boot_indicator: 0,
        starting_chs: [0; 3],
        os_type,
        ending_chs: [0xff; 3],
        starting_lba: start.into(),
        size_in_lba: count.into(),
    }
}

/// An MBR or extended boot record.
pub(crate) fn mbr(signature: u32, records: &[MbrPartitionRecord]) -> MasterBootRecord {
    let mut mbr = MasterBootRecord::new_zeroed();
    mbr.unique_mbr_disk_signature = signature.into();
    mbr.partition_record[..records.len()].copy_from_slice(records);
    mbr.signature = MBR_SIGNATURE.into();
    mbr
}

/// Signature of [`mbr_disk`].
pub(crate) const MBR_DISK_SIGNATURE: u32 = 0xdead_beef;

/// Blocks of the extended boot records of [`mbr_disk`].
pub(crate) const EBR_BLOCKS: [usize; 3] = [64, 80, 112];

/// A disk of 160 blocks of 512 bytes with an active ESP, an extended partition with three logical ones, and a Linux partition.
pub(crate) fn mbr_disk() -> Vec<u8> {
    let mut disk = vec![0; 512 * 160];
    let mut put = |block: usize, content: MasterBootRecord| {
        disk[block * 512..][..512].copy_from_slice(content.as_bytes());
    };
    let mut esp = record(0xef, 8, 24);
    esp.boot_indicator = 0x80;
    let records = [esp, record(0, 0, 0), record(0x0f, 64, 64), record(0x83, 130, 30)];
    put(0, mbr(MBR_DISK_SIGNATURE, &records));
    put(
        EBR_BLOCKS[0],
        mbr(0, &[record(0x83, 2, 14), record(0x05, 16, 32)]),
    );
    put(
        EBR_BLOCKS[1],
        mbr(0, &[record(0xea, 2, 30), record(0x05, 48, 16)]),
    );
    put(EBR_BLOCKS[2], mbr(0, &[record(0x82, 1, 15)]));
    disk
}

/// A bare file system: the fields of a FAT boot sector that tell it from an MBR, and the text that fills the place of the
/// partition records.
pub(crate) fn bare_fat(fill: u8) -> Vec<u8> {
    let mut disk = vec![0; 512 * 64];
    disk[..3].copy_from_slice(&[0xeb, 0x3c, 0x90]);
    disk[3..11].copy_from_slice(b"MSDOS5.0");
    disk[11..14].copy_from_slice(&[0, 2, 1]);
    disk[16] = 2;
    disk[21] = 0xf8;
    disk[62..510].fill(fill);
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    disk
}

/// Disks of each kind, with their names.
pub(crate) fn samples() -> Vec<(&'static str, BlockSize, Vec<u8>)> {
    let gpt = Gpt::new(BlockSize::B512).write();
    let mut backup = gpt.clone();
    backup[512] = 0;
    let mut hybrid = gpt.clone();
    hybrid[446 + 16..][..16].copy_from_slice(record(0x0c, 40, 20).as_bytes());
    let big_entries = Gpt {
        entry_size: 512,
        entry_count: 5,
        ..Gpt::new(BlockSize::B512)
    };
    let overlapping = Gpt {
        partitions: vec![
            (40, 90, partition_types::ESP, ""),
            (90, 99, partition_types::BASIC_DATA, ""),
            (39, 120, partition_types::LINUX_DATA, ""),
            (121, 120, partition_types::LINUX_SWAP, ""),
            (1, 160, partition_types::BIOS_BOOT, ""),
        ],
        ..Gpt::new(BlockSize::B512)
    };
    let mut cycle = mbr_disk();
    let link = mbr(0, &[record(0x83, 2, 14), record(0x05, 16, 32)]);
    cycle[EBR_BLOCKS[2] * 512..][..512].copy_from_slice(link.as_bytes());
    vec![
        ("gpt-512", BlockSize::B512, gpt),
        ("gpt-4096", BlockSize::B4096, Gpt::new(BlockSize::B4096).write()),
        ("gpt-backup", BlockSize::B512, backup),
        ("gpt-hybrid", BlockSize::B512, hybrid),
        ("gpt-big-entries", BlockSize::B512, big_entries.write()),
        ("gpt-overlap", BlockSize::B512, overlapping.write()),
        ("mbr", BlockSize::B512, mbr_disk()),
        ("mbr-cycle", BlockSize::B512, cycle),
        ("fat", BlockSize::B512, bare_fat(0)),
        ("fat-text", BlockSize::B512, bare_fat(b'x')),
    ]
}
