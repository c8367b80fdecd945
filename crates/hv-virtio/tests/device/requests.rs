//! Requests that drivers make.

use std::fs::File;
use std::io::Write as _;

use boot_core::GuestMemory as _;
use hv_virtio::{Disk, DiskConfig, DiskError, DiskMode};

use crate::driver::{
    DATA, DESC, Driver, FLUSH, GET_ID, HEADER, IN, INDIRECT, IOERR, OK, OUT, STATUS, TABLE, UNSUPP, register,
};

/// Bytes that differ from sector to sector.
pub(crate) fn content(len: usize) -> Vec<u8> {
    (0..len)
        .map(|index| (index / 512 * 7 + index % 251).to_le_bytes()[0])
        .collect()
}

pub(crate) fn read_only(len: usize) -> Disk {
    Disk::new(content(len), &DiskConfig::default().with_id("a disk")).unwrap()
}

pub(crate) fn copied(len: usize, limit: u64) -> Disk {
    let config = DiskConfig::default().with_mode(DiskMode::CopyOnWrite { limit });
    Disk::new(content(len), &config).unwrap()
}

#[test]
fn a_read_goes_to_its_buffers() {
    let mut driver = Driver::started(read_only(0x10000));
    let buffers = [(DATA, 512, true), (DATA + 0x2000, 1024, true)];
    assert_eq!(driver.request(IN, 3, &buffers), Some((OK, 1537)));
    let expected = content(0x10000);
    assert_eq!(driver.bytes(DATA, 512), expected[3 * 512..4 * 512]);
    assert_eq!(driver.bytes(DATA + 0x2000, 1024), expected[4 * 512..6 * 512]);
    assert_eq!((driver.line.level(), driver.line.rises()), (true, 1));
    assert_eq!(driver.read(register::INTERRUPT_STATUS), 1);
    driver.write(register::INTERRUPT_ACK, 1);
    assert!(!driver.line.level());
    assert_eq!(driver.read(register::INTERRUPT_STATUS), 0);
}

#[test]
fn files_are_read_at_their_offsets() {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&content(0x8000)).unwrap();
    let disk = Disk::new(File::try_clone(&file).unwrap(), &DiskConfig::default()).unwrap();
    let mut driver = Driver::started(disk);
    assert_eq!(driver.request(IN, 62, &[(DATA, 1024, true)]), Some((OK, 1025)));
    assert_eq!(driver.bytes(DATA, 1024), content(0x8000)[62 * 512..]);
    // A file that became shorter is an I/O error.
    file.set_len(0x4000).unwrap();
    assert_eq!(driver.request(IN, 62, &[(DATA, 512, true)]), Some((IOERR, 1)));
    assert_eq!(driver.request(IN, 1, &[(DATA, 512, true)]), Some((OK, 513)));
}

#[test]
fn drivers_may_divide_a_request_in_any_way() {
    let mut driver = Driver::started(read_only(0x10000));
    driver.header(IN, 5);
    // The header in two parts; the end of the data and the status in one buffer.
    let buffers = [
        (HEADER, 7, false),
        (0, 0, false),
        (HEADER + 7, 9, false),
        (DATA, 500, true),
        (STATUS - 12, 13, true),
    ];
    driver.chain(DESC, &buffers);
    assert_eq!(driver.submit(), Some((OK, 513)));
    let expected = &content(0x10000)[5 * 512..6 * 512];
    assert_eq!(driver.bytes(DATA, 500), expected[..500]);
    assert_eq!(driver.bytes(STATUS - 12, 12), expected[500..]);
    // Indirect, also after a direct descriptor.
    driver.header(IN, 6);
    driver.chain(
        TABLE,
        &[(HEADER, 16, false), (DATA, 512, true), (STATUS, 1, true)],
    );
    driver.descriptor(DESC, 0, (TABLE, 48), INDIRECT, 0);
    assert_eq!(driver.submit(), Some((OK, 513)));
    assert_eq!(driver.bytes(DATA, 512), content(0x10000)[6 * 512..7 * 512]);
    driver.chain(DESC, &[(HEADER, 16, false), (0, 0, false)]);
    driver.chain(TABLE, &[(DATA, 1024, true), (STATUS, 1, true)]);
    driver.descriptor(DESC, 1, (TABLE, 32), INDIRECT, 0);
    assert_eq!(driver.submit(), Some((OK, 1025)));
}

#[test]
fn writes_go_to_copies() {
    let mut driver = Driver::started(copied(0x10000, 1 << 20));
    let data = [0x5a; 1024];
    driver.ram.write(DATA, &data).unwrap();
    // Sectors 7 and 8: the end of a page of the copies and the start of the next.
    assert_eq!(driver.request(OUT, 7, &[(DATA, 1024, false)]), Some((OK, 1)));
    assert_eq!(driver.request(FLUSH, 0, &[]), Some((OK, 1)));
    let mut expected = content(0x10000);
    expected[7 * 512..9 * 512].copy_from_slice(&data);
    let all = [(DATA + 0x1000, 0x8000, true), (DATA + 0x9000, 0x8000, true)];
    assert_eq!(driver.request(IN, 0, &all), Some((OK, 0x10001)));
    assert!(driver.bytes(DATA + 0x1000, 0x10000) == expected);
    // They survive a reset of the device.
    driver.start();
    assert_eq!(driver.request(IN, 8, &[(DATA, 512, true)]), Some((OK, 513)));
    assert_eq!(driver.bytes(DATA, 512), [0x5a; 512]);
}

#[test]
fn the_last_page_of_a_disk_may_be_short() {
    let mut driver = Driver::started(copied(0x1000 + 1536, 1 << 20));
    driver.ram.write(DATA, &[1; 512]).unwrap();
    assert_eq!(driver.request(OUT, 9, &[(DATA, 512, false)]), Some((OK, 1)));
    assert_eq!(driver.request(IN, 8, &[(DATA, 1536, true)]), Some((OK, 1537)));
    let mut expected = content(0x1000 + 1536)[8 * 512..].to_vec();
    expected[512..1024].fill(1);
    assert_eq!(driver.bytes(DATA, 1536), expected);
    assert_eq!(driver.request(OUT, 11, &[(DATA, 512, false)]), Some((IOERR, 1)));
}

#[test]
fn copies_have_a_limit() {
    let mut driver = Driver::started(copied(0x10000, 0x2000));
    for sector in [0, 8, 1, 15] {
        assert_eq!(driver.request(OUT, sector, &[(DATA, 512, false)]), Some((OK, 1)));
    }
    assert_eq!(driver.request(OUT, 16, &[(DATA, 512, false)]), Some((IOERR, 1)));
    // What was not copied still comes from the source.
    assert_eq!(driver.request(IN, 16, &[(DATA, 512, true)]), Some((OK, 513)));
    assert_eq!(driver.bytes(DATA, 512), content(0x10000)[16 * 512..17 * 512]);
}

#[test]
fn a_disk_has_an_identifier_and_a_configuration() {
    let mut driver = Driver::started(read_only(0x10000));
    let buffers = [(DATA, 3, true), (DATA + 3, 17, true)];
    assert_eq!(driver.request(GET_ID, 0, &buffers), Some((OK, 21)));
    let mut expected = [0; 20];
    expected[..6].copy_from_slice(b"a disk");
    assert_eq!(driver.bytes(DATA, 20), expected);
    assert_eq!(driver.request(GET_ID, 0, &[(DATA, 19, true)]), Some((IOERR, 1)));
    assert_eq!(driver.read(register::CONFIG), 0x80);
    assert_eq!(driver.read(register::CONFIG + 8), 1 << 20);
    assert_eq!(driver.read(register::CONFIG + 12), 126);
    assert_eq!(driver.read(register::CONFIG + 20), 512);
}

#[test]
fn requests_that_a_disk_cannot_carry_out_fail() {
    let mut driver = Driver::started(read_only(0x10000));
    let sectors = 0x10000 / 512;
    let mut check = |kind, sector, buffers: &[_], expected| {
        let answer = driver.request(kind, sector, buffers);
        assert_eq!(answer, Some((expected, 1)), "{kind} at {sector} {buffers:x?}");
    };
    let one = [(DATA, 512, true)];
    check(IN, sectors, &one, IOERR);
    check(IN, sectors - 1, &[(DATA, 1024, true)], IOERR);
    check(IN, u64::MAX, &one, IOERR);
    check(IN, u64::MAX / 512, &one, IOERR);
    check(IN, 0, &[(DATA, 511, true)], IOERR);
    // The wrong direction, and a read-only disk.
    check(IN, 0, &[(DATA, 512, false)], IOERR);
    check(OUT, 0, &one, IOERR);
    check(OUT, 0, &[(DATA, 512, false)], IOERR);
    check(FLUSH, 0, &one, IOERR);
    check(GET_ID, 0, &[(DATA, 20, false)], IOERR);
    for kind in [2, 3, 11, 13, 0x8000_0000, u32::MAX] {
        check(kind, 0, &one, UNSUPP);
    }
}

#[test]
fn sources_that_are_no_disks_are_refused() {
    let check = |len: usize, config: &DiskConfig, right: fn(&DiskError) -> bool| {
        let error = Disk::new(vec![0; len], config).unwrap_err();
        assert!(right(&error), "{error}");
    };
    let config = DiskConfig::default();
    check(0, &config, |e| matches!(e, DiskError::Empty));
    check(513, &config, |e| {
        matches!(
            e,
            DiskError::Length {
                len: 513,
                block_size: 512
            }
        )
    });
    check(512, &config.clone().with_block_size(4096), |e| {
        matches!(e, DiskError::Length { block_size: 4096, .. })
    });
    for size in [0, 256, 513, 1 << 17] {
        check(512, &config.clone().with_block_size(size), |e| {
            matches!(e, DiskError::BlockSize { .. })
        });
    }
    check(512, &config.clone().with_id("x".repeat(21)), |e| {
        matches!(e, DiskError::Id { len: 21 })
    });
    assert!(
        Disk::new(
            vec![0; 4096],
            &config.with_block_size(4096).with_id("x".repeat(20))
        )
        .is_ok()
    );
}
