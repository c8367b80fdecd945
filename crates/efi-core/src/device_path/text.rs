//! Text of device paths, UEFI 2.10 section 10.6.

use alloc::string::{String, ToString};
use core::fmt::{self, Write};

use uguid::Guid;

use super::node::{HardDrive, HardDriveSignature, Node, NodeData};
use super::parse::{DevicePath, END};

/// Compressed EISA vendor "PNP".
const PNP: u32 = 0x41d0;

impl DevicePath<'_> {
    /// The text: nodes are separated by `/`, instances by `,`. Unknown nodes are written as their type and data.
    #[must_use]
    pub fn to_text(self) -> String {
        let mut text = String::new();
        let mut is_first = true;
        for node in self.nodes() {
            let is_end = node.kind == END;
            if !is_first && !is_end {
                text.push('/');
            }
            is_first = is_end;
            // Writing to a string cannot fail.
            let _ = node.write_text(&mut text);
        }
        text
    }
}

impl Node<'_> {
    /// The text of the node.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = self.write_text(&mut text);
        text
    }

    fn write_text(&self, f: &mut String) -> fmt::Result {
        match self.decode() {
            NodeData::Pci { device, function } => write!(f, "Pci({device:#x},{function:#x})"),
            NodeData::MemoryMapped { kind, start, end } => {
                write!(f, "MemoryMapped({kind:#x},{start:#x},{end:#x})")
            }
            NodeData::Vendor { guid, data } => {
                let name = match self.kind {
                    1 => "VenHw",
                    3 => "VenMsg",
                    _ => "VenMedia",
                };
                write!(f, "{name}({}", upper(guid))?;
                if !data.is_empty() {
                    f.push(',');
                    write_hex(f, data)?;
                }
                f.write_char(')')
            }
            NodeData::Controller(number) => write!(f, "Ctrl({number:#x})"),
            NodeData::Acpi { hid, uid } => write_acpi(f, hid, uid),
            NodeData::Scsi { target, lun } => write!(f, "Scsi({target:#x},{lun:#x})"),
            NodeData::Usb { port, interface } => write!(f, "USB({port:#x},{interface:#x})"),
            NodeData::Sata {
                port,
                multiplier,
                lun,
            } => write!(f, "Sata({port:#x},{multiplier:#x},{lun:#x})"),
            NodeData::Nvme { namespace, eui64 } => {
                write!(f, "NVMe({namespace:#x}")?;
                for (separator, byte) in core::iter::once(',').chain(core::iter::repeat('-')).zip(eui64) {
                    write!(f, "{separator}{byte:02X}")?;
                }
                f.write_char(')')
            }
            NodeData::Mac { address, kind } => {
                // Ethernet addresses have 6 bytes; the length of others is not in the node.
                let len = if kind <= 1 { 6 } else { address.len() };
                f.push_str("MAC(");
                write_hex(f, address.get(..len).unwrap_or(&address))?;
                write!(f, ",{kind:#x})")
            }
            NodeData::Uart {
                baud,
                data_bits,
                parity,
                stop_bits,
            } => write_uart(f, baud, data_bits, parity, stop_bits),
            NodeData::HardDrive(drive) => write_hard_drive(f, &drive),
            NodeData::CdRom { entry, start, size } => write!(f, "CDROM({entry:#x},{start:#x},{size:#x})"),
            NodeData::MediaProtocol(guid) => write!(f, "Media({})", upper(guid)),
            NodeData::FirmwareFile(guid) => write!(f, "FvFile({})", upper(guid)),
            NodeData::FirmwareVolume(guid) => write!(f, "Fv({})", upper(guid)),
            NodeData::Offset { start, end } => write!(f, "Offset({start:#x},{end:#x})"),
            NodeData::FilePath(_) => {
                let units = self.file_path().into_iter().flatten();
                f.extend(char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)));
                Ok(())
            }
            NodeData::EndInstance => f.write_char(','),
            NodeData::Other => self.write_generic(f),
        }
    }

    fn write_generic(&self, f: &mut String) -> fmt::Result {
        match self.kind {
            1 => write!(f, "HardwarePath({}", self.subtype)?,
            2 => write!(f, "AcpiPath({}", self.subtype)?,
            3 => write!(f, "Msg({}", self.subtype)?,
            4 => write!(f, "MediaPath({}", self.subtype)?,
            5 => write!(f, "BbsPath({}", self.subtype)?,
            kind => write!(f, "Path({kind},{}", self.subtype)?,
        }
        if !self.data.is_empty() {
            f.push(',');
            write_hex(f, self.data)?;
        }
        f.write_char(')')
    }
}

/// GUIDs have capital letters in device paths.
fn upper(guid: Guid) -> String {
    guid.to_string().to_ascii_uppercase()
}

fn write_hex(f: &mut String, data: &[u8]) -> fmt::Result {
    data.iter().try_for_each(|byte| write!(f, "{byte:02X}"))
}

fn write_acpi(f: &mut String, hid: u32, uid: u32) -> fmt::Result {
    let (vendor, product) = (hid & 0xffff, hid >> 16);
    let name = match (vendor, product) {
        (PNP, 0x0a03) => "PciRoot",
        (PNP, 0x0a08) => "PcieRoot",
        (PNP, 0x0604) => "Floppy",
        (PNP, 0x0301) => "Keyboard",
        (PNP, 0x0501) => "Serial",
        (PNP, 0x0401) => "ParallelPort",
        _ => "",
    };
    match (name, vendor) {
        ("", PNP) => write!(f, "Acpi(PNP{product:04X},{uid:#x})"),
        ("", _) => write!(f, "Acpi({hid:#010x},{uid:#x})"),
        (name, _) => write!(f, "{name}({uid:#x})"),
    }
}

fn write_uart(f: &mut String, baud: u64, data_bits: u8, parity: u8, stop_bits: u8) -> fmt::Result {
    f.push_str("Uart(");
    match baud {
        0 => f.push_str("DEFAULT,"),
        baud => write!(f, "{baud},")?,
    }
    match data_bits {
        0 => f.push_str("DEFAULT,"),
        bits => write!(f, "{bits},")?,
    }
    let index = |number: u8| usize::from(number);
    f.push_str(["D", "N", "E", "O", "M", "S"].get(index(parity)).unwrap_or(&"x"));
    f.push(',');
    f.push_str(["D", "1", "1.5", "2"].get(index(stop_bits)).unwrap_or(&"x"));
    f.write_char(')')
}

fn write_hard_drive(f: &mut String, drive: &HardDrive) -> fmt::Result {
    write!(f, "HD({},", drive.number)?;
    match drive.signature {
        HardDriveSignature::Mbr(number) => write!(f, "MBR,{number:#010x}")?,
        HardDriveSignature::Gpt(guid) => write!(f, "GPT,{}", upper(guid))?,
        HardDriveSignature::Other { format, .. } => write!(f, "{format},0")?,
    }
    write!(f, ",{:#x},{:#x})", drive.start, drive.size)
}

#[cfg(test)]
mod tests;
