//! What sandboxes need of a hypervisor.

use hv_core::BareAbilities;
use sandbox_abi::layout;

/// The first thing that the hypervisor lacks.
pub(crate) fn missing(abilities: &BareAbilities) -> Option<&'static str> {
    [
        (abilities.read_only, "read-only memory"),
        (abilities.page_size == layout::PAGE, "pages of 4 KiB"),
    ]
    .into_iter()
    .find_map(|(has, what)| (!has).then_some(what))
}
