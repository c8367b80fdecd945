//! The size of our firmware: flags that keep it small, and the limit.
//!
//! The size is that of the file that a VMM starts: on x86_64 the ELF without sections, elsewhere the Image. Symbols and debug information
//! are not part of it.

use std::fmt;
use std::process::Command;

use super::error::FirmwareError;
use crate::toolchain::BareMetal;

/// What is in a firmware.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// Everything.
    Whole,
    /// Neither EFI nor ext4: without the default features.
    WithoutEfi,
}

impl Content {
    /// Highest size in bytes of an ELF file or an Image.
    const fn limit(self, is_image: bool) -> u64 {
        match self {
            // The parts of an Image that runtime services use begin at multiples of 64 KiB, the largest page of arm64.
            Self::Whole if is_image => 660_000,
            Self::Whole => 530_000,
            Self::WithoutEfi => 350_000,
        }
    }
}

/// Flags for every compiler. Large stack frames need longer instructions, so functions with variables of more than 128 bytes stay functions of
/// their own; repeated sequences of instructions and equal functions are shared.
///
/// These replace the flags of `firmware/.cargo/config.toml`, so that of position-independent code is here as well: the other targets have it
/// by default.
const FLAGS: [&str; 3] = [
    "-Crelocation-model=pie",
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
    /// Checks the limit of a firmware with this content.
    ///
    /// # Errors
    ///
    /// [`FirmwareError::TooLarge`].
    pub(super) fn check(
        self,
        package: &'static str,
        content: Content,
        is_image: bool,
    ) -> Result<(), FirmwareError> {
        let limit = content.limit(is_image);
        if self.file <= limit {
            return Ok(());
        }
        Err(FirmwareError::TooLarge {
            package,
            len: self.file,
            limit,
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
        let all = [
            (Content::Whole, false),
            (Content::Whole, true),
            (Content::WithoutEfi, false),
        ];
        for (content, is_image) in all {
            let check = |file| Size { file, code: 1 }.check("fw", content, is_image);
            let last = content.limit(is_image);
            assert!(check(last).is_ok());
            let error = check(last + 1).unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("fw has {} bytes; the limit is {last}", last + 1)),
                "{error}"
            );
        }
        assert!(Content::WithoutEfi.limit(false) < Content::Whole.limit(false));
    }
}
