//! Devices and the buses that find them by address.

use std::{
    error::Error,
    fmt, io,
    sync::{Mutex, PoisonError},
};

use crate::{Outcome, Space};

/// What a device wants after a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The guest goes on.
    Continue,
    /// The run ends with this outcome.
    End(Outcome),
}

/// A device with registers that the guest reads and writes.
///
/// Offsets count from the first address of the range under which the device was put on a bus. An access never
/// reaches past that range.
pub trait Device: Send {
    /// Fills `data` with what the guest reads at `offset`.
    ///
    /// # Errors
    ///
    /// [`DeviceError`] when the *host's* side of the device fails. What the guest does wrong is not an error.
    fn read(&mut self, offset: u64, data: &mut [u8]) -> Result<(), DeviceError>;

    /// Takes what the guest writes at `offset`.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    fn write(&mut self, offset: u64, data: &[u8]) -> Result<Verdict, DeviceError>;
}

/// The host's side of a device failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// An interrupt could not be raised.
    #[error(transparent)]
    Irq(#[from] IrqError),
    /// The guest's output could not be written.
    #[error("the guest's console output could not be written")]
    Console(#[source] io::Error),
}

/// An interrupt line could not be set.
#[derive(Debug, thiserror::Error)]
#[error("setting interrupt line {line} failed")]
pub struct IrqError {
    /// The line.
    pub line: u32,
    /// The back end's error.
    #[source]
    pub source: Box<dyn Error + Send + Sync>,
}

/// A device could not be put on the bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BusError {
    /// The range is empty.
    #[error("a device range at {base:#x} is empty")]
    Empty {
        /// First address.
        base: u64,
    },
    /// The range reaches past the end of its address space.
    #[error(
        "the device range at {base:#x}, {len:#x} bytes long, reaches past the last address of {space:?} space"
    )]
    OutOfSpace {
        /// The address space.
        space: Space,
        /// First address.
        base: u64,
        /// Length in bytes.
        len: u64,
    },
    /// Another device is there already.
    #[error(
        "the device range {base:#x}..={last:#x} overlaps the device at {other_base:#x}..={other_last:#x}"
    )]
    Overlap {
        /// First address.
        base: u64,
        /// Last address.
        last: u64,
        /// First address of the device that is there.
        other_base: u64,
        /// Last address of the device that is there.
        other_last: u64,
    },
}

/// An inclusive address range and the device behind it.
struct Entry {
    base: u64,
    last: u64,
    device: Mutex<Box<dyn Device>>,
}

/// Every device of a machine, by I/O port and by guest physical address.
///
/// Each device has a lock of its own: vCPUs that use different devices do not wait for each other.
#[derive(Default)]
pub struct Bus {
    pio: Vec<Entry>,
    mmio: Vec<Entry>,
}

impl fmt::Debug for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ranges = |entries: &[Entry]| entries.iter().map(|e| e.base..=e.last).collect::<Vec<_>>();
        f.debug_struct("Bus")
            .field("pio", &ranges(&self.pio))
            .field("mmio", &ranges(&self.mmio))
            .finish()
    }
}

impl Bus {
    /// A bus without devices.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts `device` at `len` addresses from `base` of `space`.
    ///
    /// # Errors
    ///
    /// [`BusError`] when the range is empty, leaves the address space or overlaps another device.
    pub fn insert(
        &mut self,
        space: Space,
        base: u64,
        len: u64,
        device: impl Device + 'static,
    ) -> Result<(), BusError> {
        let highest = match space {
            Space::Pio => u64::from(u16::MAX),
            Space::Mmio => u64::MAX,
        };
        let Some(rest) = len.checked_sub(1) else {
            return Err(BusError::Empty { base });
        };
        let Some(last) = base.checked_add(rest).filter(|&last| last <= highest) else {
            return Err(BusError::OutOfSpace { space, base, len });
        };
        let entries = match space {
            Space::Pio => &mut self.pio,
            Space::Mmio => &mut self.mmio,
        };
        // Entries are sorted and disjoint, so only the neighbours of the new one can overlap it.
        let at = entries.partition_point(|entry| entry.last < base);
        if let Some(other) = entries.get(at).filter(|other| other.base <= last) {
            return Err(BusError::Overlap {
                base,
                last,
                other_base: other.base,
                other_last: other.last,
            });
        }
        entries.insert(
            at,
            Entry {
                base,
                last,
                device: Mutex::new(Box::new(device)),
            },
        );
        Ok(())
    }

    /// Reads from the device that has the whole access. `Ok(false)`: no device has it, and `data` is all ones,
    /// as on a bus where nobody answers.
    ///
    /// # Errors
    ///
    /// The device's [`DeviceError`].
    pub fn read(&self, space: Space, address: u64, data: &mut [u8]) -> Result<bool, DeviceError> {
        let Some((entry, offset)) = self.find(space, address, data.len()) else {
            data.fill(0xff);
            return Ok(false);
        };
        // A device whose lock is poisoned panicked in another vCPU's thread; that panic ends the run and is
        // reported there, so going on with the device here hides nothing.
        entry
            .device
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .read(offset, data)?;
        Ok(true)
    }

    /// Writes to the device that has the whole access. `Ok(None)`: no device has it.
    ///
    /// # Errors
    ///
    /// The device's [`DeviceError`].
    pub fn write(&self, space: Space, address: u64, data: &[u8]) -> Result<Option<Verdict>, DeviceError> {
        let Some((entry, offset)) = self.find(space, address, data.len()) else {
            return Ok(None);
        };
        entry
            .device
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .write(offset, data)
            .map(Some)
    }

    fn find(&self, space: Space, address: u64, len: usize) -> Option<(&Entry, u64)> {
        let entries = match space {
            Space::Pio => &self.pio,
            Space::Mmio => &self.mmio,
        };
        let rest = u64::try_from(len).ok()?.checked_sub(1)?;
        let last = address.checked_add(rest)?;
        let entry = entries.get(entries.partition_point(|entry| entry.last < address))?;
        let offset = address.checked_sub(entry.base)?;
        (last <= entry.last).then_some((entry, offset))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;

    /// Answers reads with its tag and records writes.
    struct Probe(u8, Log);

    type Log = Arc<Mutex<Vec<(u64, Vec<u8>)>>>;

    impl Device for Probe {
        fn read(&mut self, _offset: u64, data: &mut [u8]) -> Result<(), DeviceError> {
            data.fill(self.0);
            Ok(())
        }

        fn write(&mut self, offset: u64, data: &[u8]) -> Result<Verdict, DeviceError> {
            self.1.lock().unwrap().push((offset, data.to_vec()));
            Ok(Verdict::Continue)
        }
    }

    fn probe(tag: u8) -> Probe {
        Probe(tag, Arc::default())
    }

    #[test]
    fn ranges_are_checked() {
        let check = |space, base, len, expected: Result<(), BusError>| {
            let mut bus = Bus::new();
            bus.insert(space, 0x100, 0x10, probe(1)).unwrap();
            bus.insert(space, 0x200, 0x10, probe(2)).unwrap();
            assert_eq!(
                bus.insert(space, base, len, probe(3)),
                expected,
                "{space:?} {base:#x}+{len:#x}"
            );
        };
        let overlap = |base, last, other_base, other_last| {
            Err(BusError::Overlap {
                base,
                last,
                other_base,
                other_last,
            })
        };
        for space in [Space::Pio, Space::Mmio] {
            check(space, 0x110, 0xf0, Ok(()));
            check(space, 0, 0x100, Ok(()));
            check(space, 0x210, 1, Ok(()));
            check(space, 0x300, 0, Err(BusError::Empty { base: 0x300 }));
            check(space, 0x10f, 1, overlap(0x10f, 0x10f, 0x100, 0x10f));
            check(space, 0xff, 2, overlap(0xff, 0x100, 0x100, 0x10f));
            check(space, 0, 0x1000, overlap(0, 0xfff, 0x100, 0x10f));
            check(space, 0x110, 0xf1, overlap(0x110, 0x200, 0x200, 0x20f));
            check(
                space,
                u64::MAX,
                2,
                Err(BusError::OutOfSpace {
                    space,
                    base: u64::MAX,
                    len: 2,
                }),
            );
        }
        check(Space::Pio, 0xffff, 1, Ok(()));
        check(
            Space::Pio,
            0xffff,
            2,
            Err(BusError::OutOfSpace {
                space: Space::Pio,
                base: 0xffff,
                len: 2,
            }),
        );
        check(Space::Mmio, u64::MAX, 1, Ok(()));
    }

    #[test]
    fn accesses_go_to_the_device_that_has_them_whole() {
        let log = Arc::default();
        let mut bus = Bus::new();
        bus.insert(Space::Mmio, 0x1000, 0x100, Probe(7, Arc::clone(&log)))
            .unwrap();
        bus.insert(Space::Pio, 0x1000, 1, probe(8)).unwrap();
        let check = |space, address, len, expected: Option<u8>| {
            let mut data = vec![0; len];
            let claimed = bus.read(space, address, &mut data).unwrap();
            assert_eq!(claimed, expected.is_some(), "{space:?} {address:#x}+{len}");
            assert_eq!(data, vec![expected.unwrap_or(0xff); len]);
        };
        check(Space::Mmio, 0x1000, 4, Some(7));
        check(Space::Mmio, 0x10fc, 4, Some(7));
        check(Space::Mmio, 0x10fd, 4, None);
        check(Space::Mmio, 0xfff, 2, None);
        check(Space::Mmio, 0x1100, 1, None);
        check(Space::Mmio, u64::MAX, 8, None);
        check(Space::Pio, 0x1000, 1, Some(8));
        check(Space::Pio, 0x1000, 2, None);
        assert_eq!(
            bus.write(Space::Mmio, 0x10ff, &[5]).unwrap(),
            Some(Verdict::Continue)
        );
        assert_eq!(bus.write(Space::Mmio, 0x10ff, &[5, 6]).unwrap(), None);
        assert_eq!(*log.lock().unwrap(), [(0xff, vec![5])]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        /// Whatever is accepted is disjoint, and dispatch agrees with a linear search.
        #[test]
        fn dispatch_agrees_with_a_linear_search(
            ranges in prop::collection::vec((0..0x200u64, 0..0x40u64), 0..12),
            accesses in prop::collection::vec((0..0x240u64, 1..9usize), 1..12),
        ) {
            let mut bus = Bus::new();
            let mut accepted: Vec<(u64, u64, u8)> = Vec::new();
            for (tag, (base, len)) in (0u8..).zip(ranges) {
                let fits = len > 0 && accepted.iter().all(|&(b, l, _)| base + len <= b || b + l <= base);
                prop_assert_eq!(bus.insert(Space::Pio, base, len, probe(tag)).is_ok(), fits);
                if fits {
                    accepted.push((base, len, tag));
                }
            }
            for (address, len) in accesses {
                let expected = accepted
                    .iter()
                    .find(|&&(b, l, _)| b <= address && address + u64::try_from(len).unwrap() <= b + l)
                    .map(|&(_, _, tag)| tag);
                let mut data = vec![0; len];
                prop_assert_eq!(bus.read(Space::Pio, address, &mut data).unwrap(), expected.is_some());
                prop_assert_eq!(data, vec![expected.unwrap_or(0xff); len]);
            }
        }
    }
}
