//! Files of guests of sandboxes, as the project's own reader sees them.

use boot_core::{Arch, DetectError, KernelImage};
use boot_sandbox::{Function, GuestImage, TableError, read_functions};
use proto_sandbox::{GuestLayout, LayoutError, Sizes};

/// Why the project's own reader refuses a file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum GuestFileError {
    /// The file is not an ELF file.
    #[error(transparent)]
    Detect(#[from] DetectError),
    /// The note or a table of functions is missing or malformed.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The program breaks a rule of guests.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The architecture is another one.
    #[error("it is a program for {found}, expected {expected}")]
    Arch { found: Arch, expected: &'static str },
    /// The functions are others.
    #[error("its functions are {found:?}, expected {expected:?}")]
    Functions {
        found: Vec<String>,
        expected: Vec<&'static str>,
    },
}

impl GuestFileError {
    /// The error and its causes.
    pub(crate) fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut error: &dyn std::error::Error = self;
        while let Some(source) = error.source() {
            text = format!("{text}: {source}");
            error = source;
        }
        text
    }
}

/// Checks that the project's own reader takes an ELF file as a guest for `arch` with these functions, whose names are in order.
///
/// # Errors
/// It is no such guest, or breaks a rule of guests.
pub(crate) fn check(
    elf: &[u8],
    arch: &'static str,
    exports: &[&'static str],
    imports: &[&'static str],
) -> Result<(), GuestFileError> {
    let image = boot_core::detect(&[&fmt_elf::FORMAT], &elf)?;
    if image.arch().name() != arch {
        let (found, expected) = (image.arch(), arch);
        return Err(GuestFileError::Arch { found, expected });
    }
    let table = read_functions(&elf, &image)?;
    GuestLayout::new(&image, &sizes(&image))?;
    check_names(&table.exports, exports)?;
    check_names(&table.imports, imports)
}

/// The default sizes, or those that the guest needs.
fn sizes(image: &KernelImage) -> Sizes {
    let guest = image.metadata::<GuestImage>();
    guest.map_or_else(Sizes::default, |guest| Sizes::default().at_least(guest.note()))
}

fn check_names(functions: &[Function], expected: &[&'static str]) -> Result<(), GuestFileError> {
    let mut found: Vec<String> = functions.iter().map(|function| function.name.clone()).collect();
    found.sort();
    if found == expected {
        return Ok(());
    }
    let expected = expected.to_vec();
    Err(GuestFileError::Functions { found, expected })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_files_are_refused() {
        let error = check(b"no ELF file", "x86_64", &[], &[]).unwrap_err();
        assert!(matches!(error, GuestFileError::Detect(_)), "{}", error.chain());
    }

    #[test]
    fn every_function_is_expected() {
        let error = check_names(&[], &["add", "echo"]).unwrap_err();
        let expected = r#"its functions are [], expected ["add", "echo"]"#;
        assert_eq!(error.chain(), expected);
        assert!(check_names(&[], &[]).is_ok());
    }
}
