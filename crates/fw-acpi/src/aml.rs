//! The objects of definition blocks in AML (ACPI specification 6.5, chapter 20) that have constant values.
//!
//! AML is a program. This reader does not run it: it walks the blocks that exist without conditions (`Scope`, `Device`, `Processor`,
//! `PowerResource`, `ThermalZone`), and reads names with constant values in them. Methods, conditions and fields are passed over by their
//! length. At a term that it does not know, it leaves the block and continues after it; [`Namespace::unknown`] counts these.
//! That is enough for the tables of virtual machines, whose devices have fixed resources.

mod cursor;
mod data;
mod device;
mod resources;

use alloc::string::String;
use alloc::vec::Vec;

use self::cursor::{Cursor, Malformed};
use self::data::Data;
pub use self::device::{Device, MemoryRange};
pub use self::resources::MAX_RESOURCES;

/// Largest nesting of blocks.
const MAX_DEPTH: usize = 16;
/// Largest number of devices.
pub const MAX_DEVICES: usize = 1024;

/// The objects of all definition blocks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Namespace {
    /// The devices in the order of the blocks.
    pub devices: Vec<Device>,
    /// Sleep types of the state S5 for PM1a and PM1b (`\_S5`, section 7.4.2.6).
    pub soft_off: Option<[u8; 2]>,
    /// Number of blocks whose rest was left out, because of a term that is malformed or not known, or their nesting.
    pub unknown: usize,
}

impl Namespace {
    /// The present devices with a hardware identification.
    pub fn devices_with_id<'a>(&'a self, hardware_id: &'a str) -> impl Iterator<Item = &'a Device> {
        self.devices
            .iter()
            .filter(move |device| device.hardware_id.as_deref() == Some(hardware_id) && device.is_present())
    }

    /// Adds the objects of a definition block: the bytes of a DSDT or SSDT after its header.
    pub fn add(&mut self, aml: &[u8]) {
        self.block(&mut Cursor::new(aml), "\\", None, 0);
    }

    /// Reads a list of terms to its end. Names belong to the device with the index `device`.
    fn block(&mut self, cursor: &mut Cursor<'_>, path: &str, device: Option<usize>, depth: usize) {
        if depth > MAX_DEPTH {
            self.unknown = self.unknown.saturating_add(1);
            return;
        }
        while !cursor.is_empty() {
            if self.term(cursor, path, device, depth).is_err() {
                self.unknown = self.unknown.saturating_add(1);
                return;
            }
        }
    }

    /// Reads one term (section 20.2.5).
    fn term(
        &mut self,
        cursor: &mut Cursor<'_>,
        path: &str,
        device: Option<usize>,
        depth: usize,
    ) -> Result<(), Malformed> {
        let next = depth.saturating_add(1);
        match cursor.opcode()? {
            opcode::NOOP => {}
            opcode::NAME => {
                let name = cursor.name(path)?;
                let value = Data::read(cursor)?;
                self.named(&name, path, device, &value);
            }
            opcode::ALIAS => {
                cursor.name(path)?;
                cursor.name(path)?;
            }
            opcode::EXTERNAL => {
                cursor.name(path)?;
                cursor.skip(2)?;
            }
            opcode::MUTEX => {
                cursor.name(path)?;
                cursor.skip(1)?;
            }
            opcode::EVENT => {
                cursor.name(path)?;
            }
            opcode::REGION => {
                cursor.name(path)?;
                cursor.skip(1)?;
                Data::read(cursor)?;
                Data::read(cursor)?;
            }
            opcode::SCOPE => {
                let mut inner = cursor.package()?;
                let path = inner.name(path)?;
                // A scope can continue a device.
                let device = self.devices.iter().position(|device| device.path == path);
                self.block(&mut inner, &path, device, next);
            }
            opcode::DEVICE => {
                let mut inner = cursor.package()?;
                let path = inner.name(path)?;
                let index = self.devices.len();
                if index >= MAX_DEVICES {
                    return Err(Malformed);
                }
                self.devices.push(Device {
                    path: path.clone(),
                    ..Device::default()
                });
                self.block(&mut inner, &path, Some(index), next);
            }
            with_terms @ (opcode::PROCESSOR | opcode::POWER_RESOURCE | opcode::THERMAL_ZONE) => {
                let mut inner = cursor.package()?;
                let path = inner.name(path)?;
                inner.skip(match with_terms {
                    opcode::PROCESSOR => 6,
                    opcode::POWER_RESOURCE => 3,
                    _ => 0,
                })?;
                self.block(&mut inner, &path, None, next);
            }
            opcode::METHOD
            | opcode::IF
            | opcode::ELSE
            | opcode::WHILE
            | opcode::FIELD
            | opcode::INDEX_FIELD
            | opcode::BANK_FIELD => {
                cursor.package()?;
            }
            _ => return Err(Malformed),
        }
        Ok(())
    }

    /// Takes a name with a constant value.
    fn named(&mut self, name: &str, path: &str, device: Option<usize>, value: &Data<'_>) {
        if name == "\\_S5_" {
            if let Data::Package(elements) = value {
                self.soft_off = sleep_types(elements);
            }
            return;
        }
        let Some(device) = device.and_then(|index| self.devices.get_mut(index)) else {
            return;
        };
        // Names of other scopes are written with a path.
        let Some(name) = name.strip_prefix(path).and_then(|name| name.strip_prefix('.')) else {
            return;
        };
        match (name, value) {
            ("_HID", Data::Integer(id)) => device.hardware_id = eisa_id(*id),
            ("_HID", Data::String(id)) => device.hardware_id = Some(String::from(*id)),
            ("_UID", Data::Integer(id)) => device.unique_id = Some(*id),
            ("_STA", Data::Integer(status)) => device.status = Some(*status),
            ("_CRS", Data::Buffer(bytes)) => resources::read(bytes, device),
            _ => {}
        }
    }
}

/// The first two elements of a package `\_S5`. Some machines have one element, with both bytes.
fn sleep_types(elements: &[u8]) -> Option<[u8; 2]> {
    let mut cursor = Cursor::new(elements);
    let count = cursor.byte().ok()?;
    let mut element = || match Data::read(&mut cursor) {
        Ok(Data::Integer(value)) => Some(value.to_le_bytes()),
        _ => None,
    };
    let [a, packed_b, ..] = element()?;
    let b = if count >= 2 {
        element().map(|[b, ..]| b)
    } else {
        Some(packed_b)
    };
    Some([a, b?])
}

/// The text of a compressed identification (section 19.3.4, `EISAID`): three letters of five bits, and four hexadecimal digits.
fn eisa_id(value: u64) -> Option<String> {
    let bits = u32::try_from(value).ok()?.swap_bytes();
    let letter = |shift: u32| {
        let code = u8::try_from(bits >> shift & 0x1f).ok()?;
        let is_letter = (1..=26).contains(&code);
        is_letter.then(|| char::from(code.saturating_add(b'@')))
    };
    Some(alloc::format!(
        "{}{}{}{:04X}",
        letter(26)?,
        letter(21)?,
        letter(16)?,
        bits & 0xffff
    ))
}

/// Opcodes (table 20.5); those with the prefix 0x5b have it as their upper byte.
mod opcode {
    pub(super) const ALIAS: u16 = 0x06;
    pub(super) const NAME: u16 = 0x08;
    pub(super) const SCOPE: u16 = 0x10;
    pub(super) const METHOD: u16 = 0x14;
    pub(super) const EXTERNAL: u16 = 0x15;
    pub(super) const IF: u16 = 0xa0;
    pub(super) const ELSE: u16 = 0xa1;
    pub(super) const WHILE: u16 = 0xa2;
    pub(super) const NOOP: u16 = 0xa3;
    pub(super) const MUTEX: u16 = 0x5b01;
    pub(super) const EVENT: u16 = 0x5b02;
    pub(super) const REGION: u16 = 0x5b80;
    pub(super) const FIELD: u16 = 0x5b81;
    pub(super) const DEVICE: u16 = 0x5b82;
    pub(super) const PROCESSOR: u16 = 0x5b83;
    pub(super) const POWER_RESOURCE: u16 = 0x5b84;
    pub(super) const THERMAL_ZONE: u16 = 0x5b85;
    pub(super) const INDEX_FIELD: u16 = 0x5b86;
    pub(super) const BANK_FIELD: u16 = 0x5b87;
}
