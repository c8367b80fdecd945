//! Boot loader entries and unified kernel images.

use fmt_test::pe::{ARM64, Pe, device_tree, uki};

use crate::Seed;

const TEXTS: [(&str, &str); 8] = [
    (
        "entry",
        "*a?[b-d]\nxaybd\n%\n1.2~rc1\n1.2\n1.2-1^fix\n%\na+3-1.conf\ntitle A\nsort-key k\nlinux /k\ninitrd /i\noptions ro",
    ),
    (
        "all-keys",
        "title A\nversion 1\nmachine-id 0123456789abcdef0123456789abcdef\nsort-key k\nlinux /a\nuki b\nuki-url u\nprofile 1\nefi \\e\ninitrd /i $x\noptions o\ndevicetree d\ndevicetree-overlay /p /q\narchitecture x64\n",
    ),
    (
        "loader-conf",
        "default debian-*\npreferred [!a]\ntimeout menu-force\nconsole-mode max\neditor no\nauto-entries t\nauto-firmware 0\nbeep 1\n",
    ),
    (
        "volume",
        "\n%\n%\nloader/loader.conf\ndefault @saved\ntimeout 5\n%\nb+0-3.conf\nlinux /k\n%\nc.conf\nlinux /k\nsort-key a\n%\nloader/entries.srel\ntype1\n",
    ),
    (
        "default-set",
        "[a]\na\n%\n%\nloader/loader.conf\ndefault [a]\n%\na.conf\nefi /e\narchitecture aa64\n",
    ),
    (
        "os-release",
        "NAME=\"A \\\"B\\\"\"\nPRETTY_NAME='C'\nID=d\nIMAGE_VERSION=1\n",
    ),
    ("stars", "*a*a*a*a*a*b\naaaaaaaaaaaaaaaa\n%\n~\n^\n-\n.\n0"),
    ("sets", "[]a-][!^][\\]\\-z]\n]bz\n%\n10\n9a\n9.a"),
];

/// Texts for all parsers of text.
pub(crate) fn texts() -> Vec<Seed> {
    TEXTS.map(|(name, text)| (name, text.into())).to_vec()
}

/// Images with and without profiles, addons, and a device tree.
pub(crate) fn images() -> Vec<Seed> {
    let tree = device_tree(&[("model", b"A\0".as_slice()), ("compatible", b"acme,one\0acme\0")]);
    let pes = [
        ("plain", uki(ARM64)),
        (
            "profiles",
            uki(ARM64)
                .section(".profile", "ID=a\nTITLE=\"A\"\n")
                .section(".cmdline", "a")
                .section(".profile", "ID=b"),
        ),
        (
            "trees",
            uki(ARM64)
                .section(".dtb", &tree)
                .section(".dtbauto", &tree)
                .section(".hwids", [0; 32])
                .section(".ucode", "u"),
        ),
        (
            "addon",
            Pe::new(ARM64)
                .section(".cmdline", "x")
                .section(".uname", "6.12.9-amd64")
                .section(".initrd", "i"),
        ),
    ];
    let mut seeds: Vec<Seed> = pes.iter().map(|(name, pe)| (*name, pe.build())).collect();
    seeds.push(("device-tree", tree));
    seeds
}
