//! Benches of crates on real kernels.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::limits::{self, Limits};
use super::table::Table;
use crate::arch::Arch;
use crate::cargo;
use crate::cli::BenchArgs;
use crate::error::{Error, WithPath as _};
use crate::fixtures;
use crate::plot;
use crate::process;
use crate::workspace::Workspace;

/// The variable with the path to which the bench writes its rows.
const ROWS: &str = "VMBOOT_BENCH_ROWS";

/// Measures loading, prints the ratios as a table, and writes them with a plot below `target/bench`. Checks them if `args` asks for that.
pub(super) fn run(workspace: &Workspace, args: &BenchArgs) -> Result<(), Error> {
    let directory = workspace.target().join("bench");
    fs::create_dir_all(&directory).with_path(&directory)?;
    let file = |extension| directory.join(format!("load.{extension}"));
    let rows = file("json");
    // Those of an earlier run must not be taken for those of this one.
    fs::write(&rows, "").with_path(&rows)?;
    process::run_shown(command(workspace, "vmboot-guest-ram", "load", args)?.env(ROWS, &rows))?;
    let output = fs::read_to_string(&rows).with_path(&rows)?;
    if output.is_empty() && !args.check {
        // The arguments asked for a list of the benches.
        return Ok(());
    }
    let table = Table::parse(&output)?.with_limits(&Limits::read().load)?;
    let write = |path: PathBuf, text: String| fs::write(&path, text).with_path(&path);
    write(file("txt"), table.to_string())?;
    let title = "Time to load kernels, in relation to linux-loader";
    write(file("svg"), plot::svg(title, 0.001, &table.bars()))?;
    print!("\n{table}");
    println!(
        "written to {} and {}",
        file("txt").display(),
        file("svg").display()
    );
    limits::check(args, table.missed())
}

/// Measures parsing and planning.
pub(super) fn parse(workspace: &Workspace, args: &BenchArgs) -> Result<(), Error> {
    process::run_shown(&mut command(workspace, "vmboot", "parse", args)?)
}

/// A bench of a package, with Debian's kernels.
fn command(workspace: &Workspace, package: &str, bench: &str, args: &BenchArgs) -> Result<Command, Error> {
    let fixtures = fixtures::kernels(workspace, Arch::X86_64.row())?;
    let mut command = cargo::command(workspace);
    command
        .args(["bench", "--package", package, "--bench", bench, "--"])
        .args(&args.arguments);
    command.env(fixtures::VARIABLE, fixtures);
    Ok(command)
}
