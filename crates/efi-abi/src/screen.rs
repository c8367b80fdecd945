//! Text output: UCS-2 to UTF-8, colours and cursor as escape sequences of ECMA-48.

use alloc::format;
use alloc::string::String;

/// Columns and rows of the only mode.
pub(crate) const COLUMNS: usize = 80;
pub(crate) const ROWS: usize = 25;

/// Colours by the bits of `SetAttribute` (blue, green, red), as numbers of ECMA-48 (red, green, blue).
const COLOURS: [u8; 8] = [0, 4, 2, 6, 1, 5, 3, 7];

/// The state of the text output, `SIMPLE_TEXT_OUTPUT_MODE`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Screen {
    pub(crate) attribute: i32,
    pub(crate) column: usize,
    pub(crate) row: usize,
    pub(crate) is_cursor_visible: bool,
}

impl Screen {
    pub(crate) const fn new() -> Self {
        Self {
            attribute: 7,
            column: 0,
            row: 0,
            is_cursor_visible: true,
        }
    }

    /// The bytes to send for a text. The cursor follows it; the terminal scrolls.
    pub(crate) fn print(&mut self, units: &[u16]) -> String {
        let mut text = String::new();
        for unit in char::decode_utf16(units.iter().copied()) {
            let letter = unit.unwrap_or(char::REPLACEMENT_CHARACTER);
            match letter {
                '\r' => self.column = 0,
                '\n' => self.row = (self.row + 1).min(ROWS - 1),
                '\u{8}' => self.column = self.column.saturating_sub(1),
                _ => {
                    self.column += 1;
                    if self.column >= COLUMNS {
                        self.column = 0;
                        self.row = (self.row + 1).min(ROWS - 1);
                    }
                }
            }
            text.push(letter);
        }
        text
    }

    /// The bytes for a new attribute: foreground in bits 0 to 3, background in bits 4 to 6.
    pub(crate) fn set_attribute(&mut self, attribute: u8) -> String {
        self.attribute = attribute.into();
        let colour = |bits: u8| COLOURS.get(usize::from(bits & 7)).copied().unwrap_or(7);
        let weight = if attribute & 8 == 0 { 22 } else { 1 };
        format!(
            "\x1b[{weight};{};{}m",
            30 + colour(attribute),
            40 + colour(attribute >> 4)
        )
    }

    /// The bytes that clear the screen.
    pub(crate) fn clear(&mut self) -> String {
        (self.column, self.row) = (0, 0);
        String::from("\x1b[2J\x1b[H")
    }

    /// The bytes that move the cursor, or `None` outside of the screen.
    pub(crate) fn move_to(&mut self, column: usize, row: usize) -> Option<String> {
        if column >= COLUMNS || row >= ROWS {
            return None;
        }
        (self.column, self.row) = (column, row);
        Some(format!("\x1b[{};{}H", row + 1, column + 1))
    }

    /// The bytes that show or hide the cursor.
    pub(crate) fn show_cursor(&mut self, is_visible: bool) -> &'static str {
        self.is_cursor_visible = is_visible;
        if is_visible { "\x1b[?25h" } else { "\x1b[?25l" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_moves_the_cursor() {
        let mut screen = Screen::new();
        let mut check = |text: &str, expected: (usize, usize)| {
            let units: alloc::vec::Vec<u16> = text.encode_utf16().collect();
            assert_eq!(screen.print(&units), text);
            assert_eq!((screen.column, screen.row), expected, "{text:?}");
        };
        check("abc", (3, 0));
        check("\r\n", (0, 1));
        check("é\u{8}", (0, 1));
        check(&"x".repeat(81), (1, 2));
        check(&"\n".repeat(30), (1, 24));
        assert_eq!(screen.print(&[0xd800, 0x41]), "\u{fffd}A");
    }

    #[test]
    fn colours_and_positions_are_escape_sequences() {
        let mut screen = Screen::new();
        assert_eq!(screen.set_attribute(0x07), "\x1b[22;37;40m");
        assert_eq!(screen.set_attribute(0x1e), "\x1b[1;33;44m");
        assert_eq!(screen.move_to(0, 24).as_deref(), Some("\x1b[25;1H"));
        assert_eq!(screen.move_to(80, 0), None);
        assert_eq!(screen.move_to(0, 25), None);
        assert_eq!(screen.show_cursor(false), "\x1b[?25l");
        assert_eq!(screen.clear(), "\x1b[2J\x1b[H");
        assert_eq!((screen.column, screen.row), (0, 0));
    }
}
