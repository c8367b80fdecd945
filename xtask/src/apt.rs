//! Runs apt with a progress bar and with a private configuration below `target/`.
//!
//! Kernels and other inputs come from Debian releases and for architectures other than the machine's. The private
//! configuration has its own source list, package lists and cache, selected by the environment variable `APT_CONFIG`; so
//! apt needs no root and changes nothing in the system. apt checks signatures with the keys of the machine's own sources.

mod sources;

use std::env;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::{Error, WithPath as _};
use crate::process::{self, Running};
use crate::progress::Step;
use crate::suite::Suite;
use crate::workspace::Workspace;

/// Runs an apt command with its output in `log` and its progress on `step`.
pub(crate) fn run(command: &mut Command, log: &Path, step: &Step) -> Result<(), Error> {
    let mut file = fs::File::create(log).with_path(log)?;
    // Status lines and ordinary output share standard output.
    command.args(["-o", "APT::Status-Fd=1"]);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(file.try_clone().with_path(log)?);
    let mut running = Running::start(command)?;
    if let Some(stdout) = running.child().stdout.take() {
        for line in BufReader::new(stdout).lines() {
            let line = line.with_path(log)?;
            match percent(&line) {
                Some(percent) => step.percent(percent),
                None => writeln!(file, "{line}").with_path(log)?,
            }
        }
    }
    let status = running.wait()?;
    process::finish_logged(command, status, log)
}

/// The percentage in a status line such as `dlstatus:1:12.5:Retrieving file 1 of 2`.
fn percent(line: &str) -> Option<u64> {
    let mut fields = line.split(':');
    if !matches!(fields.next()?, "dlstatus" | "pmstatus") {
        return None;
    }
    let whole = fields.nth(1)?.split('.').next()?;
    whole.parse().ok()
}

/// A configuration of apt below `target/`.
#[derive(Debug)]
struct Configuration {
    directory: PathBuf,
}

impl Configuration {
    /// Writes a configuration for `suite` only, for `debian_arch` or else the machine's architecture.
    fn write(directory: &Path, suite: &str, debian_arch: Option<&str>) -> Result<Self, Error> {
        for part in ["sources", "lists/partial", "cache/archives/partial", "downloads"] {
            let path = directory.join(part);
            fs::create_dir_all(&path).with_path(&path)?;
        }
        let stanza = sources::derive(&sources::of_machine()?, suite).ok_or_else(|| Error::NoAptSource {
            codename: sources::codename().unwrap_or_default(),
        })?;
        let path = directory.join("sources/debian.sources");
        fs::write(&path, stanza).with_path(&path)?;
        let configuration = Self {
            directory: directory.to_path_buf(),
        };
        let path = configuration.path();
        fs::write(&path, configuration.text(debian_arch)).with_path(&path)?;
        Ok(configuration)
    }

    fn path(&self) -> PathBuf {
        self.directory.join("apt.conf")
    }

    fn text(&self, debian_arch: Option<&str>) -> String {
        let directory = self.directory.display();
        // The packages installed on this machine do not count here. Translations and application metadata are most of what
        // an update fetches, and are not used.
        let other_arch = debian_arch.map_or_else(String::new, |arch| {
            format!("APT::Architecture \"{arch}\";\nAPT::Architectures {{ \"{arch}\"; }};\n")
        });
        format!(
            "Dir::Etc::sourcelist \"/dev/null\";\n\
             Dir::Etc::sourceparts \"{directory}/sources\";\n\
             Dir::State::lists \"{directory}/lists\";\n\
             Dir::State::status \"/dev/null\";\n\
             Dir::Cache \"{directory}/cache\";\n\
             {other_arch}\
             APT::Sandbox::User \"root\";\n\
             APT::Update::Error-Mode \"any\";\n\
             Acquire::Languages \"none\";\n\
             Acquire::IndexTargets::deb::DEP-11::DefaultEnabled \"false\";\n"
        )
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("APT_CONFIG", self.path()).env("LC_ALL", "C");
        command
    }

    /// Fetches the package lists; `name` is for messages.
    fn update(&self, workspace: &Workspace, name: &str) -> Result<(), Error> {
        let log = workspace.log(&format!("apt-update-{name}"))?;
        let step = Step::start(format!("fetching the package lists of Debian {name}"));
        run(self.command("apt-get").arg("update"), &log, &step)
    }
}

/// apt for a release and an architecture other than the machine's.
#[derive(Debug)]
pub(crate) struct PrivateApt<'a> {
    workspace: &'a Workspace,
    configuration: Configuration,
    suite: &'static str,
}

impl<'a> PrivateApt<'a> {
    /// Writes the configuration for one release and architecture, and fetches its package lists.
    pub(crate) fn update(
        workspace: &'a Workspace,
        name: &str,
        debian_arch: &str,
        suite: Suite,
    ) -> Result<Self, Error> {
        Self::open(workspace, suite.name(), name, Some(debian_arch))
    }

    /// The same for a suite of the archive and the architecture of this machine.
    pub(crate) fn of_machine(workspace: &'a Workspace, suite: &'static str) -> Result<Self, Error> {
        Self::open(workspace, suite, "own", None)
    }

    fn open(
        workspace: &'a Workspace,
        suite: &'static str,
        name: &str,
        debian_arch: Option<&str>,
    ) -> Result<Self, Error> {
        let directory = workspace.xtask("apt").join(suite).join(name);
        let configuration = Configuration::write(&directory, suite, debian_arch)?;
        configuration.update(workspace, suite)?;
        Ok(Self {
            workspace,
            configuration,
            suite,
        })
    }

    /// The kernel package that a metapackage such as `linux-image-cloud-amd64` depends on.
    pub(crate) fn kernel_package(&self, meta: &str) -> Result<String, Error> {
        let log = self.workspace.log("apt-cache")?;
        let listing = process::output(
            self.configuration.command("apt-cache").args(["depends", meta]),
            &log,
        )?;
        kernel_dependency(&String::from_utf8_lossy(&listing))
            .map(str::to_owned)
            .ok_or_else(|| Error::NoKernelPackage {
                package: meta.to_owned(),
                suite: self.suite,
            })
    }

    /// Fetches packages and all that they depend on, for an installation from nothing, into a directory, which exists only once it is
    /// complete.
    pub(crate) fn download_all(&self, packages: &[&str], into: &Path) -> Result<(), Error> {
        let partial = into.with_extension("partial");
        remove_directory(&partial)?;
        let archives = partial.join("partial");
        fs::create_dir_all(&archives).with_path(&archives)?;
        {
            let step = Step::start(format!(
                "fetching the packages of a system of Debian {}",
                self.suite
            ));
            let mut command = self.configuration.command("apt-get");
            // Nothing is installed, so the lock of dpkg, which only root can have, is not needed.
            command
                .args(["install", "--yes", "--download-only", "--no-install-recommends"])
                .args(["-o", "Debug::NoLocking=true", "-o"])
                .arg(format!("Dir::Cache::archives={}", partial.display()))
                .args(packages);
            run(&mut command, &self.workspace.log("apt-download-system")?, &step)?;
        }
        remove_directory(&archives)?;
        remove_directory(into)?;
        fs::rename(&partial, into).with_path(into)
    }

    /// Fetches packages and all that they depend on, and unpacks them into a directory, which exists only once it is complete.
    pub(crate) fn unpack_all(&self, packages: &[&str], into: &Path) -> Result<(), Error> {
        let downloads = into.with_extension("downloads");
        self.download_all(packages, &downloads)?;
        let files = fs::read_dir(&downloads).with_path(&downloads)?;
        let archives: Vec<PathBuf> = files
            .map(|entry| Ok(entry.with_path(&downloads)?.path()))
            .collect::<Result<_, Error>>()?;
        let first = packages.first().copied().unwrap_or_default();
        unpack_archives(
            archives,
            into,
            &self.workspace.log(&format!("apt-unpack-{first}"))?,
        )?;
        remove_directory(&downloads)
    }

    /// Fetches packages and unpacks them into a directory, which exists only once it is complete.
    pub(crate) fn unpack(&self, packages: &[&str], into: &Path) -> Result<(), Error> {
        let list = packages.join(" ");
        let downloads = self.configuration.directory.join("downloads");
        let download = tempfile::tempdir_in(&downloads).with_path(&downloads)?;
        let first = packages.first().copied().unwrap_or_default();
        let log = self.workspace.log(&format!("apt-download-{first}"))?;
        {
            let step = Step::start(format!("fetching {list} of Debian {}", self.suite));
            run(
                self.configuration
                    .command("apt-get")
                    .arg("download")
                    .args(packages)
                    .current_dir(download.path()),
                &log,
                &step,
            )?;
        }
        let files = fs::read_dir(download.path()).with_path(download.path())?;
        let archives: Vec<PathBuf> = files
            .map(|entry| Ok(entry.with_path(download.path())?.path()))
            .collect::<Result<_, Error>>()?;
        if archives.len() != packages.len() {
            return Err(Error::NotInPackage {
                package: list,
                what: "archive",
            });
        }
        let _step = Step::start(format!("unpacking {list}"));
        unpack_archives(archives, into, &log)
    }
}

/// Unpacks packages into a directory, which exists only once it is complete.
fn unpack_archives(archives: Vec<PathBuf>, into: &Path, log: &Path) -> Result<(), Error> {
    let partial = into.with_extension("partial");
    remove_directory(&partial)?;
    fs::create_dir_all(&partial).with_path(&partial)?;
    for archive in archives {
        process::run_logged(Command::new("dpkg-deb").arg("-x").arg(archive).arg(&partial), log)?;
    }
    remove_directory(into)?;
    fs::rename(&partial, into).with_path(into)
}

/// Removes a directory that may be absent.
fn remove_directory(path: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).with_path(path),
        _ => Ok(()),
    }
}

/// The first kernel package that `apt-cache depends` lists as a dependency.
fn kernel_dependency(listing: &str) -> Option<&str> {
    listing
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Depends: "))
        .map(str::trim)
        .find(|package| package.starts_with("linux-image-"))
}

/// True when the machine can fetch Debian packages.
pub(crate) fn is_available() -> bool {
    process::which("apt-get").is_some()
        && process::which("dpkg-deb").is_some()
        && sources::codename().is_some()
}

/// A file named by an environment variable, which must exist when the variable is set.
pub(crate) fn file_from_environment(variable: &'static str) -> Result<Option<PathBuf>, Error> {
    let Some(path) = env::var_os(variable).map(PathBuf::from) else {
        return Ok(None);
    };
    fs::metadata(&path).with_path(&path)?;
    Ok(Some(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_lines_give_the_percentage() {
        for (line, expected) in [
            ("dlstatus:1:12.5:Retrieving file 1 of 2", Some(12)),
            ("pmstatus:zstd:100:Installed zstd", Some(100)),
            ("pmstatus:zstd", None),
            ("Get:1 http://example.org/debian trixie InRelease", None),
            ("", None),
        ] {
            assert_eq!(percent(line), expected, "{line}");
        }
    }

    #[test]
    fn the_kernel_is_what_the_metapackage_depends_on() {
        for (listing, expected) in [
            (
                "linux-image-cloud-amd64\n  Depends: linux-image-6.12.9+deb13-cloud-amd64\n",
                Some("linux-image-6.12.9+deb13-cloud-amd64"),
            ),
            (
                "meta\n  PreDepends: a\n  Depends: b\n  Depends: linux-image-1\n",
                Some("linux-image-1"),
            ),
            ("meta\n  Suggests: linux-image-1\n", None),
            ("", None),
        ] {
            assert_eq!(kernel_dependency(listing), expected, "{listing}");
        }
    }
}
