//! Calls that are refused, as a line of text selects them.

use crate::guid::{ERROR, Guid};
use crate::services::{self, SERVICES};

/// `EFI_UNSUPPORTED` and `EFI_NOT_FOUND`.
const UNSUPPORTED: u64 = ERROR + 3;
const NOT_FOUND: u64 = ERROR + 14;

/// Which calls are refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Refusal {
    /// None.
    #[default]
    Nothing,
    /// Those of the service with this index, with `EFI_UNSUPPORTED`.
    Service(usize),
    /// Those that name this protocol or table: `EFI_UNSUPPORTED` for a protocol of a known handle, otherwise `EFI_NOT_FOUND`.
    Protocol(Guid),
}

impl Refusal {
    /// Parses `service NAME` or `protocol GUID`. An empty text refuses nothing; `None` for any other.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_ascii_whitespace();
        let refusal = match (words.next(), words.next()) {
            (None, _) => Self::Nothing,
            (Some("service"), Some(name)) => Self::Service(services::find(name)?),
            (Some("protocol"), Some(guid)) => Self::Protocol(Guid::parse(guid)?),
            _ => return None,
        };
        words.next().is_none().then_some(refusal)
    }

    /// The status of a call that is refused. `protocol` is the GUID in its argument for one.
    #[must_use]
    pub fn status(&self, service: usize, protocol: Option<Guid>) -> Option<u64> {
        match self {
            Self::Service(refused) if *refused == service => Some(UNSUPPORTED),
            Self::Protocol(refused) if protocol == Some(*refused) => {
                let name = SERVICES.get(service).map_or("", |service| service.name);
                let is_of_handle = matches!(name, "HandleProtocol" | "OpenProtocol");
                Some(if is_of_handle { UNSUPPORTED } else { NOT_FOUND })
            }
            Self::Nothing | Self::Service(_) | Self::Protocol(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOADED_IMAGE: &str = "5b1b31a1-9562-11d2-8e3f-00a0c969723b";

    #[test]
    fn a_line_selects_calls() {
        let find = |name| services::find(name).unwrap();
        assert_eq!(Refusal::parse(""), Some(Refusal::Nothing));
        assert_eq!(
            Refusal::parse("service SetVariable\n"),
            Some(Refusal::Service(find("SetVariable")))
        );
        let guid = Guid::parse(LOADED_IMAGE).unwrap();
        let protocol = Refusal::parse(&format!("protocol {LOADED_IMAGE}")).unwrap();
        assert_eq!(protocol, Refusal::Protocol(guid));
        for bad in [
            "service",
            "service Nothing",
            "protocol 5b1b",
            "tpl 4",
            "service SetVariable 3",
        ] {
            assert_eq!(Refusal::parse(bad), None, "{bad}");
        }
        assert_eq!(
            protocol.status(find("HandleProtocol"), Some(guid)),
            Some(UNSUPPORTED)
        );
        assert_eq!(
            protocol.status(find("LocateProtocol"), Some(guid)),
            Some(NOT_FOUND)
        );
        assert_eq!(protocol.status(find("LocateProtocol"), Some(Guid([0; 16]))), None);
        assert_eq!(protocol.status(find("SetVariable"), None), None);
        let service = Refusal::Service(find("SetVariable"));
        assert_eq!(service.status(find("SetVariable"), None), Some(UNSUPPORTED));
        assert_eq!(service.status(find("GetVariable"), None), None);
        assert_eq!(Refusal::Nothing.status(0, None), None);
    }
}
