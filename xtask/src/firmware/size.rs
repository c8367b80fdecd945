//! The size of our firmware: flags that keep it small, and the limit.
//!
//! The size is that of the file that a VMM starts: on x86_64 the ELF without sections, elsewhere the Image. Symbols and debug information
//! are not part of it.

use std::fmt;
use std::process::Command;

use super::error::FirmwareError;
use crate::toolchain::BareMetal;

/// Highest size of a firmware in bytes.
const LIMIT: u64 = 335_000;

/// Flags for every compiler. Large stack frames need longer instructions, so functions with variables of more than 128 bytes stay functions of
/// their own; repeated sequences of instructions and equal functions are shared.
const FLAGS: [&str; 2] = [
    "-Cllvm-args=-inline-max-stacksize=128 -enable-machine-outliner=always",
    "-Clink-arg=--icf=all",
];

/// Flags for builds of the standard library from source: derived `Debug` prints the name of a type or variant only, and panics have their message
/// without the place.
const UNSTABLE_FLAGS: [&str; 2] = ["-Zfmt-debug=shallow", "-Zlocation-detail=none"];

/// Makes `command`, a build by `bare`, optimise for size.
pub(super) fn small(bare: &BareMetal, command: &mut Command) {
    let mut flags = FLAGS.to_vec();
    if bare.is_from_source() {
        command.arg("-Zbuild-std-features=optimize_for_size");
        flags.extend(UNSTABLE_FLAGS);
    }
    command
        .env_remove("RUSTFLAGS")
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
}

/// Size of a firmware in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    /// The file that a VMM starts.
    pub(super) file: u64,
    /// The code in it.
    pub(super) code: u64,
}

impl Size {
    /// Checks the limit.
    ///
    /// # Errors
    ///
    /// [`FirmwareError::TooLarge`].
    pub(super) fn check(self, package: &'static str) -> Result<(), FirmwareError> {
        if self.file <= LIMIT {
            return Ok(());
        }
        Err(FirmwareError::TooLarge {
            package,
            len: self.file,
            limit: LIMIT,
        })
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes, {} of them code", self.file, self.code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_the_last_size_that_passes() {
        let check = |file| Size { file, code: 1 }.check("fw");
        assert!(check(LIMIT).is_ok());
        let error = check(LIMIT + 1).unwrap_err();
        assert!(
            matches!(error, FirmwareError::TooLarge { package: "fw", len, limit: LIMIT } if len == LIMIT + 1)
        );
    }
}
