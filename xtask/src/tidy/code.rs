//! Rules about the code in Rust files.

use std::path::Path;

use super::tree::Tree;
use super::violation::Violation;

/// Directories where `target_arch` is allowed, and the reason.
const TARGET_ARCH: &[(&str, &str)] = &[
    (
        "crates/hv-kvm",
        "KVM's ioctls exist on their own architecture only",
    ),
    (
        "crates/sandbox-debug/tests/kvm_debug",
        "guests on the KVM of the host",
    ),
    (
        "crates/sandbox-debug/Cargo.toml",
        "the KVM harnesses of these tests",
    ),
    (
        "crates/efi-abi/",
        "C-variadic services, and the return of Exit, are assembly",
    ),
    ("crates/sandbox/", "guests run on the KVM of the host"),
    (
        "crates/sandbox-guest/",
        "entry, exceptions and doorbell are assembly",
    ),
    ("guests/sandbox/", "faults are assembly"),
    ("examples/", "VMMs for one architecture"),
    (
        "guests/conformance-fdt",
        "one bare-metal program for two architectures",
    ),
];

/// Forbidden tokens, and what to do instead.
const FORBIDDEN: [(&[&str], &str); 7] = [
    (
        &["#", "[", "ignore"],
        "report why the test cannot run here, so that it counts as skipped",
    ),
    (&["should_panic"], "assert the error that is returned"),
    (&["todo", "!"], "write the code"),
    (&["unimplemented", "!"], "write the code, or return a typed error"),
    (&["dbg", "!"], "remove it"),
    (&["map_err", "(", "|", "_"], "keep the source of the error"),
    (
        &["map_err", "(", "move", "|", "_"],
        "keep the source of the error",
    ),
];

/// `target_arch` is used only in the directories of [`TARGET_ARCH`]; elsewhere the architecture is a value.
pub(super) fn check_target_arch(tree: &Tree) -> Vec<Violation> {
    let message = "`target_arch` is for the crates around KVM's ioctls; take the architecture as a value";
    let is_allowed = |path: &Path| {
        let path = path.to_string_lossy();
        TARGET_ARCH.iter().any(|(start, _)| path.starts_with(start))
    };
    let mut violations = Vec::new();
    for source in tree.sources().filter(|source| !is_allowed(&source.path)) {
        let lines = source.lines_with(&["target_arch"]);
        violations.extend(
            lines
                .into_iter()
                .map(|line| Violation::new(&source.path, line, message)),
        );
    }
    for manifest in tree.packages().iter().map(|package| &package.manifest) {
        let lines = manifest.text.lines().enumerate();
        let found = lines.filter(|(_, line)| line.contains("target_arch") && !is_allowed(&manifest.path));
        violations.extend(found.map(|(index, _)| Violation::new(&manifest.path, index + 1, message)));
    }
    violations
}

/// Nothing of [`FORBIDDEN`] is written anywhere.
pub(super) fn check_forbidden(tree: &Tree) -> Vec<Violation> {
    let mut violations = Vec::new();
    for source in tree.sources() {
        for (tokens, advice) in FORBIDDEN {
            let message = format!("`{}` is not allowed; {advice}", tokens.concat());
            let lines = source.lines_with(tokens).into_iter();
            violations.extend(lines.map(|line| Violation::new(&source.path, line, message.clone())));
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check, manifest};
    use super::*;

    #[test]
    fn the_architecture_is_a_value() {
        let code = "// target_arch\n#[cfg(all(unix, target_arch = \"x86_64\"))]\nfn f() {}\n";
        let table = "\n[target.'cfg(target_arch = \"x86_64\")'.dependencies]\n";
        check(
            check_target_arch,
            &[
                ("crates/hv-kvm-x86/Cargo.toml", &manifest("hv-kvm-x86", table)),
                ("crates/hv-kvm-x86/src/lib.rs", code),
                ("crates/fmt-elf/src/parse.rs", code),
                ("crates/hv-core/Cargo.toml", &manifest("hv-core", table)),
                (
                    "crates/hv-core/src/lib.rs",
                    "fn f() -> bool {\n    cfg!(target_arch = \"x86_64\")\n}\n",
                ),
            ],
            &[
                ("crates/fmt-elf/src/parse.rs:2", "as a value"),
                ("crates/hv-core/src/lib.rs:2", "as a value"),
                ("crates/hv-core/Cargo.toml:10", "as a value"),
            ],
        );
    }

    #[test]
    fn every_forbidden_word_is_found() {
        let cases = [
            ("#[ignore = \"slow\"]\nfn f() {}", "#[ignore"),
            ("#[should_panic(expected = \"x\")]\nfn f() {}", "should_panic"),
            ("fn f() { todo!() }", "todo!"),
            ("fn f() { g!(unimplemented!(\"later\")) }", "unimplemented!"),
            ("fn f() { dbg!(1); }", "dbg!"),
            ("fn f() { g().map_err(|_| 1) }", "map_err(|_"),
            ("fn f() { g().map_err(|_: u8| 1) }", "map_err(|_"),
            ("fn f() { g().map_err(move |_| 1) }", "map_err(move|_"),
        ];
        for (code, found) in cases {
            check(
                check_forbidden,
                &[("crates/fmt-elf/src/parse.rs", code)],
                &[("crates/fmt-elf/src/parse.rs:1", found)],
            );
        }
        let good = "// todo!()\n/// ```should_panic\nfn f() { let ignore = \"dbg!(1)\"; g().map_err(|_error| ignore) }";
        check(check_forbidden, &[("crates/fmt-elf/src/parse.rs", good)], &[]);
    }
}
