//! Multiboot headers in the report of `vmboot inspect`.

use std::fmt;

use boot_multiboot::{LoadAddresses, Multiboot2Metadata, MultibootMetadata};
use serde::{Deserialize, Serialize};

use super::Hex;

/// A Multiboot 1 header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MultibootReport {
    /// Offset of the header in the file.
    pub offset: Hex,
    /// `flags`.
    pub flags: Hex,
    /// Load addresses, if the header contains them (bit 16 of `flags`).
    pub addresses: Option<AddressesReport>,
}

/// Load addresses in a Multiboot header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AddressesReport {
    /// `header_addr`.
    pub header: Hex,
    /// `load_addr`.
    pub load: Hex,
    /// `load_end_addr`. Zero: load to the end of the file.
    pub load_end: Hex,
    /// `bss_end_addr`. Zero: no BSS.
    pub bss_end: Hex,
}

/// A Multiboot2 header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Multiboot2Report {
    /// Offset of the header in the file.
    pub offset: Hex,
    /// Information tags that the kernel requests.
    pub requests: Vec<InfoRequestReport>,
    /// Load addresses, if the header has an address tag.
    pub addresses: Option<AddressesReport>,
    /// Addresses where the image can be loaded, if the header has a relocatable tag.
    pub relocatable: Option<RelocatableReport>,
    /// Types of the header tags that Multiboot2 2.0 does not define.
    pub unknown_tags: Vec<u16>,
}

/// An information tag that a kernel requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct InfoRequestReport {
    /// Type of the tag.
    pub tag: u32,
    /// Name of the tag, if Multiboot2 2.0 defines it.
    pub name: Option<String>,
    /// Whether the tag is optional: otherwise the kernel cannot be booted without it.
    pub optional: bool,
}

/// The relocatable tag of a Multiboot2 header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RelocatableReport {
    /// `min_addr`: the lowest address of the image.
    pub min: Hex,
    /// `max_addr`: the highest address of the last byte of the image.
    pub max: Hex,
    /// Alignment in bytes.
    pub align: Hex,
    /// Preferred address. 0: none, 1: the lowest, 2: the highest.
    pub preference: u32,
}

impl From<&LoadAddresses> for AddressesReport {
    fn from(addresses: &LoadAddresses) -> Self {
        Self {
            header: Hex(addresses.header_addr.into()),
            load: Hex(addresses.load_addr.into()),
            load_end: Hex(addresses.load_end_addr.into()),
            bss_end: Hex(addresses.bss_end_addr.into()),
        }
    }
}

impl From<&MultibootMetadata> for MultibootReport {
    fn from(header: &MultibootMetadata) -> Self {
        Self {
            offset: Hex(header.offset),
            flags: Hex(header.flags.into()),
            addresses: header.addresses.as_ref().map(AddressesReport::from),
        }
    }
}

impl From<&Multiboot2Metadata> for Multiboot2Report {
    fn from(header: &Multiboot2Metadata) -> Self {
        Self {
            offset: Hex(header.offset),
            requests: header
                .requests
                .iter()
                .map(|request| InfoRequestReport {
                    tag: request.tag.0,
                    name: request.tag.name().map(ToOwned::to_owned),
                    optional: request.optional,
                })
                .collect(),
            addresses: header.addresses.as_ref().map(AddressesReport::from),
            relocatable: header.relocatable.map(|tag| RelocatableReport {
                min: Hex(tag.min_addr.into()),
                max: Hex(tag.max_addr.into()),
                align: Hex(tag.align.into()),
                preference: tag.preference,
            }),
            unknown_tags: header.unknown.iter().map(|tag| tag.kind).collect(),
        }
    }
}

impl fmt::Display for MultibootReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Multiboot at offset {}, flags {}", self.offset, self.flags)?;
        if self.addresses.is_some() {
            write!(f, ", with load addresses")?;
        }
        Ok(())
    }
}

impl fmt::Display for Multiboot2Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Multiboot2 at offset {}", self.offset)?;
        if self.addresses.is_some() {
            write!(f, ", with load addresses")?;
        }
        if let Some(tag) = &self.relocatable {
            let (min, max, align) = (&tag.min, &tag.max, &tag.align);
            write!(f, ", relocatable from {min} up to {max}, aligned to {align}")?;
        }
        for (i, request) in self.requests.iter().enumerate() {
            f.write_str(if i == 0 { "; requests " } else { ", " })?;
            match &request.name {
                Some(name) => f.write_str(name)?,
                None => write!(f, "tag {}", request.tag)?,
            }
            if request.optional {
                f.write_str(" (optional)")?;
            }
        }
        Ok(())
    }
}
