//! Modules of PVH and Multiboot against what a test expects of them.

use clauses::{fail, report};
use contract::{Digest, Expectation, Module};

use crate::machine::phys::Phys;

/// The longest module command line read.
const MAX_CMDLINE: u64 = 4096;

/// A module as it was found.
pub(crate) struct Found {
    pub(crate) index: u64,
    pub(crate) address: u64,
    pub(crate) len: u64,
    /// 0: it has none.
    pub(crate) cmdline_address: u64,
}

/// What is expected of the module with this index.
pub(crate) fn expected(index: u64, expectation: &Expectation<'_>) -> Option<Module> {
    let index = usize::try_from(index).ok()?;
    expectation.modules.get(index).copied().flatten()
}

/// Fails for each expected module past the `count` that are there.
pub(crate) fn missing(prefix: &str, count: u64, expectation: &Expectation<'_>) {
    let missing = expectation
        .modules
        .iter()
        .enumerate()
        .skip(usize::try_from(count).unwrap_or(usize::MAX));
    for (index, _) in missing.filter(|(_, module)| module.is_some()) {
        fail!(format_args!("{prefix}.module.{index}"), "{count} modules"; "this one as well");
    }
}

/// Checks content and command line of a module, as far as something is expected of it; `initrd` is what it must hold if it is
/// the initial RAM disk.
pub(crate) fn check(
    prefix: &str,
    found: &Found,
    phys: &mut Phys,
    expected: Option<Module>,
    initrd: Option<Digest>,
) {
    let Found {
        index,
        address,
        len,
        cmdline_address,
    } = *found;
    for (what, content) in [
        ("content", expected.map(|module| module.content)),
        ("initrd", initrd),
    ] {
        let Some(content) = content else { continue };
        let name = format_args!("{prefix}.module.{index}.{what}");
        // A length that is wrong may be absurd: then there is no use in reading that much.
        if len == content.len {
            report::check_expected(name, &phys.digest(address, len), Some(&content));
        } else {
            fail!(name, "{len} bytes"; "{} bytes", content.len);
        }
    }
    let Some(Module { cmdline, .. }) = expected else {
        return;
    };
    let name = format_args!("{prefix}.module.{index}.cmdline");
    let Some(cmdline) = cmdline else {
        return report::check_equal(name, cmdline_address, 0);
    };
    if cmdline_address == 0 {
        return fail!(name, "none"; "{cmdline}");
    }
    match string_len(cmdline_address, MAX_CMDLINE, phys) {
        None => fail!(name, "no end within {MAX_CMDLINE} bytes"; "{cmdline}"),
        Some(len) => report::check_expected(name, &phys.digest(cmdline_address, len), Some(&cmdline)),
    }
}

/// Length of the string at `address` without its terminating zero, which must come within `max` bytes.
pub(crate) fn string_len(address: u64, max: u64, phys: &mut Phys) -> Option<u64> {
    (0..max).find(|at| phys.read_byte(address.wrapping_add(*at)) == 0)
}
