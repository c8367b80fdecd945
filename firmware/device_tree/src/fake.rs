//! Registers for tests.
#![expect(unsafe_code, reason = "the trait is unsafe to call")]

use std::cell::RefCell;

use crate::registers::Registers;

/// Registers that record writes, and read as a function of the address.
pub(crate) struct Fake {
    /// Address, width in bytes and value of each write.
    pub(crate) writes: RefCell<Vec<(u64, u32, u32)>>,
    pub(crate) value: fn(u64) -> u32,
}

impl Fake {
    pub(crate) fn new(value: fn(u64) -> u32) -> Self {
        Self {
            writes: RefCell::default(),
            value,
        }
    }

    fn write(&self, addr: u64, width: u32, value: u32) {
        assert_eq!(addr % u64::from(width), 0, "accesses are aligned");
        self.writes.borrow_mut().push((addr, width, value));
    }

    fn read(&self, addr: u64, width: u32) -> u32 {
        assert_eq!(addr % u64::from(width), 0, "accesses are aligned");
        (self.value)(addr)
    }
}

impl Registers for &Fake {
    unsafe fn read_u8(self, addr: u64) -> u8 {
        self.read(addr, 1).to_le_bytes()[0]
    }

    unsafe fn read_u16(self, addr: u64) -> u16 {
        u16::try_from(self.read(addr, 2) & 0xffff).unwrap()
    }

    unsafe fn read_u32(self, addr: u64) -> u32 {
        self.read(addr, 4)
    }

    unsafe fn write_u8(self, addr: u64, value: u8) {
        self.write(addr, 1, value.into());
    }

    unsafe fn write_u16(self, addr: u64, value: u16) {
        self.write(addr, 2, value.into());
    }

    unsafe fn write_u32(self, addr: u64, value: u32) {
        self.write(addr, 4, value);
    }
}

std::thread_local! {
    static OF_THREAD: RefCell<Fake> = RefCell::new(Fake::new(|_| 0));
}

/// A fake of the thread, for code that has no place for a reference.
#[derive(Clone, Copy, Default)]
pub(crate) struct OfThread;

impl OfThread {
    /// Replaces the fake of the thread.
    pub(crate) fn start(value: fn(u64) -> u32) {
        OF_THREAD.set(Fake::new(value));
    }

    /// What was written since the start.
    pub(crate) fn writes() -> Vec<(u64, u32, u32)> {
        OF_THREAD.with_borrow(|fake| fake.writes.take())
    }
}

impl Registers for OfThread {
    unsafe fn read_u8(self, addr: u64) -> u8 {
        OF_THREAD.with_borrow(|fake| fake.read(addr, 1)).to_le_bytes()[0]
    }

    unsafe fn read_u16(self, addr: u64) -> u16 {
        u16::try_from(OF_THREAD.with_borrow(|fake| fake.read(addr, 2)) & 0xffff).unwrap()
    }

    unsafe fn read_u32(self, addr: u64) -> u32 {
        OF_THREAD.with_borrow(|fake| fake.read(addr, 4))
    }

    unsafe fn write_u8(self, addr: u64, value: u8) {
        OF_THREAD.with_borrow(|fake| fake.write(addr, 1, value.into()));
    }

    unsafe fn write_u16(self, addr: u64, value: u16) {
        OF_THREAD.with_borrow(|fake| fake.write(addr, 2, value.into()));
    }

    unsafe fn write_u32(self, addr: u64, value: u32) {
        OF_THREAD.with_borrow(|fake| fake.write(addr, 4, value));
    }
}
