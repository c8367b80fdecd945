//! `vmboot man`.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use super::advised::AdvisedError;
use super::dump::not_a_directory;
use super::output;
use super::result::CommandResult;

/// Options of `vmboot man`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Write vmboot.1 and a page for each subcommand to this directory, in place of vmboot.1 to standard output.
    dir: Option<PathBuf>,
}

/// The pages cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the manual pages to {}", path.display())]
struct ManError {
    path: PathBuf,
    source: io::Error,
}

/// Prints or writes the pages of `command`.
pub(crate) fn run(args: &Args, command: clap::Command) -> CommandResult {
    // The subcommand `help` has no page.
    let command = command.disable_help_subcommand(true);
    if let Some(dir) = &args.dir {
        fs::create_dir_all(dir)
            .and_then(|()| clap_mangen::generate_to(command, dir))
            .map_err(|source| ManError {
                path: dir.clone(),
                source: not_a_directory(dir, source),
            })
            .map_err(|error| AdvisedError::new(error, "name a directory that exists or can be created"))?;
    } else {
        let mut page = Vec::new();
        clap_mangen::Man::new(command).render(&mut page)?;
        output::write(io::stdout(), &page)?;
    }
    Ok(ExitCode::SUCCESS)
}
