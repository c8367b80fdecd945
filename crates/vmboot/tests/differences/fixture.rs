//! Programs of binutils, and real kernels.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use boot_core::SizedSource;
use fmt_pe::pe::PeFile;
use libtest_mimic::{Completion, Failed, Trial};

use crate::elf::{self, Segments};
use crate::family::FAMILIES;
use crate::loading::{self, Kind};
use crate::matrix::ACCEPTED;
use crate::pe;
use crate::with_fixture::with_fixture;

/// RAM for real kernels, in bytes.
const LARGE: u64 = 256 << 20;

/// A check of a file.
type Check = fn(&Path) -> Result<Completion, Failed>;

/// Real kernels and the checks of each.
const KERNELS: [(&str, &[(&str, Check)]); 9] = [
    (
        "kernels/x86_64/debian-13.vmlinux",
        &[
            ("ELF", check_elf),
            ("readelf", check_readelf),
            ("load", check_elf_load),
        ],
    ),
    (
        "kernels/x86_64/xen-4.20.elf",
        &[("ELF", check_elf), ("readelf", check_readelf)],
    ),
    (
        "kernels/x86_64/debian-13.bzImage",
        &[
            ("PE", check_pe),
            ("objdump", check_objdump),
            ("load", check_bzimage_load),
        ],
    ),
    (
        "kernels/x86_64/debian-12.bzImage",
        &[
            ("PE", check_pe),
            ("objdump", check_objdump),
            ("load", check_bzimage_load),
        ],
    ),
    (
        "kernels/x86_64/debian-11.bzImage",
        &[
            ("PE", check_pe),
            ("objdump", check_objdump),
            ("load", check_bzimage_load),
        ],
    ),
    (
        "kernels/aarch64/debian-13.Image",
        &[("PE", check_pe), ("objdump", check_objdump)],
    ),
    ("kernels/riscv64/debian-13.Image", &[("PE", check_pe)]),
    (
        "images/x86_64/shimx64.efi",
        &[("PE", check_pe), ("objdump", check_objdump)],
    ),
    (
        "images/x86_64/systemd-bootx64.efi",
        &[("PE", check_pe), ("objdump", check_objdump)],
    ),
];

/// All trials.
pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = vec![
        Trial::ignorable_test("readelf: samples", || samples("elf", check_readelf)),
        Trial::ignorable_test("objdump: samples", || samples("uki", check_objdump)),
    ];
    for (kernel, checks) in KERNELS {
        for &(name, check) in checks {
            trials.push(with_fixture(format!("{kernel}: {name}"), kernel, check));
        }
    }
    trials
}

/// Checks every hundredth image of a family that this workspace accepts.
fn samples(family: &str, check: Check) -> Result<Completion, Failed> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("image");
    let family = FAMILIES
        .iter()
        .find(|known| known.name == family)
        .ok_or("no such family")?;
    let (mut accepted, mut checked) = (0_usize, 0);
    let mut result = Ok(Completion::Completed);
    family.for_each(&mut |name, file| {
        if !matches!(result, Ok(Completion::Completed)) || !is_accepted(&file) {
            return;
        }
        accepted += 1;
        if accepted.is_multiple_of(100) {
            fs::write(&path, &file).unwrap();
            checked += 1;
            result = check(&path)
                .map_err(|error| format!("{name}: {}", error.message().unwrap_or_default()).into());
        }
    });
    println!("{}: {checked} of {accepted} images", family.name);
    result
}

fn is_accepted(file: &[u8]) -> bool {
    let pe = || SizedSource::new(&file).is_ok_and(|source| matches!(PeFile::parse(source), Ok(Some(_))));
    matches!(fmt_elf::parse(&file), Ok(Some(_))) || pe()
}

/// What a program prints; `None` if it is not installed.
fn output(program: &str, args: &[&str], path: &Path) -> Result<Option<String>, Failed> {
    let output = Command::new(program)
        .args(args)
        .arg(path)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output();
    match output {
        Ok(output) => Ok(Some(String::from_utf8_lossy(&output.stdout).into_owned())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn our_segments(file: &[u8]) -> Result<Segments, Failed> {
    let image = fmt_elf::parse(&file)?.ok_or("no ELF file")?;
    Ok(elf::of_image(&image))
}

/// The crates find the same segments.
fn check_elf(path: &Path) -> Result<Completion, Failed> {
    let file = fs::read(path)?;
    let ours = our_segments(&file)?;
    assert_eq!(elf::object(&file), Some(ours.clone()));
    assert_eq!(elf::goblin(&file), Some(ours));
    Ok(Completion::Completed)
}

/// `readelf` finds the same segments.
fn check_readelf(path: &Path) -> Result<Completion, Failed> {
    let Some(text) = output("readelf", &["-lW"], path)? else {
        return Ok(Completion::ignored_with("readelf is not installed"));
    };
    // Type, offset, virtual and physical address, length in the file and in memory.
    let hex = |word: &&str| u64::from_str_radix(word.trim_start_matches("0x"), 16).ok();
    let loads = text
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("LOAD"));
    let loads = loads.filter_map(|line| {
        let words: Vec<_> = line.split_whitespace().take(5).collect();
        let numbers: Option<Vec<_>> = words.iter().map(hex).collect();
        let [offset, _, paddr, filesz, memsz] = numbers?.try_into().ok()?;
        Some([offset, filesz, paddr, memsz])
    });
    let theirs = elf::sorted(loads);
    assert_eq!(our_segments(&fs::read(path)?)?, theirs, "{text}");
    Ok(Completion::Completed)
}

/// The crates find the same sections.
fn check_pe(path: &Path) -> Result<Completion, Failed> {
    let file = fs::read(path)?;
    let ours = PeFile::parse(SizedSource::new(&file)?)?.ok_or("no PE file")?;
    let ours = pe::of_file(&ours);
    assert_eq!(pe::object(&file).as_ref(), Some(&ours));
    assert_eq!(pe::goblin(&file).as_ref(), Some(&ours));
    Ok(Completion::Completed)
}

/// `objdump` finds the same entry point and sections.
fn check_objdump(path: &Path) -> Result<Completion, Failed> {
    let Some(text) = output("objdump", &["-p", "-h"], path)? else {
        return Ok(Completion::ignored_with("objdump is not installed"));
    };
    let file = fs::read(path)?;
    let ours = PeFile::parse(SizedSource::new(&file)?)?.ok_or("no PE file")?;
    if text.is_empty() || !text.contains("AddressOfEntryPoint") {
        return Ok(Completion::ignored_with("this objdump does not read such files"));
    }
    let value = |name: &str| {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .unwrap_or_default();
        u32::from_str_radix(line.trim(), 16)
    };
    assert_eq!(
        value("AddressOfEntryPoint")?,
        ours.entry_point().unwrap_or_default()
    );
    assert_eq!(value("SizeOfImage")?, ours.optional_header().size_of_image);
    assert_eq!(value("SizeOfHeaders")?, u32::try_from(ours.headers().len())?);
    assert_eq!(value("FileAlignment")?, ours.optional_header().file_alignment);
    Ok(Completion::Completed)
}

fn check_load(path: &Path, kind: Kind, expected: &str) -> Result<Completion, Failed> {
    let classes = loading::classes(&fs::read(path)?, kind, LARGE);
    assert_eq!(classes, (ACCEPTED.to_owned(), expected.to_owned()));
    Ok(Completion::Completed)
}

/// `linux-loader` loads the same bytes.
fn check_elf_load(path: &Path) -> Result<Completion, Failed> {
    check_load(path, Kind::Elf, ACCEPTED)
}

/// `linux-loader` loads the same bytes, and the signature behind them (Debian signs its kernels for Secure Boot).
fn check_bzimage_load(path: &Path) -> Result<Completion, Failed> {
    check_load(path, Kind::BzImage, "more bytes")
}
