//! Free space below `target/`.

use crate::error::{Error, WithPath as _};
use crate::progress::print_status;
use crate::workspace::Workspace;

/// Bytes of a gigabyte.
const GB: u64 = 1_000_000_000;

/// Space that a task takes below `target/` when nothing is built yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Needed {
    task: &'static str,
    gigabytes: u64,
}

/// All steps of `ci`.
pub(crate) const CI: Needed = Needed {
    task: "ci",
    gigabytes: 20,
};

/// The default tiers of `test` for all architectures.
pub(crate) const TEST: Needed = Needed {
    task: "test",
    gigabytes: 15,
};

/// Prints a line when less than this is free: a build that fills the disk fails with messages of compilers and linkers.
pub(crate) fn check(workspace: &Workspace, needed: Needed) -> Result<(), Error> {
    // The target directory may not exist yet, or be a link to another disk.
    let target = workspace.target();
    let directory = if target.exists() { target } else { workspace.root() };
    let disk = rustix::fs::statvfs(directory)
        .map_err(std::io::Error::from)
        .with_path(directory)?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    if let Some(warning) = warning(free, needed) {
        print_status(&warning);
    }
    Ok(())
}

fn warning(free: u64, Needed { task, gigabytes }: Needed) -> Option<String> {
    (free / GB < gigabytes).then(|| {
        format!(
            "{} GB of disk space are free below target/; the first `cargo xtask {task}` takes {gigabytes} GB of it. \
             CARGO_TARGET_DIR moves target/ to another disk.",
            free / GB
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_little_space_is_a_warning() {
        assert_eq!(warning(20 * GB, CI), None);
        assert_eq!(warning(u64::MAX, CI), None);
        let text = warning(7 * GB + 1, CI).unwrap();
        assert!(
            text.starts_with("7 GB of disk space are free") && text.contains("`cargo xtask ci` takes 20 GB"),
            "{text}"
        );
    }
}
