//! A device that records accesses.

use std::{
    collections::VecDeque,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use hv_core::{Device, DeviceAction, DeviceError};

/// An access that a [`Recorder`] recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordedAccess {
    /// A read: its offset and its length in bytes.
    Read(u64, usize),
    /// A write: its offset and its data.
    Write(u64, Vec<u8>),
}

/// A device that records every access. Clones share the records.
#[derive(Clone, Debug, Default)]
pub struct Recorder(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    reply: Reply,
    accesses: Vec<RecordedAccess>,
}

#[derive(Debug)]
enum Reply {
    /// These bytes in order, then zeros.
    Bytes(VecDeque<u8>),
    /// The low byte of each offset plus this number.
    Pattern(u8),
}

impl Default for Reply {
    fn default() -> Self {
        Self::Bytes(VecDeque::new())
    }
}

impl Recorder {
    fn new(reply: Reply) -> Self {
        Self(Arc::new(Mutex::new(State {
            reply,
            accesses: Vec::new(),
        })))
    }

    /// A device whose reads give `bytes` in order, then zeros.
    #[must_use]
    pub fn with_bytes(bytes: &[u8]) -> Self {
        Self::new(Reply::Bytes(bytes.iter().copied().collect()))
    }

    /// A device whose bytes read as the low byte of their offset plus `first`.
    #[must_use]
    pub fn with_pattern(first: u8) -> Self {
        Self::new(Reply::Pattern(first))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes and returns the records.
    #[must_use]
    pub fn take(&self) -> Vec<RecordedAccess> {
        mem::take(&mut self.lock().accesses)
    }

    /// Removes the records and returns the offsets and data of writes.
    #[must_use]
    pub fn take_writes(&self) -> Vec<(u64, Vec<u8>)> {
        self.take()
            .into_iter()
            .filter_map(|access| match access {
                RecordedAccess::Write(offset, data) => Some((offset, data)),
                RecordedAccess::Read(..) => None,
            })
            .collect()
    }

    /// Removes the records and returns the data of writes.
    #[must_use]
    pub fn take_data(&self) -> Vec<Vec<u8>> {
        self.take_writes().into_iter().map(|(_, data)| data).collect()
    }
}

impl Device for Recorder {
    fn read(&mut self, offset: u64, data: &mut [u8]) -> Result<(), DeviceError> {
        let mut state = self.lock();
        state.accesses.push(RecordedAccess::Read(offset, data.len()));
        for (at, byte) in (offset..).zip(data) {
            *byte = match &mut state.reply {
                Reply::Bytes(bytes) => bytes.pop_front().unwrap_or(0),
                Reply::Pattern(first) => {
                    let [low, ..] = at.to_le_bytes();
                    low.wrapping_add(*first)
                }
            };
        }
        Ok(())
    }

    fn write(&mut self, offset: u64, data: &[u8]) -> Result<DeviceAction, DeviceError> {
        self.lock()
            .accesses
            .push(RecordedAccess::Write(offset, data.to_vec()));
        Ok(DeviceAction::Continue)
    }
}
