//! Log records, collected in the window.

use core::fmt::{self, Write as _};
use core::mem::size_of;

use sandbox_abi::{LogLevel, LogRecord};
use zerocopy::IntoBytes as _;
use zerocopy::little_endian::{U16, U32};

use crate::port::Port;
use crate::text::{TextWriter, cut};
use crate::window::{Window, copy_to, narrow};

/// Logs a record. Records are collected in the window, and sent when it is full or before the next message.
///
/// A record that the host's budget does not allow is dropped and counted, and so is one that is logged while a value or another record is
/// written. A text that is longer than the window is cut.
pub fn log(port: &dyn Port, level: LogLevel, target: &str, line: u32, text: fmt::Arguments<'_>) {
    let window = Window::new(port);
    let state = window.state();
    let is_over = state.log_records.get() >= window.header().log_budget.get();
    if is_over || state.is_writing.get() {
        state.log_dropped.set(state.log_dropped.get().saturating_add(1));
        return;
    }
    state.is_writing.set(true);
    let mut is_logged = write(&window, level, target, line, text, false);
    if !is_logged {
        // The window is full.
        window.flush_log();
        is_logged = write(&window, level, target, line, text, true);
    }
    state.is_writing.set(false);
    if !is_logged {
        state.log_dropped.set(state.log_dropped.get().saturating_add(1));
    }
}

/// Appends a record; false if there is no room for it. With `may_cut`, the start of its text suffices.
fn write(
    window: &Window<'_>,
    level: LogLevel,
    target: &str,
    line: u32,
    text: fmt::Arguments<'_>,
    may_cut: bool,
) -> bool {
    let state = window.state();
    let target = cut(target, usize::from(u8::MAX));
    let start = usize::try_from(state.log_len.get()).unwrap_or(usize::MAX);
    let text_start = size_of::<LogRecord>() + target.len();
    let room = window.body().get(start..).unwrap_or_default();
    let Some(text_room) = room.get(text_start..) else {
        return false;
    };
    let mut writer = TextWriter::new(text_room);
    if writer.write_fmt(text).is_err() && !may_cut {
        return false;
    }
    let record = LogRecord {
        level,
        target_len: u8::try_from(target.len()).unwrap_or(u8::MAX),
        reserved: U16::new(0),
        message_len: U32::new(narrow(writer.len())),
        line: U32::new(line),
    };
    copy_to(room, record.as_bytes());
    copy_to(
        room.get(size_of::<LogRecord>()..).unwrap_or_default(),
        target.as_bytes(),
    );
    state.log_len.set(narrow(start + text_start + writer.len()));
    state.log_records.set(state.log_records.get().saturating_add(1));
    true
}
