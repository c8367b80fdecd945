//! Trials that need a file of the fixtures, which `cargo xtask test` provides.

use std::path::{Path, PathBuf};

use libtest_mimic::{Completion, Failed, Trial};

/// A trial with the path of a fixture; ignored without it.
pub(crate) fn with_fixture(
    name: impl Into<String>,
    fixture: impl Into<PathBuf>,
    check: impl FnOnce(&Path) -> Result<Completion, Failed> + Send + 'static,
) -> Trial {
    let fixture = fixture.into();
    Trial::ignorable_test(name, move || {
        let Some(dir) = std::env::var_os("VMBOOT_FIXTURES") else {
            let reason = "VMBOOT_FIXTURES is not set; `cargo xtask test` provides the fixtures";
            return Ok(Completion::ignored_with(reason));
        };
        let path = PathBuf::from(dir).join(fixture);
        if !path.exists() {
            return Ok(Completion::ignored_with("the fixture is missing"));
        }
        check(&path)
    })
}
