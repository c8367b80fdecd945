//! Formats and protocols that are linked into the program.
//!
//! A plugin crate registers its formats and protocols with [`inventory`] when its `registry` feature is on:
//!
//! ```text
//! inventory::submit! { boot_core::registry::Format(&FORMAT) }
//! ```
//!
//! # The linker drops unused crates
//!
//! A dependency of which no item is used is not linked, and then registers nothing. `use fmt_elf as _;` links it. Test that
//! [`formats`] and [`protocols`] return the plugins that the program needs. The alternative to this module is to pass
//! explicit slices to [`detect`](crate::format::detect) and [`select`](crate::protocol::select).

use alloc::vec::Vec;

use crate::{BootProtocol, KernelFormat, Priority};

/// A registered format.
#[derive(Clone, Copy)]
pub struct Format(
    /// The plugin.
    pub &'static dyn KernelFormat,
);

/// A registered protocol.
#[derive(Clone, Copy)]
pub struct Protocol(
    /// The plugin.
    pub &'static dyn BootProtocol,
);

inventory::collect!(Format);
inventory::collect!(Protocol);

/// Two registered formats, or two registered protocols, have the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("two plugins are called `{0}`: link only one of them")]
pub struct DuplicateName(
    /// The name.
    pub &'static str,
);

/// Every registered format, sorted by priority and name: link order does not matter.
///
/// # Errors
///
/// [`DuplicateName`] where two formats have the same name.
pub fn formats() -> Result<Vec<&'static dyn KernelFormat>, DuplicateName> {
    let plugins = inventory::iter::<Format>
        .into_iter()
        .map(|plugin| plugin.0)
        .collect();
    sorted(plugins, |format| (format.priority(), format.name()))
}

/// Every registered protocol, sorted by priority and name: link order does not matter.
///
/// # Errors
///
/// [`DuplicateName`] where two protocols have the same name.
pub fn protocols() -> Result<Vec<&'static dyn BootProtocol>, DuplicateName> {
    let plugins = inventory::iter::<Protocol>
        .into_iter()
        .map(|plugin| plugin.0)
        .collect();
    sorted(plugins, |protocol| (protocol.priority(), protocol.name()))
}

fn sorted<T: Copy>(
    mut plugins: Vec<T>,
    key: fn(&T) -> (Priority, &'static str),
) -> Result<Vec<T>, DuplicateName> {
    plugins.sort_by_key(|plugin| key(plugin).1);
    for pair in plugins.windows(2) {
        match pair {
            [a, b] if key(a).1 == key(b).1 => return Err(DuplicateName(key(a).1)),
            _ => {}
        }
    }
    plugins.sort_by_key(key);
    Ok(plugins)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorted_by_priority_and_name_and_without_duplicates() {
        let check = |input: &[(u32, &'static str)],
                     expected: Result<&[(u32, &'static str)], &'static str>| {
            let found = sorted(input.to_vec(), |(priority, name)| {
                (Priority::new(*priority), *name)
            });
            assert_eq!(
                found.as_deref(),
                expected.map_err(DuplicateName).as_ref().map(|list| *list)
            );
        };
        check(
            &[(2, "a"), (1, "c"), (1, "b")],
            Ok(&[(1, "b"), (1, "c"), (2, "a")]),
        );
        check(&[(2, "a"), (1, "c"), (1, "a")], Err("a"));
        check(&[], Ok(&[]));
    }

    struct Plugin(&'static str);

    impl KernelFormat for Plugin {
        fn name(&self) -> &'static str {
            self.0
        }

        fn parse(&self, _: &dyn crate::ByteSource) -> Result<Option<crate::KernelImage>, crate::FormatError> {
            Ok(None)
        }
    }

    impl BootProtocol for Plugin {
        fn name(&self) -> &'static str {
            self.0
        }

        fn supports(&self, _: &crate::KernelImage) -> Result<crate::Support, crate::IncompatibleImage> {
            Err(crate::IncompatibleImage::Header("never"))
        }

        fn plan(&self, request: &crate::BootRequest<'_>) -> Result<crate::BootPlan, crate::PlanError> {
            Err(crate::protocol::validate_request(self, request).unwrap_err())
        }
    }

    inventory::submit! { Format(&Plugin("b")) }
    inventory::submit! { Format(&Plugin("a")) }
    inventory::submit! { Protocol(&Plugin("d")) }
    inventory::submit! { Protocol(&Plugin("c")) }

    #[test]
    fn registered_plugins_are_listed_in_order() {
        let formats: Vec<_> = formats().unwrap().iter().map(|format| format.name()).collect();
        assert_eq!(formats, ["a", "b"]);
        let protocols: Vec<_> = protocols()
            .unwrap()
            .iter()
            .map(|protocol| protocol.name())
            .collect();
        assert_eq!(protocols, ["c", "d"]);
    }
}
