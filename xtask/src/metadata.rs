//! The workspace's packages and test targets from `cargo metadata`, and test programs from cargo's messages.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use crate::cargo;
use crate::error::Error;
use crate::process;
use crate::workspace::Workspace;

/// Test targets whose name starts with this need KVM.
pub(crate) const KVM_PREFIX: &str = "kvm_";

/// The category of crates.io that packages for firmware have.
const NO_STD: &str = "no-std";

/// A target of a package, as `cargo metadata` and `cargo build` describe it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Target {
    pub(crate) name: String,
    kind: Vec<String>,
}

impl Target {
    fn is_test(&self) -> bool {
        self.kind.iter().any(|kind| kind == "test")
    }

    fn needs_kvm(&self) -> bool {
        self.name.starts_with(KVM_PREFIX)
    }
}

/// The part of `cargo metadata` that is read here.
#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Debug, Deserialize)]
struct Package {
    name: String,
    version: String,
    #[serde(default)]
    categories: Vec<String>,
    /// The registries that it may be published to; `None`: all.
    publish: Option<Vec<String>>,
    rust_version: Option<String>,
    targets: Vec<Target>,
    metadata: Option<PackageMetadata>,
}

/// The part of a package's own `[package.metadata]` that is read here.
#[derive(Debug, Deserialize)]
struct PackageMetadata {
    kvm: Option<Kvm>,
}

/// `[package.metadata.kvm]`: about the tests that need KVM.
#[derive(Debug, Deserialize)]
struct Kvm {
    /// The only architecture they are for.
    arch: String,
}

/// An integration test that needs KVM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KvmTest {
    pub(crate) package: String,
    pub(crate) name: String,
    /// The only architecture it is for; `None`: all.
    arch: Option<String>,
}

impl KvmTest {
    /// True when it is for this architecture.
    pub(crate) fn is_for(&self, arch: &str) -> bool {
        self.arch.as_ref().is_none_or(|only| only == arch)
    }
}

/// Names of the integration tests of the workspace, split by whether they need KVM.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct IntegrationTests {
    pub(crate) host: Vec<String>,
    pub(crate) kvm: Vec<KvmTest>,
}

/// Asks cargo for the integration tests.
pub(crate) fn integration_tests(workspace: &Workspace) -> Result<IntegrationTests, Error> {
    Ok(split(read(workspace)?))
}

/// A package for firmware.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PureCrate {
    pub(crate) name: String,
    /// The oldest compiler that it promises to build with.
    pub(crate) rust_version: Option<String>,
}

/// The packages for firmware, which build without the standard library and with the oldest compiler: those of the
/// category `no-std`.
pub(crate) fn pure_crates(workspace: &Workspace) -> Result<Vec<PureCrate>, Error> {
    Ok(pure(read(workspace)?))
}

fn pure(metadata: Metadata) -> Vec<PureCrate> {
    let packages = metadata.packages.into_iter();
    let pure = packages.filter(|package| package.categories.iter().any(|category| category == NO_STD));
    pure.map(|package| PureCrate {
        name: package.name,
        rust_version: package.rust_version,
    })
    .collect()
}

/// A package that is published on crates.io.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PublishedCrate {
    pub(crate) name: String,
    pub(crate) version: String,
}

impl PublishedCrate {
    /// Name of its directory once it is unpacked; also that of its package file, without the extension.
    pub(crate) fn directory(&self) -> String {
        format!("{}-{}", self.name, self.version)
    }
}

/// The packages that are published on crates.io.
pub(crate) fn published_crates(workspace: &Workspace) -> Result<Vec<PublishedCrate>, Error> {
    Ok(published(read(workspace)?))
}

fn published(metadata: Metadata) -> Vec<PublishedCrate> {
    let packages = metadata.packages.into_iter();
    let published = packages.filter(|package| package.publish.is_none());
    published
        .map(|Package { name, version, .. }| PublishedCrate { name, version })
        .collect()
}

fn read(workspace: &Workspace) -> Result<Metadata, Error> {
    let mut command = cargo::command(workspace);
    command.args(["metadata", "--format-version=1", "--no-deps"]);
    let json = process::output(&mut command, &workspace.log("cargo-metadata")?)?;
    serde_json::from_slice(&json).map_err(|source| Error::Json {
        what: "cargo metadata".into(),
        source,
    })
}

fn split(metadata: Metadata) -> IntegrationTests {
    let mut tests = IntegrationTests {
        host: Vec::new(),
        kvm: Vec::new(),
    };
    for package in metadata.packages {
        let kvm = package.metadata.and_then(|metadata| metadata.kvm);
        let arch = kvm.map(|kvm| kvm.arch);
        for target in package.targets.into_iter().filter(Target::is_test) {
            if target.needs_kvm() {
                tests.kvm.push(KvmTest {
                    package: package.name.clone(),
                    name: target.name,
                    arch: arch.clone(),
                });
            } else {
                tests.host.push(target.name);
            }
        }
    }
    tests.host.sort();
    tests.host.dedup();
    tests
}

/// A message of `cargo --message-format=json`, as far as it is read here.
#[derive(Debug, Deserialize)]
struct Message {
    reason: String,
    target: Option<Target>,
    executable: Option<PathBuf>,
    manifest_path: Option<PathBuf>,
}

/// Runs a cargo command that builds tests, and returns the test programs, each as `PACKAGE: NAME`.
pub(crate) fn test_programs(
    workspace: &Workspace,
    command: &mut Command,
) -> Result<Vec<(String, PathBuf)>, Error> {
    programs(workspace, command, "build-kvm-tests", Target::is_test)
}

/// Runs a cargo command that builds the program `target`, and returns its path. `log` is the name of the log file.
pub(crate) fn program(
    workspace: &Workspace,
    command: &mut Command,
    log: &str,
    target: &str,
) -> Result<PathBuf, Error> {
    let programs = programs(workspace, command, log, |built| built.name == target)?;
    let program = programs.into_iter().map(|(_, path)| path).next();
    program.ok_or_else(|| Error::NoProgram {
        name: target.to_owned(),
    })
}

fn programs(
    workspace: &Workspace,
    command: &mut Command,
    log: &str,
    is_wanted: impl Fn(&Target) -> bool,
) -> Result<Vec<(String, PathBuf)>, Error> {
    command.arg("--message-format=json-render-diagnostics");
    let output = process::output(command, &workspace.log(log)?)?;
    programs_in(&String::from_utf8_lossy(&output), is_wanted)
}

fn programs_in(messages: &str, is_wanted: impl Fn(&Target) -> bool) -> Result<Vec<(String, PathBuf)>, Error> {
    let mut programs = Vec::new();
    for line in messages.lines().filter(|line| line.starts_with('{')) {
        let message: Message = serde_json::from_str(line).map_err(|source| Error::Json {
            what: "a message of cargo".into(),
            source,
        })?;
        if let (Some(target), Some(executable)) = (message.target, message.executable)
            && message.reason == "compiler-artifact"
            && is_wanted(&target)
        {
            // A package of this workspace lies in a directory of its own name.
            let directory = message.manifest_path.as_deref().and_then(Path::parent);
            let package = directory
                .and_then(Path::file_name)
                .unwrap_or_default()
                .to_string_lossy();
            programs.push((format!("{package}: {}", target.name), executable));
        }
    }
    Ok(programs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_split_by_their_names() {
        let json = r#"{"packages":[
            {"name":"a","version":"1.2.3","metadata":null,
             "targets":[{"name":"a","version":"1.2.3","kind":["lib"]},{"name":"kvm_x","kind":["test"]},{"name":"z","kind":["test"]}]},
            {"name":"b","version":"1.2.3","metadata":{"kvm":{"arch":"riscv64"}},
             "targets":[{"name":"kvm_tool","kind":["bin"]},{"name":"cli","kind":["test"]},{"name":"kvm_y","kind":["test"]}]},
            {"name":"c","version":"1.2.3","metadata":{"other":1},"targets":[{"name":"z","kind":["test"]}]}
        ]}"#;
        let kvm = |package: &str, name: &str, arch: Option<&str>| KvmTest {
            package: package.into(),
            name: name.into(),
            arch: arch.map(str::to_owned),
        };
        assert_eq!(
            split(serde_json::from_str(json).unwrap()),
            IntegrationTests {
                host: vec!["cli".into(), "z".into()],
                kvm: vec![kvm("a", "kvm_x", None), kvm("b", "kvm_y", Some("riscv64"))]
            }
        );
    }

    #[test]
    fn crates_are_told_apart_by_their_manifests() {
        let json = r#"{"packages":[
            {"name":"a","version":"1.2.3","metadata":null,"targets":[],"categories":["os","no-std"],"publish":null,"rust_version":"1.85"},
            {"name":"b","version":"1.2.3","metadata":null,"targets":[],"categories":["no-std::no-alloc"],"publish":[]},
            {"name":"c","version":"1.2.3","metadata":null,"targets":[],"publish":null}
        ]}"#;
        let expected = PureCrate {
            name: "a".into(),
            rust_version: Some("1.85".into()),
        };
        assert_eq!(pure(serde_json::from_str(json).unwrap()), [expected]);
        let published = published(serde_json::from_str(json).unwrap());
        let directories: Vec<String> = published.iter().map(PublishedCrate::directory).collect();
        assert_eq!(directories, ["a-1.2.3", "c-1.2.3"]);
    }

    #[test]
    fn a_test_may_be_for_one_architecture() {
        let test = |arch: Option<&str>| KvmTest {
            package: "p".into(),
            name: "kvm_x".into(),
            arch: arch.map(str::to_owned),
        };
        assert!(test(None).is_for("x86_64"));
        assert!(test(Some("x86_64")).is_for("x86_64"));
        assert!(!test(Some("riscv64")).is_for("x86_64"));
    }

    #[test]
    fn only_test_programs_are_taken() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","target":{"name":"a","version":"1.2.3","kind":["lib"]},"executable":null}"#,
            "\n",
            r#"{"reason":"compiler-artifact","target":{"name":"vmboot","kind":["bin"]},"executable":"/t/vmboot"}"#,
            "\n",
            r#"{"reason":"compiler-artifact","manifest_path":"/w/crates/hv/Cargo.toml","target":{"name":"kvm_x","kind":["test"]},"executable":"/t/kvm_x-1"}"#,
            "\n",
            r#"{"reason":"build-finished","success":true}"#,
            "\n",
        );
        assert_eq!(
            programs_in(messages, Target::is_test).unwrap(),
            [("hv: kvm_x".to_owned(), PathBuf::from("/t/kvm_x-1"))]
        );
        assert!(programs_in("{", Target::is_test).is_err());
    }
}
