//! Boot sectors.

use disk::{FileSystem, FsError};
use fs_fat::raw::{BiosParameterBlock, Fat32Fields};
use fs_fat::{FatError, FatFs, FatKind};

use crate::image_writer::{Image, Options, content, sample};
use crate::invariants;

const KINDS: [FatKind; 3] = [FatKind::Fat12, FatKind::Fat16, FatKind::Fat32];

#[test]
fn volumes_of_each_type_are_read() {
    for kind in KINDS {
        let (image, _) = sample(kind);
        let found = invariants::check(&image.bytes, 0).unwrap();
        assert!(found.errors.is_empty(), "{:?}", found.errors);
        let mut files = found.files;
        files.sort();
        let expected = [
            ("/EFI/BOOT/BOOTX64.EFI", 2637),
            ("/EMPTY", 0),
            ("/loader/entries/Größe von 🥾 & mehr.conf", 13),
        ];
        assert_eq!(files, expected.map(|(path, len)| (path.to_owned(), len)));
        let fs = FatFs::new(&image.bytes).unwrap();
        let info = fs.info();
        assert_eq!((info.format, info.unit), (kind.name(), 512));
        assert_eq!(
            (info.label.as_deref(), info.uuid.as_deref()),
            (Some("MY ESP"), Some("1234-ABCD"))
        );
        assert_eq!(info.capacity, image.bytes.len() as u64);
        let loader = fs.read_file("/efi/BOOT/bootx64.efi", 10000).unwrap().unwrap();
        assert!(loader == content(2637));
        assert!(format!("{fs:?}").starts_with("FatFs { geometry: Geometry { kind: Fat"));
        assert_eq!(fs.source().len(), image.bytes.len());
    }
}

#[test]
fn sectors_and_clusters_have_many_sizes() {
    for kind in KINDS {
        for sector_size in [512, 1024, 2048, 4096] {
            for sectors_per_cluster in [1, 8, 128] {
                if kind == FatKind::Fat16 && sector_size * sectors_per_cluster > 4096 {
                    continue;
                }
                let mut image = Image::with(&Options {
                    sector_size,
                    sectors_per_cluster,
                    clusters: if kind == FatKind::Fat16 { 4085 } else { 20 },
                    ..Options::new(kind)
                });
                let bytes = content(image.cluster_size * 3 - 5);
                image.add_file(image.root(), (b"A          ", ""), &[4, 5, 9], &bytes);
                let fs = FatFs::new(&image.bytes).unwrap();
                assert_eq!(fs.geometry().kind, kind);
                assert!(fs.read_file("a", bytes.len()).unwrap().unwrap() == bytes);
                let error = fs.read_file("a", bytes.len() - 1).unwrap_err();
                assert!(matches!(error, FsError::TooLarge { .. }));
            }
        }
    }
}

/// The number of clusters decides the type (section 3.5).
#[test]
fn the_number_of_clusters_decides_the_type() {
    let check = |clusters, written, expected: Result<FatKind, &str>| {
        let image = Image::with(&Options {
            clusters,
            ..Options::new(written)
        });
        let found = FatFs::new(&image.bytes)
            .map(|fs| fs.geometry().kind)
            .map_err(|error| error.to_string());
        assert_eq!(
            found.as_ref().copied().map_err(String::as_str),
            expected,
            "{clusters} clusters"
        );
    };
    check(1, FatKind::Fat12, Ok(FatKind::Fat12));
    check(4084, FatKind::Fat16, Ok(FatKind::Fat12));
    check(4085, FatKind::Fat16, Ok(FatKind::Fat16));
    check(65000, FatKind::Fat16, Ok(FatKind::Fat16));
    // Without `BPB_FATSz16`, it is FAT32.
    check(1, FatKind::Fat32, Ok(FatKind::Fat32));
    check(65525, FatKind::Fat32, Ok(FatKind::Fat32));
    // A volume of FAT16 with too many clusters.
    let mut image = Image::with(&Options {
        clusters: 66000,
        ..Options::new(FatKind::Fat16)
    });
    let sectors = (image.bytes.len() / 512) as u32;
    image.bpb(|bpb| {
        bpb.tot_sec16 = 0.into();
        bpb.tot_sec32 = sectors.into();
    });
    let error = FatFs::new(&image.bytes).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the volume has 66000 clusters; with BPB_FATSz16 at 0x16, it has less than 65525"
    );
}

/// A volume with this change is refused.
fn check_refused(kind: FatKind, change: &dyn Fn(&mut Image), expected: &str) {
    let (mut image, _) = sample(kind);
    change(&mut image);
    let error = invariants::check(&image.bytes, 0).unwrap_err();
    assert_eq!(error.to_string(), expected);
    let is_other = matches!(error, FatError::NotFat(_));
    let is_version = expected.contains("FSVer");
    let is_unsupported = matches!(FsError::from(error), FsError::Unsupported(_));
    assert_eq!(is_unsupported, is_other || is_version);
}

fn bpb(change: fn(&mut BiosParameterBlock)) -> impl Fn(&mut Image) {
    move |image| image.bpb(change)
}

fn fat32(change: fn(&mut Fat32Fields)) -> impl Fn(&mut Image) {
    move |image| image.fat32(change)
}

#[test]
fn fields_of_all_types_are_checked() {
    for kind in KINDS {
        check_refused(
            kind,
            &bpb(|bpb| bpb.byts_per_sec = 0.into()),
            "BPB_BytsPerSec at 0xb is 0x0, expected 512, 1024, 2048 or 4096",
        );
        check_refused(
            kind,
            &bpb(|bpb| bpb.byts_per_sec = 513.into()),
            "BPB_BytsPerSec at 0xb is 0x201, expected 512, 1024, 2048 or 4096",
        );
        check_refused(
            kind,
            &bpb(|bpb| bpb.byts_per_sec = 8192.into()),
            "BPB_BytsPerSec at 0xb is 0x2000, expected 512, 1024, 2048 or 4096",
        );
        check_refused(
            kind,
            &bpb(|bpb| bpb.sec_per_clus = 0),
            "BPB_SecPerClus at 0xd is 0x0, expected a power of two",
        );
        check_refused(
            kind,
            &bpb(|bpb| bpb.sec_per_clus = 3),
            "BPB_SecPerClus at 0xd is 0x3, expected a power of two",
        );
        check_refused(
            kind,
            &bpb(|bpb| bpb.rsvd_sec_cnt = 0.into()),
            "BPB_RsvdSecCnt at 0xe is 0x0, expected at least 1",
        );
        check_refused(
            kind,
            &bpb(|bpb| bpb.num_fats = 0),
            "BPB_NumFATs at 0x10 is 0x0, expected at least 1",
        );
        check_refused(
            kind,
            &bpb(|bpb| bpb.oem_name = *b"EXFAT   "),
            "the partition has no FAT file system: it has exFAT",
        );
        check_refused(
            kind,
            &bpb(|bpb| bpb.oem_name = *b"NTFS    "),
            "the partition has no FAT file system: it has NTFS",
        );
        let no_signature =
            "the partition has no FAT file system: Signature_word at 0x1fe is 0x55, expected 0xaa55";
        check_refused(kind, &|image| image.bytes[511] = 0, no_signature);
    }
}

#[test]
fn fields_of_fat12_and_fat16_are_checked() {
    let kind = FatKind::Fat12;
    let no_sectors = "BPB_TotSec32 at 0x20 is 0x0, expected at least 1, because BPB_TotSec16 at 0x13 is 0";
    check_refused(kind, &bpb(|bpb| bpb.tot_sec16 = 0.into()), no_sectors);
    check_refused(
        kind,
        &bpb(|bpb| bpb.root_ent_cnt = 0.into()),
        "BPB_RootEntCnt at 0x11 is 0x0, expected 0 for FAT32, otherwise at least 1",
    );
    check_refused(
        kind,
        &bpb(|bpb| bpb.fat_sz16 = 50.into()),
        "the volume has 88 sectors (BPB_TotSec), but its first cluster begins at sector 106",
    );
    check_refused(
        kind,
        &bpb(|bpb| bpb.sec_per_clus = 128),
        "the volume has 88 sectors (BPB_TotSec), but its first cluster begins at sector 8",
    );
    check_refused(
        kind,
        &bpb(|bpb| bpb.tot_sec16 = 89.into()),
        "the volume has 45568 bytes (BPB_TotSec), but the partition has 45056; is it truncated?",
    );
    check_refused(
        kind,
        &bpb(|bpb| bpb.byts_per_sec = 4096.into()),
        "the volume has 360448 bytes (BPB_TotSec), but the partition has 45056; is it truncated?",
    );
}

#[test]
fn fields_of_fat32_are_checked() {
    let kind = FatKind::Fat32;
    let no_fat = "BPB_FATSz32 at 0x24 is 0x0, expected at least 1, because BPB_FATSz16 at 0x16 is 0";
    check_refused(kind, &fat32(|fields| fields.fat_sz32 = 0.into()), no_fat);
    check_refused(
        kind,
        &bpb(|bpb| bpb.root_ent_cnt = 16.into()),
        "BPB_RootEntCnt at 0x11 is 0x10, expected 0 for FAT32, otherwise at least 1",
    );
    check_refused(
        kind,
        &fat32(|fields| fields.fs_ver = 1.into()),
        "BPB_FSVer at 0x2a is 0x1, expected 0 (supported)",
    );
    for cluster in ["0x0", "0x1", "0x52", "0xffffffff"] {
        let expected = format!("BPB_RootClus at 0x2c is {cluster}, expected a cluster of the volume");
        let value = u32::from_str_radix(&cluster[2..], 16).unwrap();
        check_refused(
            kind,
            &|image| image.fat32(|fields| fields.root_clus = value.into()),
            &expected,
        );
    }
    check_refused(
        kind,
        &fat32(|fields| fields.ext_flags = 0x82.into()),
        "BPB_ExtFlags at 0x28 is 0x82, expected an active FAT below BPB_NumFATs",
    );
    check_refused(
        kind,
        &fat32(|fields| fields.fat_sz32 = u32::MAX.into()),
        "the volume has 84 sectors (BPB_TotSec), but its first cluster begins at sector 8589934592",
    );
    for len in [0, 511] {
        let error = FatFs::new(&vec![0; len]).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("the partition has no FAT file system: it has {len} bytes")
        );
    }
}

#[test]
fn the_active_fat_is_used() {
    let (mut image, _) = sample(FatKind::Fat32);
    // Only the second FAT is intact.
    let fat = image.fat;
    image.bytes[fat..fat + 512].fill(0);
    assert!(invariants::check(&image.bytes, 0).is_err());
    image.fat32(|fields| fields.ext_flags = 0x81.into());
    assert_eq!(invariants::check(&image.bytes, 0).unwrap().files.len(), 3);
    // Bit 7 is the one that counts.
    image.fat32(|fields| fields.ext_flags = 1.into());
    assert!(invariants::check(&image.bytes, 0).is_err());
}

/// A FAT that is too short limits the clusters.
#[test]
fn a_short_fat_limits_the_clusters() {
    let mut image = Image::with(&Options {
        clusters: 300,
        ..Options::new(FatKind::Fat32)
    });
    image.add_file(&[2], (b"IN         ", ""), &[127], b"x");
    image.add(&[2], (b"OUT        ", ""), 0x20, 128, 1);
    // One sector of 128 entries instead of three; two more sectors are reserved.
    image.fat32(|fields| fields.fat_sz32 = 1.into());
    image.bpb(|bpb| {
        bpb.num_fats = 1;
        bpb.rsvd_sec_cnt = 2.into();
    });
    let data = image.data;
    let moved = image.bytes[data..].to_vec();
    image.bytes[3 * 512..][..moved.len()].copy_from_slice(&moved);
    let fs = FatFs::new(&image.bytes).unwrap();
    assert_eq!((fs.geometry().max_cluster, fs.geometry().fat_len), (127, 512));
    assert_eq!(fs.read_file("in", 10).unwrap().unwrap(), b"x");
    let error = fs.read_file("out", 10).unwrap_err();
    let FsError::Malformed(error) = error else {
        panic!("{error}")
    };
    assert!(
        error
            .to_string()
            .ends_with("the volume has the clusters 2 to 0x7f only"),
        "{error}"
    );
    image.bytes[22..24].fill(0);
    image.fat32(|fields| fields.fat_sz32 = 0.into());
    assert!(FatFs::new(&image.bytes).is_err());
}

#[test]
fn labels_come_from_the_root_directory_or_the_boot_sector() {
    for kind in KINDS {
        let mut image = Image::new(kind);
        let label = |image: &Image| FatFs::new(&image.bytes).unwrap().info().label.clone();
        assert_eq!(label(&image).as_deref(), Some("BOOT SECTOR"));
        let at = if kind == FatKind::Fat32 { 71 } else { 43 };
        image.bytes[at..at + 11].copy_from_slice(b"NO NAME    ");
        assert_eq!(label(&image), None);
        image.bytes[at - 5] = 0x28;
        assert_eq!(FatFs::new(&image.bytes).unwrap().info().uuid, None);
        image.bytes[at..at + 11].copy_from_slice(b"NOT HERE   ");
        assert_eq!(label(&image), None);
        image.add(image.root(), (b"A          ", ""), 0x20, 0, 0);
        image.add(image.root(), (b"T\xfcR        ", ""), 0x08, 0, 0);
        assert_eq!(label(&image).as_deref(), Some("T\u{fffd}R"));
    }
}
