//! Names of sections.

use core::fmt;

/// Name of a section: up to eight bytes, usually ASCII.
///
/// `Display` prints `?` in place of bytes that are not printable ASCII.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SectionName(
    /// The bytes, padded with zeros.
    pub [u8; 8],
);

impl SectionName {
    /// The bytes without the zeros at the end.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        let len = self.0.iter().rposition(|byte| *byte != 0);
        let len = len.map_or(0, |last| last.saturating_add(1));
        self.0.get(..len).unwrap_or_default()
    }
}

impl fmt::Display for SectionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes().iter().try_for_each(|byte| {
            let c = char::from(*byte);
            let is_printable = c == ' ' || c.is_ascii_graphic();
            fmt::Write::write_char(f, if is_printable { c } else { '?' })
        })
    }
}

impl fmt::Debug for SectionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::SectionName;

    #[test]
    fn names_print_without_padding() {
        let name = SectionName(*b".text\0\xff\0");
        assert_eq!(alloc::format!("{name} {name:?}"), r#".text?? ".text??""#);
    }
}
