//! The header of Multiboot 1 (Multiboot 0.6.96, 3.1).

use core::mem::offset_of;

use boot_core::arith;
use boot_multiboot::v1::{AddressFields, HEADER_ALIGN, Header, SEARCH_LEN, VideoFields, header_flags};
use boot_multiboot::{AddressOverride, Multiboot, VideoMode};

use crate::error::MultibootError;
use crate::header::{find, read};
use crate::layout::Override;

const ADDRESSES: usize = size_of::<Header>();
const VIDEO: usize = ADDRESSES.saturating_add(size_of::<AddressFields>());

/// The header as found, and its load addresses with their places.
pub(crate) struct Found {
    pub(crate) metadata: Multiboot,
    pub(crate) load: Option<Override>,
}

/// The first header in `start`, the first bytes of the file.
pub(crate) fn read_header(start: &[u8]) -> Result<Option<Found>, MultibootError> {
    let bytes = start.get(..SEARCH_LEN).unwrap_or(start);
    let header = |at| read::<Header>(bytes, at).filter(Header::is_valid);
    let Some(position) = find(bytes, HEADER_ALIGN, |at| header(at).is_some()) else {
        return Ok(None);
    };
    let flags = header(position).map_or(0, |header| header.flags.get());
    let offset = arith::to_u64(position);
    let mut metadata = Multiboot::new(offset, flags);
    let past_end = |len: usize| MultibootError::PastEnd {
        version: "Multiboot",
        offset,
        len: arith::to_u64(len),
        limit: arith::to_u64(bytes.len()),
    };
    let mut load = None;
    if flags & header_flags::ADDRESSES != 0 {
        let fields: AddressFields =
            read(bytes, position.saturating_add(ADDRESSES)).ok_or_else(|| past_end(VIDEO))?;
        let addresses = AddressOverride::new(
            fields.header_addr.get(),
            fields.load_addr.get(),
            fields.load_end_addr.get(),
            fields.bss_end_addr.get(),
        );
        metadata.addresses = Some(addresses);
        let fields_at = offset.saturating_add(arith::to_u64(ADDRESSES));
        load = Some(Override {
            addresses,
            is_whole: false,
            header: offset,
            fields_at,
            entry: fields.entry_addr.get(),
            entry_at: fields_at.saturating_add(arith::to_u64(offset_of!(AddressFields, entry_addr))),
        });
    }
    if metadata.requires_video() {
        let end = VIDEO.saturating_add(size_of::<VideoFields>());
        let fields: VideoFields = read(bytes, position.saturating_add(VIDEO)).ok_or_else(|| past_end(end))?;
        metadata.video = Some(VideoMode::new(
            fields.mode_type.get(),
            fields.width.get(),
            fields.height.get(),
            fields.depth.get(),
        ));
    }
    Ok(Some(Found { metadata, load }))
}
