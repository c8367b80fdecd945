//! Clauses about `/chosen` (Devicetree Specification, section 3.6, and Linux `Documentation/devicetree/usage-model.rst`).

use clauses::{check, fail, note, report};
use contract::{Blob, Expectation};

use super::image::ClaimedRange;
use crate::fdt::Fdt;
use crate::machine::phys;

/// The command line: `bootargs` without its terminating zero.
pub(crate) fn cmdline<'a>(tree: &Fdt<'a>) -> &'a [u8] {
    let bootargs = tree
        .node("/chosen")
        .and_then(|chosen| chosen.property("bootargs"));
    let bootargs = bootargs.unwrap_or_default();
    bootargs.strip_suffix(b"\0").unwrap_or(bootargs)
}

/// Start and end (exclusive) of the initrd.
pub(crate) type Initrd = (u64, u64);

/// Checks the node. Returns the range of the initrd.
pub(crate) fn check(tree: &Fdt<'_>, expectation: &Expectation<'_>, kernel: &ClaimedRange) -> Option<Initrd> {
    let Some(chosen) = tree.node("/chosen") else {
        fail!("chosen", "no such node"; "a node");
        return None;
    };
    let bootargs = chosen.property("bootargs");
    let zero = bootargs.and_then(|it| it.iter().position(|byte| *byte == 0));
    check!("chosen.bootargs", bootargs.map(|it| it.len().wrapping_sub(1)) == zero,
        "the first zero at {} of {} bytes", zero.unwrap_or(0), bootargs.map_or(0, <[u8]>::len);
        "one zero, at the end");
    for name in ["rng-seed", "kaslr-seed"] {
        if let Some(seed) = chosen.property(name) {
            note!(format_args!("chosen.{name}"), "{} bytes", seed.len());
            // A guest that uses a seed erases it, so zeros are not a seed.
            check!(format_args!("chosen.{name}"), seed.iter().any(|byte| *byte != 0), "zeros"; "a seed");
        }
    }
    let bounds = ["linux,initrd-start", "linux,initrd-end"].map(|name| chosen.number(name));
    let initrd = match bounds {
        [Some(start), Some(end)] => Some((start, end)),
        _ => None,
    };
    let whole = initrd.is_some() || bounds == [None, None];
    check!("chosen.initrd-bounds", whole && initrd.is_none_or(|(start, end)| start < end),
        "{:#x} to {:#x}", bounds[0].unwrap_or(0), bounds[1].unwrap_or(0); "both with start below end, or neither");
    let initrd = initrd.filter(|(start, end)| start < end);
    match (expectation.initrd, initrd) {
        (None | Some(Blob::Absent), None) => {}
        (None, Some((start, end))) => note!("chosen.initrd", "{} bytes at {start:#x}", end - start),
        (Some(Blob::Absent), Some((start, _))) => fail!("chosen.initrd", "an initrd at {start:#x}"; "none"),
        (Some(Blob::Present(content)), None) => fail!("chosen.initrd", "none"; "{content}"),
        (Some(Blob::Present(content)), Some((start, end))) => {
            // Do not read the bytes if the length is wrong: it may be arbitrarily large.
            if end - start == content.len {
                report::check_expected(
                    "chosen.initrd-content",
                    &phys::digest(start, content.len),
                    Some(&content),
                );
            } else {
                fail!("chosen.initrd-content", "{} bytes", end - start; "{} bytes", content.len);
            }
        }
    }
    if matches!(expectation.initrd, Some(Blob::Absent)) && initrd.is_none() {
        report::ok("chosen.initrd");
    }
    if let (Some((start, end)), true) = (initrd, cfg!(target_arch = "aarch64")) {
        // booting.rst: "it must reside entirely within a 1 GB aligned physical memory window of up to 32 GB in size that
        // fully covers the kernel Image as well".
        let low = start.min(kernel.start) >> 30;
        let high = (end.max(kernel.end) - 1) >> 30;
        check!("chosen.initrd-window", high - low < 32, "{start:#x}-{end:#x}"; "within 32 GiB that include the kernel");
    }
    initrd
}
