//! Unified kernel images with addons, as one boot.

use std::rc::Rc;

use bls::uki::{SelectTreeError, UkiBoot};
use bls::{Chid, ProfileSelector};
use boot_core::{Arch, ByteSource, SizedSource};
use fmt_test::pe::{AMD64, ARM64, Pe, RISCV64, device_tree, uki};

type File = Rc<Vec<u8>>;

fn file(pe: &Pe) -> File {
    Rc::new(pe.build())
}

/// The bytes of a source, as text.
fn text(source: &impl ByteSource) -> String {
    let source = SizedSource::new(source).unwrap();
    let bytes = source.read_vec(0, source.len() as usize).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Checks kernel, initrd and command line, or the error.
#[track_caller]
fn check(image: &Pe, profile: Option<u32>, addons: &[&Pe], expected: Result<[&str; 3], &str>) {
    let profile = profile.map(ProfileSelector::Number);
    let addons = addons.iter().map(|addon| file(addon));
    let found = UkiBoot::open(file(image), profile.as_ref(), addons);
    let found = found.map_err(|error| error.to_string()).map(|boot| {
        let initrd = boot.initrd().unwrap();
        [
            text(&boot.kernel.open().unwrap()),
            initrd.map(|initrd| text(&initrd)).unwrap_or_default(),
            boot.cmdline(None),
        ]
    });
    let found = found.as_ref().map(|[a, b, c]| [a.as_str(), b, c]);
    assert_eq!(found.map_err(String::as_str), expected);
}

#[test]
fn parts_of_addons_are_in_the_order_of_systemd_stub() {
    let image = uki(AMD64)
        .section(".ucode", "own ucode")
        .section(".profile", "ID=main")
        .section(".profile", "ID=other")
        .section(".cmdline", "of other")
        .section(".initrd", "initrd two");
    let one = Pe::new(AMD64)
        .section(".cmdline", " one\n")
        .section(".ucode", "ucode 1");
    let two = Pe::new(AMD64)
        .section(".cmdline", "two")
        .section(".initrd", "more")
        .section(".ucode", "ucode 2");
    let empty = Pe::new(AMD64).section(".cmdline", "\n");
    check(
        &image,
        None,
        &[],
        Ok(["a kernel", "own ucode\0\0\0initrd one", "root=/dev/vda1 quiet"]),
    );
    check(
        &image,
        Some(0),
        &[&one, &empty, &two],
        Ok([
            "a kernel",
            "ucode 2\0ucode 1\0own ucode\0\0\0initrd one\0\0more",
            "root=/dev/vda1 quiet one two",
        ]),
    );
    check(
        &image,
        Some(1),
        &[&two],
        Ok([
            "a kernel",
            "ucode 2\0own ucode\0\0\0initrd two\0\0more",
            "of other two",
        ]),
    );
    check(
        &Pe::new(ARM64).section(".linux", "k"),
        None,
        &[],
        Ok(["k", "", ""]),
    );
}

#[test]
fn addons_for_other_images_are_refused() {
    let line = |machine| Pe::new(machine).section(".cmdline", "x");
    let fits = line(AMD64).section(".uname", "6.12.9-amd64");
    check(
        &uki(AMD64),
        None,
        &[&fits, &line(AMD64).section(".uname", "6.1")],
        Err("addon 1: the addon is for the kernel release \"6.1\", and the image has \"6.12.9-amd64\""),
    );
    check(
        &uki(AMD64),
        None,
        &[&line(RISCV64)],
        Err("addon 0: the addon is for another architecture than the image, which is for x86_64"),
    );
    check(
        &uki(AMD64),
        None,
        &[&fits, &Pe::new(AMD64)],
        Err("addon 1: the addon has none of the sections .cmdline, .dtb, .dtbauto, .ucode and .initrd"),
    );
    check(
        &Pe::new(AMD64),
        None,
        &[],
        Err("the file is not a unified kernel image: it is no PE file with a section \".linux\""),
    );
    check(
        &uki(AMD64),
        Some(1),
        &[],
        Err("the image has no profile 1; it has 0, counted from 0"),
    );
}

#[test]
fn a_caller_replaces_the_command_line_of_the_image_only() {
    let addon = file(&Pe::new(AMD64).section(".cmdline", "one"));
    let boot = UkiBoot::open(file(&uki(AMD64)), None, [addon]).unwrap();
    assert_eq!(boot.cmdline(Some("mine")), "mine one");
    assert_eq!(boot.cmdline(Some("")), "one");
}

/// A table `.hwids` with one model.
fn hwids(chid: [u8; 16], compatible: &str) -> Vec<u8> {
    let mut table = (1_u32 << 28 | 0x1c).to_le_bytes().to_vec();
    table.extend(chid);
    table.extend([0; 4]);
    table.extend(32_u32.to_le_bytes());
    table.extend([0; 4]);
    table.extend(compatible.bytes());
    table.push(0);
    table
}

#[test]
fn device_trees_are_selected_by_model() {
    let tree = |model: &str| device_tree(&[("compatible", format!("{model}\0").as_bytes())]);
    let image = uki(ARM64)
        .section(".dtb", "plain")
        .section(".dtbauto", tree("acme,one"))
        .section(".dtbauto", tree("acme,two"))
        .section(".hwids", hwids([7; 16], "acme,two"));
    let addon = file(
        &Pe::new(ARM64)
            .section(".dtbauto", tree("acme,three"))
            .section(".dtb", "overlay"),
    );
    let boot = UkiBoot::open(file(&image), None, [Rc::clone(&addon)]).unwrap();
    assert_eq!(boot.arch, Some(Arch::Aarch64));
    let overlays: Vec<_> = boot
        .overlays
        .iter()
        .map(|section| text(&section.open().unwrap()))
        .collect();
    assert_eq!(overlays, ["overlay"]);
    let check = |compatible, chid, expected: Option<&str>| {
        let chids = [Chid([chid; 16])];
        let found = boot.device_tree_for(compatible, &chids).unwrap();
        let found = found.map(|section| text(&section.open().unwrap()));
        let expected = expected.map(|model| {
            let tree = String::from_utf8_lossy(&tree(model)).into_owned();
            if model == "plain" {
                "plain".to_owned()
            } else {
                tree
            }
        });
        assert_eq!(found, expected, "{compatible:?} {chid}");
    };
    check(Some("acme,one"), 0, Some("acme,one"));
    check(Some("acme,three"), 0, Some("acme,three"));
    check(Some("acme"), 0, Some("plain"));
    check(None, 0, Some("plain"));
    check(None, 7, Some("acme,two"));
    // The first of the candidates that match in either way.
    check(Some("acme,one"), 7, Some("acme,one"));
    // Those of addons are before those of the image.
    check(Some("acme,three"), 7, Some("acme,three"));

    let bad = uki(ARM64).section(".dtbauto", "no tree").section(".hwids", "abc");
    let boot = UkiBoot::open(file(&bad), None, []).unwrap();
    let error = boot.device_tree_for(None, &[Chid([1; 16])]).unwrap_err();
    assert!(matches!(error, SelectTreeError::Hwids(_)), "{error}");
    let error = boot.device_tree_for(Some("acme"), &[]).unwrap_err();
    assert!(
        matches!(error, SelectTreeError::Candidate { index: 0, .. }),
        "{error}"
    );
    let large = uki(ARM64).section(".hwids", vec![0; (1 << 20) + 1]);
    let boot = UkiBoot::open(file(&large), None, []).unwrap();
    let error = boot.device_tree_for(None, &[Chid([1; 16])]).unwrap_err();
    assert!(
        matches!(error, SelectTreeError::HwidsTooLong { len: 0x10_0001 }),
        "{error}"
    );
    let plain = UkiBoot::open(file(&uki(ARM64)), None, []).unwrap();
    assert_eq!(plain.device_tree_for(Some("acme,one"), &[]).unwrap(), None);
}
