//! SVG elements as text.

use std::fmt::{self, Write as _};

/// A rectangle in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Area {
    pub(super) x: u64,
    pub(super) y: u64,
    pub(super) width: u64,
    pub(super) height: u64,
}

/// Style of a text: its class and its size in pixels, from which its width is estimated.
#[derive(Clone, Copy, Debug)]
pub(super) struct TextStyle {
    pub(super) class: &'static str,
    pub(super) size: u64,
}

/// The point of a text at its x coordinate.
#[derive(Clone, Copy, Debug)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// Elements of a picture.
#[derive(Debug, Default)]
pub(super) struct Elements(String);

/// Text in XML: markup is escaped, and what XML 1.0 forbids or what changes the direction of text is replaced.
pub(super) struct Escaped<'a>(pub(super) &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                // Noncharacters, line and paragraph separators, and the marks, embeddings, overrides and isolates of
                // bidirectional text.
                '\u{fffe}'
                | '\u{ffff}'
                | '\u{61c}'
                | '\u{2028}'
                | '\u{2029}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{202a}'..='\u{202e}'
                | '\u{2066}'..='\u{2069}' => f.write_char('\u{fffd}')?,
                c if c.is_control() => f.write_char('\u{fffd}')?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// Estimated width of a text in hundredths of its font size; wider than what the usual fonts need.
fn width_of(text: &str) -> u64 {
    let width = |c: char| match c {
        'i' | 'j' | 'l' | 'I' | ' ' | '.' | ',' | ':' | '|' | '\'' => 40,
        'm' | 'w' | 'M' | 'W' | '@' | '%' => 100,
        'A'..='Z' | '&' => 75,
        c if c.is_ascii() => 62,
        _ => 120,
    };
    text.chars().map(width).sum()
}

/// The text, or its start with an ellipsis, such that it fits `width` pixels.
pub(super) fn fitted(text: &str, style: TextStyle, width: u64) -> String {
    let limit = width.saturating_mul(100) / style.size;
    if width_of(text) <= limit {
        return text.to_owned();
    }
    let mut start = String::new();
    for c in text.chars() {
        start.push(c);
        if width_of(&start) + width_of("…") > limit {
            start.pop();
            break;
        }
    }
    start + "…"
}

impl Elements {
    /// Adds a rectangle; viewers show `tooltip` under the pointer.
    pub(super) fn rect(&mut self, class: &str, area: Area, tooltip: &str) {
        let Area { x, y, width, height } = area;
        self.line(format_args!(
            "<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\"><title>{}</title></rect>",
            Escaped(tooltip)
        ));
    }

    /// Adds a text of one line, whose baseline is at `y`.
    pub(super) fn text(&mut self, style: TextStyle, anchor: Anchor, x: u64, y: u64, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        self.line(format_args!(
            "<text class=\"{}\" font-size=\"{}\" text-anchor=\"{anchor}\" x=\"{x}\" y=\"{y}\">{}</text>",
            style.class,
            style.size,
            Escaped(text)
        ));
    }

    /// Adds a path.
    pub(super) fn path(&mut self, class: &str, data: fmt::Arguments<'_>) {
        self.line(format_args!("<path class=\"{class}\" d=\"{data}\"/>"));
    }

    fn line(&mut self, element: fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "{element}");
    }
}

impl fmt::Display for Elements {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_and_forbidden_characters_are_escaped() {
        let check = |text: &str, expected: &str| assert_eq!(Escaped(text).to_string(), expected);
        check("initrd", "initrd");
        check("</text><script>", "&lt;/text&gt;&lt;script&gt;");
        check("\" onload='x' &amp;", "&quot; onload=&#39;x&#39; &amp;amp;");
        check(
            "a\0b\x1b\n\u{202e}\u{ffff}",
            "a\u{fffd}b\u{fffd}\u{fffd}\u{fffd}\u{fffd}",
        );
        check("é漢", "é漢");
    }

    #[test]
    fn long_texts_are_cut() {
        let style = TextStyle { class: "", size: 10 };
        let check = |text: &str, width, expected: &str| assert_eq!(fitted(text, style, width), expected);
        check("aaaa", 25, "aaaa");
        check("aaaaa", 31, "aaaaa");
        check("aaaaa", 30, "aa…");
        check("漢漢", 24, "漢漢");
        check("漢漢", 23, "…");
        check("", 0, "");
    }
}
