//! Registers, the set-up by drivers, and interrupts.

use boot_core::GuestMemory as _;
use hv_core::Device as _;

use crate::driver::{
    AVAIL, DATA, DESC, DRIVER_OK, Driver, FEATURES_OK, HEADER, IN, OK, SIZE, STATUS, VERSION_1, register,
};
use crate::requests::{copied, read_only};

const LEN: usize = 0x10000;

#[test]
fn the_device_identifies_itself() {
    let mut driver = Driver::new(read_only(LEN));
    assert_eq!(driver.read(0), u32::from_le_bytes(*b"virt"));
    assert_eq!(driver.read(4), 2);
    assert_eq!(driver.read(8), 2);
    assert_eq!(driver.read(register::QUEUE_NUM_MAX), 256);
    driver.write(register::QUEUE_SEL, 1);
    assert_eq!(driver.read(register::QUEUE_NUM_MAX), 0);
    // Version 1, indirect descriptors, size and number of segments, block size, flush; read-only.
    let features = |driver: &mut Driver| {
        [0, 1, 2].map(|word| {
            driver.write(register::DEVICE_FEATURES_SEL, word);
            driver.read(register::DEVICE_FEATURES)
        })
    };
    let common = 1 << 28 | 1 << 1 | 1 << 2 | 1 << 6 | 1 << 9;
    assert_eq!(features(&mut driver), [common | 1 << 5, VERSION_1, 0]);
    assert_eq!(features(&mut Driver::new(copied(LEN, 0))), [common, VERSION_1, 0]);
}

#[test]
fn registers_have_32_bits_and_the_configuration_has_bytes() {
    let mut driver = Driver::new(read_only(LEN));
    for (offset, len) in [(0, 1), (0, 2), (0, 8), (1, 4), (0xfd, 1)] {
        let mut data = vec![0xaa; len];
        driver.device.read(offset, &mut data).unwrap();
        assert_eq!(data, vec![0; len], "{offset:#x}");
    }
    driver.device.write(register::STATUS, &[1]).unwrap();
    driver.device.write(register::STATUS, &[1; 8]).unwrap();
    assert_eq!(driver.read(register::STATUS), 0);
    let mut bytes = [0xaa; 8];
    driver.device.read(register::CONFIG, &mut bytes).unwrap();
    assert_eq!(u64::from_le_bytes(bytes), LEN as u64 / 512);
    for offset in [0, 1] {
        let mut byte = [0xaa];
        driver.device.read(register::CONFIG + offset, &mut byte).unwrap();
        assert_eq!(byte, [[0x80], [0]][usize::try_from(offset).unwrap()]);
    }
    let mut past = [0xaa; 4];
    driver.device.read(0xffe, &mut past).unwrap();
    assert_eq!(past, [0; 4]);
}

#[test]
fn features_are_accepted_only_as_offered() {
    let check = |low: u32, high: u32, expected: bool| {
        let mut driver = Driver::new(read_only(LEN));
        driver.write(register::STATUS, 3);
        for (word, value) in [(0, low), (1, high), (7, u32::MAX)] {
            driver.write(register::DRIVER_FEATURES_SEL, word);
            driver.write(register::DRIVER_FEATURES, value);
        }
        driver.write(register::STATUS, 3 | FEATURES_OK);
        assert_eq!(driver.has_status(FEATURES_OK), expected, "{low:#x} {high:#x}");
    };
    check(0, VERSION_1, true);
    check(1 << 9, VERSION_1, true);
    // Legacy drivers, an event index, an unknown bit.
    check(0, 0, false);
    check(1 << 29, VERSION_1, false);
    check(0, VERSION_1 | 1 << 31, false);
}

#[test]
fn a_queue_must_be_in_ram_and_aligned() {
    let check = |register: u64, value: u32, expected: u32| {
        let mut driver = Driver::started(read_only(LEN));
        driver.write(register::QUEUE_READY, 0);
        driver.write(register, value);
        driver.write(register::QUEUE_READY, 1);
        assert_eq!(
            driver.read(register::QUEUE_READY),
            expected,
            "{register:#x} {value:#x}"
        );
        // The device works again after a reset.
        driver.start();
        assert_eq!(driver.request(IN, 0, &[(DATA, 512, true)]), Some((OK, 513)));
    };
    check(register::QUEUE_NUM, 8, 1);
    for bad in [0, 3, 512, 0x1_0008] {
        check(register::QUEUE_NUM, bad, 0);
    }
    for (register, alignment) in [
        (register::QUEUE_DESC, 16),
        (register::QUEUE_AVAIL, 2),
        (register::QUEUE_USED, 4),
    ] {
        check(register, 0x6000 + alignment, 1);
        check(register, 0x6000 + alignment / 2, 0);
        check(register, 0x9_fff0 + alignment, 0);
        check(register + 4, 1, 0);
        check(register + 4, u32::MAX, 0);
    }
}

#[test]
fn a_queue_in_use_is_not_changed() {
    let mut driver = Driver::started(read_only(LEN));
    driver.write(register::QUEUE_DESC, 0x8000);
    driver.write(register::QUEUE_NUM, 3);
    driver.write(register::QUEUE_SEL, 1);
    driver.write(register::QUEUE_READY, 0);
    assert_eq!(driver.request(IN, 0, &[(DATA, 512, true)]), Some((OK, 513)));
}

#[test]
fn nothing_happens_before_the_driver_is_ready() {
    let mut driver = Driver::new(read_only(LEN));
    driver.chain(DESC, &[(HEADER, 16, false), (STATUS, 1, true)]);
    driver.offer(0);
    driver.notify();
    assert_eq!(driver.used(), []);
    driver.start();
    driver.write(register::QUEUE_NOTIFY, 1);
    driver.write(register::QUEUE_READY, 0);
    assert_eq!(driver.request(IN, 0, &[(DATA, 512, true)]), None);
    assert!(!driver.has_status(crate::driver::NEEDS_RESET) && driver.has_status(DRIVER_OK));
}

#[test]
fn drivers_can_ask_for_no_interrupts() {
    let mut driver = Driver::started(read_only(LEN));
    driver.ram.write(AVAIL, &1_u16.to_le_bytes()).unwrap();
    assert_eq!(driver.request(IN, 0, &[(DATA, 512, true)]), Some((OK, 513)));
    assert_eq!(driver.line.rises(), 0);
    driver.ram.write(AVAIL, &0_u16.to_le_bytes()).unwrap();
    assert_eq!(driver.request(IN, 0, &[(DATA, 512, true)]), Some((OK, 513)));
    assert_eq!(driver.line.rises(), 1);
    // A reset lowers the line.
    driver.write(register::STATUS, 0);
    assert!(!driver.line.level());
    assert_eq!(driver.read(register::STATUS), 0);
}

/// One access carries out 4 MiB and the request that exceeds them; the acknowledgement of the interrupt continues.
#[test]
fn an_access_does_a_bounded_amount_of_work() {
    let mut driver = Driver::started(read_only(1 << 20));
    // Each request reads the same buffer 126 times: too long for the disk, so several of 1 MiB.
    driver.header(IN, 0);
    let piece = 0x8_0000;
    driver.chain(
        DESC,
        &[
            (HEADER, 16, false),
            (DATA, piece, true),
            (DATA, piece, true),
            (STATUS, 1, true),
        ],
    );
    // Even if interrupts are not wanted, the rest does not wait for a notification.
    driver.ram.write(AVAIL, &1_u16.to_le_bytes()).unwrap();
    for _ in 0..SIZE {
        driver.offer(0);
    }
    driver.notify();
    let mut done = Vec::new();
    for _ in 0..SIZE {
        let used = driver.used();
        done.push(used.len());
        assert!(used.iter().all(|entry| *entry == (0, (1 << 20) + 1)));
        let causes = driver.read(register::INTERRUPT_STATUS);
        driver.write(register::INTERRUPT_ACK, causes);
    }
    assert_eq!(&done[..5], [4, 4, 4, 4, 0]);
    assert_eq!(driver.bytes(STATUS, 1), [OK]);
}
