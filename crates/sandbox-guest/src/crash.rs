//! The last message of a program.

use core::cell::Cell;
use core::fmt::{self, Write as _};
use core::mem::size_of;
use core::panic::Location;

use sandbox_abi::{CrashLocation, CrashRecord, Header, MessageKind};
use zerocopy::IntoBytes as _;
use zerocopy::little_endian::{U16, U32};

use crate::port::Port;
use crate::reply::Body;
use crate::text::TextWriter;
use crate::window::{Window, copy_to, narrow};

/// Reports that the program stopped, with one message. The text is cut where the window has no room for it.
///
/// It returns if the host lets the program continue, which it then cannot.
pub fn report_crash(
    port: &dyn Port,
    mut record: CrashRecord,
    text: fmt::Arguments<'_>,
    location: Option<&Location<'_>>,
) {
    let window = Window::new(port);
    window.flush_log();
    let body = window.body();
    let text_start = size_of::<CrashRecord>();
    let location_len = location.map_or(0, |location| size_of::<CrashLocation>() + file(location).len());
    let text_end = body.len().saturating_sub(location_len);
    let room = body.get(text_start..text_end).unwrap_or_default();
    let mut writer = TextWriter::new(room);
    // An error is a text that does not fit, or a `Display` that fails: what was written before it counts.
    let _ = writer.write_fmt(text);
    let text_len = writer.len();
    record.message_len = U32::new(narrow(text_len));
    copy_to(body, record.as_bytes());
    let mut len = text_start + text_len;
    if let Some(location) = location {
        len += write_location(body.get(len..).unwrap_or_default(), location);
    }
    let len = narrow(len.min(body.len()));
    window.send(Header::new(MessageKind::CRASH, 0), Body::Window(len));
}

/// The file of a location, as much as its record can have.
fn file<'a>(location: &'a Location<'_>) -> &'a [u8] {
    let file = location.file().as_bytes();
    file.get(..255).unwrap_or(file)
}

/// Writes a location, and returns its length.
fn write_location(body: &[Cell<u8>], location: &Location<'_>) -> usize {
    let file = file(location);
    let record = CrashLocation {
        line: U32::new(location.line()),
        column: U32::new(location.column()),
        file_len: U16::new(u16::try_from(file.len()).unwrap_or(0)),
        reserved: U16::new(0),
    };
    copy_to(body, record.as_bytes());
    copy_to(body.get(size_of::<CrashLocation>()..).unwrap_or_default(), file);
    size_of::<CrashLocation>() + file.len()
}
