//! Clauses about the content and the command lines of modules, for PVH and Multiboot.

use clauses::{fail, report};
use contract::{Digest, Expectation, Module};

use crate::machine::phys::Phys;

/// Maximum number of modules that are checked.
pub(crate) const CHECKED_MODULES: u64 = 64;
/// Maximum length of the command line of a module.
const MAX_CMDLINE: u64 = 4096;

/// A module that the boot information describes.
pub(crate) struct Found {
    pub(crate) index: u64,
    pub(crate) address: u64,
    pub(crate) len: u64,
    /// 0 if there is none.
    pub(crate) cmdline_address: u64,
}

/// Expectation of the module with this index.
pub(crate) fn expected(index: u64, expectation: &Expectation<'_>) -> Option<Module> {
    let index = usize::try_from(index).ok()?;
    expectation.modules.get(index).copied().flatten()
}

/// Fails a clause for each expected module with an index of `count`, the number of modules, or more.
pub(crate) fn missing(prefix: &str, count: u64, expectation: &Expectation<'_>) {
    let missing = expectation
        .modules
        .iter()
        .enumerate()
        .skip(usize::try_from(count).unwrap_or(usize::MAX));
    for (index, _) in missing.filter(|(_, module)| module.is_some()) {
        fail!(format_args!("{prefix}.module.{index}"), "{count} modules"; "this module");
    }
}

/// Checks the content and the command line of a module if there is an expectation. `initrd` is the expected content if the
/// module is the initial RAM disk.
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
        // A wrong length may be huge, so the content is not read.
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
        None => fail!(name, "no terminating zero within {MAX_CMDLINE} bytes"; "{cmdline}"),
        Some(len) => report::check_expected(name, &phys.digest(cmdline_address, len), Some(&cmdline)),
    }
}

/// Length of the string at `address` without its terminating zero; `None` if there is no zero within `max` bytes.
pub(crate) fn string_len(address: u64, max: u64, phys: &mut Phys) -> Option<u64> {
    (0..max).find(|at| phys.read_byte(address.wrapping_add(*at)) == 0)
}
