//! The store of variables.

use alloc::vec::Vec;

use uguid::Guid;

use super::attributes::VariableAttributes;
use super::record::{Entry, HEADER, Header, Records};
use crate::{Result, Status};

/// Longest name in characters.
pub const MAX_NAME: usize = 512;
/// Largest variable in bytes, with its name and its header.
pub const MAX_VARIABLE: usize = 64 * 1024;

/// The characters of a name, for the services that take names.
#[must_use]
pub fn name(text: &str) -> Vec<u16> {
    text.encode_utf16().collect()
}

/// What `QueryVariableInfo` returns, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Info {
    /// Size of the store.
    pub maximum_storage: u64,
    /// Free space in it.
    pub remaining_storage: u64,
    /// Largest data of a variable with a name of one character.
    pub maximum_variable: u64,
}

/// The variables in a store of `N` bytes. Volatile and non-volatile ones share it.
#[derive(Clone, Debug)]
#[repr(C)]
pub struct Variables<const N: usize> {
    used: usize,
    /// Bytes of non-volatile records that the platform stores; 0 if there is no limit but that of the store.
    non_volatile_limit: usize,
    at_runtime: bool,
    arena: [u8; N],
}

impl<const N: usize> Default for Variables<N> {
    fn default() -> Self {
        Self::new()
    }
}

/// Who writes a variable.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Writer {
    Caller,
    Firmware,
}

impl<const N: usize> Variables<N> {
    /// An empty store. It consists of zeros.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            used: 0,
            non_volatile_limit: 0,
            at_runtime: false,
            arena: [0; N],
        }
    }

    /// The rules of `ExitBootServices` from now on: only variables with access at runtime, of which only the non-volatile
    /// ones can be written.
    pub const fn exit_boot_services(&mut self) {
        self.at_runtime = true;
    }

    /// Limits the records of non-volatile variables to this many bytes; 0 removes the limit.
    pub(super) const fn set_non_volatile_limit(&mut self, len: usize) {
        self.non_volatile_limit = len;
    }

    /// The limit of non-volatile records in bytes, and the bytes of them that exist.
    fn non_volatile(&self) -> (usize, usize) {
        let limit = match self.non_volatile_limit {
            0 => N,
            _ if self.at_runtime => N,
            limit => limit.min(N),
        };
        let entries = self.entries();
        let stored = entries.filter(|entry| entry.attributes.contains(VariableAttributes::NON_VOLATILE));
        (
            limit,
            stored.fold(0, |sum, entry| sum.saturating_add(entry.len())),
        )
    }

    /// The records as bytes, for [`restore`](Self::restore).
    pub(super) fn snapshot(&self) -> Vec<u8> {
        self.arena.get(..self.used).unwrap_or(&[]).to_vec()
    }

    /// The store with the records of a snapshot that a filter accepts.
    pub(super) fn restore(&mut self, snapshot: &[u8], accepts: impl Fn(&Entry<'_>) -> bool) {
        self.used = 0;
        for (offset, entry) in Records::new(snapshot) {
            let end = offset.saturating_add(entry.len());
            let to = self.used.saturating_add(entry.len());
            let target = self.arena.get_mut(self.used..to);
            if let Some((target, record)) = target.zip(snapshot.get(offset..end)).filter(|_| accepts(&entry))
            {
                target.copy_from_slice(record);
                self.used = to;
            }
        }
    }

    /// All variables that are accessible now.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        self.records().map(|(_, entry)| entry)
    }

    fn records(&self) -> impl Iterator<Item = (usize, Entry<'_>)> {
        let runtime = VariableAttributes::RUNTIME_ACCESS;
        let records = Records::new(self.arena.get(..self.used).unwrap_or(&[]));
        records.filter(move |(_, entry)| !self.at_runtime || entry.attributes.contains(runtime))
    }

    fn find(&self, name: &[u16], guid: Guid) -> Option<(usize, Entry<'_>)> {
        self.records().find(|(_, entry)| entry.is(name, guid))
    }

    /// `GetVariable`.
    ///
    /// # Errors
    ///
    /// `INVALID_PARAMETER` for an empty name; `NOT_FOUND` if there is no such variable, or it is not accessible any more.
    pub fn get(&self, name: &[u16], guid: Guid) -> Result<Entry<'_>> {
        if name.is_empty() {
            return Err(Status::INVALID_PARAMETER);
        }
        self.find(name, guid)
            .map(|(_, entry)| entry)
            .ok_or(Status::NOT_FOUND)
    }

    /// `GetNextVariableName`: the variable after this one, or the first one for an empty name.
    ///
    /// # Errors
    ///
    /// `NOT_FOUND` after the last variable; `INVALID_PARAMETER` if the variable does not exist.
    pub fn next(&self, name: &[u16], guid: Guid) -> Result<Entry<'_>> {
        let mut entries = self.entries();
        if !name.is_empty() && !entries.any(|entry| entry.is(name, guid)) {
            return Err(Status::INVALID_PARAMETER);
        }
        entries.next().ok_or(Status::NOT_FOUND)
    }

    /// `QueryVariableInfo`.
    ///
    /// # Errors
    ///
    /// Those of [`VariableAttributes::from_number`]; `INVALID_PARAMETER` without a bit of access, or without access at runtime
    /// after `ExitBootServices`.
    pub fn query(&self, attributes: u32) -> Result<Info> {
        let attributes = VariableAttributes::from_number(attributes)?;
        let needed = if self.at_runtime {
            VariableAttributes::RUNTIME_ACCESS
        } else {
            VariableAttributes::BOOT_SERVICE_ACCESS
        };
        if !attributes.contains(needed) {
            return Err(Status::INVALID_PARAMETER);
        }
        let bytes = |len: usize| u64::try_from(len).unwrap_or(u64::MAX);
        let free = N.saturating_sub(self.used);
        let overhead = HEADER.saturating_add(2);
        let (total, free) = if attributes.contains(VariableAttributes::NON_VOLATILE) {
            let (limit, stored) = self.non_volatile();
            (limit, free.min(limit.saturating_sub(stored)))
        } else {
            (N, free)
        };
        Ok(Info {
            maximum_storage: bytes(total),
            remaining_storage: bytes(free),
            maximum_variable: bytes(MAX_VARIABLE.min(total).saturating_sub(overhead)),
        })
    }

    /// `SetVariable`: creates, replaces, appends to or deletes a variable.
    ///
    /// # Errors
    ///
    /// `INVALID_PARAMETER` for an empty or long name, other attributes than those of an existing variable, and the errors of
    /// [`VariableAttributes::from_number`]; `UNSUPPORTED` for authenticated variables; `WRITE_PROTECTED` for variables of the
    /// firmware, and for volatile ones at runtime; `NOT_FOUND` if the variable to delete does not exist;
    /// `OUT_OF_RESOURCES` if the store is full or the variable too large.
    pub fn set(&mut self, name: &[u16], guid: Guid, attributes: u32, data: &[u8]) -> Result<()> {
        self.set_by(Writer::Caller, name, guid, attributes, data)
    }

    /// [`set`](Self::set) by the firmware: the variable is read-only for all others.
    ///
    /// # Errors
    ///
    /// Those of [`set`](Self::set), without those of read-only variables.
    pub fn set_by_firmware(&mut self, name: &[u16], guid: Guid, attributes: u32, data: &[u8]) -> Result<()> {
        self.set_by(Writer::Firmware, name, guid, attributes, data)
    }

    fn set_by(
        &mut self,
        writer: Writer,
        name: &[u16],
        guid: Guid,
        attributes: u32,
        data: &[u8],
    ) -> Result<()> {
        if name.is_empty() || name.len() > MAX_NAME || name.contains(&0) {
            return Err(Status::INVALID_PARAMETER);
        }
        let attributes = VariableAttributes::from_number(attributes)?;
        let append = attributes.contains(VariableAttributes::APPEND_WRITE);
        let stored = attributes & VariableAttributes::STORED;
        let deletes =
            !stored.contains(VariableAttributes::BOOT_SERVICE_ACCESS) || (data.is_empty() && !append);

        let old = self
            .find(name, guid)
            .map(|(offset, entry)| (offset, entry.len(), entry));
        if let Some((_, _, entry)) = &old {
            let is_volatile = !entry.attributes.contains(VariableAttributes::NON_VOLATILE);
            let is_protected = entry.is_read_only || (self.at_runtime && is_volatile);
            if is_protected && writer == Writer::Caller {
                return Err(Status::WRITE_PROTECTED);
            }
            if !deletes && entry.attributes != stored {
                return Err(Status::INVALID_PARAMETER);
            }
        }
        // An append of nothing succeeds, also where there is no room.
        let changes_nothing = append && data.is_empty();
        if !deletes && !changes_nothing && stored.contains(VariableAttributes::NON_VOLATILE) {
            let name_len = name.len().saturating_mul(2);
            let len = HEADER.saturating_add(name_len).saturating_add(data.len());
            let (len, old_len) = match &old {
                Some((_, old_len, _)) if append => (old_len.saturating_add(data.len()), *old_len),
                Some((_, old_len, _)) => (len, *old_len),
                None => (len, 0),
            };
            let (limit, used) = self.non_volatile();
            if len > old_len && used.saturating_sub(old_len).saturating_add(len) > limit {
                return Err(Status::OUT_OF_RESOURCES);
            }
        }
        match (deletes, old) {
            (true, None) => Err(Status::NOT_FOUND),
            (true, Some((offset, len, _))) => self.resize(offset, len, 0),
            (false, Some((offset, len, _))) if append => self.append(offset, len, data),
            (false, old) => {
                let at_runtime = VariableAttributes::NON_VOLATILE | VariableAttributes::RUNTIME_ACCESS;
                if self.at_runtime && !stored.contains(at_runtime) {
                    return Err(Status::INVALID_PARAMETER);
                }
                if changes_nothing {
                    return Ok(());
                }
                let (offset, old_len) = old.map_or((self.used, 0), |(offset, len, _)| (offset, len));
                let name_len = name.len().saturating_mul(2);
                let len = HEADER.saturating_add(name_len).saturating_add(data.len());
                let is_read_only = writer == Writer::Firmware;
                self.resize(offset, old_len, len)?;
                let header = Header {
                    len,
                    guid,
                    attributes: stored,
                    is_read_only,
                    name_len,
                };
                let units = name.iter().flat_map(|unit| unit.to_le_bytes());
                let bytes = header.to_bytes().into_iter().chain(units);
                let record = self.arena.get_mut(offset..).unwrap_or(&mut []);
                let (head, rest) = record
                    .split_at_mut_checked(HEADER.saturating_add(name_len))
                    .ok_or(Status::OUT_OF_RESOURCES)?;
                head.iter_mut().zip(bytes).for_each(|(byte, value)| *byte = value);
                rest.get_mut(..data.len())
                    .ok_or(Status::OUT_OF_RESOURCES)?
                    .copy_from_slice(data);
                Ok(())
            }
        }
    }

    fn append(&mut self, offset: usize, old_len: usize, data: &[u8]) -> Result<()> {
        let len = old_len.saturating_add(data.len());
        self.resize(offset, old_len, len)?;
        let record = self.arena.get_mut(offset..).ok_or(Status::OUT_OF_RESOURCES)?;
        let number = u32::try_from(len).or(Err(Status::OUT_OF_RESOURCES))?;
        record
            .get_mut(..4)
            .ok_or(Status::OUT_OF_RESOURCES)?
            .copy_from_slice(&number.to_le_bytes());
        record
            .get_mut(old_len..len)
            .ok_or(Status::OUT_OF_RESOURCES)?
            .copy_from_slice(data);
        Ok(())
    }

    /// Makes room for a record of another length in place of one; the records behind it move.
    fn resize(&mut self, offset: usize, old_len: usize, len: usize) -> Result<()> {
        let used = self.used.saturating_sub(old_len).saturating_add(len);
        let (old_end, end) = (offset.saturating_add(old_len), offset.saturating_add(len));
        let grows = len > old_len;
        if (grows && (len > MAX_VARIABLE || used > N)) || old_end > self.used || self.used > N {
            return Err(Status::OUT_OF_RESOURCES);
        }
        self.arena.copy_within(old_end..self.used, end);
        self.used = used;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
