//! The device trait, and the bus that dispatches accesses by address.

use std::{
    error::Error,
    fmt, io,
    sync::{Mutex, PoisonError},
};

use crate::{AddressSpace, Outcome};

/// Action of the run loop after [`Device::write`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeviceAction {
    /// The guest continues.
    Continue,
    /// The run ends with this outcome.
    End(Outcome),
}

/// A device with registers that the guest reads and writes.
///
/// Offsets count from the first address of the device's range on the bus. An access never extends past that range. It has the
/// width of the guest's access, so devices see all widths. Calls come from the thread of the vCPU that makes the access.
pub trait Device: Send {
    /// Handles a read at `offset`: fills `data`.
    ///
    /// # Errors
    ///
    /// [`DeviceError`] when the host side of the device fails; it ends the run. An invalid access by the guest is not an
    /// error.
    fn read(&mut self, offset: u64, data: &mut [u8]) -> Result<(), DeviceError>;

    /// Handles a write of `data` at `offset`.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    fn write(&mut self, offset: u64, data: &[u8]) -> Result<DeviceAction, DeviceError>;
}

impl<D: Device + ?Sized> Device for Box<D> {
    fn read(&mut self, offset: u64, data: &mut [u8]) -> Result<(), DeviceError> {
        (**self).read(offset, data)
    }

    fn write(&mut self, offset: u64, data: &[u8]) -> Result<DeviceAction, DeviceError> {
        (**self).write(offset, data)
    }
}

/// Failure of the host side of a device.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// An interrupt line could not be set.
    #[error(transparent)]
    Irq(#[from] IrqError),
    /// Console output could not be written.
    #[error("console output of the guest could not be written")]
    Console(#[source] io::Error),
}

/// Failure to set an interrupt line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[error("setting interrupt line {line} failed")]
pub struct IrqError {
    /// The line, in the numbering of [`Vm::set_irq`](crate::Vm::set_irq).
    pub line: u32,
    /// The back end's error.
    #[source]
    pub source: Box<dyn Error + Send + Sync>,
}

/// Failure to add a device to a bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BusError {
    /// The range is empty.
    #[error("the device range at {space} {base:#x} is empty")]
    Empty {
        /// The address space.
        space: AddressSpace,
        /// First address.
        base: u64,
    },
    /// The range extends past the end of its address space.
    #[error("the device range of length {len:#x} at {base:#x} extends past the last {space}")]
    OutOfRange {
        /// The address space.
        space: AddressSpace,
        /// First address.
        base: u64,
        /// Length in ports or bytes.
        len: u64,
    },
    /// The range overlaps that of another device.
    #[error(
        "the device range at {space} {base:#x}..={last:#x} overlaps the device at {other_base:#x}..={other_last:#x}"
    )]
    Overlap {
        /// The address space.
        space: AddressSpace,
        /// First address.
        base: u64,
        /// Last address.
        last: u64,
        /// First address of the other device.
        other_base: u64,
        /// Last address of the other device.
        other_last: u64,
    },
}

/// A device and its inclusive address range.
struct Entry {
    base: u64,
    last: u64,
    device: Mutex<Box<dyn Device>>,
}

/// The devices of a machine, by I/O port and by guest physical address.
///
/// Each device has its own lock, so vCPUs that access different devices do not wait for each other.
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

impl IrqError {
    /// A failure to set `line`.
    #[must_use]
    pub fn new(line: u32, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            line,
            source: source.into(),
        }
    }
}

impl Bus {
    /// A bus without devices.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `device` at `len` addresses (I/O ports or bytes) from `base` of `space`.
    ///
    /// # Errors
    ///
    /// [`BusError`] when the range is empty, leaves the address space or overlaps another device.
    pub fn insert(
        &mut self,
        space: AddressSpace,
        base: u64,
        len: u64,
        device: impl Device + 'static,
    ) -> Result<(), BusError> {
        let highest = match space {
            AddressSpace::Pio => u64::from(u16::MAX),
            AddressSpace::Mmio => u64::MAX,
        };
        let Some(rest) = len.checked_sub(1) else {
            return Err(BusError::Empty { space, base });
        };
        let Some(last) = base.checked_add(rest).filter(|&last| last <= highest) else {
            return Err(BusError::OutOfRange { space, base, len });
        };
        let entries = match space {
            AddressSpace::Pio => &mut self.pio,
            AddressSpace::Mmio => &mut self.mmio,
        };
        // Entries are sorted and disjoint, so only the neighbours of the new one can overlap it.
        let at = entries.partition_point(|entry| entry.last < base);
        if let Some(other) = entries.get(at).filter(|other| other.base <= last) {
            return Err(BusError::Overlap {
                space,
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

    /// Reads from the device whose range contains the whole access. Without such a device, sets `data` to all ones and
    /// returns `Ok(false)`.
    ///
    /// # Errors
    ///
    /// The device's [`DeviceError`].
    pub fn read(&self, space: AddressSpace, address: u64, data: &mut [u8]) -> Result<bool, DeviceError> {
        let Some((entry, offset)) = self.find(space, address, data.len()) else {
            data.fill(0xff);
            return Ok(false);
        };
        // A poisoned lock means that the device panicked in another vCPU's thread. That panic ends the run and is
        // reported there.
        entry
            .device
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .read(offset, data)?;
        Ok(true)
    }

    /// Writes to the device whose range contains the whole access; `Ok(None)` without such a device.
    ///
    /// # Errors
    ///
    /// The device's [`DeviceError`].
    pub fn write(
        &self,
        space: AddressSpace,
        address: u64,
        data: &[u8],
    ) -> Result<Option<DeviceAction>, DeviceError> {
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

    fn find(&self, space: AddressSpace, address: u64, len: usize) -> Option<(&Entry, u64)> {
        let entries = match space {
            AddressSpace::Pio => &self.pio,
            AddressSpace::Mmio => &self.mmio,
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

        fn write(&mut self, offset: u64, data: &[u8]) -> Result<DeviceAction, DeviceError> {
            self.1.lock().unwrap().push((offset, data.to_vec()));
            Ok(DeviceAction::Continue)
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
        let overlap = |space, base, last, other_base, other_last| {
            Err(BusError::Overlap {
                space,
                base,
                last,
                other_base,
                other_last,
            })
        };
        for space in [AddressSpace::Pio, AddressSpace::Mmio] {
            check(space, 0x110, 0xf0, Ok(()));
            check(space, 0, 0x100, Ok(()));
            check(space, 0x210, 1, Ok(()));
            check(space, 0x300, 0, Err(BusError::Empty { space, base: 0x300 }));
            check(space, 0x10f, 1, overlap(space, 0x10f, 0x10f, 0x100, 0x10f));
            check(space, 0xff, 2, overlap(space, 0xff, 0x100, 0x100, 0x10f));
            check(space, 0, 0x1000, overlap(space, 0, 0xfff, 0x100, 0x10f));
            check(space, 0x110, 0xf1, overlap(space, 0x110, 0x200, 0x200, 0x20f));
            check(
                space,
                u64::MAX,
                2,
                Err(BusError::OutOfRange {
                    space,
                    base: u64::MAX,
                    len: 2,
                }),
            );
        }
        check(AddressSpace::Pio, 0xffff, 1, Ok(()));
        check(
            AddressSpace::Pio,
            0xffff,
            2,
            Err(BusError::OutOfRange {
                space: AddressSpace::Pio,
                base: 0xffff,
                len: 2,
            }),
        );
        check(AddressSpace::Mmio, u64::MAX, 1, Ok(()));
    }

    #[test]
    fn accesses_go_to_the_device_that_has_them_whole() {
        let log = Arc::default();
        let mut bus = Bus::new();
        bus.insert(AddressSpace::Mmio, 0x1000, 0x100, Probe(7, Arc::clone(&log)))
            .unwrap();
        bus.insert(AddressSpace::Pio, 0x1000, 1, probe(8)).unwrap();
        let check = |space, address, len, expected: Option<u8>| {
            let mut data = vec![0; len];
            let claimed = bus.read(space, address, &mut data).unwrap();
            assert_eq!(claimed, expected.is_some(), "{space:?} {address:#x}+{len}");
            assert_eq!(data, vec![expected.unwrap_or(0xff); len]);
        };
        check(AddressSpace::Mmio, 0x1000, 4, Some(7));
        check(AddressSpace::Mmio, 0x10fc, 4, Some(7));
        check(AddressSpace::Mmio, 0x10fd, 4, None);
        check(AddressSpace::Mmio, 0xfff, 2, None);
        check(AddressSpace::Mmio, 0x1100, 1, None);
        check(AddressSpace::Mmio, u64::MAX, 8, None);
        check(AddressSpace::Pio, 0x1000, 1, Some(8));
        check(AddressSpace::Pio, 0x1000, 2, None);
        assert_eq!(
            bus.write(AddressSpace::Mmio, 0x10ff, &[5]).unwrap(),
            Some(DeviceAction::Continue)
        );
        assert_eq!(bus.write(AddressSpace::Mmio, 0x10ff, &[5, 6]).unwrap(), None);
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
                prop_assert_eq!(bus.insert(AddressSpace::Pio, base, len, probe(tag)).is_ok(), fits);
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
                prop_assert_eq!(bus.read(AddressSpace::Pio, address, &mut data).unwrap(), expected.is_some());
                prop_assert_eq!(data, vec![expected.unwrap_or(0xff); len]);
            }
        }
    }
}
