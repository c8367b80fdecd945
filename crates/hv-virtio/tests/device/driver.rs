//! The driver's side: a virtqueue in guest memory, and the registers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use boot_core::{GuestMemory as _, MemoryMap};
use guest_ram::GuestRam;
use hv_core::{Device as _, IrqError, IrqLine};
use hv_virtio::{BlockDevice, Disk};

/// Size of the queue.
pub(crate) const SIZE: u16 = 16;
/// Addresses of the queue.
pub(crate) const DESC: u64 = 0x1000;
pub(crate) const AVAIL: u64 = 0x2000;
pub(crate) const USED: u64 = 0x3000;
/// An indirect table.
pub(crate) const TABLE: u64 = 0x4000;
/// Header and status of requests.
pub(crate) const HEADER: u64 = 0x5000;
pub(crate) const STATUS: u64 = 0x5100;
/// Data of requests: RAM up to `HOLE`.
pub(crate) const DATA: u64 = 0x1_0000;
/// Start of addresses without RAM.
pub(crate) const HOLE: u64 = 0xa_0000;

/// Flags of descriptors.
pub(crate) const NEXT: u16 = 1;
pub(crate) const WRITE: u16 = 2;
pub(crate) const INDIRECT: u16 = 4;

/// Types of requests.
pub(crate) const IN: u32 = 0;
pub(crate) const OUT: u32 = 1;
pub(crate) const FLUSH: u32 = 4;
pub(crate) const GET_ID: u32 = 8;

/// Statuses.
pub(crate) const OK: u8 = 0;
pub(crate) const IOERR: u8 = 1;
pub(crate) const UNSUPP: u8 = 2;

/// Registers.
pub(crate) mod register {
    pub(crate) const DEVICE_FEATURES: u64 = 0x10;
    pub(crate) const DEVICE_FEATURES_SEL: u64 = 0x14;
    pub(crate) const DRIVER_FEATURES: u64 = 0x20;
    pub(crate) const DRIVER_FEATURES_SEL: u64 = 0x24;
    pub(crate) const QUEUE_SEL: u64 = 0x30;
    pub(crate) const QUEUE_NUM_MAX: u64 = 0x34;
    pub(crate) const QUEUE_NUM: u64 = 0x38;
    pub(crate) const QUEUE_READY: u64 = 0x44;
    pub(crate) const QUEUE_NOTIFY: u64 = 0x50;
    pub(crate) const INTERRUPT_STATUS: u64 = 0x60;
    pub(crate) const INTERRUPT_ACK: u64 = 0x64;
    pub(crate) const STATUS: u64 = 0x70;
    pub(crate) const QUEUE_DESC: u64 = 0x80;
    pub(crate) const QUEUE_AVAIL: u64 = 0x90;
    pub(crate) const QUEUE_USED: u64 = 0xa0;
    pub(crate) const CONFIG: u64 = 0x100;
}

/// Bits of the status.
pub(crate) const FEATURES_OK: u32 = 8;
pub(crate) const DRIVER_OK: u32 = 4;
pub(crate) const NEEDS_RESET: u32 = 64;

/// The high word of the features: `VIRTIO_F_VERSION_1`.
pub(crate) const VERSION_1: u32 = 1;

/// An interrupt line that counts its rises.
#[derive(Clone, Default)]
pub(crate) struct Line {
    level: Arc<AtomicBool>,
    rises: Arc<AtomicUsize>,
}

impl Line {
    pub(crate) fn level(&self) -> bool {
        self.level.load(Ordering::Relaxed)
    }

    pub(crate) fn rises(&self) -> usize {
        self.rises.load(Ordering::Relaxed)
    }
}

impl IrqLine for Line {
    fn set(&self, level: bool) -> Result<(), IrqError> {
        if level && !self.level.swap(level, Ordering::Relaxed) {
            self.rises.fetch_add(1, Ordering::Relaxed);
        }
        self.level.store(level, Ordering::Relaxed);
        Ok(())
    }
}

/// A driver, its memory and its device.
pub(crate) struct Driver {
    pub(crate) device: BlockDevice,
    pub(crate) ram: GuestRam,
    pub(crate) line: Line,
    /// Index of the next available and the next used entry.
    pub(crate) available: u16,
    used: u16,
}

/// A buffer: address, length, and whether the device writes it.
pub(crate) type Buffer = (u64, u32, bool);

impl Driver {
    /// A driver that did nothing yet.
    pub(crate) fn new(disk: Disk) -> Self {
        let ram = GuestRam::new(&MemoryMap::pc(2 << 20).unwrap()).unwrap();
        let line = Line::default();
        Self {
            device: BlockDevice::new(disk, ram.clone(), Box::new(line.clone())),
            ram,
            line,
            available: 0,
            used: 0,
        }
    }

    /// A driver that has set up the device.
    pub(crate) fn started(disk: Disk) -> Self {
        let mut driver = Self::new(disk);
        driver.start();
        driver
    }

    /// Resets the device and sets it up (3.1.1).
    pub(crate) fn start(&mut self) {
        self.write(register::STATUS, 0);
        self.write(register::STATUS, 1);
        self.write(register::STATUS, 1 | 2);
        for (word, value) in [(0, u32::MAX), (1, VERSION_1)] {
            self.write(register::DEVICE_FEATURES_SEL, word);
            let offered = self.read(register::DEVICE_FEATURES);
            self.write(register::DRIVER_FEATURES_SEL, word);
            self.write(register::DRIVER_FEATURES, offered & value);
        }
        self.write(register::STATUS, 1 | 2 | FEATURES_OK);
        assert_ne!(self.read(register::STATUS) & FEATURES_OK, 0);
        self.ram.write(AVAIL, &[0; 4]).unwrap();
        self.ram.write(USED, &[0; 4]).unwrap();
        (self.available, self.used) = (0, 0);
        self.write(register::QUEUE_SEL, 0);
        self.write(register::QUEUE_NUM, SIZE.into());
        for (register, address) in [
            (register::QUEUE_DESC, DESC),
            (register::QUEUE_AVAIL, AVAIL),
            (register::QUEUE_USED, USED),
        ] {
            self.write(register, address.try_into().unwrap());
            self.write(register + 4, 0);
        }
        self.write(register::QUEUE_READY, 1);
        assert_eq!(self.read(register::QUEUE_READY), 1);
        self.write(register::STATUS, 1 | 2 | FEATURES_OK | DRIVER_OK);
    }

    pub(crate) fn read(&mut self, register: u64) -> u32 {
        let mut data = [0xaa; 4];
        self.device.read(register, &mut data).unwrap();
        u32::from_le_bytes(data)
    }

    pub(crate) fn write(&mut self, register: u64, value: u32) {
        self.device.write(register, &value.to_le_bytes()).unwrap();
    }

    pub(crate) fn has_status(&mut self, bit: u32) -> bool {
        self.read(register::STATUS) & bit != 0
    }

    /// Writes descriptor `index` of the table at `table`.
    pub(crate) fn descriptor(
        &mut self,
        table: u64,
        index: u16,
        (addr, len): (u64, u32),
        flags: u16,
        next: u16,
    ) {
        let mut bytes = Vec::from(addr.to_le_bytes());
        bytes.extend(len.to_le_bytes());
        bytes.extend(flags.to_le_bytes());
        bytes.extend(next.to_le_bytes());
        self.ram.write(table + 16 * u64::from(index), &bytes).unwrap();
    }

    /// Writes a chain of `buffers` from the first descriptor of `table` on.
    pub(crate) fn chain(&mut self, table: u64, buffers: &[Buffer]) {
        for (index, (addr, len, writes)) in (0..).zip(buffers) {
            let is_last = usize::from(index) + 1 == buffers.len();
            let flags = if *writes { WRITE } else { 0 } | if is_last { 0 } else { NEXT };
            self.descriptor(table, index, (*addr, *len), flags, index + 1);
        }
    }

    /// Makes the chain at `head` available.
    pub(crate) fn offer(&mut self, head: u16) {
        let slot = AVAIL + 4 + 2 * u64::from(self.available % SIZE);
        self.ram.write(slot, &head.to_le_bytes()).unwrap();
        self.available = self.available.wrapping_add(1);
        self.ram.write(AVAIL + 2, &self.available.to_le_bytes()).unwrap();
    }

    pub(crate) fn notify(&mut self) {
        self.write(register::QUEUE_NOTIFY, 0);
    }

    /// The entries that the device used since the last call: head and length.
    pub(crate) fn used(&mut self) -> Vec<(u32, u32)> {
        let mut index = [0; 2];
        self.ram.read(USED + 2, &mut index).unwrap();
        let mut entries = Vec::new();
        while self.used != u16::from_le_bytes(index) {
            let mut entry = [0; 8];
            let slot = USED + 4 + 8 * u64::from(self.used % SIZE);
            self.ram.read(slot, &mut entry).unwrap();
            let word = |at: usize| u32::from_le_bytes(entry[at..at + 4].try_into().unwrap());
            entries.push((word(0), word(4)));
            self.used = self.used.wrapping_add(1);
        }
        entries
    }

    /// Writes the header of a request.
    pub(crate) fn header(&mut self, kind: u32, sector: u64) {
        let mut header = Vec::from(kind.to_le_bytes());
        header.extend([0; 4]);
        header.extend(sector.to_le_bytes());
        self.ram.write(HEADER, &header).unwrap();
        self.ram.write(STATUS, &[0xee]).unwrap();
    }

    /// Carries out a request with these buffers between header and status. Its status and the length in the used ring, or `None` if
    /// the device did not answer.
    pub(crate) fn request(&mut self, kind: u32, sector: u64, buffers: &[Buffer]) -> Option<(u8, u32)> {
        self.header(kind, sector);
        let mut all = vec![(HEADER, 16, false)];
        all.extend(buffers);
        all.push((STATUS, 1, true));
        self.chain(DESC, &all);
        self.submit()
    }

    /// Makes the chain at descriptor 0 available and notifies the device.
    pub(crate) fn submit(&mut self) -> Option<(u8, u32)> {
        self.offer(0);
        self.notify();
        let used = self.used();
        assert!(used.len() <= 1, "{used:?}");
        let (head, len) = used.first()?;
        assert_eq!(*head, 0);
        Some((self.bytes(STATUS, 1)[0], *len))
    }

    pub(crate) fn bytes(&self, addr: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.ram.read(addr, &mut bytes).unwrap();
        bytes
    }
}
