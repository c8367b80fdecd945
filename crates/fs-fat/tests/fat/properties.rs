//! Properties for generated volumes.

use disk::FileSystem;
use fs_fat::{FatFs, FatKind};
use proptest::prelude::*;

use crate::image_writer::{Image, content, long_name, sample, samples};
use crate::invariants::check;

fn kinds() -> impl Strategy<Value = FatKind> {
    prop_oneof![Just(FatKind::Fat12), Just(FatKind::Fat16), Just(FatKind::Fat32)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn arbitrary_bytes_are_no_fault(mut bytes in prop::collection::vec(any::<u8>(), 0..2048), len in 0_u64..1 << 24) {
        if bytes.len() >= 512 {
            bytes[510..512].copy_from_slice(&[0x55, 0xaa]);
            bytes[11..14].copy_from_slice(&[0, 2, 1]);
        }
        let _ = check(&bytes, len);
    }

    #[test]
    fn changed_volumes_are_no_fault(
        sample in 0..5_usize,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_usize), 1..10),
    ) {
        let (_, mut bytes) = samples().swap_remove(sample);
        for (index, value, place) in changes {
            // Boot sector, the rest of the structures, or anything.
            let len = [90, 8192, bytes.len()][place].min(bytes.len());
            bytes[index.index(len)] = value;
        }
        let _ = check(&bytes, 8 << 20);
    }

    /// A file in any clusters is read back.
    #[test]
    fn files_are_read_back(
        kind in kinds(),
        clusters in Just((10..80).collect::<Vec<u32>>()).prop_shuffle(),
        len in 0_usize..70 * 512,
        reads in prop::collection::vec((0_usize..36000, 0_usize..3000), 1..5),
    ) {
        let mut image = Image::new(kind);
        let bytes = content(len);
        image.add_file(image.root(), (b"FILE       ", "a file"), &clusters[..len.div_ceil(512)], &bytes);
        let fs = FatFs::new(&image.bytes).unwrap();
        prop_assert!(fs.read_file("A FILE", len).unwrap().unwrap() == bytes);
        let node = fs.lookup("file").unwrap().unwrap();
        let file = fs.open(&node).unwrap();
        for (offset, len) in reads {
            let mut buf = vec![0; len];
            let result = file.read_exact_at(offset as u64, &mut buf);
            match bytes.get(offset..offset + len) {
                Some(expected) => prop_assert!(result.is_ok() && buf == expected),
                None => prop_assert!(result.is_err()),
            }
        }
    }

    /// A long name is read back if it is legal; otherwise the file has its short name.
    #[test]
    fn long_names_are_read_back(name in "[a-zA-Z0-9äß☃🥾 ._/:*-]{1,60}") {
        let mut image = Image::new(FatKind::Fat12);
        for part in long_name(&name, b"SHORT      ") {
            image.put(&[], zerocopy::IntoBytes::as_bytes(&part));
        }
        image.add(&[], (b"SHORT      ", ""), 0x20, 0, 0);
        let fs = FatFs::new(&image.bytes).unwrap();
        let found = &fs.list("/", 9).unwrap().unwrap()[0].0;
        let is_legal = !name.contains(['/', ':', '*']) && name.chars().any(|char| !matches!(char, '.' | ' '));
        prop_assert_eq!(found, if is_legal { name.as_str() } else { "SHORT" });
    }

    #[test]
    fn links_of_all_values_are_no_fault(kind in kinds(), links in prop::collection::vec((2_u32..82, any::<u32>(), any::<bool>()), 1..20)) {
        let (mut image, _) = sample(kind);
        for (cluster, value, is_near) in links {
            image.link(cluster, if is_near { value % 82 } else { value });
        }
        let _ = check(&image.bytes, 0);
    }
}
