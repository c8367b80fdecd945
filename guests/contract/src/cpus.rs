//! Expected CPUs.

use core::fmt;

use crate::number::number;

/// Ids of all CPUs, in the expected order.
#[derive(Clone, Copy, Debug)]
pub enum Cpus<'a> {
    /// A list of ids.
    Ids(&'a [u64]),
    /// Validated text of a command line; only [`Request::parse`](crate::Request::parse) creates this variant.
    Text(&'a str),
}

impl<'a> Cpus<'a> {
    /// Iterates over the ids.
    pub fn ids(self) -> impl Iterator<Item = u64> + use<'a> {
        let (ids, text) = match self {
            Self::Ids(ids) => (ids, None),
            Self::Text(text) => (&[][..], Some(text)),
        };
        let text = text.into_iter().flat_map(|text| text.split(','));
        ids.iter().copied().chain(text.filter_map(number))
    }
}

impl fmt::Display for Cpus<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, id) in self.ids().enumerate() {
            write!(f, "{}{id:#x}", if index == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

/// Parses `ID,ID,…` with at least one id.
pub(crate) fn cpus(text: &str) -> Option<Cpus<'_>> {
    text.split(',')
        .all(|id| number(id).is_some())
        .then_some(Cpus::Text(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString as _;
    use std::vec::Vec;

    #[test]
    fn ids_round_trip() {
        let ids = [0, 1, 0x100, u64::MAX];
        let text = Cpus::Ids(&ids).to_string();
        assert_eq!(text, "0x0,0x1,0x100,0xffffffffffffffff");
        assert_eq!(cpus(&text).unwrap().ids().collect::<Vec<_>>(), ids);
        assert_eq!(cpus("3").unwrap().to_string(), "0x3");
    }

    #[test]
    fn malformed_lists_are_refused() {
        for text in ["", ",", "1,", "1,,2", "x", "1 ", "0x10000000000000000"] {
            assert!(cpus(text).is_none(), "{text:?}");
        }
    }
}
