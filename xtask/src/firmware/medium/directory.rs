//! The directory of the media.

use std::fs;
use std::path::PathBuf;

use crate::error::{Error, WithPath as _};
use crate::workspace::Workspace;

/// Creates the directory unless it is there.
pub(super) fn ensure(workspace: &Workspace) -> Result<PathBuf, Error> {
    let directory = workspace.xtask("firmware/media");
    fs::create_dir_all(&directory).with_path(&directory)?;
    Ok(directory)
}
