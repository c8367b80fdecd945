//! Writes FAT volumes field by field, for tests and for the seeds of the fuzz target.

use fs_fat::FatKind;
use fs_fat::raw::{
    ATTR_LONG_NAME, BiosParameterBlock, DirectoryEntry, EXTENDED_BOOT_SIGNATURE, Fat32Fields,
    LAST_LONG_ENTRY, LongNameEntry, VolumeFields,
};
use zerocopy::{FromBytes, FromZeros, IntoBytes};

/// Attribute of a directory.
pub(crate) const DIRECTORY: u8 = 0x10;
/// Attribute of a file.
pub(crate) const ARCHIVE: u8 = 0x20;

/// Size of a volume.
#[derive(Clone, Copy)]
pub(crate) struct Options {
    pub(crate) kind: FatKind,
    pub(crate) sector_size: usize,
    pub(crate) sectors_per_cluster: usize,
    pub(crate) reserved: usize,
    pub(crate) fats: usize,
    pub(crate) root_entries: usize,
    pub(crate) clusters: usize,
}

impl Options {
    /// A small volume with sectors and clusters of 512 bytes.
    pub(crate) fn new(kind: FatKind) -> Self {
        Self {
            kind,
            sector_size: 512,
            sectors_per_cluster: 1,
            reserved: 2,
            fats: 2,
            root_entries: if kind == FatKind::Fat32 { 0 } else { 64 },
            clusters: if kind == FatKind::Fat16 { 4085 } else { 80 },
        }
    }
}

/// A volume.
pub(crate) struct Image {
    pub(crate) bytes: Vec<u8>,
    pub(crate) kind: FatKind,
    pub(crate) cluster_size: usize,
    /// Offset of the first FAT.
    pub(crate) fat: usize,
    fat_len: usize,
    fats: usize,
    /// Offset and length of the root directory; length 0 in FAT32, where it begins in cluster 2.
    pub(crate) root: (usize, usize),
    pub(crate) data: usize,
}

/// A directory: its clusters; none for the root directory of FAT12 and FAT16.
pub(crate) type Dir<'a> = &'a [u32];

impl Image {
    /// An empty volume.
    pub(crate) fn new(kind: FatKind) -> Self {
        Self::with(&Options::new(kind))
    }

    pub(crate) fn with(options: &Options) -> Self {
        let Options {
            kind, sector_size, ..
        } = *options;
        let entries = options.clusters + 2;
        let fat_bytes = match kind {
            FatKind::Fat12 => (entries * 3).div_ceil(2),
            FatKind::Fat16 => entries * 2,
            FatKind::Fat32 => entries * 4,
        };
        let fat_sectors = fat_bytes.div_ceil(sector_size);
        let root_sectors = (options.root_entries * 32).div_ceil(sector_size);
        let root_sector = options.reserved + options.fats * fat_sectors;
        let data_sector = root_sector + root_sectors;
        let sectors = data_sector + options.clusters * options.sectors_per_cluster;
        let mut bpb = BiosParameterBlock::new_zeroed();
        bpb.jmp_boot = [0xeb, 0x3c, 0x90];
        bpb.oem_name = *b"MSWIN4.1";
        bpb.byts_per_sec = (sector_size as u16).into();
        bpb.sec_per_clus = options.sectors_per_cluster as u8;
        bpb.rsvd_sec_cnt = (options.reserved as u16).into();
        bpb.num_fats = options.fats as u8;
        bpb.root_ent_cnt = (options.root_entries as u16).into();
        bpb.media = 0xf8;
        let mut volume = VolumeFields::new_zeroed();
        volume.boot_sig = EXTENDED_BOOT_SIGNATURE;
        volume.vol_id = 0x1234_abcd.into();
        volume.vol_lab = *b"BOOT SECTOR";
        let mut bytes = vec![0; sectors * sector_size];
        if kind == FatKind::Fat32 {
            bpb.tot_sec32 = (sectors as u32).into();
            let mut fat32 = Fat32Fields::new_zeroed();
            fat32.fat_sz32 = (fat_sectors as u32).into();
            fat32.root_clus = 2.into();
            fat32.fs_info = 1.into();
            fat32.volume = volume;
            bytes[36..90].copy_from_slice(fat32.as_bytes());
        } else {
            bpb.tot_sec16 = (sectors as u16).into();
            bpb.fat_sz16 = (fat_sectors as u16).into();
            bytes[36..62].copy_from_slice(volume.as_bytes());
        }
        bytes[..36].copy_from_slice(bpb.as_bytes());
        bytes[510..512].copy_from_slice(&[0x55, 0xaa]);
        let mut image = Self {
            bytes,
            kind,
            cluster_size: sector_size * options.sectors_per_cluster,
            fat: options.reserved * sector_size,
            fat_len: fat_sectors * sector_size,
            fats: options.fats,
            root: (root_sector * sector_size, root_sectors * sector_size),
            data: data_sector * sector_size,
        };
        image.link(0, 0x0fff_fff8);
        image.link(1, 0x0fff_ffff);
        if kind == FatKind::Fat32 {
            image.chain(&[2]);
        }
        image
    }

    /// Changes the boot sector.
    pub(crate) fn bpb(&mut self, change: impl FnOnce(&mut BiosParameterBlock)) {
        let (bpb, _) = BiosParameterBlock::mut_from_prefix(&mut self.bytes).unwrap();
        change(bpb);
    }

    /// Changes the fields of FAT32.
    pub(crate) fn fat32(&mut self, change: impl FnOnce(&mut Fat32Fields)) {
        let (fields, _) = Fat32Fields::mut_from_prefix(&mut self.bytes[36..]).unwrap();
        change(fields);
    }

    /// The root directory.
    pub(crate) fn root(&self) -> Dir<'static> {
        if self.kind == FatKind::Fat32 { &[2] } else { &[] }
    }

    /// The value that ends a chain.
    pub(crate) fn end(&self) -> u32 {
        match self.kind {
            FatKind::Fat12 => 0xfff,
            FatKind::Fat16 => 0xffff,
            FatKind::Fat32 => 0x0fff_ffff,
        }
    }

    /// Writes an entry to all FATs.
    pub(crate) fn link(&mut self, cluster: u32, value: u32) {
        let cluster = cluster as usize;
        for copy in 0..self.fats {
            let fat = &mut self.bytes[self.fat + copy * self.fat_len..];
            match self.kind {
                FatKind::Fat12 => {
                    let at = cluster + cluster / 2;
                    let pair = u16::from_le_bytes([fat[at], fat[at + 1]]);
                    let value = value as u16 & 0xfff;
                    let pair = if cluster % 2 == 0 {
                        pair & 0xf000 | value
                    } else {
                        pair & 0xf | value << 4
                    };
                    fat[at..at + 2].copy_from_slice(&pair.to_le_bytes());
                }
                FatKind::Fat16 => fat[cluster * 2..][..2].copy_from_slice(&(value as u16).to_le_bytes()),
                FatKind::Fat32 => fat[cluster * 4..][..4].copy_from_slice(&value.to_le_bytes()),
            }
        }
    }

    /// Links clusters to a chain with an end.
    pub(crate) fn chain(&mut self, clusters: &[u32]) {
        for pair in clusters.windows(2) {
            self.link(pair[0], pair[1]);
        }
        if let Some(last) = clusters.last() {
            self.link(*last, self.end());
        }
    }

    /// The bytes of a cluster.
    pub(crate) fn cluster(&mut self, cluster: u32) -> &mut [u8] {
        let start = self.data + (cluster as usize - 2) * self.cluster_size;
        &mut self.bytes[start..start + self.cluster_size]
    }

    /// Writes an entry to the first unused place of a directory. Returns its offset.
    pub(crate) fn put(&mut self, dir: Dir<'_>, entry: &[u8]) -> usize {
        let ranges: Vec<_> = if dir.is_empty() {
            vec![self.root]
        } else {
            dir.iter()
                .map(|cluster| {
                    (
                        self.data + (*cluster as usize - 2) * self.cluster_size,
                        self.cluster_size,
                    )
                })
                .collect()
        };
        let mut places = ranges
            .into_iter()
            .flat_map(|(start, len)| (start..start + len).step_by(32));
        let at = places
            .find(|at| self.bytes[*at] == 0)
            .expect("the directory is full");
        self.bytes[at..at + 32].copy_from_slice(entry);
        at
    }

    /// Adds a file or directory with a short name of 11 bytes, and a long one if it is not empty. Returns the offset of the entry.
    pub(crate) fn add(
        &mut self,
        dir: Dir<'_>,
        names: (&[u8; 11], &str),
        attr: u8,
        first: u32,
        len: u32,
    ) -> usize {
        let (short, long) = names;
        for part in long_name(long, short) {
            self.put(dir, part.as_bytes());
        }
        let mut entry = DirectoryEntry::new_zeroed();
        entry.name = *short;
        entry.attr = attr;
        entry.fst_clus_hi = ((first >> 16) as u16).into();
        entry.fst_clus_lo = (first as u16).into();
        entry.file_size = len.into();
        entry.wrt_date = ((44 << 9) + (2 << 5) + 29).into();
        entry.wrt_time = ((12 << 11) + (34 << 5) + 28).into();
        self.put(dir, entry.as_bytes())
    }

    /// Adds a directory in these clusters.
    pub(crate) fn add_dir(&mut self, dir: Dir<'_>, names: (&[u8; 11], &str), clusters: &[u32]) -> usize {
        self.chain(clusters);
        let parent = if dir == self.root() { 0 } else { dir[0] };
        self.add(clusters, (b".          ", ""), DIRECTORY, clusters[0], 0);
        self.add(clusters, (b"..         ", ""), DIRECTORY, parent, 0);
        self.add(dir, names, DIRECTORY, clusters[0], 0)
    }

    /// Adds a file with this content in these clusters.
    pub(crate) fn add_file(
        &mut self,
        dir: Dir<'_>,
        names: (&[u8; 11], &str),
        clusters: &[u32],
        content: &[u8],
    ) -> usize {
        self.chain(clusters);
        for (cluster, part) in clusters.iter().zip(content.chunks(self.cluster_size)) {
            self.cluster(*cluster)[..part.len()].copy_from_slice(part);
        }
        let first = clusters.first().copied().unwrap_or(0);
        self.add(dir, names, ARCHIVE, first, content.len() as u32)
    }
}

/// The parts of a long name in the order of the disk.
pub(crate) fn long_name(name: &str, short: &[u8; 11]) -> Vec<LongNameEntry> {
    let mut units: Vec<u16> = name.encode_utf16().collect();
    long_name_units(&mut units, short)
}

/// The same for UTF-16, valid or not.
pub(crate) fn long_name_units(units: &mut Vec<u16>, short: &[u8; 11]) -> Vec<LongNameEntry> {
    if units.is_empty() {
        return Vec::new();
    }
    if units.len() % 13 != 0 {
        units.push(0);
    }
    units.resize(units.len().next_multiple_of(13), 0xffff);
    let mut sum = 0_u8;
    for byte in short {
        sum = ((sum & 1) << 7).wrapping_add(sum >> 1).wrapping_add(*byte);
    }
    let count = units.len() / 13;
    let parts = units.chunks(13).enumerate().map(|(index, units)| {
        let mut part = LongNameEntry::new_zeroed();
        part.ord = index as u8 + 1 + if index + 1 == count { LAST_LONG_ENTRY } else { 0 };
        part.attr = ATTR_LONG_NAME;
        part.chksum = sum;
        let slots = part
            .name1
            .iter_mut()
            .chain(&mut part.name2)
            .chain(&mut part.name3);
        for (slot, unit) in slots.zip(units) {
            *slot = (*unit).into();
        }
        part
    });
    let mut parts: Vec<_> = parts.collect();
    parts.reverse();
    parts
}

/// Bytes that differ from cluster to cluster.
pub(crate) fn content(len: usize) -> Vec<u8> {
    (0..len).map(|index| ((index * 31) >> 3) as u8).collect()
}

/// Offsets of entries in [`sample`].
pub(crate) struct Places {
    /// Short entries: label, directory `EFI`, fragmented file, file with a long name.
    pub(crate) entries: [usize; 4],
    /// First part of the long name.
    pub(crate) long_name: usize,
}

/// Clusters of the fragmented file of [`sample`].
pub(crate) const FRAGMENTS: [u32; 6] = [20, 21, 30, 29, 40, 41];

/// A volume with a label, unused entries, `/EFI/BOOT/BOOTX64.EFI` in four fragments, `/loader/entries/Größe von 🥾 & mehr.conf` with a long name,
/// and an empty file.
pub(crate) fn sample(kind: FatKind) -> (Image, Places) {
    let mut image = Image::new(kind);
    let root = image.root();
    let label = image.add(root, (b"MY ESP     ", ""), 0x08, 0, 0);
    image.put(root, &[&[0xe5][..], &[b'X'; 31]].concat());
    let efi = image.add_dir(root, (b"EFI        ", ""), &[5]);
    image.add_dir(&[5], (b"BOOT       ", ""), &[6, 9]);
    let fragmented = image.add_file(&[6, 9], (b"BOOTX64 EFI", ""), &FRAGMENTS, &content(512 * 5 + 77));
    image.add_dir(root, (b"LOADER     ", "loader"), &[7]);
    image.add_dir(&[7], (b"ENTRIES    ", "entries"), &[8]);
    let long = image.add_file(
        &[8],
        (b"GRE~1   CON", "Größe von 🥾 & mehr.conf"),
        &[50],
        b"title Debian\n",
    );
    image.add_file(root, (b"EMPTY      ", ""), &[], b"");
    let places = Places {
        entries: [label, efi, fragmented, long],
        long_name: long - 64,
    };
    (image, places)
}

/// Volumes for the seeds of the fuzz target: without the zeros at their end.
pub(crate) fn samples() -> Vec<(&'static str, Vec<u8>)> {
    let kinds = [
        ("fat12", FatKind::Fat12),
        ("fat16", FatKind::Fat16),
        ("fat32", FatKind::Fat32),
    ];
    let mut samples = Vec::new();
    for (name, kind) in kinds {
        samples.push((name, sample(kind).0.bytes));
    }
    let (mut cycle, places) = sample(FatKind::Fat32);
    cycle.link(FRAGMENTS[5], FRAGMENTS[0]);
    samples.push(("fat32-cycle", cycle.bytes));
    let (mut recursive, _) = sample(FatKind::Fat12);
    recursive.bytes[places.entries[1]..][26..28].fill(0);
    recursive.add(&[6, 9], (b"EFI        ", ""), DIRECTORY, 5, 0);
    samples.push(("fat12-recursive", recursive.bytes));
    for (_, bytes) in &mut samples {
        let len = bytes
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |last| last + 1);
        bytes.truncate(len);
    }
    samples
}
