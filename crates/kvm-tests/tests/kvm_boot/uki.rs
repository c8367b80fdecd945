//! Unified kernel images of Debian's `ukify`, whose kernel boots with the image's own initrds and command line, without an EFI stub.

use std::fs::{self, File};
use std::rc::Rc;
use std::time::Duration;

use bls::ProfileSelector;
use bls::uki::UkiBoot;
use boot_core::SizedSource;
use contract::Digest;
use hv_core::Outcome;
use hv_core::virt::Gic;

use super::board::Board;
use super::boot::boot_source;
use super::case::{Case, TestResult};
use super::fixtures::{Needs, path};
use super::setup::Setup;

/// A profile with or without the addon, and the files that have the expected command line and payload.
#[derive(Clone, Copy)]
struct Variant {
    name: &'static str,
    profile: Option<&'static str>,
    has_addon: bool,
    cmdlines: &'static [&'static str],
    payload: &'static str,
}

const VARIANTS: [Variant; 2] = [
    Variant {
        name: "plain",
        profile: None,
        has_addon: false,
        cmdlines: &["main"],
        payload: "image",
    },
    Variant {
        name: "profile-and-addon",
        profile: Some("debug"),
        has_addon: true,
        cmdlines: &["debug", "addon"],
        payload: "addon",
    },
];

pub(crate) fn cases() -> Vec<Case> {
    let board = match std::env::consts::ARCH {
        "x86_64" => Board::Pc,
        "aarch64" => Board::Arm64(Gic::V3WithIts),
        // There is no harness for this host, or its images are not made.
        _ => return Vec::new(),
    };
    let case = |variant: Variant| Case {
        name: format!("uki::{}", variant.name),
        needs: Needs {
            files: ["debian-13.efi", "one.addon.efi"].map(file).into(),
            board,
            hardware: true,
        },
        run: Box::new(move || to_userspace(board, variant)),
    };
    VARIANTS.into_iter().map(case).collect()
}

/// An image, an addon, or what is in them, below the fixtures directory.
fn file(name: &str) -> String {
    format!("ukis/{}/{name}", std::env::consts::ARCH)
}

fn to_userspace(board: Board, variant: Variant) -> TestResult {
    let read = |name: &str, kind: &str| fs::read(path(&file(&format!("{name}.{kind}"))));
    let open = |name: &str| Ok::<_, std::io::Error>(Rc::new(File::open(path(&file(name)))?));
    let profile = variant.profile.map(ProfileSelector::parse);
    let addon = variant.has_addon.then(|| open("one.addon.efi")).transpose()?;
    let uki = UkiBoot::open(open("debian-13.efi")?, profile.as_ref(), addon)?;
    let initrd = uki.initrd()?.ok_or("an image without an initrd")?;
    let initrd = SizedSource::new(&initrd)?;
    let setup = Setup {
        memory: 512 << 20,
        // For the power-off.
        has_acpi: board == Board::Pc,
        initrd: Some(initrd.read_vec(0, usize::try_from(initrd.len())?)?),
        deadline: Duration::from_mins(4),
        ..Setup::of(board)
    };
    let run = boot_source(&uki.kernel.open()?, None, &setup, &uki.cmdline(None))?;
    let lines = variant.cmdlines.iter().map(|name| read(name, "cmdline"));
    let line = lines.collect::<Result<Vec<_>, _>>()?.join(&b' ');
    let Digest { len, hash } = Digest::of(&read(variant.payload, "payload")?);
    let expected = [
        "userspace reached: Linux ".to_owned(),
        format!("cmdline: {}\r\n", String::from_utf8(line)?),
        format!("payload: payload.bin {len} {hash:#018x}\r\n"),
    ];
    run.expect(&Outcome::PowerOff, expected)
}
