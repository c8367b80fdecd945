//! New device paths.

use alloc::vec::Vec;

use uguid::Guid;

use super::node::{HardDrive, HardDriveSignature};
use super::parse::{DevicePath, END, END_ENTIRE, END_INSTANCE, HEADER, MAX_LEN};
use crate::{Result, Status};

/// A device path that owns its bytes. It always ends with an end node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DevicePathBuf(Vec<u8>);

impl Default for DevicePathBuf {
    fn default() -> Self {
        Self::new()
    }
}

impl DevicePathBuf {
    /// The path without nodes.
    #[must_use]
    pub fn new() -> Self {
        Self(DevicePath::EMPTY.as_bytes().to_vec())
    }

    /// The path.
    #[must_use]
    pub fn as_path(&self) -> DevicePath<'_> {
        DevicePath::parse(&self.0).unwrap_or(DevicePath::EMPTY)
    }

    /// The bytes with the end node.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// Adds a node before the end node.
    ///
    /// # Errors
    ///
    /// `OUT_OF_RESOURCES` if the node or the path would be too long; `INVALID_PARAMETER` for nodes of the type end.
    pub fn push(&mut self, kind: u8, subtype: u8, data: &[u8]) -> Result<()> {
        if kind == END {
            return Err(Status::INVALID_PARAMETER);
        }
        let len = data.len().saturating_add(HEADER);
        let field = u16::try_from(len).or(Err(Status::OUT_OF_RESOURCES))?;
        if self.0.len().saturating_add(len) > MAX_LEN {
            return Err(Status::OUT_OF_RESOURCES);
        }
        self.0.truncate(self.0.len().saturating_sub(HEADER));
        self.0.extend_from_slice(&[kind, subtype]);
        self.0.extend_from_slice(&field.to_le_bytes());
        self.0.extend_from_slice(data);
        self.0.extend_from_slice(DevicePath::EMPTY.as_bytes());
        Ok(())
    }

    /// Adds all nodes of another path.
    ///
    /// # Errors
    ///
    /// `OUT_OF_RESOURCES` if the path would be too long.
    pub fn append(&mut self, other: DevicePath<'_>) -> Result<()> {
        if self.0.len().saturating_add(other.without_end().len()) > MAX_LEN {
            return Err(Status::OUT_OF_RESOURCES);
        }
        self.0.truncate(self.0.len().saturating_sub(HEADER));
        self.0.extend_from_slice(other.as_bytes());
        Ok(())
    }

    /// Adds another path as a further instance.
    ///
    /// # Errors
    ///
    /// `OUT_OF_RESOURCES` if the path would be too long.
    pub fn append_instance(&mut self, other: DevicePath<'_>) -> Result<()> {
        if self.0.len().saturating_add(other.as_bytes().len()) > MAX_LEN {
            return Err(Status::OUT_OF_RESOURCES);
        }
        if let Some(subtype) = self
            .0
            .iter_mut()
            .rev()
            .nth(2)
            .filter(|subtype| **subtype == END_ENTIRE)
        {
            *subtype = END_INSTANCE;
        }
        self.0.extend_from_slice(other.as_bytes());
        Ok(())
    }

    /// Adds an ACPI device by its compressed `_HID` and `_UID`.
    ///
    /// # Errors
    ///
    /// Those of [`push`](Self::push).
    pub fn push_acpi(&mut self, hid: u32, uid: u32) -> Result<()> {
        self.push(2, 1, &[hid.to_le_bytes(), uid.to_le_bytes()].concat())
    }

    /// Adds a root bridge of PCI, PNP0A03.
    ///
    /// # Errors
    ///
    /// Those of [`push`](Self::push).
    pub fn push_pci_root(&mut self, uid: u32) -> Result<()> {
        self.push_acpi(0x0a03_41d0, uid)
    }

    /// Adds a PCI device.
    ///
    /// # Errors
    ///
    /// Those of [`push`](Self::push).
    pub fn push_pci(&mut self, device: u8, function: u8) -> Result<()> {
        self.push(1, 1, &[function, device])
    }

    /// Adds a memory-mapped device; `last` is the address of its last byte.
    ///
    /// # Errors
    ///
    /// Those of [`push`](Self::push).
    pub fn push_memory_mapped(&mut self, kind: u32, start: u64, last: u64) -> Result<()> {
        self.push(
            1,
            3,
            &[&kind.to_le_bytes()[..], &start.to_le_bytes(), &last.to_le_bytes()].concat(),
        )
    }

    /// Adds vendor-defined hardware.
    ///
    /// # Errors
    ///
    /// Those of [`push`](Self::push).
    pub fn push_vendor_hardware(&mut self, guid: Guid, data: &[u8]) -> Result<()> {
        self.push(1, 4, &[&guid.to_bytes(), data].concat())
    }

    /// Adds a vendor-defined medium.
    ///
    /// # Errors
    ///
    /// Those of [`push`](Self::push).
    pub fn push_vendor_media(&mut self, guid: Guid, data: &[u8]) -> Result<()> {
        self.push(4, 3, &[&guid.to_bytes(), data].concat())
    }

    /// Adds a serial port with its parameters, see [`NodeData::Uart`](super::NodeData::Uart).
    ///
    /// # Errors
    ///
    /// Those of [`push`](Self::push).
    pub fn push_uart(&mut self, baud: u64, data_bits: u8, parity: u8, stop_bits: u8) -> Result<()> {
        self.push(
            3,
            14,
            &[&[0; 4], &baud.to_le_bytes()[..], &[data_bits, parity, stop_bits]].concat(),
        )
    }

    /// Adds a partition.
    ///
    /// # Errors
    ///
    /// Those of [`push`](Self::push).
    pub fn push_hard_drive(&mut self, drive: &HardDrive) -> Result<()> {
        let (signature, format) = match drive.signature {
            HardDriveSignature::Mbr(number) => {
                let [a, b, c, d] = number.to_le_bytes();
                ([a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], [1, 1])
            }
            HardDriveSignature::Gpt(guid) => (guid.to_bytes(), [2, 2]),
            HardDriveSignature::Other {
                format,
                kind,
                signature,
            } => (signature, [format, kind]),
        };
        let (start, size) = (drive.start.to_le_bytes(), drive.size.to_le_bytes());
        let parts: [&[u8]; 5] = [&drive.number.to_le_bytes(), &start, &size, &signature, &format];
        self.push(4, 1, &parts.concat())
    }

    /// Adds a file path. A NUL is appended.
    ///
    /// # Errors
    ///
    /// Those of [`push`](Self::push).
    pub fn push_file_path(&mut self, path: &str) -> Result<()> {
        let units = path.encode_utf16().chain([0]);
        let data: Vec<u8> = units.flat_map(u16::to_le_bytes).collect();
        self.push(4, 4, &data)
    }
}

impl From<DevicePath<'_>> for DevicePathBuf {
    fn from(path: DevicePath<'_>) -> Self {
        Self(path.as_bytes().to_vec())
    }
}
