//! Files of type 1.

use bls::{MAX_TEXT_LEN, Type1};

use crate::invariants;

/// Checks the printed entry, its notes, and what is derived from it; or the error.
#[track_caller]
fn check(text: impl AsRef<[u8]>, expected: &str) {
    invariants::check_text(text.as_ref());
    let found = match Type1::parse(text.as_ref()) {
        Ok(entry) => {
            let notes: Vec<String> = entry.notes.iter().map(|note| format!("- {note}\n")).collect();
            format!("{entry}{}", notes.concat())
        }
        Err(error) => format!("error: {error}"),
    };
    let lines = |text: &str| -> Vec<String> { text.lines().map(|line| line.trim().to_owned()).collect() };
    assert_eq!(lines(&found), lines(expected.trim()));
}

#[test]
fn all_keys() {
    check(
        "# A comment\n\
         title        Fedora 19 (Rawhide)\n\
         sort-key     fedora\r\n\
         \n\
         machine-id\t6a9857a393724b7a981ebb5b8495b9ea\n\
         version      3.8.0-2.fc19.x86_64\n\
         options      root=UUID=6d3376e4-fc93-4509-95ec-a21d68011da2 quiet\n\
         options\t \tx=\"a  b\"  \n\
         architecture X64\n\
         linux        /6a98/linux\n\
         initrd       6a98/ucode\n\
         initrd       \\6a98\\\\initrd\n\
         efi          \\EFI\\BOOT\\BOOTX64.EFI\n\
         uki          /EFI/Linux/./a.efi\n\
         profile      @2\n\
         devicetree   dtb\n\
         devicetree-overlay /a.dtbo \t/b.dtbo\n\
         devicetree-overlay /c.dtbo",
        "title Fedora 19 (Rawhide)
         version 3.8.0-2.fc19.x86_64
         machine-id 6a9857a393724b7a981ebb5b8495b9ea
         sort-key fedora
         linux /6a98/linux
         uki /EFI/Linux/a.efi
         profile 2
         efi /EFI/BOOT/BOOTX64.EFI
         initrd /6a98/ucode
         initrd /6a98/initrd
         options root=UUID=6d3376e4-fc93-4509-95ec-a21d68011da2 quiet x=\"a  b\"
         devicetree /dtb
         devicetree-overlay /a.dtbo
         devicetree-overlay /b.dtbo
         devicetree-overlay /c.dtbo
         architecture x64",
    );
    check("efi shell.efi", "efi /shell.efi");
    check("uki a.efi\nprofile recovery", "uki /a.efi\nprofile recovery");
    check("\u{feff}linux /a", "linux /a");
    check("linux #a", "linux /#a");
}

#[test]
fn keys_are_whole_words_in_lower_case() {
    check(
        "linux /a\ninitrds /b\ninit /c\nLinux /d\ntitle: e\noptions=f\nlinux-x g\n grub_class h",
        "linux /a
         - line 2: the key \"initrds\" is unknown; the line is ignored
         - line 3: the key \"init\" is unknown; the line is ignored
         - line 4: the key \"Linux\" is unknown; the line is ignored
         - line 5: the key \"title:\" is unknown; the line is ignored
         - line 6: the key \"options=f\" is unknown; the line is ignored
         - line 7: the key \"linux-x\" is unknown; the line is ignored
         - line 8: the key \"grub_class\" is unknown; the line is ignored",
    );
}

#[test]
fn repeated_and_empty_keys() {
    check(
        "linux /a\ntitle A\ntitle B\nlinux /b\noptions\noptions x\ninitrd\ntitle",
        "title B
         linux /b
         options x
         - line 3: \"title\" occurs again and replaces the earlier line
         - line 4: \"linux\" occurs again and replaces the earlier line
         - line 5: \"options\" has no value; the line is ignored
         - line 7: \"initrd\" has no value; the line is ignored
         - line 8: \"title\" has no value; the line is ignored",
    );
}

#[test]
fn odd_values() {
    check(
        "linux /a\nmachine-id ABC\nuki-url http://a/b.efi",
        "machine-id ABC
         linux /a
         uki-url http://a/b.efi
         - line 2: the machine-id is not 32 lower-case hexadecimal digits; it is used for sorting as it is
         - line 3: \"uki-url\" is ignored: boots from the network are not supported",
    );
    // Red Hat's entries have variables of GRUB.
    check(
        "linux /a\ninitrd /b.img $tuned_initrd\noptions ro $tuned_params  $x a=$b $\ninitrd $y",
        "linux /a
         initrd /b.img
         options ro  a=$b $
         - line 2: the GRUB variable \"$tuned_initrd\" is left out
         - line 3: the GRUB variable \"$tuned_params\" is left out
         - line 3: the GRUB variable \"$x\" is left out
         - line 4: the GRUB variable \"$y\" is left out",
    );
}

#[test]
fn refused_entries() {
    let no_program =
        "error: the entry has no program to boot: none of the keys \"linux\", \"uki\" and \"efi\"";
    check("", no_program);
    check("title A\nversion 1\n", no_program);
    check("linux", no_program);
    check(
        "uki-url http://a/b.efi",
        "error: the only program of the entry is \"uki-url http://a/b.efi\", and boots from the network are not supported",
    );
    check("linux /", "error: line 1: \"linux\": the path names no file");
    check(
        "linux /a\ninitrd /../b",
        "error: line 2: \"initrd\": the path contains \"..\"; paths must be normalised",
    );
    check(
        "linux /a\ndevicetree-overlay /b /\u{1}",
        "error: line 2: \"devicetree-overlay\": the path contains the control character '\\u{1}' at byte 1",
    );
    check(
        b"linux /a\ntitle \xe4",
        "error: line 2 is not UTF-8 text from byte 7 on",
    );
    check(
        "linux /a\n\0",
        "error: line 2 has a NUL character at byte 1; the file is not text",
    );
    check(
        "\n".repeat(MAX_TEXT_LEN + 1),
        "error: the text has 65537 bytes; at most 65536 are supported",
    );
}

#[test]
fn notes_are_limited() {
    let text = format!("linux /a\n{}", "x y\n".repeat(1000));
    assert_eq!(Type1::parse(text.as_bytes()).unwrap().notes.len(), 32);
}

#[test]
fn architectures() {
    let check = |name, expected: Option<bls::Arch>| {
        let text = format!("linux /a\narchitecture {name}");
        let entry = Type1::parse(text.as_bytes()).unwrap();
        assert_eq!(entry.architecture.unwrap().arch(), expected, "{name}");
    };
    check("x64", Some(bls::Arch::X86_64));
    check("X64", Some(bls::Arch::X86_64));
    check("AA64", Some(bls::Arch::Aarch64));
    check("riscv64", Some(bls::Arch::Riscv64));
    for name in ["ia32", "arm", "x86_64", "loongarch64", "x64 aa64"] {
        check(name, None);
    }
}

/// Found by the fuzz target `bls`: a space before a separator at the end was lost when the entry was printed.
#[test]
fn a_path_with_a_space_before_its_last_separator_is_refused() {
    invariants::check_text(b"linux /a\nefi \\elay /AA \\\n");
    assert!(Type1::parse(b"linux /AA \\\n").is_err());
}
