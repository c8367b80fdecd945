//! `cargo xtask msrv`: checks the pure crates with the oldest compiler that they support.
//!
//! clippy's `incompatible_msrv` finds newer library functions, but neither newer syntax nor what dependencies use; a compiler
//! of that version finds all of it. The compiler is a rustup toolchain if one is installed, otherwise that of Debian 13. The
//! latter is unpacked below `target/` together with its C library, whose dynamic loader runs it. The programs that it builds
//! are linked with this machine's C library, so build scripts run as usual.

use std::env::consts::ARCH;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::apt::{self, PrivateApt};
use crate::cargo;
use crate::error::{Error, WithPath as _};
use crate::metadata;
use crate::packages::Version;
use crate::process;
use crate::suite::Suite;
use crate::toolchain;
use crate::workspace::Workspace;

/// The `rust-version` of the pure crates.
const OLDEST_RUST: Version = (1, 85);

/// The release of Debian with that version.
const SUITE: Suite = Suite::Trixie;

/// The compiler, the standard library, and the shared libraries that the compiler loads.
const PACKAGES: [&str; 17] = [
    "rustc",
    "libstd-rust-1.85",
    "libstd-rust-dev",
    "libllvm19",
    "libc6",
    "libgcc-s1",
    "libstdc++6",
    "libbsd0",
    "libedit2",
    "libffi8",
    "liblzma5",
    "libmd0",
    "libtinfo6",
    "libxml2",
    "libz3-4",
    "libzstd1",
    "zlib1g",
];

/// Name of the script that runs the unpacked compiler, in the directory it is unpacked to.
const SCRIPT: &str = "run-rustc";

/// Checks the pure crates with all features and with none.
pub(crate) fn run(workspace: &Workspace) -> Result<(), Error> {
    let rustc = compiler(workspace)?;
    let (major, minor) = OLDEST_RUST;
    let oldest = format!("{major}.{minor}");
    for features in ["--no-default-features", "--all-features"] {
        let mut command = cargo::command(workspace);
        command
            .args(["check", "--lib", features, "--target-dir"])
            .arg(workspace.xtask("msrv"))
            .env("RUSTC", &rustc);
        for pure in metadata::pure_crates(workspace)? {
            // A crate with a dependency that needs more says so.
            if pure.rust_version.as_deref() == Some(&oldest) {
                command.args(["--package", &pure.name]);
            }
        }
        process::run_shown(&mut command)?;
    }
    Ok(())
}

/// Finds a compiler of that version; fetches it if it is missing.
fn compiler(workspace: &Workspace) -> Result<PathBuf, Error> {
    if let Some(rustc) = of_rustup(workspace)? {
        return Ok(rustc);
    }
    let (major, minor) = OLDEST_RUST;
    if !apt::is_available() {
        return Err(Error::MayNotInstall {
            missing: format!("a Rust {major}.{minor}"),
            why: "this is not a Debian system",
            advice: format!("Run rustup toolchain install --profile minimal {major}.{minor}"),
        });
    }
    let root = workspace
        .xtask("debian")
        .join(SUITE.name())
        .join("own")
        .join("rustc");
    if !root.exists() {
        PrivateApt::of_machine(workspace, SUITE.name())?.unpack(&PACKAGES, &root)?;
    }
    let path = root.join(SCRIPT);
    fs::write(&path, script(&loader(&root)?)).with_path(&path)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).with_path(&path)?;
    Ok(path)
}

/// The compiler of a toolchain that rustup has installed.
fn of_rustup(workspace: &Workspace) -> Result<Option<PathBuf>, Error> {
    let Some(toolchain) = toolchain::of_rustup(workspace, is_oldest) else {
        return Ok(None);
    };
    let mut command = Command::new("rustup");
    command.args(["which", "--toolchain", &toolchain, "rustc"]);
    let path = process::output(&mut command, &workspace.log("rustup-which")?)?;
    Ok(Some(String::from_utf8_lossy(&path).trim_end().into()))
}

/// True for `1.85-x86_64-unknown-linux-gnu` and `1.85.1-x86_64-unknown-linux-gnu`.
fn is_oldest(toolchain: &str) -> bool {
    let (major, minor) = OLDEST_RUST;
    toolchain
        .strip_prefix(&format!("{major}.{minor}"))
        .is_some_and(|rest| rest.starts_with(['.', '-']))
}

/// The dynamic loader among the unpacked libraries.
fn loader(root: &Path) -> Result<String, Error> {
    let directory = root.join(libraries());
    for entry in fs::read_dir(&directory).with_path(&directory)? {
        let name = entry
            .with_path(&directory)?
            .file_name()
            .to_string_lossy()
            .into_owned();
        if name.starts_with("ld-linux-") {
            return Ok(name);
        }
    }
    Err(Error::NotInPackage {
        package: "libc6".to_owned(),
        what: "dynamic loader",
    })
}

/// The directory of the unpacked libraries.
fn libraries() -> String {
    format!("usr/lib/{ARCH}-linux-gnu")
}

/// A script that runs the compiler in its directory. Programs that the compiler starts, such as the linker, are this
/// machine's and run with this machine's dynamic loader.
fn script(loader: &str) -> String {
    let libraries = libraries();
    format!(
        "#!/bin/sh\n\
         root=$(dirname \"$0\")\n\
         exec \"$root/{libraries}/{loader}\" --library-path \"$root/{libraries}\" \\\n    \
         \"$root/usr/bin/rustc\" --sysroot \"$root/usr\" \"$@\"\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pure_crates_promise_that_version_if_their_dependencies_do() {
        /// Crates with a dependency that needs a newer Rust, and their versions.
        const NEWER: [(&str, &str); 3] = [
            ("vmboot-acpi", "1.87"),
            ("vmboot-decompress", "1.87"),
            ("vmboot-fmt-wrapped", "1.87"),
        ];
        let crates = metadata::pure_crates(&Workspace::find().unwrap()).unwrap();
        assert!(!crates.is_empty());
        let (major, minor) = OLDEST_RUST;
        let oldest = format!("{major}.{minor}");
        for pure in crates {
            let newer = NEWER.into_iter().find(|(name, _)| *name == pure.name);
            let promise = newer.map_or(&*oldest, |(_, version)| version);
            assert_eq!(pure.rust_version.as_deref(), Some(promise), "{}", pure.name);
        }
    }

    #[test]
    fn toolchains_are_known_by_their_version() {
        for (name, expected) in [
            ("1.85-x86_64-unknown-linux-gnu", true),
            ("1.85.1-x86_64-unknown-linux-gnu (default)", true),
            ("1.850.0-x86_64-unknown-linux-gnu", false),
            ("stable-x86_64-unknown-linux-gnu", false),
        ] {
            assert_eq!(is_oldest(name), expected, "{name}");
        }
    }

    #[test]
    fn the_script_passes_arguments_on_and_finds_what_lies_beside_it() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("a directory");
        let lib = root.join(libraries());
        fs::create_dir_all(&lib).unwrap();
        assert!(matches!(loader(&root), Err(Error::NotInPackage { .. })));
        let fake = lib.join("ld-linux-fake.so.1");
        fs::write(&fake, "#!/bin/sh\nshift 2\nprintf '%s\\n' \"$@\"\n").unwrap();
        fs::set_permissions(&fake, fs::Permissions::from_mode(0o755)).unwrap();
        let path = root.join(SCRIPT);
        fs::write(&path, script(&loader(&root).unwrap())).unwrap();
        let output = Command::new("sh").arg(&path).args(["a b", "c"]).output().unwrap();
        let root = root.display();
        assert_eq!(
            String::from_utf8(output.stdout).unwrap(),
            format!("{root}/usr/bin/rustc\n--sysroot\n{root}/usr\na b\nc\n")
        );
    }
}
