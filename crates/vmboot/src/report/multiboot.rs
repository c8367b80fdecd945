//! What the Multiboot headers of an image ask for.

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
    /// The load addresses, where the header has them.
    pub addresses: Option<AddressesReport>,
}

/// Load addresses in a Multiboot header. Zero: up to the end of the file, or no BSS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AddressesReport {
    /// `header_addr`.
    pub header: Hex,
    /// `load_addr`.
    pub load: Hex,
    /// `load_end_addr`.
    pub load_end: Hex,
    /// `bss_end_addr`.
    pub bss_end: Hex,
}

/// A Multiboot2 header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Multiboot2Report {
    /// Offset of the header in the file.
    pub offset: Hex,
    /// The information tags that the kernel asks for.
    pub requests: Vec<InfoRequestReport>,
    /// The load addresses, where the header has them.
    pub addresses: Option<AddressesReport>,
    /// Where the image may be moved, where it may be.
    pub relocatable: Option<RelocatableReport>,
    /// Types of header tags that this program does not know.
    pub unknown_tags: Vec<u16>,
}

/// An information tag that a kernel asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct InfoRequestReport {
    /// The type.
    pub tag: u32,
    /// Its name, if it is a known one.
    pub name: Option<String>,
    /// Whether the kernel can do without.
    pub optional: bool,
}

/// The relocatable tag.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RelocatableReport {
    /// The lowest address.
    pub min: Hex,
    /// The highest address of the last byte.
    pub max: Hex,
    /// The alignment.
    pub align: Hex,
    /// 0: no preference; 1: lowest; 2: highest address.
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
            f.write_str(if i == 0 { "; asks for " } else { ", " })?;
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
