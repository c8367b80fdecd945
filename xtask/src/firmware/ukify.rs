//! A unified kernel image and an addon, made by Debian's `ukify` as its users make them (ukify(1)): two profiles with command lines of their
//! own, microcode, and two initrds.
//!
//! Three of the archives have a file of the same name. The one that Linux unpacks last stays, so that the report of init shows the order of the
//! archives: microcode, the image's initrds, that of the addon.

pub(crate) mod error;
mod registers;

use std::fmt::Write as _;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;

use bls::ProfileSelector;
use bls::uki::UkiBoot;
use boot_core::SizedSource;
use boot_measure::pcr::ArchiveKind;
use contract::Digest;
use cpio::NewcReader;

use self::error::UkifyError;
use super::debian;
use super::error::FirmwareError;
use super::medium::initrd;
use super::platform::DebianFile;
use crate::arch::{Arch, ArchRow};
use crate::error::{Error, WithPath as _};
use crate::initramfs::Initramfs;
use crate::kernel::{self, Kernel};
use crate::packages::{self, Package};
use crate::process;
use crate::progress::{Step, print_status};
use crate::suite::Suite;
use crate::workspace::Workspace;

/// The interpreter of ukify.
const PYTHON: Package = Package::program("python3", "python3");

/// ukify, a program in Python for all architectures, and the module that it needs.
const UKIFY: DebianFile = DebianFile::new("systemd-ukify", "usr/bin/ukify");
const PEFILE: DebianFile = DebianFile::new("python3-pefile", "usr/lib/python3/dist-packages/pefile.py");

/// The file in three of the archives.
const PAYLOAD: &str = "payload.bin";

/// Its contents.
const PAYLOAD_OF_UCODE: &[u8] = b"microcode is unpacked first";
const PAYLOAD_OF_IMAGE: &[u8] = b"the initrd of the image";
const PAYLOAD_OF_ADDON: &[u8] = b"the initrd of the addon is unpacked last";

/// What is on the command line of each profile and of the addon, and on none of the others.
const PROFILES: [(&str, &str); 2] = [
    ("main", "profile=main"),
    (SECOND_PROFILE, "profile=debug words=\"two words\""),
];

/// `ID=` of the second profile.
pub(super) const SECOND_PROFILE: &str = "debug";
const ADDON: &str = "addon=one";

/// Companion files of the image: credentials, a system extension and a configuration extension, which systemd-stub does not look into.
const COMPANIONS: [(ArchiveKind, &str, &[u8]); 5] = [
    (ArchiveKind::Credentials, "b.cred", b"a credential"),
    (ArchiveKind::Credentials, "a.cred", b"another credential"),
    (ArchiveKind::GlobalCredentials, "all.cred", b"for all images"),
    (ArchiveKind::SystemExtensions, "system.raw", b"an extension"),
    (
        ArchiveKind::ConfigurationExtensions,
        "etc.confext.raw",
        b"a configuration",
    ),
];

const OS_RELEASE: &str = "ID=debian\nPRETTY_NAME=\"Debian GNU/Linux 13\"\nVERSION_ID=13\n";

/// The files that ukify made, and texts that it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ukis {
    pub(crate) image: PathBuf,
    pub(crate) addon: PathBuf,
    /// The other files: what ukify was given.
    pub(crate) expectations: Vec<PathBuf>,
}

/// Makes the files unless they are there. `None` where ukify cannot be fetched; the reason is printed.
pub(crate) fn ensure(workspace: &Workspace, row: &ArchRow) -> Result<Option<Ukis>, Error> {
    match make(workspace, row) {
        Ok(ukis) => Ok(Some(ukis)),
        Err(error @ Error::MayNotInstall { .. }) => {
            print_status(&format!(
                "without unified kernel images of ukify, whose tests will be skipped: {error}"
            ));
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// The same; where ukify cannot be fetched, [`Error::MayNotInstall`].
pub(super) fn make(workspace: &Workspace, row: &ArchRow) -> Result<Ukis, Error> {
    let tool = Tool::ensure(workspace, row)?;
    let kernel = kernel::ensure(workspace, row, Suite::Trixie)?;
    let directory = workspace.xtask("ukis").join(row.name);
    fs::create_dir_all(&directory).with_path(&directory)?;
    let files = Files::new(workspace, row, &kernel, &directory)?;
    let ukis = Ukis {
        image: directory.join("debian-13.efi"),
        addon: directory.join("one.addon.efi"),
        expectations: files.expectations()?,
    };
    let inputs = files.inputs(&tool)?;
    let list = directory.join("inputs");
    if fs::read_to_string(&list).is_ok_and(|known| known == inputs) {
        return Ok(ukis);
    }
    let _step = Step::start(format!("making unified kernel images for {}", row.name));
    let debug = directory.join("debug.efi");
    tool.profile(&files, &debug)?;
    tool.image(&files, &debug, &ukis.image)?;
    tool.addon(&files, &ukis.addon)?;
    fs::write(&list, inputs).with_path(&list)?;
    Ok(ukis)
}

/// What init must report where the second profile is booted with the addon: the command line that the crate `bls` joins, and the payload that is
/// the last of its initrds. A boot by systemd-stub is so compared with one that takes the image apart.
pub(super) fn reports(workspace: &Workspace, row: &ArchRow) -> Result<Vec<(&'static str, String)>, Error> {
    let Ukis { image, addon, .. } = make(workspace, row)?;
    let read = |path: &Path| fs::read(path).map(Rc::new).with_path(path);
    let (cmdline, payload) = with_profile(read(&image)?, 1, read(&addon)?).map_err(FirmwareError::from)?;
    let Digest { len, hash } = Digest::of(&payload);
    Ok(vec![
        ("cmdline", cmdline),
        ("payload", format!("{PAYLOAD} {len} {hash:#018x}")),
    ])
}

/// The companion files as paths on the medium, with their contents.
pub(super) fn companions(image: &str) -> impl Iterator<Item = (String, &'static [u8])> {
    COMPANIONS
        .into_iter()
        .map(move |(kind, name, content)| match kind {
            ArchiveKind::GlobalCredentials => (format!("loader/credentials/{name}"), content),
            _ => (format!("EFI/Linux/{image}.extra.d/{name}"), content),
        })
}

/// The TPM registers that init must report of the same boot by systemd-boot.
pub(super) fn registers(workspace: &Workspace, row: &ArchRow) -> Result<Vec<(&'static str, String)>, Error> {
    let Ukis { image, addon, .. } = make(workspace, row)?;
    let loader = row.firmware.systemd_boot.ensure(workspace, row)?;
    let read = |path: &Path| fs::read(path).with_path(path);
    let boot = registers::Boot {
        loader: &read(&loader)?,
        image: &read(&image)?,
        addon: &read(&addon)?,
        profile: 1,
        companions: &COMPANIONS,
    };
    Ok(boot.registers().map_err(FirmwareError::from)?)
}

/// The command line and the payload of a profile with the addon.
fn with_profile(
    image: Rc<Vec<u8>>,
    profile: u32,
    addon: Rc<Vec<u8>>,
) -> Result<(String, Vec<u8>), UkifyError> {
    let boot = UkiBoot::open(image, Some(&ProfileSelector::Number(profile)), [addon])?;
    let initrd = boot.initrd()?.ok_or(UkifyError::NoPayload)?;
    let source = SizedSource::new(&initrd)?;
    let len = usize::try_from(source.len()).unwrap_or(usize::MAX);
    let payload = last_payload(&source.read_vec(0, len)?)?;
    Ok((boot.cmdline(None), payload))
}

/// The payload that stays when Linux unpacks the archives of an initrd.
fn last_payload(initrd: &[u8]) -> Result<Vec<u8>, UkifyError> {
    let (mut rest, mut found) = (initrd, None);
    loop {
        // Zeros are between archives.
        let zeros = rest.iter().take_while(|byte| **byte == 0).count();
        rest = &rest[zeros..];
        if rest.is_empty() {
            return found.ok_or(UkifyError::NoPayload);
        }
        loop {
            let mut entry = NewcReader::new(rest)?;
            if entry.entry().is_trailer() {
                rest = entry.finish()?;
                break;
            }
            if entry.entry().name() == PAYLOAD {
                let mut content = Vec::new();
                entry.read_to_end(&mut content)?;
                found = Some(content);
            }
            rest = entry.finish()?;
        }
    }
}

/// The inputs of ukify.
struct Files {
    directory: PathBuf,
    kernel: PathBuf,
    version: String,
    initrd: PathBuf,
}

impl Files {
    fn new(workspace: &Workspace, row: &ArchRow, kernel: &Kernel, directory: &Path) -> Result<Self, Error> {
        let name = kernel.image.file_name().unwrap_or_default().to_string_lossy();
        let files = Self {
            directory: directory.to_path_buf(),
            kernel: kernel.image.clone(),
            version: name.strip_prefix(row.kernel_file).unwrap_or("0").to_owned(),
            initrd: initrd::ensure(workspace, row, kernel, 0)?,
        };
        // The serial ports of the machines of KVM and of QEMU: a kernel has one of them.
        let console = row.firmware.console.split(' ').next().unwrap_or_default();
        let own = row.linux_cmdline.split(' ').next().unwrap_or_default();
        let consoles = if own == console {
            own.to_owned()
        } else {
            format!("{own} {console}")
        };
        for (name, words) in PROFILES {
            let line = format!("{consoles} panic=-1 quiet init.firmware init.end=poweroff {words}");
            files.write(&format!("{name}.cmdline"), line.as_bytes())?;
            files.write(
                &format!("{name}.profile"),
                format!("ID={name}\nTITLE={name}").as_bytes(),
            )?;
        }
        files.write("addon.cmdline", ADDON.as_bytes())?;
        files.write("os-release", OS_RELEASE.as_bytes())?;
        for (name, payload) in [
            ("ucode", PAYLOAD_OF_UCODE),
            ("image", PAYLOAD_OF_IMAGE),
            ("addon", PAYLOAD_OF_ADDON),
        ] {
            files.write(&format!("{name}.payload"), payload)?;
            let mut archive = Initramfs::create(&files.path(&format!("{name}.cpio")))?;
            archive.bytes(PAYLOAD, 0o644, payload)?;
            archive.finish()?;
        }
        Ok(files)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn write(&self, name: &str, content: &[u8]) -> Result<(), Error> {
        let path = self.path(name);
        fs::write(&path, content).with_path(&path)
    }

    /// Files with what a guest must find.
    fn expectations(&self) -> Result<Vec<PathBuf>, Error> {
        let is_expectation = |path: &PathBuf| {
            let extension = path.extension().unwrap_or_default();
            let is_text = ["cmdline", "payload", "profile", "cpio"]
                .iter()
                .any(|known| extension == *known);
            is_text || path.ends_with("os-release")
        };
        Ok(kernel::walk(&self.directory)?
            .into_iter()
            .filter(is_expectation)
            .collect())
    }

    /// The content of the inputs as text, and the version of ukify.
    fn inputs(&self, tool: &Tool) -> Result<String, Error> {
        let mut text = format!("{tool:?} {}\n", self.version);
        let own = kernel::walk(&self.directory)?;
        let is_input = |path: &&PathBuf| path.extension().is_some_and(|extension| extension != "efi");
        let files = own.iter().filter(is_input);
        for path in files.chain([
            &self.kernel,
            &self.initrd,
            &tool.stub,
            &tool.addon_stub,
            &tool.program,
        ]) {
            let bytes = fs::read(path).with_path(path)?;
            let (path, len) = (path.display(), bytes.len());
            // Writing to a string cannot fail.
            let _: Result<(), std::fmt::Error> =
                writeln!(text, "{path} {len} {:08x}", crc32fast::hash(&bytes));
        }
        Ok(text)
    }
}

/// ukify for an architecture.
#[derive(Debug)]
struct Tool {
    program: PathBuf,
    /// The directory of Python modules.
    modules: PathBuf,
    /// EFI's name of the architecture.
    efi: String,
    stub: PathBuf,
    addon_stub: PathBuf,
    log: PathBuf,
}

impl Tool {
    fn ensure(workspace: &Workspace, row: &ArchRow) -> Result<Self, Error> {
        // The packages are the same for all architectures.
        let own = Arch::X86_64.row();
        debian::ensure(workspace, own, &[UKIFY, PEFILE])?;
        packages::ensure(workspace, &[PYTHON])?;
        let pefile = PEFILE.ensure(workspace, own)?;
        Ok(Self {
            program: UKIFY.ensure(workspace, own)?,
            modules: pefile.parent().unwrap_or(&pefile).to_path_buf(),
            efi: row.firmware.efi.to_lowercase(),
            stub: row.firmware.stub.ensure(workspace, row)?,
            addon_stub: row.firmware.addon_stub.ensure(workspace, row)?,
            log: workspace.log(&format!("ukify-{}", row.name))?,
        })
    }

    /// Runs `ukify build` with these options, and texts from files of the directory.
    fn build(
        &self,
        files: &Files,
        stub: &Path,
        texts: &[(&str, &str)],
        args: &[(&str, &Path)],
    ) -> Result<(), Error> {
        let mut command = Command::new("python3");
        command
            // Python would write compiled modules beside the unpacked package.
            .arg("-B")
            .arg(&self.program)
            .arg("build")
            .arg(format!("--efi-arch={}", self.efi))
            .env("PYTHONPATH", &self.modules);
        for (option, name) in texts {
            command.arg(format!("--{option}=@{}", files.path(name).display()));
        }
        for (option, path) in [("stub", stub)].iter().chain(args) {
            command.arg(format!("--{option}={}", path.display()));
        }
        command.arg(format!("--uname={}", files.version));
        process::run_logged(&mut command, &self.log)
    }

    /// A file with the second profile only, which has to be an addon by its form.
    fn profile(&self, files: &Files, output: &Path) -> Result<(), Error> {
        let texts = [("profile", "debug.profile"), ("cmdline", "debug.cmdline")];
        self.build(files, &self.addon_stub, &texts, &[("output", output)])
    }

    fn image(&self, files: &Files, debug: &Path, output: &Path) -> Result<(), Error> {
        let texts = [
            ("profile", "main.profile"),
            ("cmdline", "main.cmdline"),
            ("os-release", "os-release"),
        ];
        let (ucode, second) = (files.path("ucode.cpio"), files.path("image.cpio"));
        let args = [
            ("linux", &*files.kernel),
            ("initrd", &*files.initrd),
            ("initrd", &*second),
            ("microcode", &*ucode),
            ("join-profile", debug),
            ("output", output),
        ];
        self.build(files, &self.stub, &texts, &args)
    }

    fn addon(&self, files: &Files, output: &Path) -> Result<(), Error> {
        let initrd = files.path("addon.cpio");
        let args = [("initrd", &*initrd), ("output", output)];
        self.build(files, &self.addon_stub, &[("cmdline", "addon.cmdline")], &args)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An archive with one file.
    fn archive(directory: &Path, name: &str, content: &[u8]) -> Vec<u8> {
        let path = directory.join("archive.cpio");
        let mut archive = Initramfs::create(&path).unwrap();
        archive.bytes(name, 0o644, content).unwrap();
        archive.finish().unwrap();
        fs::read(&path).unwrap()
    }

    #[test]
    fn the_payload_of_the_last_archive_stays() {
        let directory = tempfile::tempdir().unwrap();
        let archive = |name: &str, content: &[u8]| archive(directory.path(), name, content);
        let check = |parts: &[&[u8]], expected: Option<&[u8]>| {
            let found = last_payload(&parts.concat()).ok();
            assert_eq!(found.as_deref(), expected);
        };
        let (one, two) = (archive(PAYLOAD, b"one"), archive(PAYLOAD, b"two"));
        let other = archive("other", b"x");
        check(&[&one, &[0; 8], &two, &other, &[0; 4]], Some(b"two"));
        check(&[&two, &one], Some(b"one"));
        check(&[&other], None);
        check(&[], None);
        check(&[b"no archive"], None);
    }
}
