//! Rules about dependencies between crates.

use std::collections::BTreeSet;
use std::path::Path;

use super::circle::circles;
use super::tree::{Dependency, Package, Tree};
use super::violation::Violation;

/// Crates by their directory, and the repository's crates that they may use. A name may end with `*`.
struct Family {
    members: &'static [&'static str],
    may_use: &'static [&'static str],
    /// True for pure crates: no I/O, no operating system, no unsafe code.
    is_pure: bool,
}

const fn family(members: &'static [&'static str], may_use: &'static [&'static str], is_pure: bool) -> Family {
    Family {
        members,
        may_use,
        is_pure,
    }
}

/// Each family uses only families above it. The first row that matches a crate applies.
const FAMILIES: &[Family] = &[
    family(
        &["crates/boot-cmdline", "crates/boot-linux", "crates/boot-paging"],
        &[],
        true,
    ),
    family(&["crates/boot-core"], &["crates/boot-cmdline"], true),
    family(&["crates/boot-multiboot"], &["crates/boot-core"], true),
    family(
        &["crates/boot-measure"],
        &["crates/boot-core", "crates/fmt-pe", "crates/fmt-test"],
        true,
    ),
    family(
        &["crates/boot-acpi"],
        &["crates/boot-core", "crates/fw-acpi", "crates/hv-core"],
        true,
    ),
    family(&["crates/boot-smbios"], &["crates/boot-core"], true),
    family(
        &["crates/boot-kaslr"],
        &["crates/boot-core", "crates/boot-linux", "crates/fmt-test"],
        true,
    ),
    family(&["crates/sandbox-abi"], &[], true),
    family(&["crates/efi-core"], &[], true),
    family(
        &["crates/boot-sandbox"],
        &["crates/boot-core", "crates/sandbox-abi"],
        true,
    ),
    family(
        &["crates/boot-test"],
        &[
            "crates/boot-core",
            "crates/boot-linux",
            "crates/boot-multiboot",
            "crates/fmt-test",
        ],
        false,
    ),
    family(&["crates/fmt-test"], &["crates/boot-core"], false),
    family(
        &["crates/fmt-wrapped"],
        &["crates/boot-*", "crates/decompress", "crates/fmt-*"],
        true,
    ),
    family(&["crates/fmt-*"], &["crates/boot-*", "crates/fmt-*"], true),
    family(
        &["crates/proto-sandbox"],
        &["crates/boot-*", "crates/sandbox-abi"],
        true,
    ),
    family(&["crates/proto-*"], &["crates/boot-*"], true),
    family(&["crates/decompress"], &["crates/boot-core"], true),
    // The firmware: disks, partitions and file systems.
    family(&["crates/disk"], &["crates/boot-core"], true),
    family(&["crates/fs-*"], &["crates/boot-core", "crates/disk"], true),
    family(
        &["crates/bls"],
        &[
            "crates/boot-core",
            "crates/disk",
            "crates/fmt-pe",
            "crates/fmt-test",
        ],
        true,
    ),
    family(&["crates/fw-acpi"], &["crates/boot-core"], true),
    family(&["crates/fw-virtio"], &["crates/boot-core", "crates/disk"], false),
    family(
        &["crates/fw-boot"],
        &[
            "crates/boot-core",
            "crates/bls",
            "crates/disk",
            "crates/fmt-*",
            "crates/fs-*",
            "crates/proto-*",
        ],
        true,
    ),
    family(
        &["crates/efi-abi"],
        &[
            "crates/boot-core",
            "crates/disk",
            "crates/efi-core",
            "crates/fmt-pe",
        ],
        false,
    ),
    family(&["crates/guest-ram"], &["crates/boot-core"], false),
    family(
        &["crates/hv-core"],
        &["crates/boot-core", "crates/boot-cmdline"],
        false,
    ),
    family(
        &["crates/hv-kvm"],
        &["crates/boot-core", "crates/guest-ram", "crates/hv-core"],
        false,
    ),
    family(
        &["crates/hv-virtio"],
        &["crates/boot-core", "crates/guest-ram", "crates/hv-core"],
        false,
    ),
    family(&["crates/hv-kvm-regs"], &["crates/boot-core"], false),
    // Support of the harnesses' tests: never published.
    family(
        &["crates/hv-kvm-test"],
        &["crates/boot-core", "crates/hv-core", "crates/hv-kvm"],
        false,
    ),
    family(
        &["crates/hv-kvm-*"],
        &[
            "crates/boot-core",
            "crates/boot-cmdline",
            "crates/guest-ram",
            "crates/hv-core",
            "crates/hv-kvm",
            "crates/hv-kvm-regs",
        ],
        false,
    ),
    // For the example of its page.
    family(&["crates/sandbox-macros"], &["crates/sandbox-abi"], false),
    family(
        &["crates/sandbox-guest"],
        &["crates/sandbox-abi", "crates/sandbox-macros"],
        false,
    ),
    family(
        &["crates/sandbox-debug"],
        &["crates/boot-*", "crates/guest-ram", "crates/hv-*"],
        false,
    ),
    // The host's side of sandboxes: a caller of the same line of crates as a VMM.
    family(
        &["crates/sandbox"],
        &[
            "crates/boot-*",
            "crates/fmt-elf",
            "crates/guest-ram",
            "crates/hv-*",
            "crates/proto-sandbox",
            "crates/sandbox-debug",
            "crates/sandbox-abi",
        ],
        false,
    ),
    family(&["crates/vmboot"], &["crates/*"], false),
    // Tests only: never published.
    family(&["crates/kvm-tests"], &["crates/*", "guests/contract"], false),
    family(
        &["examples/sandbox-demo", "examples/plugin-host"],
        &["crates/sandbox", "crates/sandbox-debug"],
        false,
    ),
    // VMMs and loaders of their own: they do not use the harness.
    family(
        &["examples/*"],
        &[
            "crates/boot-*",
            "crates/fmt-*",
            "crates/proto-*",
            "crates/guest-ram",
            "crates/hv-kvm-regs",
            "examples/minimal-vmm",
        ],
        false,
    ),
    // Programs that run inside virtual machines; they do not use the crates that boot them.
    family(&["guests/contract", "guests/efitrace"], &[], false),
    family(&["guests/clauses", "guests/init"], &["guests/contract"], false),
    family(
        &["guests/conformance*"],
        &["guests/contract", "guests/clauses"],
        false,
    ),
    // The binaries; what they share stands below them.
    family(&["firmware/runtime"], &["crates/boot-core"], false),
    family(&["firmware/acpi"], &["crates/boot-core"], false),
    family(&["firmware/efi"], &["crates/*"], false),
    family(
        &["firmware/device_tree"],
        &["crates/*", "firmware/runtime", "firmware/efi"],
        false,
    ),
    family(
        &["firmware/*"],
        &[
            "crates/*",
            "firmware/acpi",
            "firmware/runtime",
            "firmware/efi",
            "firmware/device_tree",
        ],
        false,
    ),
    family(&["guests/sandbox/*"], &["crates/sandbox-guest"], false),
    family(&["xtask/lab-init"], &[], false),
    // The pure crates of sandboxes check the guest that `templates/` makes.
    family(
        &["xtask"],
        &[
            "crates/bls",
            "crates/boot-core",
            "crates/boot-measure",
            "crates/boot-sandbox",
            "crates/fmt-elf",
            "crates/fmt-pe",
            "crates/proto-sandbox",
            "guests/contract",
            "xtask/lab-init",
        ],
        false,
    ),
    family(&["fuzz", "fuzz/seeds"], &["crates/*"], false),
];

/// Dev-dependencies in addition to the table, and the reason of each.
const DEV_EXCEPTIONS: &[(&str, &str, &str)] = &[
    ("xtask", "crates/disk", "the tests read media back"),
    ("xtask", "crates/fs-ext4", "the tests read media back"),
    ("xtask", "crates/fs-fat", "the tests read media back"),
    (
        "crates/hv-kvm-*",
        "crates/hv-kvm-test",
        "what the tests of all three harnesses need",
    ),
    (
        "examples/*",
        "crates/hv-kvm-test",
        "tests on KVM report hosts without it in one way",
    ),
    ("crates/guest-ram", "crates/fmt-*", "the bench loads real kernels"),
    (
        "crates/guest-ram",
        "crates/proto-linux-x86",
        "the bench loads real kernels",
    ),
    (
        "crates/boot-core",
        "crates/boot-test",
        "its plans are checked for generated boots",
    ),
    (
        "crates/proto-fdt",
        "crates/hv-core",
        "the trees of the reference machines are its golden files",
    ),
    (
        "crates/disk",
        "crates/fmt-test",
        "reads of broken disks are counted",
    ),
    (
        "crates/fs-ext4",
        "crates/fmt-test",
        "reads of broken volumes are counted, and fields have the values at their edges",
    ),
    (
        "crates/fs-fat",
        "crates/fmt-test",
        "reads of broken volumes are counted, and fields have the values at their edges",
    ),
    (
        "crates/boot-sandbox",
        "crates/fmt-test",
        "its images are written field by field",
    ),
    (
        "crates/sandbox",
        "crates/fmt-test",
        "ELF files for tests without KVM are written field by field",
    ),
    ("crates/proto-sandbox", "crates/fmt-*", "guests are ELF files"),
    (
        "crates/vmboot",
        "guests/contract",
        "its tests tell guests what they must find",
    ),
];

/// External crates that only these crates may use.
const RESTRICTED: &[(&str, &[&str])] = &[
    // The queue of `hv-virtio` is in guest memory.
    (
        "vm-memory",
        &[
            "crates/guest-ram",
            "crates/hv-kvm*",
            "crates/hv-virtio",
            // Its tests compare loads with those of `linux-loader`.
            "crates/vmboot",
            "examples/*",
        ],
    ),
    // The bench of `sandbox` measures KVM itself beside it.
    (
        "kvm-bindings",
        &["crates/hv-kvm*", "crates/sandbox", "examples/*"],
    ),
    ("kvm-ioctls", &["crates/hv-kvm*", "crates/sandbox", "examples/*"]),
    ("linux-loader", &["crates/guest-ram", "crates/vmboot"]),
];

/// True for pure crates.
pub(super) fn is_pure(package: &Package) -> bool {
    family_of(package).is_some_and(|family| family.is_pure)
}

/// Dependencies between the repository's crates are those of [`FAMILIES`].
pub(super) fn check(tree: &Tree) -> Vec<Violation> {
    let mut violations = Vec::new();
    for package in tree.packages() {
        let Some(family) = family_of(package) else {
            let message = format!(
                "{} is of no family: add it to the table of xtask/src/tidy/dependencies.rs",
                package.folder.display()
            );
            violations.push(Violation::new(&package.manifest.path, 1, message));
            continue;
        };
        for (dependency, folder) in inner(package) {
            let is_excepted = dependency.is_dev
                && DEV_EXCEPTIONS
                    .iter()
                    .any(|(from, to, _)| matches(from, &package.folder) && matches(to, folder));
            if !is_excepted && !family.may_use.iter().any(|pattern| matches(pattern, folder)) {
                let message = format!(
                    "{} may not use {}: see the table of xtask/src/tidy/dependencies.rs",
                    package.folder.display(),
                    folder.display()
                );
                violations.push(at(package, dependency, message));
            }
        }
    }
    violations
}

/// Crates for tests only. The tests of the crates that they depend on may depend on them.
const TEST_CRATES: &[&str] = &["crates/boot-test"];

/// No crate depends on itself through others. Dev-dependencies count, except those on [`TEST_CRATES`].
pub(super) fn check_circles(tree: &Tree) -> Vec<Violation> {
    let mut edges = BTreeSet::new();
    for package in tree.packages() {
        let is_for_tests = |dependency: &Dependency, folder: &Path| {
            dependency.is_dev && TEST_CRATES.iter().any(|known| matches(known, folder))
        };
        edges.extend(
            inner(package)
                .filter(|(dependency, folder)| !is_for_tests(dependency, folder))
                .map(|(_, folder)| (package.folder.as_path(), folder)),
        );
    }
    let describe = |circle: Vec<&Path>| {
        let first = *circle.first()?;
        let second = circle.get(1).copied().unwrap_or(first);
        let package = tree.package(first)?;
        let (dependency, _) = inner(package).find(|(_, folder)| *folder == second)?;
        let names: Vec<_> = circle
            .iter()
            .chain([&first])
            .map(|folder| folder.to_string_lossy())
            .collect();
        Some(at(
            package,
            dependency,
            format!("a circle of crates: {}", names.join(" -> ")),
        ))
    };
    circles(&edges).into_iter().filter_map(describe).collect()
}

/// Only the crates in [`RESTRICTED`] use the external crates listed there.
pub(super) fn check_external(tree: &Tree) -> Vec<Violation> {
    let mut violations = Vec::new();
    for package in tree.packages() {
        for dependency in package
            .dependencies
            .iter()
            .filter(|dependency| dependency.folder.is_none())
        {
            let restricted = RESTRICTED.iter().find(|(name, _)| dependency.name == *name);
            if let Some((name, users)) = restricted
                && !users.iter().any(|pattern| matches(pattern, &package.folder))
            {
                let message = format!("{name} is for {} only", users.join(" and "));
                violations.push(at(package, dependency, message));
            }
        }
    }
    violations
}

fn family_of(package: &Package) -> Option<&'static Family> {
    let is_of = |family: &&Family| {
        family
            .members
            .iter()
            .any(|pattern| matches(pattern, &package.folder))
    };
    FAMILIES.iter().find(is_of)
}

/// The dependencies on crates of the repository, each with its directory; without that of tests on the crate itself, which selects features.
fn inner(package: &Package) -> impl Iterator<Item = (&Dependency, &Path)> {
    package
        .dependencies
        .iter()
        .filter_map(|dependency| Some((dependency, dependency.folder.as_deref()?)))
        .filter(|(dependency, folder)| !(dependency.is_dev && package.folder == *folder))
}

/// True when a directory is that of the pattern, or begins with what stands before its `*`.
fn matches(pattern: &str, folder: &Path) -> bool {
    let folder = folder.to_string_lossy();
    pattern
        .strip_suffix('*')
        .map_or(folder == pattern, |start| folder.starts_with(start))
}

fn at(package: &Package, dependency: &Dependency, message: String) -> Violation {
    let manifest = &package.manifest;
    Violation::new(&manifest.path, manifest.line_of(&dependency.key), message)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{ROOT, check as check_rule, manifest};
    use super::*;

    #[test]
    fn arrows_point_down_the_table() {
        let uses = |name: &str, table: &str, used: &str| {
            manifest(
                name,
                &format!("\n[{table}]\n{used} = {{ path = \"../{used}\" }}\n"),
            )
        };
        let refused = |name: &str, used: &str, is_refused: bool| {
            let folder = format!("crates/{name}");
            let place = format!("{folder}/Cargo.toml:11");
            let message = format!("{folder} may not use crates/{used}");
            let expected: &[(&str, &str)] = if is_refused { &[(&place, &message)] } else { &[] };
            for table in [
                "dependencies",
                "dev-dependencies",
                "target.'cfg(unix)'.dependencies",
            ] {
                let changes = [
                    (format!("{folder}/Cargo.toml"), uses(name, table, used)),
                    (format!("{folder}/src/lib.rs"), String::new()),
                    (format!("crates/{used}/Cargo.toml"), manifest(used, "")),
                    (format!("crates/{used}/src/lib.rs"), String::new()),
                ];
                let changes: Vec<_> = changes
                    .iter()
                    .map(|(path, text)| (path.as_str(), text.as_str()))
                    .collect();
                check_rule(check, &changes, expected);
            }
        };
        refused("fmt-pe", "proto-pvh", true);
        refused("fmt-pe", "guest-ram", true);
        refused("fmt-pe", "hv-core", true);
        refused("proto-pvh", "fmt-elf", true);
        refused("proto-pvh", "hv-kvm-x86", true);
        refused("boot-core", "fmt-elf", true);
        refused("boot-core", "guest-ram", true);
        refused("hv-core", "hv-kvm", true);
        refused("fmt-pe", "boot-core", false);
        refused("boot-core", "boot-cmdline", false);
        refused("hv-kvm-x86", "guest-ram", false);
    }

    #[test]
    fn exceptions_are_for_tests_alone() {
        let with = |table: &str| {
            manifest(
                "guest-ram",
                &format!("\n[{table}]\nfmt-elf = {{ path = \"../fmt-elf\" }}\n"),
            )
        };
        let lib = ("crates/guest-ram/src/lib.rs", "");
        let path = "crates/guest-ram/Cargo.toml";
        check_rule(check, &[lib, (path, &with("dev-dependencies"))], &[]);
        check_rule(
            check,
            &[lib, (path, &with("dependencies"))],
            &[("crates/guest-ram/Cargo.toml:11", "may not use crates/fmt-elf")],
        );
    }

    #[test]
    fn examples_use_no_part_of_the_harness() {
        let check_use = |used: &str, expected: &[(&str, &str)]| {
            let name = used.rsplit('/').next().unwrap_or(used);
            let table = format!("\n[dependencies]\n{name} = {{ path = \"../../{used}\" }}\n");
            let used_manifest = format!("{used}/Cargo.toml");
            let used_lib = format!("{used}/src/lib.rs");
            let root = ROOT.replace("\"crates/*\"", "\"crates/*\", \"examples/*\"");
            let changes = [
                ("Cargo.toml", root),
                ("examples/own-vmm/Cargo.toml", manifest("own-vmm", &table)),
                ("examples/own-vmm/src/lib.rs", String::new()),
                (&used_manifest, manifest(name, "")),
                (&used_lib, String::new()),
            ];
            let changes: Vec<_> = changes
                .iter()
                .map(|(path, text)| (*path, text.as_str()))
                .collect();
            check_rule(check, &changes, expected);
        };
        let place = "examples/own-vmm/Cargo.toml:11";
        check_use("crates/hv-core", &[(place, "may not use crates/hv-core")]);
        check_use("crates/hv-kvm-x86", &[(place, "may not use crates/hv-kvm-x86")]);
        check_use("crates/hv-kvm-regs", &[]);
        check_use("examples/minimal-vmm", &[]);
    }

    #[test]
    fn every_crate_has_a_family() {
        check_rule(
            check,
            &[
                ("crates/novel/Cargo.toml", &manifest("novel", "")),
                ("crates/novel/src/lib.rs", ""),
            ],
            &[("crates/novel/Cargo.toml:1", "of no family")],
        );
    }

    #[test]
    fn circles_through_tests_count() {
        check_rule(
            check_circles,
            &[(
                "crates/boot-core/Cargo.toml",
                &manifest(
                    "boot-core",
                    "\n[dev-dependencies]\nfmt-elf = { path = \"../fmt-elf\" }\n",
                ),
            )],
            &[(
                "crates/boot-core/Cargo.toml:11",
                "crates/boot-core -> crates/fmt-elf -> crates/boot-core",
            )],
        );
    }

    #[test]
    fn tests_may_use_a_crate_for_tests() {
        let uses = |name: &str, table: &str, used: &str| {
            manifest(
                name,
                &format!("\n[{table}]\n{used} = {{ path = \"../{used}\" }}\n"),
            )
        };
        let check_table = |table: &str, expected: &[(&str, &str)]| {
            check_rule(
                check_circles,
                &[
                    (
                        "crates/boot-core/Cargo.toml",
                        &uses("boot-core", table, "boot-test"),
                    ),
                    (
                        "crates/boot-test/Cargo.toml",
                        &uses("boot-test", "dependencies", "boot-core"),
                    ),
                    ("crates/boot-test/src/lib.rs", ""),
                ],
                expected,
            );
        };
        check_table("dev-dependencies", &[]);
        check_table(
            "dependencies",
            &[(
                "crates/boot-core/Cargo.toml:11",
                "crates/boot-core -> crates/boot-test -> crates/boot-core",
            )],
        );
    }

    #[test]
    fn kvm_stays_in_its_crates() {
        let with = |name: &str| {
            manifest(
                name,
                "\n[dependencies]\nkvm-ioctls = \"0.25\"\nvm-memory = \"0.18\"\n",
            )
        };
        check_rule(
            check_external,
            &[
                ("crates/boot-core/Cargo.toml", &with("boot-core")),
                ("crates/hv-kvm-x86/Cargo.toml", &with("hv-kvm-x86")),
                ("crates/hv-kvm-x86/src/lib.rs", ""),
            ],
            &[
                (
                    "crates/boot-core/Cargo.toml:11",
                    "kvm-ioctls is for crates/hv-kvm* and crates/sandbox and examples/* only",
                ),
                ("crates/boot-core/Cargo.toml:12", "vm-memory is for"),
            ],
        );
    }
}
