//! `cargo xtask test`: every tier of tests, and one summary.
//!
//! | tier | what runs | where |
//! |---|---|---|
//! | `host` | unit, property, integration and doc tests, and the unit tests of the guests | this machine |
//! | `kvm` | test targets named `kvm_*`, statically linked, for each architecture | native KVM or the lab |
//! | `loader` | the builds of the conformance guest that QEMU can load | QEMU with its own loader, emulating |
//! | `firmware` | media that the firmware of this repository boots, and the conformance guest on disks | QEMU, emulating |
//! | `system` | a system of Debian on a disk, to its own init; only if it is named | native KVM or the lab |
//!
//! A tier that runs no test is a failure unless a filter was given, so that a broken set-up is noticed.

mod firmware;
mod host;
mod kvm;
mod libtest;
pub(crate) mod loader;
mod results;
mod system;
pub(crate) mod tier;

use self::tier::Tier;
use crate::arch::ArchRow;
use crate::cli::TestArgs;
use crate::error::Error;
use crate::fixtures;
use crate::progress::print_status;
use crate::test::results::{Case, Results};
use crate::timing::Timings;
use crate::workspace::Workspace;

/// Runs the tiers, prints the summary, and adds the time of each part to `timings`.
pub(crate) fn run(
    workspace: &Workspace,
    rows: &[&'static ArchRow],
    args: &TestArgs,
    timings: &mut Timings,
) -> Result<(), Error> {
    for row in rows {
        timings.measure(format!("fixtures {}", row.name), || {
            fixtures::ensure(workspace, row)
        })?;
    }
    let fixtures = fixtures::directory(workspace);
    let filter = args.filter.as_deref();
    let mut results = Results::default();
    for tier in Tier::ALL {
        let is_wanted = if args.tiers.is_empty() {
            tier.is_default()
        } else {
            args.tiers.contains(&tier)
        };
        if !is_wanted {
            continue;
        }
        print_status(&format!("running the tests of tier {}", tier.name()));
        let mut add = |tier: Tier, run: &dyn Fn(&'static ArchRow) -> Result<Vec<Case>, Error>| {
            for row in rows {
                let name = format!("{} {}", tier.name(), row.name);
                let outcome = timings.measure(&name, || run(row));
                results.add_tier(name, outcome, filter.is_some());
            }
        };
        // A tier that cannot be run is a failure of this tier; the others run nevertheless.
        match tier {
            Tier::Host => {
                let outcome = host::run(workspace, &fixtures, filter, timings);
                results.add_tier(tier.name(), outcome, filter.is_some());
            }
            Tier::Kvm => {
                for (kind, outcome) in kvm::run(workspace, rows, args.host, &fixtures, filter, timings) {
                    results.add_tier(format!("{} {kind}", tier.name()), outcome, filter.is_some());
                }
            }
            Tier::Loader => add(tier, &|row| loader::run(workspace, row, &fixtures, filter)),
            Tier::Firmware => add(tier, &|row| firmware::run(workspace, row, &fixtures, filter)),
            Tier::System => add(tier, &|row| system::run(workspace, row, args.host, filter)),
        }
    }
    results.write_junit(&workspace.xtask("junit.xml"))?;
    print!("\n{timings}{results}");
    results.to_result()
}
