//! Parser of the Multiboot2 header and its tags (Multiboot2 2.0, 3.1).

use alloc::vec::Vec;
use core::mem::{discriminant, offset_of};

use boot_core::arith;
use boot_multiboot::v2::{
    ALIGN, ARCHITECTURE_I386, AddressFields, FramebufferFields, HEADER_MAGIC, HEADER_TAG_OPTIONAL, Header,
    HeaderTag, InfoTag, RelocatableFields, SEARCH_LEN, header_tag,
};
use boot_multiboot::{
    Console, Framebuffer, InfoRequest, LoadAddresses, Multiboot2Metadata, Relocatable, UnknownTag,
};
use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, Immutable, KnownLayout};

use crate::error::{MultibootError, Unsupported, ValidValues};
use crate::header::{check, field, find, read};
use crate::layout::LoadFields;
use crate::warning::Warning;

/// Value of `load_addr` if the file is loaded from its first byte.
const FROM_FIRST_BYTE: u32 = u32::MAX;

/// A parsed header.
pub(crate) struct Found {
    pub(crate) metadata: Multiboot2Metadata,
    /// File offset of the fields of the address tag.
    addresses_offset: u64,
    /// File offset of the field of the entry address tag.
    pub(crate) entry_offset: u64,
    /// Warnings, one of each kind.
    pub(crate) warnings: Vec<Warning>,
}

/// Finds and parses the first header in `start`, the first bytes of the file.
pub(crate) fn read_header(start: &[u8]) -> Result<Option<Found>, MultibootError> {
    let bytes = start.get(..SEARCH_LEN).unwrap_or(start);
    let valid = |at| read::<Header>(bytes, at).filter(Header::is_valid);
    let Some(position) = find(bytes, ALIGN, HEADER_MAGIC, |at| valid(at).is_some()) else {
        return Ok(None);
    };
    let Some(header) = valid(position) else {
        return Ok(None);
    };
    let offset = arith::to_u64(position);
    if header.architecture.get() != ARCHITECTURE_I386 {
        return Err(Unsupported::Architecture {
            field: field("architecture", offset, offset_of!(Header, architecture)),
            architecture: header.architecture.get(),
        }
        .into());
    }
    let len = header.header_length.get();
    check(
        field("header_length", offset, offset_of!(Header, header_length)),
        len,
        ValidValues::AtLeast(arith::to_u64(size_of::<Header>())),
    )?;
    let end = usize::try_from(len)
        .ok()
        .and_then(|len| position.checked_add(len))
        .unwrap_or(usize::MAX);
    let Some(header) = bytes.get(position..end) else {
        return Err(MultibootError::HeaderPastEnd {
            version: "Multiboot2",
            offset,
            len: len.into(),
            limit: arith::to_u64(bytes.len()),
        });
    };
    let mut found = Found {
        metadata: Multiboot2Metadata::new(offset, len),
        addresses_offset: 0,
        entry_offset: 0,
        warnings: Vec::new(),
    };
    let mut next = size_of::<Header>();
    loop {
        if next >= header.len() {
            found.warn(Warning::NoEndTag {
                end: offset.saturating_add(len.into()),
            });
            return Ok(Some(found));
        }
        let Some(tag) = read::<HeaderTag>(header, next) else {
            return Err(MultibootError::TagTruncated {
                end: offset.saturating_add(len.into()),
            });
        };
        let tag_offset = offset.saturating_add(arith::to_u64(next));
        let size_field = field("size", tag_offset, offset_of!(HeaderTag, size));
        let available = header.len().saturating_sub(next);
        if tag.kind.get() == header_tag::END {
            let size = tag.size.get();
            if usize::try_from(size).ok() != Some(size_of::<HeaderTag>()) {
                found.warn(Warning::EndTagSize {
                    field: size_field,
                    size,
                });
            }
            return Ok(Some(found));
        }
        check(
            size_field,
            tag.size.get(),
            ValidValues::AtLeast(arith::to_u64(size_of::<HeaderTag>())),
        )?;
        check(
            size_field,
            tag.size.get(),
            ValidValues::AtMost(arith::to_u64(available)),
        )?;
        let size = usize::try_from(tag.size.get()).unwrap_or(usize::MAX);
        let tag_end = next.saturating_add(size);
        let body = next.saturating_add(size_of::<HeaderTag>());
        found.add(&Tag {
            kind: tag.kind.get(),
            optional: tag.flags.get() & HEADER_TAG_OPTIONAL != 0,
            offset: tag_offset,
            size: tag.size.get(),
            body: header.get(body..tag_end).unwrap_or_default(),
        })?;
        next = tag_end.checked_next_multiple_of(ALIGN).unwrap_or(usize::MAX);
    }
}

/// A header tag.
struct Tag<'a> {
    kind: u16,
    optional: bool,
    /// File offset of the tag.
    offset: u64,
    size: u32,
    /// Bytes after the [`HeaderTag`].
    body: &'a [u8],
}

impl Tag<'_> {
    /// Reads the fields after the [`HeaderTag`].
    fn fields<T: FromBytes + Immutable + KnownLayout>(&self) -> Result<T, MultibootError> {
        read(self.body, 0).ok_or_else(|| MultibootError::InvalidField {
            field: field("size", self.offset, offset_of!(HeaderTag, size)),
            value: self.size.into(),
            expected: ValidValues::AtLeast(arith::to_u64(
                size_of::<HeaderTag>().saturating_add(size_of::<T>()),
            )),
        })
    }

    /// Sets `slot` to `value` if it is empty. If not, the first value counts, with a warning. Different addresses are an
    /// error: they would load or start something else.
    fn set<T: PartialEq>(
        &self,
        slot: &mut Option<T>,
        value: T,
        warnings: &mut Vec<Warning>,
    ) -> Result<(), MultibootError> {
        let (kind, offset) = (self.kind, self.offset);
        match slot {
            None => *slot = Some(value),
            Some(first)
                if *first != value && matches!(kind, header_tag::ADDRESS | header_tag::ENTRY_ADDRESS) =>
            {
                return Err(MultibootError::DuplicateTag { kind, offset });
            }
            Some(_) => add_once(warnings, Warning::DuplicateTag { kind, offset }),
        }
        Ok(())
    }
}

/// Adds a warning if there is none of its kind.
fn add_once(warnings: &mut Vec<Warning>, warning: Warning) {
    let is_same = |other: &Warning| discriminant(other) == discriminant(&warning);
    if !warnings.iter().any(is_same) {
        warnings.push(warning);
    }
}

impl Found {
    fn warn(&mut self, warning: Warning) {
        add_once(&mut self.warnings, warning);
    }

    /// Load addresses and entry point; `None` without an address tag.
    pub(crate) fn load(&self) -> Result<Option<LoadFields>, MultibootError> {
        let Some(addresses) = self.metadata.addresses else {
            return Ok(None);
        };
        let Some(entry) = self.metadata.entry else {
            return Err(MultibootError::NoEntryAddressTag {
                offset: self.metadata.offset,
            });
        };
        Ok(Some(LoadFields {
            addresses,
            is_whole: addresses.load_addr == FROM_FIRST_BYTE,
            header_offset: self.metadata.offset,
            addresses_offset: self.addresses_offset,
            entry,
            entry_offset: self.entry_offset,
        }))
    }

    /// Adds a tag to the metadata.
    fn add(&mut self, tag: &Tag<'_>) -> Result<(), MultibootError> {
        let (metadata, warnings) = (&mut self.metadata, &mut self.warnings);
        let body_offset = tag.offset.saturating_add(arith::to_u64(size_of::<HeaderTag>()));
        match tag.kind {
            header_tag::INFORMATION_REQUEST => {
                let types = tag
                    .body
                    .chunks_exact(size_of::<U32>())
                    .filter_map(|bytes| read::<U32>(bytes, 0));
                let request = |kind: U32| InfoRequest::new(InfoTag(kind.get()), tag.optional);
                metadata.requests.extend(types.map(request));
                Ok(())
            }
            header_tag::ADDRESS => {
                let fields: AddressFields = tag.fields()?;
                let addresses = LoadAddresses::new(
                    fields.header_addr.get(),
                    fields.load_addr.get(),
                    fields.load_end_addr.get(),
                    fields.bss_end_addr.get(),
                );
                if metadata.addresses.is_none() {
                    self.addresses_offset = body_offset;
                }
                tag.set(&mut metadata.addresses, addresses, warnings)
            }
            header_tag::ENTRY_ADDRESS => {
                let entry = tag.fields::<U32>()?.get();
                if metadata.entry.is_none() {
                    self.entry_offset = body_offset;
                }
                tag.set(&mut metadata.entry, entry, warnings)
            }
            header_tag::CONSOLE_FLAGS => {
                let console = Console::new(tag.fields::<U32>()?.get(), tag.optional);
                tag.set(&mut metadata.console, console, warnings)
            }
            header_tag::FRAMEBUFFER => {
                let mode: FramebufferFields = tag.fields()?;
                let framebuffer = Framebuffer::new(
                    mode.width.get(),
                    mode.height.get(),
                    mode.depth.get(),
                    tag.optional,
                );
                tag.set(&mut metadata.framebuffer, framebuffer, warnings)
            }
            header_tag::MODULE_ALIGNMENT => {
                metadata.requires_aligned_modules = true;
                Ok(())
            }
            header_tag::EFI_BOOT_SERVICES => {
                metadata.efi_boot_services = true;
                Ok(())
            }
            header_tag::ENTRY_ADDRESS_EFI32 => {
                tag.set(&mut metadata.efi32_entry, tag.fields::<U32>()?.get(), warnings)
            }
            header_tag::ENTRY_ADDRESS_EFI64 => {
                tag.set(&mut metadata.efi64_entry, tag.fields::<U32>()?.get(), warnings)
            }
            header_tag::RELOCATABLE => {
                let fields: RelocatableFields = tag.fields()?;
                // Without the tag, the kernel runs at its link address.
                if !fields.align.get().is_power_of_two() || fields.max_addr < fields.min_addr {
                    add_once(warnings, Warning::RelocatableIgnored { offset: tag.offset });
                    return Ok(());
                }
                let relocatable = Relocatable::new(
                    fields.min_addr.get(),
                    fields.max_addr.get(),
                    fields.align.get(),
                    fields.preference.get(),
                    tag.optional,
                );
                tag.set(&mut metadata.relocatable, relocatable, warnings)
            }
            kind => {
                metadata
                    .unknown
                    .push(UnknownTag::new(kind, tag.optional, tag.offset));
                Ok(())
            }
        }
    }
}
