//! Starting firmware that Debian packages, to compare with.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::debian;
use super::platform::{DebianFile, Rival, Start};
use crate::arch::ArchRow;
use crate::error::{Error, WithPath as _};
use crate::workspace::Workspace;

impl Rival {
    /// True if `name` is one of its names on the command line.
    pub(super) fn is_called(&self, name: &str) -> bool {
        self.name == name || self.aliases.contains(&name)
    }
}

impl Start {
    /// Adds the firmware to a command of QEMU. `directory` gets copies of flash contents, which the guest changes.
    pub(super) fn apply(
        self,
        command: &mut Command,
        workspace: &Workspace,
        row: &ArchRow,
        directory: &Path,
    ) -> Result<(), Error> {
        debian::ensure(workspace, row, &self.files())?;
        match self {
            Self::Flash {
                code,
                variables,
                size,
                bios,
            } => {
                for (unit, file) in [code, variables].into_iter().enumerate() {
                    let copy = directory.join(format!("flash{unit}"));
                    copy_flash(&file.ensure(workspace, row)?, &copy, size)?;
                    let mode = if unit == 0 { ",readonly=on" } else { "" };
                    command.arg("-drive").arg(format!(
                        "if=pflash,unit={unit},format=raw{mode},file={}",
                        copy.display()
                    ));
                }
                if let Some(bios) = bios {
                    command.arg("-bios").arg(bios.ensure(workspace, row)?);
                }
            }
            Self::Bios(bios) => {
                command.arg("-bios").arg(bios.ensure(workspace, row)?);
            }
            Self::Kernel { bios, kernel } => {
                command.arg("-bios").arg(bios.ensure(workspace, row)?);
                command.arg("-kernel").arg(kernel.ensure(workspace, row)?);
            }
            Self::Direct => {}
        }
        Ok(())
    }

    fn files(self) -> Vec<DebianFile> {
        match self {
            Self::Flash {
                code,
                variables,
                bios,
                ..
            } => [code, variables].into_iter().chain(bios).collect(),
            Self::Bios(bios) => vec![bios],
            Self::Kernel { bios, kernel } => vec![bios, kernel],
            Self::Direct => Vec::new(),
        }
    }
}

/// Copies the content of a flash, and makes it as long as the machine's flash.
fn copy_flash(from: &Path, to: &PathBuf, size: Option<u64>) -> Result<(), Error> {
    let content = fs::read(from).with_path(from)?;
    fs::write(to, content).with_path(to)?;
    if let Some(size) = size {
        let file = OpenOptions::new().write(true).open(to).with_path(to)?;
        file.set_len(size).with_path(to)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flash_has_the_length_of_the_machine() {
        let directory = tempfile::tempdir().unwrap();
        let from = directory.path().join("from");
        let to = directory.path().join("to");
        fs::write(&from, "code").unwrap();
        copy_flash(&from, &to, Some(8)).unwrap();
        assert_eq!(fs::read(&to).unwrap(), b"code\0\0\0\0");
        copy_flash(&from, &to, None).unwrap();
        assert_eq!(fs::read(&to).unwrap(), b"code");
        assert!(copy_flash(&directory.path().join("no-such-file"), &to, None).is_err());
    }
}
