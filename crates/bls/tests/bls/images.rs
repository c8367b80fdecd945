//! Unified kernel images and addons.

use std::fmt::Write;

use bls::uki::{Addon, Uki, UkiProfile};
use bls::{ProfileSelector, root_compatible};
use boot_core::{SizedSource, SourceRange};
use fmt_test::pe::{ARM64, Pe, RISCV64, SECTION_HEADER_LEN, SECTION_TABLE, device_tree, uki};
use fmt_test::{Fields, TestSource};

use crate::invariants;

/// Describes a profile; a section by the text that it has in the file.
fn describe(file: &[u8], profile: &UkiProfile) -> String {
    let text = |range: &SourceRange| {
        let bytes = &file[range.offset() as usize..range.end() as usize];
        String::from_utf8_lossy(bytes).into_owned()
    };
    let mut out = format!("linux {}\n", text(&profile.linux));
    let mut line = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            writeln!(out, "{name} {value}").expect("writing to a string");
        }
    };
    let lists = [("dtbauto", &profile.dtbauto), ("efifw", &profile.efifw)];
    line("number", profile.number.map(|number| number.to_string()));
    line("id", profile.id.clone());
    line("title", profile.title.clone());
    line("cmdline", profile.cmdline.clone());
    line("uname", profile.uname.clone());
    line("os", profile.os_release.title().map(str::to_owned));
    for (name, ranges) in lists {
        for range in ranges {
            line(name, Some(text(range)));
        }
    }
    for (name, range) in [
        ("ucode", &profile.ucode),
        ("initrd", &profile.initrd),
        ("dtb", &profile.dtb),
        ("hwids", &profile.hwids),
        ("splash", &profile.splash),
        ("sbat", &profile.sbat),
        ("pcrsig", &profile.pcrsig),
        ("pcrpkey", &profile.pcrpkey),
    ] {
        line(name, range.as_ref().map(text));
    }
    out
}

/// Checks the description of a profile, or the error.
#[track_caller]
fn check(pe: &Pe, selector: Option<&ProfileSelector>, expected: &str) {
    check_file(&pe.build(), selector, expected);
}

#[track_caller]
fn check_file(file: &[u8], selector: Option<&ProfileSelector>, expected: &str) {
    invariants::check_image(file);
    let source = SizedSource::new(&file).unwrap();
    let found = match Uki::parse(source) {
        Ok(None) => "no image".to_owned(),
        Ok(Some(image)) => match image.profile(selector) {
            Ok(profile) => describe(file, &profile),
            Err(error) => format!("error: {error}"),
        },
        Err(error) => format!("error: {error}"),
    };
    let lines = |text: &str| -> Vec<String> { text.lines().map(|line| line.trim().to_owned()).collect() };
    assert_eq!(lines(found.trim()), lines(expected));
}

#[test]
fn an_image_without_profiles() {
    check(
        &uki(RISCV64),
        None,
        "linux a kernel
         cmdline root=/dev/vda1 quiet
         uname 6.12.9-amd64
         os Debian 13
         initrd initrd one",
    );
    check(
        &uki(ARM64)
            .section(".ucode", "microcode")
            .section(".dtb", "tree")
            .section(".dtbauto", "tree one")
            .section(".dtbauto", "tree two")
            .section(".hwids", "table")
            .section(".splash", "BM")
            .section(".sbat", "sbat,1")
            .section(".pcrsig", "{}")
            .section(".pcrpkey", "key")
            .section(".efifw", "firmware")
            .section(".other", "?"),
        Some(&ProfileSelector::Number(0)),
        "linux a kernel
         cmdline root=/dev/vda1 quiet
         uname 6.12.9-amd64
         os Debian 13
         dtbauto tree one
         dtbauto tree two
         efifw firmware
         ucode microcode
         initrd initrd one
         dtb tree
         hwids table
         splash BM
         sbat sbat,1
         pcrsig {}
         pcrpkey key",
    );
    check(&Pe::new(ARM64).section(".linux", "k"), None, "linux k");
    check(
        &Pe::new(ARM64)
            .section(".linux", "k")
            .section(".cmdline", "a\tb\r\n\0\0"),
        None,
        "linux k\ncmdline a b",
    );
    let image = uki(ARM64).build();
    let image = Uki::parse(SizedSource::new(&image).unwrap()).unwrap().unwrap();
    assert_eq!(
        (image.arch(), image.profile_count()),
        (Some(bls::Arch::Aarch64), 0)
    );
    let image = uki(0x14c).build();
    let image = Uki::parse(SizedSource::new(&image).unwrap()).unwrap().unwrap();
    assert_eq!((image.arch(), image.machine().0), (None, 0x14c));
}

/// The example of "Multi-Profile UKIs", and an initrd that a profile replaces.
fn profiles() -> Pe {
    Pe::new(ARM64)
        .section(".linux", "kernel")
        .section(".initrd", "one")
        .section(".cmdline", "quiet")
        .section(".profile", "ID=regular\nTITLE=\"Regular boot\"\n")
        .section(".profile", "ID=factory-reset\nTITLE='Reset'")
        .section(".cmdline", "quiet reset")
        .section(".profile", "")
        .section(".initrd", "three")
        .section(".linux", "other kernel")
}

#[test]
fn profiles_replace_sections_of_the_base() {
    let number = |number| Some(ProfileSelector::Number(number));
    let id = |id: &str| Some(ProfileSelector::Id(id.to_owned()));
    let regular = "linux kernel
         number 0
         id regular
         title Regular boot
         cmdline quiet
         initrd one";
    let reset = "linux kernel
         number 1
         id factory-reset
         title Reset
         cmdline quiet reset
         initrd one";
    check(&profiles(), None, regular);
    check(&profiles(), number(0).as_ref(), regular);
    check(&profiles(), id("regular").as_ref(), regular);
    check(&profiles(), number(1).as_ref(), reset);
    check(&profiles(), id("factory-reset").as_ref(), reset);
    check(
        &profiles(),
        number(2).as_ref(),
        "linux other kernel
         number 2
         cmdline quiet
         initrd three",
    );
    check(
        &profiles(),
        number(3).as_ref(),
        "error: the image has no profile 3; it has 3, counted from 0",
    );
    check(
        &profiles(),
        id("x").as_ref(),
        "error: the image has no profile with \"ID=x\"",
    );
    check(
        &uki(ARM64),
        number(1).as_ref(),
        "error: the image has no profile 1; it has 0, counted from 0",
    );
    check(
        &uki(ARM64),
        id("").as_ref(),
        "error: the image has no profile with \"ID=\"",
    );
    // A profile whose description is not text does not hide the others.
    let pe = Pe::new(ARM64)
        .section(".linux", "k")
        .section(".profile", "ID=\u{1}")
        .section(".profile", b"\xff")
        .section(".profile", "ID=c");
    check(&pe, id("c").as_ref(), "linux k\nnumber 2\nid c");
    check(
        &pe,
        number(1).as_ref(),
        "error: the section \".profile\": line 1 is not UTF-8 text from byte 1 on",
    );
    // A kernel in profiles only.
    let pe = Pe::new(ARM64)
        .section(".profile", "ID=a")
        .section(".profile", "ID=b")
        .section(".linux", "k");
    check(
        &pe,
        None,
        "error: the section \".linux\" is absent or empty in profile 0",
    );
    check(&pe, number(1).as_ref(), "linux k\nnumber 1\nid b");
}

#[test]
fn refused_images() {
    check_file(b"#!/bin/sh", None, "no image");
    check(&Pe::new(ARM64).section(".cmdline", "x"), None, "no image");
    check(
        &Pe::new(ARM64).section(".linux", ""),
        None,
        "error: the section \".linux\" is absent or empty in the base of the image",
    );
    for section in [
        ".linux", ".cmdline", ".osrel", ".uname", ".initrd", ".ucode", ".dtb", ".pcrsig",
    ] {
        check(
            &uki(ARM64)
                .section(".ucode", "")
                .section(".dtb", "")
                .section(".pcrsig", "")
                .section(section, "again"),
            None,
            &format!("error: the section \"{section}\" occurs twice in the base of the image"),
        );
    }
    check(
        &profiles().section(".linux", "again"),
        None,
        "error: the section \".linux\" occurs twice in profile 2",
    );
    check(
        &Pe::new(ARM64)
            .section(".linux", "k")
            .section(".cmdline", b"a\xff"),
        None,
        "error: the section \".cmdline\": line 1 is not UTF-8 text from byte 2 on",
    );
    check(
        &Pe::new(ARM64).section(".linux", "k").section(".osrel", "A=\0b"),
        None,
        "error: the section \".osrel\": line 1 has a NUL character at byte 3; the file is not text",
    );
    check(
        &Pe::new(ARM64)
            .section(".linux", "k")
            .section(".uname", vec![b'\n'; 70_000]),
        None,
        "error: the section \".uname\": the text has 70000 bytes; at most 65536 are supported",
    );
    // The content of the last section is not in the file.
    let pointer = SECTION_TABLE + 5 * SECTION_HEADER_LEN + 20;
    let file = uki(ARM64).build();
    let moved = file.clone().u32(pointer, 0x10_0000).build();
    check_file(
        &moved,
        None,
        "error: the content of the PE section \".linux\" is at bytes 0x100000..0x100008, but the file has 0x1000 bytes; is the file truncated?",
    );
    let in_headers = file.u32(pointer, 0x40).build();
    check_file(
        &in_headers,
        None,
        "error: the content of the PE section \".linux\" is at byte 0x40, inside the headers, which end at 0x400",
    );
}

/// A section that is longer in memory than in the file: the range has what is in the file, without its padding.
#[test]
fn sizes_in_file_and_memory() {
    let profile = |pe: Pe| {
        let file = pe.build();
        let image = Uki::parse(SizedSource::new(&file).unwrap()).unwrap().unwrap();
        image.profile(None).unwrap().linux.len()
    };
    assert_eq!(profile(Pe::new(ARM64).section(".linux", vec![1; 700])), 700);
    assert_eq!(
        profile(Pe::new(ARM64).section_with_size(".linux", vec![1; 700], 100)),
        100
    );
    assert_eq!(
        profile(Pe::new(ARM64).section_with_size(".linux", vec![1; 700], 9000)),
        1024
    );
}

#[test]
fn only_headers_and_texts_are_read() {
    let pe = uki(ARM64).section(".ucode", vec![7; 1 << 20]);
    let source = TestSource::new(pe.build());
    let image = Uki::parse(SizedSource::new(&source).unwrap()).unwrap().unwrap();
    image.profile(None).unwrap();
    assert!(source.bytes_read() < 2048, "{}", source.bytes_read());
}

#[test]
fn addons() {
    let check = |pe: Pe, expected: &str| {
        let file = pe.build();
        invariants::check_image(&file);
        let found = match Addon::parse(SizedSource::new(&file).unwrap()) {
            Ok(addon) => format!(
                "{:?} {:?} {} {} {} {}",
                addon.cmdline,
                addon.uname,
                u8::from(addon.ucode.is_some()),
                u8::from(addon.initrd.is_some()),
                addon.dtbauto.len(),
                addon.dtb.is_some()
            ),
            Err(error) => error.to_string(),
        };
        assert_eq!(found, expected);
    };
    let new = || Pe::new(ARM64);
    check(
        new().section(".cmdline", "a b\n"),
        "Some(\"a b\") None 0 0 0 false",
    );
    check(
        new()
            .section(".uname", "6.1")
            .section(".initrd", "i")
            .section(".ucode", "u")
            .section(".dtbauto", "d")
            .section(".dtb", "t"),
        "None Some(\"6.1\") 1 1 1 true",
    );
    check(
        new().section(".uname", "6.1").section(".sbat", "x"),
        "the addon has none of the sections .cmdline, .dtb, .dtbauto, .ucode and .initrd",
    );
    check(
        uki(ARM64),
        "the addon has a section \".linux\", so it is a unified kernel image",
    );
    let error = Addon::parse(SizedSource::new(b"text").unwrap()).unwrap_err();
    assert_eq!(error.to_string(), "the addon is not a PE file");
    let fits = |own: Option<&str>, other| {
        let pe = own.into_iter().fold(new().section(".cmdline", ""), |pe, uname| {
            pe.section(".uname", uname)
        });
        let file = pe.build();
        Addon::parse(SizedSource::new(&file).unwrap())
            .unwrap()
            .fits(other)
    };
    assert!(fits(None, None) && fits(None, Some("6.1")) && fits(Some("6.1"), None));
    assert!(fits(Some("6.1"), Some("6.1")) && !fits(Some("6.1"), Some("6.2")));
}

#[test]
fn models_of_device_trees() {
    let check = |blob: &[u8], expected: Result<Option<&str>, &str>| {
        invariants::check_device_tree(blob);
        let found = root_compatible(&SizedSource::new(&blob).unwrap()).map_err(|error| error.to_string());
        let found = found.as_ref().map(Option::as_deref).map_err(String::as_str);
        assert_eq!(found, expected);
    };
    let model = device_tree(&[
        ("model", b"A".as_slice()),
        ("compatible", b"acme,one\0acme,board\0"),
        ("x", b""),
    ]);
    check(&model, Ok(Some("acme,one")));
    check(&device_tree(&[("compatible-x", b"a\0")]), Ok(None));
    check(&device_tree(&[]), Ok(None));
    check(&device_tree(&[("compatible", b"")]), Ok(None));
    check(&device_tree(&[("compatible", b"\0")]), Ok(None));
    check(&device_tree(&[("compatible", b"no end")]), Ok(None));
    check(&device_tree(&[("compatible", b"\xff\0")]), Ok(None));
    check(&device_tree(&[("compatible", &[b'a'; 300])]), Ok(None));
    let many = vec![("x", b"abcd".as_slice()); 300];
    check(&device_tree(&many), Ok(None));
    check(
        b"\0\0\0\x01text",
        Err("the device tree begins with 0x00000001, expected 0xd00dfeed"),
    );
    let no_root = model.clone().u32(56, 0).build();
    check(
        &no_root,
        Err("the structure of the device tree begins with the token 0x0, expected 1, the root node"),
    );
    assert!(root_compatible(&SizedSource::new(&model[..60].to_vec()).unwrap()).is_err());
}
