//! Searches for handles: registrations of new protocols, and the handle of a device path.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use uguid::Guid;

use super::handle::Handle;
use crate::device_path::DevicePath;
use crate::{Result, Status};

/// Key of a registration, never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Registration(pub u64);

/// What `LocateHandle` searches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Search {
    /// All handles.
    All,
    /// The next handle that got a protocol since its registration.
    Registration(Registration),
    /// Handles with a protocol.
    Protocol(Guid),
}

#[derive(Clone, Debug)]
struct Entry {
    guid: Guid,
    event: u64,
    key: u64,
    /// Handles that got the protocol and were not asked for.
    fresh: VecDeque<u64>,
}

/// Registrations and handles of one registration; more registrations fail, and the oldest handle is dropped.
const MAX_REGISTRATIONS: usize = 1024;
const MAX_FRESH: usize = 4096;

/// All registrations of `RegisterProtocolNotify`.
#[derive(Clone, Debug)]
pub(super) struct Registrations {
    entries: Vec<Entry>,
    next: u64,
}

impl Registrations {
    pub(super) const fn new() -> Self {
        Self {
            entries: Vec::new(),
            next: 1,
        }
    }

    pub(super) fn add(&mut self, guid: Guid, event: u64) -> Result<Registration> {
        if self.entries.len() >= MAX_REGISTRATIONS {
            return Err(Status::OUT_OF_RESOURCES);
        }
        let key = self.next;
        self.next = key.checked_add(1).ok_or(Status::OUT_OF_RESOURCES)?;
        self.entries.push(Entry {
            guid,
            event,
            key,
            fresh: VecDeque::new(),
        });
        Ok(Registration(key))
    }

    /// Notes a new protocol of a handle; the events to signal.
    pub(super) fn installed(&mut self, guid: &Guid, handle: u64) -> Vec<u64> {
        let matching = self.entries.iter_mut().filter(|entry| entry.guid == *guid);
        matching
            .map(|entry| {
                if entry.fresh.len() >= MAX_FRESH {
                    entry.fresh.pop_front();
                }
                entry.fresh.push_back(handle);
                entry.event
            })
            .collect()
    }

    pub(super) fn next(&self, registration: Registration) -> Result<Option<u64>> {
        let entry = self.entries.iter().find(|entry| entry.key == registration.0);
        Ok(entry.ok_or(Status::INVALID_PARAMETER)?.fresh.front().copied())
    }

    pub(super) fn advance(&mut self, registration: Registration) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.key == registration.0) {
            entry.fresh.pop_front();
        }
    }

    pub(super) fn forget_event(&mut self, event: u64) {
        self.entries.retain(|entry| entry.event != event);
    }

    pub(super) fn forget_handle(&mut self, handle: u64) {
        for entry in &mut self.entries {
            entry.fresh.retain(|fresh| *fresh != handle);
        }
    }
}

/// `LocateDevicePath`: the handle whose device path is the longest prefix of `path`, and the length of that prefix in bytes.
/// `candidates` are the handles with the protocol and their device paths; those of several instances do not match.
///
/// # Errors
///
/// `NOT_FOUND` if no device path is a prefix: loaders rely on exactly this status.
pub fn nearest_device_path<'a>(
    candidates: impl Iterator<Item = (Handle, DevicePath<'a>)>,
    path: DevicePath<'_>,
) -> Result<(Handle, usize)> {
    let mut best: Option<(Handle, usize)> = None;
    for (handle, candidate) in candidates {
        let Some(rest) = path.strip_prefix(candidate) else {
            continue;
        };
        let len = path.as_bytes().len().saturating_sub(rest.as_bytes().len());
        if best.is_none_or(|(_, longest)| len > longest) {
            best = Some((handle, len));
        }
    }
    best.ok_or(Status::NOT_FOUND)
}
