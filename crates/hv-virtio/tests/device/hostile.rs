//! Chains and rings that no driver makes.

use boot_core::GuestMemory as _;

use crate::driver::{
    AVAIL, Buffer, DATA, DESC, Driver, HEADER, HOLE, IN, INDIRECT, IOERR, NEEDS_RESET, NEXT, OK, OUT, SIZE,
    STATUS, TABLE, WRITE, register,
};
use crate::requests::{content, copied, read_only};

const LEN: usize = 0x10000;

/// The device does not answer, and is usable after a reset.
fn check_needs_reset(prepare: impl FnOnce(&mut Driver)) {
    let mut driver = Driver::started(read_only(LEN));
    driver.header(IN, 0);
    prepare(&mut driver);
    driver.notify();
    assert_eq!(driver.used(), []);
    assert!(driver.has_status(NEEDS_RESET) && driver.device.needs_reset());
    // A change of the configuration is the notification (2.1.2).
    assert_eq!(driver.read(register::INTERRUPT_STATUS) & 2, 2);
    assert!(driver.line.level());
    // It ignores the queue.
    assert_eq!(driver.request(IN, 0, &[(DATA, 512, true)]), None);
    driver.start();
    assert!(!driver.device.needs_reset());
    assert_eq!(driver.request(IN, 1, &[(DATA, 512, true)]), Some((OK, 513)));
    assert_eq!(driver.bytes(DATA, 512), content(LEN)[512..1024]);
}

fn check_chain(buffers: &[Buffer]) {
    check_needs_reset(|driver| {
        driver.chain(DESC, buffers);
        driver.offer(0);
    });
}

const HEAD: Buffer = (HEADER, 16, false);
const TAIL: Buffer = (STATUS, 1, true);

#[test]
fn chains_without_a_place_for_a_status() {
    check_chain(&[HEAD]);
    check_chain(&[HEAD, (STATUS, 0, true)]);
    check_chain(&[HEAD, (HOLE, 1, true)]);
    check_chain(&[HEAD, (HOLE - 1, 2, true)]);
    check_chain(&[HEAD, (u64::MAX, 1, true)]);
    check_chain(&[HEAD, (u64::MAX, 2, true)]);
    check_chain(&[HEAD, TAIL, (DATA, 512, false)]);
    check_chain(&[HEAD, TAIL, HEAD, TAIL]);
}

#[test]
fn chains_that_do_not_end() {
    for (index, next) in [(0, 0), (1, 0), (1, 1), (1, SIZE), (1, u16::MAX)] {
        check_needs_reset(|driver| {
            driver.chain(DESC, &[HEAD, (DATA, 512, true), TAIL]);
            let (flags, buffer) = if index == 0 {
                (NEXT, HEAD)
            } else {
                (NEXT | WRITE, TAIL)
            };
            driver.descriptor(DESC, index, (buffer.0, buffer.1), flags, next);
            driver.offer(0);
        });
    }
}

#[test]
fn indirect_tables_that_are_broken() {
    let indirect = |table: (u64, u32), in_table: Option<(u64, u32, u16, u16)>| {
        check_needs_reset(|driver| {
            driver.chain(TABLE, &[HEAD, (DATA, 512, true), TAIL]);
            if let Some((addr, len, flags, next)) = in_table {
                driver.descriptor(TABLE, 1, (addr, len), flags, next);
            }
            driver.descriptor(DESC, 0, table, INDIRECT, 0);
            driver.offer(0);
        });
    };
    indirect((TABLE, 0), None);
    indirect((TABLE, 15), None);
    // The table ends before the chain.
    indirect((TABLE, 32), None);
    indirect((TABLE, 0x20_0000), Some((DATA, 512, NEXT | WRITE, 0xffff)));
    indirect((HOLE, 48), None);
    indirect((HOLE - 16, 48), None);
    indirect((u64::MAX - 15, 48), None);
    // A table in a table, and itself.
    indirect((TABLE, 48), Some((TABLE, 48, INDIRECT, 0)));
    indirect((TABLE, 48), Some((TABLE, 48, INDIRECT | NEXT, 2)));
    indirect((TABLE, 48), Some((DATA, 512, NEXT | WRITE, 1)));
}

#[test]
fn a_chain_has_a_largest_number_of_descriptors_and_bytes() {
    let long = |segments: u16| {
        let mut driver = Driver::started(read_only(LEN));
        driver.header(IN, 0);
        let mut buffers = vec![HEAD];
        buffers.extend((0..segments).map(|_| (DATA, 512, true)));
        buffers.push(TAIL);
        driver.chain(TABLE + 0x4000, &buffers);
        let len = 16 * u32::try_from(buffers.len()).unwrap();
        driver.descriptor(DESC, 0, (TABLE + 0x4000, len), INDIRECT, 0);
        let answer = driver.submit();
        (answer, driver.device.needs_reset())
    };
    assert_eq!(long(126), (Some((OK, 126 * 512 + 1)), false));
    assert_eq!(long(127), (None, true));
    check_chain(&[HEAD, (DATA, u32::MAX, true), (DATA, u32::MAX, true), TAIL]);
}

#[test]
fn rings_with_wrong_indices() {
    // More entries than the queue has.
    check_needs_reset(|driver| {
        driver.ram.write(AVAIL + 2, &(SIZE + 1).to_le_bytes()).unwrap();
    });
    check_needs_reset(|driver| driver.offer(SIZE));
    check_needs_reset(|driver| driver.offer(u16::MAX));
}

#[test]
fn buffers_outside_ram_are_errors() {
    let mut driver = Driver::started(copied(LEN, 1 << 20));
    let past = [
        (HOLE, 512),
        (HOLE - 256, 512),
        (0xf_ff00, 512),
        (0x20_0000, 512),
        (u64::MAX - 511, 512),
        (u64::MAX - 100, 512),
    ];
    for (addr, len) in past {
        for (kind, writes) in [(IN, true), (OUT, false)] {
            // The first buffer would be right, but nothing is transferred.
            driver.ram.write(DATA, &[0x77; 512]).unwrap();
            let buffers = [(DATA, 512, writes), (addr, len, writes)];
            assert_eq!(driver.request(kind, 0, &buffers), Some((IOERR, 1)), "{addr:#x}");
            assert_eq!(driver.bytes(DATA, 512), [0x77; 512]);
        }
    }
    // Larger than any request.
    let buffers = [(DATA, 0x100_0001, true)];
    assert_eq!(driver.request(IN, 0, &buffers), Some((IOERR, 1)));
    assert_eq!(
        driver.request(IN, 0, &[(DATA, u32::MAX - 17, true)]),
        Some((IOERR, 1))
    );
    assert_eq!(driver.request(IN, 0, &[(DATA, 512, true)]), Some((OK, 513)));
    assert_eq!(driver.bytes(DATA, 512), content(LEN)[..512]);
}

#[test]
fn a_short_header_is_an_error() {
    let mut driver = Driver::started(read_only(LEN));
    for len in [0, 1, 15] {
        driver.header(IN, 0);
        driver.chain(DESC, &[(HEADER, len, false), (DATA, 512, true), TAIL]);
        assert_eq!(driver.submit(), Some((IOERR, 1)), "{len}");
    }
    driver.chain(DESC, &[(HOLE, 16, false), (DATA, 512, true), TAIL]);
    assert_eq!(driver.submit(), Some((IOERR, 1)));
}

#[test]
fn buffers_may_overlap_each_other_and_the_queue() {
    let mut driver = Driver::started(read_only(LEN));
    let twice = [(DATA, 1024, true), (DATA + 512, 1024, true)];
    assert_eq!(driver.request(IN, 0, &twice), Some((OK, 2049)));
    let expected = content(LEN);
    assert_eq!(driver.bytes(DATA, 512), expected[..512]);
    assert_eq!(driver.bytes(DATA + 512, 1024), expected[1024..2048]);
    // The status replaces a byte of the data.
    assert_eq!(
        driver.request(IN, 0, &[(STATUS - 511, 512, true)]),
        Some((OK, 513))
    );
    // Data over the queue itself harms the guest only.
    for addr in [DESC, AVAIL, crate::driver::USED, HEADER] {
        let mut driver = Driver::started(read_only(LEN));
        driver.request(IN, 0, &[(addr, 4096, true)]);
        driver.start();
        assert_eq!(driver.request(IN, 0, &[(DATA, 512, true)]), Some((OK, 513)));
    }
}
