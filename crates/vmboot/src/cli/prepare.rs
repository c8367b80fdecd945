//! `vmboot prepare`.

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use boot_core::ByteCount;
use guest_ram::PreparedBoot;

use super::advised::AdvisedError;
use super::boot::BootArgs;
use super::file::WriteError;
use super::host_machine::host_machine;
use super::output::note;
use super::prepared::Notes;
use super::result::CommandResult;

/// Options of `vmboot prepare`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    boot: BootArgs,
    /// File to write. It must not exist: machines that run from an older file may have mapped it.
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
}

pub(crate) fn run(args: &Args) -> CommandResult {
    // No seeds: every machine gets the same bytes.
    let boot = args.boot.plan(None, host_machine)?;
    for warning in boot.plan.warnings() {
        note(format_args!("warning: {warning}"));
    }
    let notes = Notes::new(&boot, &args.boot.machine)?;
    let prepared = boot.with_sources(|sources| PreparedBoot::new(&boot.plan, sources))?;
    let prepared = prepared.with_notes(serde_json::to_string(&notes)?);
    write(&prepared, &args.output)?;
    let pages = prepared.pages().iter().map(|pages| pages.range.len());
    note(format_args!(
        "vmboot: prepared {}, {} of pages: vmboot run --prepared {}",
        notes.summary,
        ByteCount(pages.fold(0, u64::saturating_add)),
        args.output.display()
    ));
    Ok(ExitCode::SUCCESS)
}

/// Writes a new file. After an error there is none.
fn write(boot: &PreparedBoot, path: &Path) -> CommandResult {
    let write_error = |source| WriteError {
        path: path.to_owned(),
        source,
    };
    let file = File::create_new(path).map_err(|source| {
        let help = "name a file that does not exist, in a directory that can be written";
        AdvisedError::new(write_error(source), help)
    })?;
    let mut output = BufWriter::new(&file);
    boot.save(&mut output).map_err(|source| {
        // The first error is the one to report.
        let _removed = fs::remove_file(path);
        write_error(source)
    })?;
    Ok(ExitCode::SUCCESS)
}
