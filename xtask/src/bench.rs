//! `cargo xtask bench`: measurements.

mod boot;
mod codecs;
mod entry;
mod hyperlight;
mod limits;
mod load;
mod qemu;
mod sandbox;
mod start;
mod table;

use crate::arch::ArchRow;
use crate::cli::{Bench, BenchArgs};
use crate::error::Error;
use crate::workspace::Workspace;

/// Runs the measurement of `args`; `rows` are the architectures of sandboxes.
pub(crate) fn run(workspace: &Workspace, rows: &[&'static ArchRow], args: &BenchArgs) -> Result<(), Error> {
    match args.what {
        Bench::Boot => rows.iter().try_for_each(|row| boot::run(workspace, row, args)),
        Bench::Codecs => codecs::run(workspace),
        Bench::Entry => entry::run(workspace, args),
        Bench::Load => load::run(workspace, args),
        Bench::Parse => load::parse(workspace, args),
        Bench::Start => rows.iter().try_for_each(|row| start::run(workspace, row, args)),
        Bench::Sandbox => rows.iter().try_for_each(|row| sandbox::run(workspace, row, args)),
    }
}
