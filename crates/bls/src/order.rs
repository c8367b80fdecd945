//! Order of entries, and the order in which they are tried (UAPI.1, "Sorting").

use alloc::vec::Vec;
use core::cmp::Ordering;

use crate::entry::Entry;
use crate::loader_conf::{DefaultEntry, LoaderConf};
use crate::name::BootState;
use crate::version::compare_versions;

/// Compares two entries by the rules of the specification. The lower one is shown and tried first.
///
/// Profiles of one unified kernel image follow each other by number. This is a total preorder: entries are equal if they differ in
/// nothing that sorting uses.
#[must_use]
pub fn compare(a: &Entry, b: &Entry) -> Ordering {
    let is_bad = |entry: &Entry| entry.name.state() == BootState::Bad;
    let by_state = is_bad(a).cmp(&is_bad(b));
    by_state
        .then_with(|| compare_keys(a, b))
        // Higher versions first.
        .then_with(|| compare_versions(b.name.stem(), a.name.stem()))
        .then_with(|| a.profile.cmp(&b.profile))
}

/// Rules 2 and 3: entries with a sort key come first.
fn compare_keys(a: &Entry, b: &Entry) -> Ordering {
    match (text(a.sort_key.as_ref()), text(b.sort_key.as_ref())) {
        ("", "") => Ordering::Equal,
        ("", _) => Ordering::Greater,
        (_, "") => Ordering::Less,
        (key_a, key_b) => key_a
            .cmp(key_b)
            .then_with(|| text(a.machine_id.as_ref()).cmp(text(b.machine_id.as_ref())))
            .then_with(|| compare_versions(text(b.version.as_ref()), text(a.version.as_ref()))),
    }
}

/// An absent text is like an empty one ("Alphanumerical Order").
fn text(field: Option<&alloc::string::String>) -> &str {
    field.map_or("", alloc::string::String::as_str)
}

/// Sorts entries by [`compare`]. Equal entries keep their order.
pub fn sort(entries: &mut [Entry]) {
    entries.sort_by(compare);
}

/// Indices of sorted entries in the order in which they should be tried: the default entry, then the others in their order.
///
/// The default is the first entry that `preferred` matches and that is not bad, else the first that `default` matches, else the
/// first of all. Patterns match the [identification](Entry::id), with or without `.conf` or `.efi`.
#[must_use]
pub fn attempts(entries: &[Entry], conf: &LoaderConf) -> Vec<usize> {
    let find = |default: &Option<DefaultEntry>, accepts_bad: bool| {
        let Some(DefaultEntry::Pattern(pattern)) = default else {
            return None;
        };
        entries.iter().position(|entry| {
            let id = entry.id.as_str();
            let without_suffix = id.rsplit_once('.').map_or(id, |(stem, _)| stem);
            (accepts_bad || entry.name.state() != BootState::Bad)
                && (pattern.matches(id) || pattern.matches(without_suffix))
        })
    };
    let first = find(&conf.preferred, false).or_else(|| find(&conf.default, true));
    let others = (0..entries.len()).filter(|index| Some(*index) != first);
    first.into_iter().chain(others).collect()
}
