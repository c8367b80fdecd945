//! An ext4 with Debian, made from its packages: `debian_root/make.sh` writes it.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::ext4::UUID;
use super::fat::VOLUME_ID;
use crate::apt::PrivateApt;
use crate::arch::ArchRow;
use crate::error::{Error, WithPath as _};
use crate::kernel::{self, Kernel};
use crate::packages::{self, Package};
use crate::process;
use crate::progress::Step;
use crate::suite::Suite;
use crate::workspace::Workspace;

/// What is installed, with all dependencies: what `debootstrap --variant=minbase` installs, systemd as init, and what it needs to be
/// complete.
const PACKAGES: [&str; 12] = [
    "?essential",
    "apt",
    "systemd-sysv",
    "udev",
    "dbus",
    "libpam-systemd",
    "login",
    "passwd",
    "kmod",
    "procps",
    "e2fsprogs",
    "dosfstools",
];

/// The identifier of the system.
pub(super) const MACHINE_ID: &str = "4f0f3c1c9d3447b58f3e4b1f0a6d3e55";

const MAKE: &str = include_str!("debian_root/make.sh");
const REPORT: &str = include_str!("debian_root/report.sh");
const REPORT_UNIT: &str = include_str!("debian_root/report.service");

/// A file system in a file, and a text that differs for other contents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RootImage {
    pub(super) path: PathBuf,
    pub(super) inputs: String,
}

/// What the image is made of besides the packages.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parts<'a> {
    pub(super) kernel: &'a Kernel,
    pub(super) initrd: &'a Path,
    /// The command line in the configuration of GRUB, behind that of the root file system.
    pub(super) cmdline: &'a str,
    /// Whether that is for the machines of `vmboot run`.
    pub(super) is_for_vmboot: bool,
}

/// Makes the image, unless it is there with the same inputs.
pub(super) fn ensure(workspace: &Workspace, row: &ArchRow, parts: Parts<'_>) -> Result<RootImage, Error> {
    let directory = workspace
        .xtask("debian")
        .join(Suite::Trixie.name())
        .join(row.name);
    let packages = directory.join("root-packages");
    if !packages.exists() {
        let apt = PrivateApt::update(workspace, row.name, row.debian, Suite::Trixie)?;
        apt.download_all(&PACKAGES, &packages)?;
    }
    let path = directory.join(if parts.is_for_vmboot {
        "root-vmboot.ext4"
    } else {
        "root.ext4"
    });
    let inputs = inputs(&packages, parts)?;
    let list = path.with_extension("inputs");
    let is_known = fs::read_to_string(&list).is_ok_and(|known| known == inputs);
    if !is_known || !path.exists() {
        let _step = Step::start(format!("making a root file system of Debian for {}", row.name));
        make(workspace, row, &packages, parts, &path)?;
        fs::write(&list, &inputs).with_path(&list)?;
    }
    Ok(RootImage { path, inputs })
}

/// The inputs of the image as text.
fn inputs(packages: &Path, parts: Parts<'_>) -> Result<String, Error> {
    let mut lines = vec![parts.cmdline.to_owned(), parts.kernel.image.display().to_string()];
    let scripts = [MAKE, REPORT, REPORT_UNIT].map(str::as_bytes);
    let initrd = fs::read(parts.initrd).with_path(parts.initrd)?;
    for bytes in scripts.into_iter().chain([initrd.as_slice()]) {
        lines.push(format!("{} {:08x}", bytes.len(), crc32fast::hash(bytes)));
    }
    for package in kernel::walk(packages)? {
        lines.push(
            package
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
        );
    }
    Ok(lines.join("\n") + "\n")
}

fn make(
    workspace: &Workspace,
    row: &ArchRow,
    packages: &Path,
    parts: Parts<'_>,
    image: &Path,
) -> Result<(), Error> {
    let tools = [
        Package::program("fakeroot", "fakeroot"),
        Package::program("e2fsprogs", "mke2fs"),
        Package::program("kmod", "depmod"),
    ];
    packages::ensure(workspace, &tools)?;
    let parent = image.parent().unwrap_or(image);
    let work = tempfile::tempdir_in(parent).with_path(parent)?;
    let config = work.path().join("config");
    write_config(&config)?;
    let script = work.path().join("make.sh");
    fs::write(&script, MAKE).with_path(&script)?;
    let partial = image.with_extension("partial");
    let tool = |name: &str| process::which(name).unwrap_or_else(|| name.into());
    let kernel = &parts.kernel.image;
    let kernel_package = kernel.parent().and_then(Path::parent).unwrap_or(kernel);
    // Owners of files are those of a root user, whoever runs this.
    let mut command = Command::new(tool("fakeroot"));
    command.arg("--").arg("sh").arg(&script);
    let (depmod, mke2fs) = (tool("depmod"), tool("mke2fs"));
    let variables: [(&str, &OsStr); 10] = [
        ("DEBS", packages.as_os_str()),
        ("KERNEL", kernel_package.as_os_str()),
        ("INITRD", parts.initrd.as_os_str()),
        ("CONFIG", config.as_os_str()),
        ("DEPMOD", depmod.as_os_str()),
        ("MKE2FS", mke2fs.as_os_str()),
        ("FS_UUID", OsStr::new(UUID)),
        ("WORK", work.path().as_os_str()),
        ("IMAGE", partial.as_os_str()),
        ("CONSOLE", OsStr::new(parts.cmdline)),
    ];
    command.envs(variables);
    process::run_logged(
        &mut command,
        &workspace.log(&format!("debian-root-{}", row.name))?,
    )?;
    fs::rename(&partial, image).with_path(image)
}

/// The files that are those of this machine, and not of a package.
fn write_config(directory: &Path) -> Result<(), Error> {
    let fstab = format!(
        "UUID={UUID} / ext4 errors=remount-ro 0 1\n\
         UUID={:04X}-{:04X} /boot/efi vfat umask=0077 0 1\n",
        VOLUME_ID >> 16,
        VOLUME_ID & 0xffff
    );
    let files = [
        ("etc/fstab", fstab.as_str(), 0o644),
        ("etc/hostname", "debian\n", 0o644),
        ("etc/hosts", "127.0.0.1 localhost\n127.0.1.1 debian\n", 0o644),
        ("etc/machine-id", &format!("{MACHINE_ID}\n"), 0o444),
        ("etc/systemd/system/vmboot-report.service", REPORT_UNIT, 0o644),
        ("usr/local/sbin/vmboot-report", REPORT, 0o755),
    ];
    for (name, content, mode) in files {
        let path = directory.join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).with_path(parent)?;
        }
        fs::write(&path, content).with_path(&path)?;
        fs::set_permissions(&path, Permissions::from_mode(mode)).with_path(&path)?;
    }
    Ok(())
}
