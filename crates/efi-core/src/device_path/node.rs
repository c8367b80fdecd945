//! Nodes and the data of the types that firmware and loaders use.

use uguid::Guid;

/// A node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Node<'a> {
    /// The type: 1 hardware, 2 ACPI, 3 messaging, 4 media, 5 BIOS boot, 0x7f end.
    pub kind: u8,
    /// The subtype.
    pub subtype: u8,
    /// The data after the header.
    pub data: &'a [u8],
}

/// Identity of the partition's disk in a hard drive node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HardDriveSignature {
    /// 32-bit signature of a disk with MBR.
    Mbr(u32),
    /// GUID of the partition in a GPT.
    Gpt(Guid),
    /// Other formats or no signature.
    Other {
        /// Partition format: 1 MBR, 2 GPT.
        format: u8,
        /// Signature type: 0 none, 1 MBR, 2 GUID.
        kind: u8,
        /// The bytes of the signature.
        signature: [u8; 16],
    },
}

/// A hard drive node, UEFI 2.10 section 10.3.5.1: a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HardDrive {
    /// Number of the partition from 1 on; 0 is the whole disk.
    pub number: u32,
    /// First block.
    pub start: u64,
    /// Number of blocks.
    pub size: u64,
    /// The identity.
    pub signature: HardDriveSignature,
}

/// Decoded data of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NodeData<'a> {
    /// PCI device, 10.3.2.1.
    Pci {
        /// Device number.
        device: u8,
        /// Function number.
        function: u8,
    },
    /// Memory-mapped device, 10.3.2.3.
    MemoryMapped {
        /// Memory type.
        kind: u32,
        /// First address.
        start: u64,
        /// Last address.
        end: u64,
    },
    /// Vendor-defined node of the types hardware, messaging or media.
    Vendor {
        /// The vendor's GUID.
        guid: Guid,
        /// Data of the vendor.
        data: &'a [u8],
    },
    /// Controller number, 10.3.2.5.
    Controller(u32),
    /// ACPI device, 10.3.3.
    Acpi {
        /// Compressed `_HID`.
        hid: u32,
        /// `_UID`.
        uid: u32,
    },
    /// SCSI device, 10.3.4.2.
    Scsi {
        /// Target.
        target: u16,
        /// Logical unit.
        lun: u16,
    },
    /// USB device, 10.3.4.5.
    Usb {
        /// Port of the parent.
        port: u8,
        /// Interface.
        interface: u8,
    },
    /// SATA device, 10.3.4.6.
    Sata {
        /// Port of the controller.
        port: u16,
        /// Port of the multiplier, 0xffff for none.
        multiplier: u16,
        /// Logical unit.
        lun: u16,
    },
    /// NVMe namespace, 10.3.4.14.
    Nvme {
        /// Namespace.
        namespace: u32,
        /// EUI-64 in the order of the bytes.
        eui64: [u8; 8],
    },
    /// Network device, 10.3.4.11.
    Mac {
        /// Address, padded with zeros.
        address: [u8; 32],
        /// Interface type of RFC 3232.
        kind: u8,
    },
    /// Serial port, 10.3.4.15.
    Uart {
        /// Bits per second, 0 for the default.
        baud: u64,
        /// Data bits, 0 for the default.
        data_bits: u8,
        /// Parity: 0 default, 1 none, 2 even, 3 odd, 4 mark, 5 space.
        parity: u8,
        /// Stop bits: 0 default, 1 one, 2 one and a half, 3 two.
        stop_bits: u8,
    },
    /// Partition, 10.3.5.1.
    HardDrive(HardDrive),
    /// El Torito entry, 10.3.5.2.
    CdRom {
        /// Entry of the boot catalogue.
        entry: u32,
        /// First block.
        start: u64,
        /// Number of blocks.
        size: u64,
    },
    /// Media protocol, 10.3.5.5.
    MediaProtocol(Guid),
    /// File of a firmware volume, 10.3.5.6.
    FirmwareFile(Guid),
    /// Firmware volume, 10.3.5.7.
    FirmwareVolume(Guid),
    /// File path, 10.3.5.4: UCS-2 with NUL.
    FilePath(&'a [u8]),
    /// Range of a device, 10.3.5.8.
    Offset {
        /// First byte.
        start: u64,
        /// Last byte.
        end: u64,
    },
    /// End of an instance.
    EndInstance,
    /// Every other node, or one whose data is too short for its type.
    Other,
}

fn u16_at(data: &[u8], offset: usize) -> Option<u16> {
    data.get(offset..)?.first_chunk().copied().map(u16::from_le_bytes)
}

fn u32_at(data: &[u8], offset: usize) -> Option<u32> {
    data.get(offset..)?.first_chunk().copied().map(u32::from_le_bytes)
}

fn u64_at(data: &[u8], offset: usize) -> Option<u64> {
    data.get(offset..)?.first_chunk().copied().map(u64::from_le_bytes)
}

fn guid_at(data: &[u8], offset: usize) -> Option<Guid> {
    data.get(offset..)?.first_chunk().copied().map(Guid::from_bytes)
}

impl<'a> Node<'a> {
    /// The data by the node's type.
    #[must_use]
    pub fn decode(&self) -> NodeData<'a> {
        self.try_decode().unwrap_or(NodeData::Other)
    }

    fn try_decode(&self) -> Option<NodeData<'a>> {
        let data = self.data;
        Some(match (self.kind, self.subtype) {
            (1, 1) => NodeData::Pci {
                function: *data.first()?,
                device: *data.get(1)?,
            },
            (1, 3) => NodeData::MemoryMapped {
                kind: u32_at(data, 0)?,
                start: u64_at(data, 4)?,
                end: u64_at(data, 12)?,
            },
            (1, 4) | (3, 10) | (4, 3) => NodeData::Vendor {
                guid: guid_at(data, 0)?,
                data: data.get(16..)?,
            },
            (1, 5) => NodeData::Controller(u32_at(data, 0)?),
            (2, 1) => NodeData::Acpi {
                hid: u32_at(data, 0)?,
                uid: u32_at(data, 4)?,
            },
            (3, 2) => NodeData::Scsi {
                target: u16_at(data, 0)?,
                lun: u16_at(data, 2)?,
            },
            (3, 5) => NodeData::Usb {
                port: *data.first()?,
                interface: *data.get(1)?,
            },
            (3, 11) => NodeData::Mac {
                address: *data.first_chunk()?,
                kind: *data.get(32)?,
            },
            (3, 14) => NodeData::Uart {
                baud: u64_at(data, 4)?,
                data_bits: *data.get(12)?,
                parity: *data.get(13)?,
                stop_bits: *data.get(14)?,
            },
            (3, 18) => NodeData::Sata {
                port: u16_at(data, 0)?,
                multiplier: u16_at(data, 2)?,
                lun: u16_at(data, 4)?,
            },
            (3, 23) => NodeData::Nvme {
                namespace: u32_at(data, 0)?,
                eui64: *data.get(4..)?.first_chunk()?,
            },
            (4, 1) => NodeData::HardDrive(hard_drive(data)?),
            (4, 2) => NodeData::CdRom {
                entry: u32_at(data, 0)?,
                start: u64_at(data, 4)?,
                size: u64_at(data, 12)?,
            },
            (4, 4) => NodeData::FilePath(data),
            (4, 5) => NodeData::MediaProtocol(guid_at(data, 0)?),
            (4, 6) => NodeData::FirmwareFile(guid_at(data, 0)?),
            (4, 7) => NodeData::FirmwareVolume(guid_at(data, 0)?),
            (4, 8) => NodeData::Offset {
                start: u64_at(data, 4)?,
                end: u64_at(data, 12)?,
            },
            (0x7f, 1) => NodeData::EndInstance,
            _ => NodeData::Other,
        })
    }

    /// The characters of a file path node up to its NUL.
    #[must_use]
    pub fn file_path(&self) -> Option<impl Iterator<Item = u16> + 'a> {
        let NodeData::FilePath(data) = self.decode() else {
            return None;
        };
        let units = data.chunks_exact(2).filter_map(|unit| u16_at(unit, 0));
        Some(units.take_while(|unit| *unit != 0))
    }
}

fn hard_drive(data: &[u8]) -> Option<HardDrive> {
    let signature: [u8; 16] = *data.get(20..)?.first_chunk()?;
    let (format, kind) = (*data.get(36)?, *data.get(37)?);
    let signature = match (format, kind) {
        (1, 1) => HardDriveSignature::Mbr(u32_at(&signature, 0)?),
        (2, 2) => HardDriveSignature::Gpt(Guid::from_bytes(signature)),
        _ => HardDriveSignature::Other {
            format,
            kind,
            signature,
        },
    };
    Some(HardDrive {
        number: u32_at(data, 0)?,
        start: u64_at(data, 4)?,
        size: u64_at(data, 12)?,
        signature,
    })
}
