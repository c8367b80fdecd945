//! Parser of the Multiboot 1 header (Multiboot 0.6.96, 3.1).

use core::mem::offset_of;

use boot_core::arith;
use boot_multiboot::v1::{
    AddressFields, GraphicsFields, HEADER_ALIGN, HEADER_MAGIC, Header, SEARCH_LEN, header_flags,
};
use boot_multiboot::{LoadAddresses, MultibootMetadata, VideoMode};

use crate::error::MultibootError;
use crate::header::{find, read};
use crate::layout::LoadFields;

/// Offset of the address fields in the header.
const ADDRESSES: usize = size_of::<Header>();

/// Offset of the graphics fields in the header.
const GRAPHICS: usize = ADDRESSES.saturating_add(size_of::<AddressFields>());

/// A parsed header.
pub(crate) struct Found {
    pub(crate) metadata: MultibootMetadata,
    pub(crate) load: Option<LoadFields>,
}

/// Finds and parses the first header in `start`, the first bytes of the file.
pub(crate) fn read_header(start: &[u8]) -> Result<Option<Found>, MultibootError> {
    let bytes = start.get(..SEARCH_LEN).unwrap_or(start);
    let header = |at| read::<Header>(bytes, at).filter(Header::is_valid);
    let Some(position) = find(bytes, HEADER_ALIGN, HEADER_MAGIC, |at| header(at).is_some()) else {
        return Ok(None);
    };
    let flags = header(position).map_or(0, |header| header.flags.get());
    let offset = arith::to_u64(position);
    let mut metadata = MultibootMetadata::new(offset, flags);
    let past_end = |len: usize| MultibootError::HeaderPastEnd {
        version: "Multiboot",
        offset,
        len: arith::to_u64(len),
        limit: arith::to_u64(bytes.len()),
    };
    let mut load = None;
    if flags & header_flags::ADDRESSES != 0 {
        let fields: AddressFields =
            read(bytes, position.saturating_add(ADDRESSES)).ok_or_else(|| past_end(GRAPHICS))?;
        let addresses = LoadAddresses::new(
            fields.header_addr.get(),
            fields.load_addr.get(),
            fields.load_end_addr.get(),
            fields.bss_end_addr.get(),
        );
        metadata.addresses = Some(addresses);
        let addresses_offset = offset.saturating_add(arith::to_u64(ADDRESSES));
        load = Some(LoadFields {
            addresses,
            is_whole: false,
            header_offset: offset,
            addresses_offset,
            entry: fields.entry_addr.get(),
            entry_offset: addresses_offset
                .saturating_add(arith::to_u64(offset_of!(AddressFields, entry_addr))),
        });
    }
    if metadata.requires_video_mode() {
        let end = GRAPHICS.saturating_add(size_of::<GraphicsFields>());
        let fields: GraphicsFields =
            read(bytes, position.saturating_add(GRAPHICS)).ok_or_else(|| past_end(end))?;
        metadata.video = Some(VideoMode::new(
            fields.mode_type.get(),
            fields.width.get(),
            fields.height.get(),
            fields.depth.get(),
        ));
    }
    Ok(Some(Found { metadata, load }))
}
