//! The header of Multiboot2 and its tags (Multiboot2 2.0, 3.1).

use core::mem::offset_of;

use boot_core::arith;
use boot_multiboot::v2::{
    ALIGN, ARCHITECTURE_I386, Address, FramebufferMode, Header, HeaderTag, InfoTag, OPTIONAL,
    RelocatableFields, SEARCH_LEN, header_tag,
};
use boot_multiboot::{
    AddressOverride, Console, Framebuffer, InfoRequest, Multiboot2, Relocatable, UnknownTag,
};
use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, Immutable, KnownLayout};

use crate::error::{Expected, MultibootError, Unsupported};
use crate::header::{at, expect, find, read};
use crate::layout::Override;

/// `load_addr`: the file is loaded from its first byte on.
const FROM_FIRST_BYTE: u32 = u32::MAX;

/// The header as found, and its load addresses with their places.
pub(crate) struct Found {
    pub(crate) metadata: Multiboot2,
    /// The file offset of the address tag's fields.
    addresses_at: u64,
    /// The file offset of the entry address tag's field.
    pub(crate) entry_at: u64,
}

/// The first header in `start`, the first bytes of the file.
pub(crate) fn read_header(start: &[u8]) -> Result<Option<Found>, MultibootError> {
    let bytes = start.get(..SEARCH_LEN).unwrap_or(start);
    let valid = |at| read::<Header>(bytes, at).filter(Header::is_valid);
    let Some(position) = find(bytes, ALIGN, |at| valid(at).is_some()) else {
        return Ok(None);
    };
    let Some(header) = valid(position) else {
        return Ok(None);
    };
    let offset = arith::to_u64(position);
    if header.architecture.get() != ARCHITECTURE_I386 {
        return Err(Unsupported::Architecture {
            at: at("architecture", offset, offset_of!(Header, architecture)),
            found: header.architecture.get(),
        }
        .into());
    }
    let len = header.header_length.get();
    let head = arith::to_u64(size_of::<Header>());
    expect(
        at("header_length", offset, offset_of!(Header, header_length)),
        len,
        Expected::AtLeast(head),
    )?;
    let end = usize::try_from(len)
        .ok()
        .and_then(|len| position.checked_add(len))
        .unwrap_or(usize::MAX);
    let Some(header) = bytes.get(position..end) else {
        return Err(MultibootError::PastEnd {
            version: "Multiboot2",
            offset,
            len: len.into(),
            limit: arith::to_u64(bytes.len()),
        });
    };
    let mut found = Found {
        metadata: Multiboot2::new(offset, len),
        addresses_at: 0,
        entry_at: 0,
    };
    let mut next = size_of::<Header>();
    loop {
        let Some(tag) = read::<HeaderTag>(header, next) else {
            return Err(MultibootError::NoEndTag {
                end: offset.saturating_add(len.into()),
            });
        };
        let tag_at = offset.saturating_add(arith::to_u64(next));
        let size_at = at("size", tag_at, offset_of!(HeaderTag, size));
        let left = header.len().saturating_sub(next);
        expect(
            size_at,
            tag.size.get(),
            Expected::AtLeast(arith::to_u64(size_of::<HeaderTag>())),
        )?;
        expect(size_at, tag.size.get(), Expected::AtMost(arith::to_u64(left)))?;
        if tag.kind.get() == header_tag::END {
            return Ok(Some(found));
        }
        let size = usize::try_from(tag.size.get()).unwrap_or(usize::MAX);
        let tag_end = next.saturating_add(size);
        let body = next.saturating_add(size_of::<HeaderTag>());
        found.take(&Tag {
            kind: tag.kind.get(),
            optional: tag.flags.get() & OPTIONAL != 0,
            offset: tag_at,
            size: tag.size.get(),
            body: header.get(body..tag_end).unwrap_or_default(),
        })?;
        next = tag_end.checked_next_multiple_of(ALIGN).unwrap_or(usize::MAX);
    }
}

/// A tag of a header.
struct Tag<'a> {
    kind: u16,
    optional: bool,
    /// The file offset of the tag.
    offset: u64,
    size: u32,
    /// What follows its head.
    body: &'a [u8],
}

impl Tag<'_> {
    /// The fields behind the head.
    fn fields<T: FromBytes + Immutable + KnownLayout>(&self) -> Result<T, MultibootError> {
        read(self.body, 0).ok_or_else(|| MultibootError::Value {
            at: at("size", self.offset, offset_of!(HeaderTag, size)),
            found: self.size.into(),
            expected: Expected::AtLeast(arith::to_u64(
                size_of::<HeaderTag>().saturating_add(size_of::<T>()),
            )),
        })
    }

    /// Puts `value` into `slot`, which must be empty.
    fn set<T>(&self, slot: &mut Option<T>, value: T) -> Result<(), MultibootError> {
        if slot.is_some() {
            return Err(MultibootError::DuplicateTag {
                kind: self.kind,
                offset: self.offset,
            });
        }
        *slot = Some(value);
        Ok(())
    }
}

impl Found {
    /// The load addresses, with their places.
    pub(crate) fn load(&self) -> Result<Option<Override>, MultibootError> {
        let Some(addresses) = self.metadata.addresses else {
            return Ok(None);
        };
        let Some(entry) = self.metadata.entry else {
            return Err(MultibootError::NoEntryTag {
                offset: self.metadata.offset,
            });
        };
        Ok(Some(Override {
            addresses,
            is_whole: addresses.load == FROM_FIRST_BYTE,
            header: self.metadata.offset,
            fields_at: self.addresses_at,
            entry,
            entry_at: self.entry_at,
        }))
    }

    fn take(&mut self, tag: &Tag<'_>) -> Result<(), MultibootError> {
        let metadata = &mut self.metadata;
        let body_at = tag.offset.saturating_add(arith::to_u64(size_of::<HeaderTag>()));
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
                let fields: Address = tag.fields()?;
                self.addresses_at = body_at;
                let addresses = AddressOverride::new(
                    fields.header_addr.get(),
                    fields.load_addr.get(),
                    fields.load_end_addr.get(),
                    fields.bss_end_addr.get(),
                );
                tag.set(&mut metadata.addresses, addresses)
            }
            header_tag::ENTRY_ADDRESS => {
                self.entry_at = body_at;
                tag.set(&mut metadata.entry, tag.fields::<U32>()?.get())
            }
            header_tag::CONSOLE_FLAGS => {
                let console = Console::new(tag.fields::<U32>()?.get(), tag.optional);
                tag.set(&mut metadata.console, console)
            }
            header_tag::FRAMEBUFFER => {
                let mode: FramebufferMode = tag.fields()?;
                let framebuffer = Framebuffer::new(
                    mode.width.get(),
                    mode.height.get(),
                    mode.depth.get(),
                    tag.optional,
                );
                tag.set(&mut metadata.framebuffer, framebuffer)
            }
            header_tag::MODULE_ALIGNMENT => {
                metadata.aligns_modules = true;
                Ok(())
            }
            header_tag::EFI_BOOT_SERVICES => {
                metadata.efi_boot_services = true;
                Ok(())
            }
            header_tag::ENTRY_ADDRESS_EFI32 => tag.set(&mut metadata.efi32_entry, tag.fields::<U32>()?.get()),
            header_tag::ENTRY_ADDRESS_EFI64 => tag.set(&mut metadata.efi64_entry, tag.fields::<U32>()?.get()),
            header_tag::RELOCATABLE => {
                let fields: RelocatableFields = tag.fields()?;
                expect(
                    at("align", body_at, offset_of!(RelocatableFields, align)),
                    fields.align.get(),
                    Expected::PowerOfTwo,
                )?;
                expect(
                    at("max_addr", body_at, offset_of!(RelocatableFields, max_addr)),
                    fields.max_addr.get(),
                    Expected::AtLeast(fields.min_addr.get().into()),
                )?;
                let relocatable = Relocatable::new(
                    fields.min_addr.get(),
                    fields.max_addr.get(),
                    fields.align.get(),
                    fields.preference.get(),
                    tag.optional,
                );
                tag.set(&mut metadata.relocatable, relocatable)
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
