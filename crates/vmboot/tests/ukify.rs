//! `plan` and `extract` on unified kernel images of Debian's `ukify`: every profile, with and without an addon. Boots of them are in `kvm-tests`.
//!
//! A case without its image is ignored; `cargo xtask test` makes all images where it can fetch ukify.

#[path = "shared/with_fixture.rs"]
mod with_fixture;

use std::fs;
use std::path::Path;
use std::process::Command;

use libtest_mimic::{Arguments, Completion, Failed, Trial};

use self::with_fixture::with_fixture;

/// Options, and the names of the fixtures with the command lines, and the number of archives with a payload.
type Variant = (&'static [&'static str], &'static [&'static str], usize);

const VARIANTS: [Variant; 6] = [
    (&[], &["main"], 2),
    (&["--profile", "0"], &["main"], 2),
    (&["--profile", "1"], &["debug"], 2),
    (&["--profile", "debug"], &["debug"], 2),
    (&["--addon", "one.addon.efi"], &["main", "addon"], 3),
    (
        &["--profile", "debug", "--addon", "one.addon.efi"],
        &["debug", "addon"],
        3,
    ),
];

fn main() {
    let archs = ["x86_64", "aarch64"];
    let pairs = archs
        .into_iter()
        .flat_map(|arch| VARIANTS.map(|variant| (arch, variant)));
    let trials = pairs.map(|(arch, variant)| {
        let name = format!("{arch} {}", variant.0.join(" "));
        trial(&name, arch, move |dir| check(dir, variant))
    });
    let extracts = archs
        .into_iter()
        .map(|arch| trial(&format!("{arch} extract"), arch, check_extract));
    libtest_mimic::run(&Arguments::from_args(), trials.chain(extracts).collect()).exit();
}

/// A trial with the directory of the images.
fn trial(
    name: &str,
    arch: &'static str,
    check: impl FnOnce(&Path) -> Result<(), Failed> + Send + 'static,
) -> Trial {
    let image = format!("ukis/{arch}/one.addon.efi");
    with_fixture(name.trim_end(), image, move |image| {
        check(image.parent().ok_or("an image without a directory")?)?;
        Ok(Completion::Completed)
    })
}

/// Checks the files that `extract` writes: what ukify was given, and the kernel as a layer.
fn check_extract(dir: &Path) -> Result<(), Failed> {
    let out = tempfile::tempdir()?;
    let output = Command::new(env!("CARGO_BIN_EXE_vmboot"))
        .arg("extract")
        .arg(dir.join("debian-13.efi"))
        .arg(out.path())
        .output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    let read = |name: &str| fs::read(out.path().join(name));
    for (name, given) in [
        ("base-cmdline", "main.cmdline"),
        ("base-osrel", "os-release"),
        ("base-ucode", "ucode.cpio"),
        ("profile-0-profile", "main.profile"),
        ("profile-1-profile", "debug.profile"),
        ("profile-1-cmdline", "debug.cmdline"),
    ] {
        assert!(read(name)? == fs::read(dir.join(given))?, "{name} is not {given}");
    }
    let (initrd, last) = (read("base-initrd")?, fs::read(dir.join("image.cpio"))?);
    assert!(initrd.ends_with(&last), "the second initrd is not at the end");
    assert!(
        !out.path().join("base-linux").exists(),
        "the kernel was written twice"
    );
    let mut names: Vec<_> = fs::read_dir(out.path())?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<_, std::io::Error>>()?;
    names.sort();
    let kernel = names.first().ok_or("no files")?;
    assert!(
        ["1-bzimage", "1-arm64-image"].contains(&kernel.as_str()),
        "{names:?}"
    );
    assert!(names.contains(&"base-sbat".to_owned()), "{names:?}");
    assert!(names.contains(&"base-uname".to_owned()), "{names:?}");
    Ok(())
}

/// Checks the command line and the order of the archives in a plan.
fn check(dir: &Path, (options, cmdlines, payloads): Variant) -> Result<(), Failed> {
    let dump = tempfile::tempdir()?;
    let output = Command::new(env!("CARGO_BIN_EXE_vmboot"))
        .args(["plan", "--dump"])
        .arg(dump.path())
        .arg("debian-13.efi")
        .args(options)
        .current_dir(dir)
        .output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    let read = |name: &str, kind: &str| fs::read(dir.join(format!("{name}.{kind}")));
    let lines = cmdlines.iter().map(|name| read(name, "cmdline"));
    let line = lines.collect::<Result<Vec<_>, _>>()?.join(&b' ');
    let mut found = piece(dump.path(), "command-line")?.unwrap_or_default();
    if found.is_empty() {
        // On arm64 it is in the device tree.
        let tree = piece(dump.path(), "device-tree")?.ok_or("no device tree")?;
        let at = position(&tree, &line).ok_or("the command line is not in the device tree")?;
        found = tree[at..].to_vec();
    }
    assert_eq!(found.split(|byte| *byte == 0).next(), Some(line.as_slice()));

    let initrd = piece(dump.path(), "initrd")?.ok_or("no initrd")?;
    let offsets = ["ucode", "image", "addon"].map(|name| Ok(position(&initrd, &read(name, "payload")?)));
    let offsets = offsets.into_iter().collect::<Result<Vec<_>, Failed>>()?;
    let found = offsets.iter().filter(|offset| offset.is_some()).count();
    assert_eq!(found, payloads, "{offsets:?}");
    assert!(offsets[..found].is_sorted(), "{offsets:?}");
    Ok(())
}

/// The bytes of the piece of the plan whose name contains `label`.
fn piece(dump: &Path, label: &str) -> Result<Option<Vec<u8>>, Failed> {
    for entry in fs::read_dir(dump)? {
        let path = entry?.path();
        if path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().contains(label))
        {
            return Ok(Some(fs::read(path)?));
        }
    }
    Ok(None)
}

fn position(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}
