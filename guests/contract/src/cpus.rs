//! The CPUs a guest expects.

use core::fmt;

use crate::parse::number;

/// The ids of all CPUs, in the order in which the guest must find them.
#[derive(Clone, Copy, Debug)]
pub enum Cpus<'a> {
    /// The ids themselves.
    Ids(&'a [u64]),
    /// The ids as they stand on a command line; only [`Request::parse`](crate::Request::parse) makes these, after it has
    /// checked every one.
    Text(&'a str),
}

impl<'a> Cpus<'a> {
    /// The ids one by one.
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

/// Reads `ID,ID,…`, at least one.
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
    fn ids_survive_the_command_line() {
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
