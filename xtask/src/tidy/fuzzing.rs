//! Rule: every parser of hostile input has a fuzz target and seeds.

use std::path::Path;

use super::imports;
use super::tree::{Package, Tree};
use super::violation::Violation;

/// Parsers and writers whose fuzz targets are not named after an image format.
const PARSERS: [(&str, &str); 15] = [
    ("crates/bls", "bls"),
    ("crates/boot-acpi", "acpi_create"),
    ("crates/boot-cmdline", "cmdline_parse"),
    ("crates/boot-measure", "measure"),
    ("crates/boot-paging", "page_walk"),
    ("crates/decompress", "decompress"),
    ("crates/disk", "gpt"),
    ("crates/efi-core", "efi_calls"),
    ("crates/fmt-wrapped", "open_nested"),
    ("crates/fs-ext4", "ext4"),
    ("crates/fs-fat", "fat"),
    ("crates/fw-acpi", "acpi_tables"),
    ("crates/hv-virtio", "virtio_block"),
    ("crates/proto-fdt", "fdt_update"),
    ("crates/sandbox-debug", "sandbox_walk"),
];

/// Prefix of the published crates that parse an image format; the fuzz target is named after the format.
const FORMATS: &str = "fmt-";

/// Every parser has a fuzz target that calls it, and every fuzz target has seeds.
pub(super) fn check(tree: &Tree) -> Vec<Violation> {
    let mut violations = Vec::new();
    for package in tree.packages() {
        if let Some(target) = target_of(package)
            && !is_called(tree, package, &target)
        {
            let library = package
                .targets
                .first()
                .map_or(&package.name, |target| &target.name);
            let message = format!(
                "a parser without a fuzz target: add fuzz/fuzz_targets/{target}.rs that calls `{library}`"
            );
            violations.push(Violation::new(&package.manifest.path, 1, message));
        }
    }
    let targets = tree.package("fuzz").into_iter().flat_map(|fuzz| &fuzz.targets);
    for target in targets.filter(|target| !has_seeds(tree, &target.name)) {
        let message = "a fuzz target without seeds: add some to fuzz/seeds";
        violations.push(Violation::new(&target.root, 1, message));
    }
    violations
}

/// The name of the fuzz target that a package has to have.
fn target_of(package: &Package) -> Option<String> {
    let listed = PARSERS
        .iter()
        .find(|(folder, _)| package.folder == Path::new(folder));
    let format = package
        .short_name()
        .strip_prefix(FORMATS)
        .filter(|_| package.is_published);
    listed
        .map(|(_, target)| (*target).to_owned())
        .or_else(|| format.map(|format| format!("{}_parse", format.replace('-', "_"))))
}

/// True when the fuzz target exists and names the package's crate.
fn is_called(tree: &Tree, package: &Package, target: &str) -> bool {
    let Some(fuzz) = tree.package("fuzz") else {
        return false;
    };
    let target = fuzz.targets.iter().find(|known| known.name == target);
    let dependency = fuzz
        .dependencies
        .iter()
        .find(|known| known.folder.as_ref() == Some(&package.folder));
    let (Some(target), Some(dependency)) = (target, dependency) else {
        return false;
    };
    let name = dependency.key.replace('-', "_");
    let files = imports::files(tree, &target.root);
    let mut sources = files.iter().filter_map(|file| tree.source(file));
    sources.any(|source| !source.lines_with(&[&name]).is_empty())
}

/// True when a directory of seeds is called after the target, or the program that writes seeds names it.
fn has_seeds(tree: &Tree, target: &str) -> bool {
    let seeds = Path::new("fuzz/seeds");
    let directory = seeds.join(target);
    let literal = format!("\"{target}\"");
    tree.files().iter().any(|file| file.starts_with(&directory))
        || tree
            .sources_below(seeds)
            .any(|source| !source.lines_with(&[&literal]).is_empty())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check as check_rule, manifest};
    use super::*;

    #[test]
    fn a_parser_has_a_fuzz_target() {
        let no_target = "a parser without a fuzz target: add fuzz/fuzz_targets/";
        check_rule(
            check,
            &[
                ("crates/fmt-pe/Cargo.toml", &manifest("fmt-pe", "")),
                ("crates/fmt-pe/src/lib.rs", ""),
                ("crates/boot-cmdline/Cargo.toml", &manifest("boot-cmdline", "")),
                ("crates/boot-cmdline/src/lib.rs", ""),
            ],
            &[
                (
                    "crates/boot-cmdline/Cargo.toml:1",
                    &format!("{no_target}cmdline_parse.rs"),
                ),
                ("crates/fmt-pe/Cargo.toml:1", &format!("{no_target}pe_parse.rs")),
            ],
        );
        check_rule(
            check,
            &[("fuzz/fuzz_targets/elf_parse.rs", "fn main() {} // fmt_elf\n")],
            &[("crates/fmt-elf/Cargo.toml:1", no_target)],
        );
    }

    #[test]
    fn a_parser_may_be_called_in_a_module_of_the_target() {
        let target = "#[path = \"../../crates/fmt-elf/tests/promises.rs\"]\nmod promises;\nfn main() {}\n";
        let promises = "crates/fmt-elf/tests/promises.rs";
        check_rule(
            check,
            &[
                ("fuzz/fuzz_targets/elf_parse.rs", target),
                (promises, "fn check() { fmt_elf::parse() }\n"),
            ],
            &[],
        );
    }

    #[test]
    fn a_fuzz_target_has_seeds() {
        let other = "fn main() {}\n";
        let manifest = "[workspace]\nmembers = [\"seeds\"]\n\n[package]\nname = \"fuzz\"\n\n[dependencies]\n\
                        fmt-elf = { path = \"../crates/fmt-elf\" }\n\n\
                        [[bin]]\nname = \"elf_parse\"\npath = \"fuzz_targets/elf_parse.rs\"\n\n\
                        [[bin]]\nname = \"other\"\npath = \"fuzz_targets/other.rs\"\n";
        let seeds = [
            ("fuzz/Cargo.toml", manifest),
            ("fuzz/fuzz_targets/other.rs", other),
            ("fuzz/seeds/Cargo.toml", "[package]\nname = \"seeds\"\n"),
        ];
        let with = |program: &'static str| [&seeds[..], &[("fuzz/seeds/src/main.rs", program)]].concat();
        check_rule(check, &with("fn main() { seed(\"other\") }"), &[]);
        check_rule(
            check,
            &with("fn main() {} // \"other\""),
            &[("fuzz/fuzz_targets/other.rs:1", "without seeds")],
        );
    }
}
