//! Formatting into the window.

use core::cell::Cell;
use core::fmt;

use crate::window::copy_to;

/// Writes text to cells. An error means that the text was cut, at the end of a character.
pub(crate) struct TextWriter<'a> {
    cells: &'a [Cell<u8>],
    len: usize,
}

impl<'a> TextWriter<'a> {
    pub(crate) fn new(cells: &'a [Cell<u8>]) -> Self {
        Self { cells, len: 0 }
    }

    /// Bytes that were written.
    pub(crate) fn len(&self) -> usize {
        self.len
    }
}

impl fmt::Write for TextWriter<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.cells.get(self.len..).unwrap_or_default();
        let cut = cut(text, room.len());
        copy_to(room, cut.as_bytes());
        self.len += cut.len();
        if cut.len() == text.len() {
            Ok(())
        } else {
            // Nothing may follow a text that was cut.
            self.cells = self.cells.get(..self.len).unwrap_or_default();
            Err(fmt::Error)
        }
    }
}

/// The longest start of `text` with at most `len` bytes.
pub(crate) fn cut(text: &str, len: usize) -> &str {
    text.get(..text.floor_char_boundary(len)).unwrap_or_default()
}
