use super::super::{DevicePathBuf, Header, Malformed, MalformedKind};
use super::*;
use crate::Status;
use proptest::prelude::*;
use std::vec::Vec;
use std::{format, vec};
use uguid::guid;

const GUID: Guid = guid!("81635ccd-1b4f-4d3f-b7b7-f78a5b029f35");

fn path(build: impl Fn(&mut DevicePathBuf) -> crate::Result<()>) -> DevicePathBuf {
    let mut path = DevicePathBuf::new();
    build(&mut path).unwrap();
    path
}

fn partition(signature: HardDriveSignature) -> HardDrive {
    HardDrive {
        number: 1,
        start: 0x800,
        size: 0x4_0000,
        signature,
    }
}

#[test]
fn nodes_have_the_text_of_the_specification() {
    let check = |build: fn(&mut DevicePathBuf) -> crate::Result<()>, expected: &str| {
        assert_eq!(path(build).as_path().to_text(), expected);
    };
    check(|_| Ok(()), "");
    check(|path| path.push_pci_root(0), "PciRoot(0x0)");
    check(|path| path.push_acpi(0x0a08_41d0, 1), "PcieRoot(0x1)");
    check(|path| path.push_acpi(0x0303_41d0, 1), "Acpi(PNP0303,0x1)");
    check(|path| path.push_acpi(0x1234_4321, 1), "Acpi(0x12344321,0x1)");
    check(|path| path.push_pci(0x1f, 2), "Pci(0x1f,0x2)");
    check(
        |path| path.push_memory_mapped(11, 0xa00_0000, 0xa00_01ff),
        "MemoryMapped(0xb,0xa000000,0xa0001ff)",
    );
    check(
        |path| path.push_vendor_hardware(GUID, &[0xab, 1]),
        "VenHw(81635CCD-1B4F-4D3F-B7B7-F78A5B029F35,AB01)",
    );
    check(
        |path| path.push_vendor_media(GUID, &[]),
        "VenMedia(81635CCD-1B4F-4D3F-B7B7-F78A5B029F35)",
    );
    check(
        |path| path.push(3, 10, &GUID.to_bytes()),
        "VenMsg(81635CCD-1B4F-4D3F-B7B7-F78A5B029F35)",
    );
    check(|path| path.push(1, 5, &[7, 0, 0, 0]), "Ctrl(0x7)");
    check(|path| path.push(3, 2, &[1, 0, 2, 0]), "Scsi(0x1,0x2)");
    check(|path| path.push(3, 5, &[1, 2]), "USB(0x1,0x2)");
    check(
        |path| path.push(3, 18, &[1, 0, 0xff, 0xff, 0, 0]),
        "Sata(0x1,0xffff,0x0)",
    );
    check(
        |path| path.push(3, 23, &[1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 0xff]),
        "NVMe(0x1,01-02-03-04-05-06-07-FF)",
    );
    check(
        |path| {
            path.push(
                3,
                11,
                &[&[0x52, 0x54, 0, 0x12, 0x34, 0x56][..], &[0; 26], &[1]].concat(),
            )
        },
        "MAC(525400123456,0x1)",
    );
    check(|path| path.push_uart(115_200, 8, 1, 1), "Uart(115200,8,N,1)");
    check(|path| path.push_uart(0, 0, 0, 9), "Uart(DEFAULT,DEFAULT,D,x)");
    check(
        |path| path.push_hard_drive(&partition(HardDriveSignature::Gpt(GUID))),
        "HD(1,GPT,81635CCD-1B4F-4D3F-B7B7-F78A5B029F35,0x800,0x40000)",
    );
    check(
        |path| path.push_hard_drive(&partition(HardDriveSignature::Mbr(0xabcd))),
        "HD(1,MBR,0x0000abcd,0x800,0x40000)",
    );
    check(
        |path| {
            path.push_hard_drive(&partition(HardDriveSignature::Other {
                format: 3,
                kind: 0,
                signature: [0; 16],
            }))
        },
        "HD(1,3,0,0x800,0x40000)",
    );
    check(
        |path| path.push(4, 2, &[1; 20]),
        "CDROM(0x1010101,0x101010101010101,0x101010101010101)",
    );
    check(
        |path| path.push(4, 5, &GUID.to_bytes()),
        "Media(81635CCD-1B4F-4D3F-B7B7-F78A5B029F35)",
    );
    check(
        |path| path.push(4, 6, &GUID.to_bytes()),
        "FvFile(81635CCD-1B4F-4D3F-B7B7-F78A5B029F35)",
    );
    check(
        |path| path.push(4, 7, &GUID.to_bytes()),
        "Fv(81635CCD-1B4F-4D3F-B7B7-F78A5B029F35)",
    );
    check(
        |path| path.push(4, 8, &[&[0; 4][..], &[1, 0, 0, 0, 0, 0, 0, 0].repeat(2)].concat()),
        "Offset(0x1,0x1)",
    );
    check(
        |path| path.push_file_path(r"\EFI\BOOT\BOOTX64.EFI"),
        r"\EFI\BOOT\BOOTX64.EFI",
    );
    // Nodes of other types, or with too little data.
    check(|path| path.push(1, 1, &[2]), "HardwarePath(1,02)");
    check(|path| path.push(2, 9, &[]), "AcpiPath(9)");
    check(|path| path.push(3, 9, &[1]), "Msg(9,01)");
    check(|path| path.push(4, 1, &[1]), "MediaPath(1,01)");
    check(|path| path.push(5, 1, &[1]), "BbsPath(1,01)");
    check(|path| path.push(0x20, 1, &[1]), "Path(32,1,01)");
}

#[test]
fn paths_are_joined_and_divided() {
    let mut disk = path(|path| path.push_pci_root(0));
    disk.push_pci(3, 0).unwrap();
    let mut file = disk.clone();
    file.push_hard_drive(&partition(HardDriveSignature::Gpt(GUID)))
        .unwrap();
    let partition = file.clone();
    file.append(path(|path| path.push_file_path(r"\EFI\a.efi")).as_path())
        .unwrap();
    let rest = file.as_path().strip_prefix(partition.as_path()).unwrap();
    assert_eq!(rest.to_text(), r"\EFI\a.efi");
    assert!(
        file.as_path()
            .to_text()
            .starts_with("PciRoot(0x0)/Pci(0x3,0x0)/HD(1,GPT,")
    );
    assert!(disk.as_path().strip_prefix(partition.as_path()).is_none());
    assert!(file.as_path().strip_prefix(file.as_path()).unwrap().is_empty());
    assert_eq!(
        file.as_path().strip_prefix(DevicePath::EMPTY),
        Some(file.as_path())
    );
    let short = file.as_path().from_node(|node| node.kind == 4).unwrap();
    assert_eq!(short.nodes().count(), 2);

    let mut two = disk.clone();
    two.append_instance(partition.as_path()).unwrap();
    assert!(two.as_path().has_instances() && !disk.as_path().has_instances());
    assert!(
        two.as_path()
            .to_text()
            .starts_with("PciRoot(0x0)/Pci(0x3,0x0),PciRoot(0x0)/")
    );
    assert!(two.as_path().strip_prefix(two.as_path()).is_none());
    assert_eq!(two.push(END, 1, &[]), Err(Status::INVALID_PARAMETER));
    assert_eq!(two.push(1, 1, &vec![0; 65_532]), Err(Status::OUT_OF_RESOURCES));
    assert_eq!(two.push(1, 1, &vec![0; 16_384]), Err(Status::OUT_OF_RESOURCES));
}

#[test]
fn file_paths_are_joined_by_one_backslash() {
    let check = |parts: &[&str], expected: &str| {
        let mut path = DevicePathBuf::new();
        path.push_pci(1, 0).unwrap();
        for part in parts {
            path.push_file_path(part).unwrap();
        }
        assert_eq!(String::from_utf16(&path.as_path().file_path()).unwrap(), expected);
    };
    check(&[], "");
    check(&[r"\EFI", "a.efi"], r"\EFI\a.efi");
    check(&[r"\EFI\", r"\a.efi"], r"\EFI\a.efi");
    check(&[r"\EFI\", "a.efi"], r"\EFI\a.efi");
    check(&[r"\EFI", r"\a.efi"], r"\EFI\a.efi");
}

#[test]
fn malformed_paths_are_refused_with_their_offset() {
    let check = |bytes: &[u8], offset, kind, message: &str| {
        let error = Malformed { offset, kind };
        assert_eq!(DevicePath::parse(bytes), Err(error));
        assert_eq!(error.to_string(), message);
        assert_eq!(Status::from(error), Status::INVALID_PARAMETER);
    };
    let truncated = |needed, available| MalformedKind::Truncated { needed, available };
    check(
        &[],
        0,
        truncated(4, 0),
        "device path node at byte 0: 4 bytes needed, 0 available before the end of the path",
    );
    check(
        &[1, 1, 6, 0, 0, 0, 1, 1, 9, 0, 0],
        6,
        truncated(9, 5),
        "device path node at byte 6: 9 bytes needed, 5 available before the end of the path",
    );
    let length = |found| MalformedKind::Length { found };
    check(
        &[1, 1, 3, 0],
        0,
        length(3),
        "device path node at byte 0: invalid length 3",
    );
    check(
        &[END, 0xff, 5, 0, 0],
        0,
        length(5),
        "device path node at byte 0: invalid length 5",
    );
    let long = vec![[1, 1, 0xff, 0x3f]; 0x2000].concat();
    check(
        &long,
        16_383,
        MalformedKind::TooLong,
        "device path node at byte 16383: the path is longer than 16384 bytes",
    );
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(path) = DevicePath::parse(&bytes) {
            prop_assert!(bytes.starts_with(path.as_bytes()));
        }
    }

    #[test]
    fn arbitrary_nodes_survive_a_round_trip(
        nodes in prop::collection::vec((1..8_u8, 0..30_u8, prop::collection::vec(any::<u8>(), 0..50)), 0..10),
    ) {
        let mut path = DevicePathBuf::new();
        for (kind, subtype, data) in &nodes {
            path.push(*kind, *subtype, data).unwrap();
        }
        let found: Vec<_> = path.as_path().nodes().map(|node| (node.kind, node.subtype, node.data.to_vec())).collect();
        prop_assert_eq!(found, nodes);
        let _ = format!("{:?} {:?}", path.as_path(), path.as_path().file_path());
        let mut offset = 0;
        let bytes = path.as_path().as_bytes();
        while let Ok(header) = Header::read(offset, *bytes[offset..].first_chunk().unwrap()) {
            offset += header.len;
            if header.is_end { break; }
        }
        prop_assert_eq!(offset, bytes.len());
    }
}
