//! Arbitrary drivers: a byte string is a sequence of register accesses and writes to the queue. The fuzz target runs it too.

use boot_core::GuestMemory as _;
use hv_core::Device as _;
use hv_virtio::{Disk, DiskConfig, DiskMode};

use crate::driver::{
    AVAIL, DATA, DESC, Driver, HEADER, HOLE, IN, NEEDS_RESET, OK, STATUS, TABLE, USED, register,
};

/// Length of the disk.
const LEN: usize = 0x4000;

/// Addresses that descriptors have, at which something is, or near which RAM ends.
const ADDRESSES: [u64; 12] = [
    HEADER,
    STATUS,
    DATA,
    DATA + 0x1000,
    TABLE,
    DESC,
    AVAIL,
    USED,
    HOLE - 0x100,
    HOLE,
    0x1f_ff00,
    u64::MAX - 0x100,
];

/// Lengths of buffers.
const LENGTHS: [u32; 10] = [0, 1, 16, 20, 48, 512, 1024, 0x4000, 0x100_0000, u32::MAX];

/// The rest of a script.
struct Script<'a>(&'a [u8]);

impl Script<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_le_bytes([self.byte()?, self.byte()?]))
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from(self.u16()?) | u32::from(self.u16()?) << 16)
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        Some(from[usize::from(self.byte()?) % from.len()])
    }
}

/// Runs a script. Then the device answers a driver that resets it, and a read-only disk has its content.
pub(crate) fn run(bytes: &[u8]) {
    let mut script = Script(bytes);
    let is_read_only = script.byte().is_none_or(|byte| byte & 1 != 0);
    let content: Vec<u8> = (0..LEN).map(|index| (index % 253).to_le_bytes()[0]).collect();
    let mode = if is_read_only {
        DiskMode::ReadOnly
    } else {
        DiskMode::CopyOnWrite { limit: 0x2000 }
    };
    let disk = Disk::new(content.clone(), &DiskConfig::default().with_mode(mode)).unwrap();
    let mut driver = Driver::started(disk);
    while step(&mut driver, &mut script).is_some() {
        // The line is up while there is an interrupt.
        let status = driver.read(register::INTERRUPT_STATUS);
        assert_eq!(driver.line.level(), status != 0);
    }
    driver.start();
    assert!(!driver.has_status(NEEDS_RESET));
    assert_eq!(driver.request(IN, 0, &[(DATA, 0x4000, true)]), Some((OK, 0x4001)));
    if is_read_only {
        assert!(driver.bytes(DATA, LEN) == content);
    }
}

/// One step of the script; `None` at its end.
fn step(driver: &mut Driver, script: &mut Script<'_>) -> Option<()> {
    match script.byte()? % 9 {
        0 => {
            let (offset, len) = (script.u16()? % 0x400, script.pick(&[1, 2, 4, 8])?);
            let mut data = vec![0; len];
            driver.device.read(offset.into(), &mut data).unwrap();
        }
        1 => {
            let (offset, value) = (script.u16()? % 0x200, script.u32()?);
            let len = script.pick(&[1, 2, 4, 4])?;
            driver
                .device
                .write(offset.into(), &value.to_le_bytes()[..len])
                .unwrap();
        }
        2 => {
            let register = u64::from(script.byte()? % 0x2c) * 4;
            let value = script.pick(&[0, 1, 2, 4, 8, 15, 16, 0x1000, 0x2000, 0x3000, u32::MAX])?;
            driver.write(register, value);
        }
        3 => {
            let addr = script.pick(&[AVAIL, USED, DESC, TABLE, HEADER])? + u64::from(script.byte()?);
            let value = script.u16()?;
            driver.ram.write(addr, &value.to_le_bytes()).unwrap();
        }
        4 => {
            let table = script.pick(&[DESC, DESC, TABLE])?;
            let (index, next) = (script.byte()? % 18, script.byte()? % 20);
            let buffer = (script.pick(&ADDRESSES)?, script.pick(&LENGTHS)?);
            let flags = script.byte()? % 8;
            driver.descriptor(table, index.into(), buffer, flags.into(), next.into());
        }
        5 => {
            let (kind, sector) = (script.pick(&[0, 1, 4, 8, 11])?, script.u16()? % 40);
            driver.header(kind, sector.into());
        }
        6 => driver.offer((script.byte()? % 18).into()),
        7 => driver.notify(),
        _ => {
            let (kind, sector) = (script.pick(&[0, 1])?, script.byte()? % 40);
            let writes = script.byte()? & 1 != 0;
            let buffer = (script.pick(&ADDRESSES)?, script.pick(&LENGTHS)?, writes);
            driver.header(kind, sector.into());
            driver.chain(DESC, &[(HEADER, 16, false), buffer, (STATUS, 1, true)]);
            driver.offer(0);
            driver.notify();
        }
    }
    Some(())
}
