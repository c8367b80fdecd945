//! The window through which host and guest exchange messages.
//!
//! The guest may change the outbox at any time while it runs, and another process with the same memory would at any time. So of every
//! message, the header and each byte of the body are read exactly once, into memory of the host, and only the copies are looked at. The host
//! never reads the inbox.

use guest_ram::ExclusiveBytes;
use sandbox_abi::Header;
use zerocopy::transmute;

use crate::base::PAGE;

/// The window: the inbox, which the guest cannot write, and the outbox.
#[derive(Debug)]
pub(crate) struct Window {
    inbox: ExclusiveBytes,
    outbox: ExclusiveBytes,
    /// Bytes after the header, in each of them.
    capacity: usize,
    /// Number of bytes from the start of the inbox on that the host wrote since they were last zeros.
    written: usize,
}

impl Window {
    /// The window of two areas of equal length.
    pub(crate) fn new(inbox: ExclusiveBytes, outbox: ExclusiveBytes) -> Self {
        let capacity = inbox.len().min(outbox.len()).saturating_sub(Header::LEN);
        Self {
            inbox,
            outbox,
            capacity,
            written: 0,
        }
    }

    /// Largest length of a body in bytes.
    #[inline]
    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Writes a message to the inbox; false if the body is longer than the capacity.
    #[inline]
    pub(crate) fn send(&mut self, header: &Header, body: &[u8]) -> bool {
        let fits = body.len() <= self.capacity;
        self.written = self.written.max(Header::LEN.saturating_add(body.len()));
        let words: [u64; Header::LEN / 8] = transmute!(*header);
        // The inbox starts with a page.
        fits && self.inbox.write(Header::LEN, body) && self.inbox.write_words(0, words)
    }

    /// A copy of the header in the outbox.
    #[inline]
    pub(crate) fn header(&self) -> Header {
        // The outbox is longer than a header, and starts with a page.
        transmute!(self.outbox.read_words(0).unwrap_or([0; Header::LEN / 8]))
    }

    /// Appends a copy of the first `len` bytes of the body in the outbox to `bytes`; false if `len` exceeds the capacity.
    #[inline]
    pub(crate) fn append_body(&self, len: usize, bytes: &mut Vec<u8>) -> bool {
        len <= self.capacity && self.outbox.append_to(Header::LEN, len, bytes)
    }

    /// Copies bytes of inbox or outbox, which is at `outbox`, at a guest physical address, for a debugger. False if a byte is elsewhere.
    #[cfg(feature = "debug")]
    pub(crate) fn read(&self, outbox: u64, addr: u64, bytes: &mut [u8]) -> bool {
        let areas = [(sandbox_abi::layout::INBOX, &self.inbox), (outbox, &self.outbox)];
        areas.into_iter().any(|(start, area)| {
            let offset = addr
                .checked_sub(start)
                .and_then(|offset| usize::try_from(offset).ok());
            let mut found = Vec::with_capacity(bytes.len());
            let is_read = offset.is_some_and(|offset| area.read_to(offset, bytes.len(), &mut found));
            bytes.iter_mut().zip(found).for_each(|(to, from)| *to = from);
            is_read
        })
    }

    /// Makes the inbox zeros, so that nothing of one guest is visible to the next one.
    pub(crate) fn scrub_inbox(&mut self) {
        let is_done = self.inbox.zero(0, std::mem::take(&mut self.written));
        debug_assert!(is_done, "no more is written than the inbox has");
    }

    /// Makes the outbox zeros. Pages that are zeros already are not written.
    pub(crate) fn scrub_written_outbox(&mut self) {
        for page in 0..self.outbox.len() / PAGE {
            if !self.outbox.equals(page.saturating_mul(PAGE), &[0; PAGE]) {
                self.scrub_outbox(page);
            }
        }
    }

    /// Makes page `page` of the outbox zeros; false if it has no such page.
    pub(crate) fn scrub_outbox(&mut self, page: usize) -> bool {
        self.outbox.zero(page.saturating_mul(PAGE), PAGE)
    }
}
