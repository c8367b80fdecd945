//! The files on each kind of medium.

use std::fs;
use std::path::{Path, PathBuf};

use super::debian_root::{self, MACHINE_ID, RootImage};
use super::entry::EntryFiles;
use super::error::MediumError;
use super::kind::Kind;
use super::spec::{End, Medium};
use super::tree::Tree;
use super::{ext4, initrd, uki};
use crate::arch::ArchRow;
use crate::error::{Error, WithPath as _};
use crate::firmware::debian;
use crate::firmware::platform::{Platform, Shim};
use crate::firmware::ukify::{self, Ukis};
use crate::guests;
use crate::kernel::{self, Kernel};
use crate::suite::Suite;
use crate::workspace::Workspace;

/// For machines that a busy one emulates: no test whether the timer of a PC ticks in time, and deadlines of systemd in seconds, of which the
/// default is 90.
const SLOW_MACHINE: &str =
    "no_timer_check systemd.default_device_timeout_sec=600 systemd.default_timeout_start_sec=600";

/// Content of the sector that a disk with a bad entry cannot read: found on the disk by it.
pub(crate) const BAD_SECTOR: [u8; 512] = {
    let mut sector = [0; 512];
    let text = b"a sector that cannot be read: ";
    let mut at = 0;
    while at < sector.len() {
        sector[at] = text[at % text.len()];
        at += 1;
    }
    sector
};

/// The files of a medium.
#[derive(Debug, Default)]
pub(super) struct Content {
    pub(super) esp: Tree,
    /// The boot partition with ext4, if the medium has one.
    pub(super) xbootldr: Option<Tree>,
    /// The root file system, if the medium has one.
    pub(super) root: Option<Root>,
}

/// A root file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Root {
    /// One to make with these files.
    Tree(Tree),
    /// One that is there.
    Image(RootImage),
}

/// The kernel of a medium with what belongs to it.
#[derive(Debug)]
struct System {
    kernel: PathBuf,
    initrd: PathBuf,
    version: String,
    cmdline: String,
}

/// Makes the content of one medium.
struct Collector<'a> {
    workspace: &'a Workspace,
    row: &'a ArchRow,
    platform: &'a Platform,
    system: System,
    is_for_vmboot: bool,
    content: Content,
}

impl Content {
    /// The files of an entry.
    pub(super) fn entry(entry: &EntryFiles<'_>) -> Self {
        let mut content = Self::default();
        let mut text = "title a kernel\nlinux /kernel\n".to_owned();
        content.esp.file("kernel", entry.kernel);
        if let Some(initrd) = entry.initrd {
            content.esp.file("initrd", initrd);
            text += "initrd /initrd\n";
        }
        let text = format!("{text}options {}\n", entry.options);
        content.esp.bytes("loader/entries/kernel.conf", text);
        content
    }

    /// Fetches and builds the files of `medium`.
    pub(super) fn collect(workspace: &Workspace, row: &ArchRow, medium: &Medium) -> Result<Self, Error> {
        let kernel = kernel::ensure(workspace, row, Suite::Trixie)?;
        let initrd = if medium.kind.is_system() {
            initrd::ensure_for_root(workspace, row, &kernel)?
        } else {
            initrd::ensure(workspace, row, &kernel, medium.padding)?
        };
        let mut collector = Collector {
            workspace,
            row,
            platform: row.firmware,
            system: System::new(row, &kernel, initrd, medium),
            is_for_vmboot: medium.is_for_vmboot,
            content: Self::default(),
        };
        match medium.kind {
            Kind::Bls1 => collector.entry(),
            Kind::Ext4 => {
                collector.content.esp.bytes("loader/loader.conf", "timeout 0\n");
                let mut tree = Tree::default();
                collector.system.entry(&mut tree);
                collector.content.xbootldr = Some(tree);
            }
            Kind::Stub => {
                let kernel = collector.system.kernel.clone();
                collector.loader(&kernel);
            }
            Kind::Uki => {
                let uki = collector.uki()?;
                collector.linux_directory(uki.clone());
                let name = collector.loader_name();
                collector.content.esp.bytes(name, uki);
            }
            Kind::Sdboot => {
                collector.entry();
                collector.systemd_boot()?;
            }
            Kind::Sduki => {
                let uki = collector.uki()?;
                collector.linux_directory(uki);
                collector.content.esp.bytes("loader/loader.conf", "timeout 0\n");
                collector.systemd_boot()?;
            }
            Kind::Ukify => collector.ukify()?,
            Kind::Grub => {
                let grub = collector.grub()?;
                collector.loader(&grub);
            }
            Kind::Shim => collector.shim(false)?,
            Kind::Shimfb => collector.shim(true)?,
            Kind::Debian => {
                collector.debian(&kernel)?;
                collector.installed_entry();
                collector.systemd_boot()?;
            }
            Kind::DebianGrub => {
                collector.debian(&kernel)?;
                let grub = collector.grub_loader()?;
                collector.loader(&grub);
            }
        }
        if medium.has_bad_entry {
            collector.bad_entry()?;
        }
        if medium.is_traced {
            collector.trace()?;
        }
        Ok(collector.content)
    }
}

/// The command line of a kernel whose userspace is Debian's.
fn for_system(cmdline: &str) -> String {
    format!("{cmdline} init.switch_root {SLOW_MACHINE}")
}

/// The medium of Debian, and what a kernel needs that starts Debian from it without a firmware.
#[derive(Debug)]
pub(crate) struct DebianDisk {
    pub(crate) disk: PathBuf,
    pub(crate) initrd: PathBuf,
    pub(crate) cmdline: String,
}

impl DebianDisk {
    /// Makes the medium for the machines of `vmboot run`.
    pub(crate) fn ensure(workspace: &Workspace, row: &ArchRow) -> Result<Self, Error> {
        let kernel = kernel::ensure(workspace, row, Suite::Trixie)?;
        let system = for_system(row.linux_cmdline);
        Ok(Self {
            disk: Medium::for_vmboot(Kind::Debian).ensure(workspace, row)?,
            initrd: initrd::ensure_for_root(workspace, row, &kernel)?,
            cmdline: format!("root=UUID={} ro {system}", ext4::UUID),
        })
    }
}

impl System {
    fn new(row: &ArchRow, kernel: &Kernel, initrd: PathBuf, medium: &Medium) -> Self {
        let name = kernel.image.file_name().unwrap_or_default().to_string_lossy();
        let version = name.strip_prefix(row.kernel_file).unwrap_or("0").to_owned();
        let mut cmdline = if medium.is_for_vmboot {
            format!("{} init.firmware", row.linux_cmdline)
        } else {
            command_line(row.firmware, medium.end, medium.tsc_khz)
        };
        if medium.kind.is_system() {
            cmdline = for_system(&cmdline);
        }
        Self {
            kernel: kernel.image.clone(),
            initrd,
            version,
            cmdline,
        }
    }

    /// An entry of type 1 (UAPI.1 Boot Loader Specification), with its files.
    fn entry(&self, tree: &mut Tree) {
        let Self {
            kernel,
            initrd,
            version,
            cmdline,
        } = self;
        tree.file(format!("debian/{version}/linux"), kernel);
        tree.file(format!("debian/{version}/initrd.img"), initrd);
        tree.bytes(
            format!("loader/entries/debian-{version}.conf"),
            format!(
                "title Debian\nsort-key debian\nversion {version}\nlinux /debian/{version}/linux\n\
                 initrd /debian/{version}/initrd.img\noptions {cmdline}\n"
            ),
        );
    }
}

/// The command line of the kernel on media.
pub(crate) fn command_line(platform: &Platform, end: End, tsc_khz: Option<u64>) -> String {
    let end = match end {
        End::Poweroff => "init.end=poweroff".to_owned(),
        End::Reboot => format!("init.end=reboot {}", platform.efi_reboot),
    };
    let line = format!("{} panic=-1 init.firmware {end}", platform.console);
    let tsc = tsc_khz.map_or_else(String::new, |khz| format!(" tsc_early_khz={khz}"));
    line.trim_end().to_owned() + &tsc
}

impl Collector<'_> {
    /// The path of the boot loader on removable media (UEFI specification, section 3.5.1.1).
    fn loader_name(&self) -> String {
        format!("EFI/BOOT/BOOT{}.EFI", self.platform.efi)
    }

    fn loader(&mut self, file: &Path) {
        let name = self.loader_name();
        self.content.esp.file(name, file);
    }

    /// Puts efitrace before the boot loader.
    fn trace(&mut self) -> Result<(), Error> {
        let name = self.loader_name();
        let efitrace = guests::efitrace(self.workspace, self.row)?;
        if !self.content.esp.rename(&name, "EFI/BOOT/BOOTORIG.EFI") {
            return Err(MediumError::NoLoader.into());
        }
        self.content.esp.file(name, &efitrace);
        Ok(())
    }

    /// A name such as `shimx64.efi`, with the architecture's suffix.
    fn lower(&self, start: &str) -> String {
        format!("{start}{}.efi", self.platform.efi.to_lowercase())
    }

    /// An entry of type 1, and the configuration of systemd-boot.
    fn entry(&mut self) {
        let esp = &mut self.content.esp;
        self.system.entry(esp);
        esp.bytes("loader/loader.conf", "timeout 0\ndefault debian-*\n");
    }

    /// An entry before the others, whose kernel has [`BAD_SECTOR`] in its middle.
    fn bad_entry(&mut self) -> Result<(), Error> {
        let path = &self.system.kernel;
        let mut kernel = fs::read(path).with_path(path)?;
        let middle = kernel.len() / 2 / BAD_SECTOR.len() * BAD_SECTOR.len();
        let sector = kernel.get_mut(middle..middle + BAD_SECTOR.len());
        sector
            .ok_or(MediumError::SmallKernel)?
            .copy_from_slice(&BAD_SECTOR);
        let esp = &mut self.content.esp;
        esp.bytes("bad/linux", kernel);
        esp.bytes(
            "loader/entries/bad.conf",
            "title Bad\nsort-key bad\nlinux /bad/linux\n",
        );
        esp.bytes("loader/loader.conf", "timeout 0\ndefault bad\n");
        Ok(())
    }

    /// The unified kernel image.
    fn uki(&self) -> Result<Vec<u8>, Error> {
        let path = self.platform.stub.ensure(self.workspace, self.row)?;
        let read = |path: &Path| fs::read(path).with_path(path);
        let stub = read(&path)?;
        let kernel = read(&self.system.kernel)?;
        let initrd = read(&self.system.initrd)?;
        let sections: [uki::Section<'_>; 5] = [
            (
                ".osrel",
                b"ID=debian\nNAME=\"Debian GNU/Linux\"\nPRETTY_NAME=\"Debian GNU/Linux 13\"\nVERSION_ID=13\n",
            ),
            (".uname", self.system.version.as_bytes()),
            (".cmdline", self.system.cmdline.as_bytes()),
            (".initrd", &initrd),
            (".linux", &kernel),
        ];
        uki::build(&stub, &sections).map_err(|source| MediumError::Uki { stub: path, source }.into())
    }

    /// The unified kernel image where systemd-boot and the firmware find it.
    fn linux_directory(&mut self, uki: Vec<u8>) {
        let name = format!("EFI/Linux/debian-{}.efi", self.system.version);
        self.content.esp.bytes(name, uki);
    }

    /// The files that ukify made, and a configuration that selects the second profile.
    fn ukify(&mut self) -> Result<(), Error> {
        let Ukis { image, addon, .. } = ukify::make(self.workspace, self.row)?;
        let profile = ukify::SECOND_PROFILE;
        let esp = &mut self.content.esp;
        let name = "debian-13.efi";
        for (path, content) in ukify::companions(name) {
            esp.bytes(path, content);
        }
        esp.file(format!("EFI/Linux/{name}"), &image);
        esp.file(format!("EFI/Linux/{name}.extra.d/one.addon.efi"), &addon);
        esp.bytes(
            "loader/loader.conf",
            format!("timeout 0\ndefault {name}@{profile}\n"),
        );
        self.systemd_boot()
    }

    fn systemd_boot(&mut self) -> Result<(), Error> {
        let file = self.platform.systemd_boot.ensure(self.workspace, self.row)?;
        self.loader(&file);
        let name = format!("EFI/systemd/{}", self.lower("systemd-boot"));
        self.content.esp.file(name, &file);
        Ok(())
    }

    /// The root file system of Debian.
    fn debian(&mut self, kernel: &Kernel) -> Result<(), Error> {
        let parts = debian_root::Parts {
            kernel,
            initrd: &self.system.initrd,
            cmdline: &self.system.cmdline,
            is_for_vmboot: self.is_for_vmboot,
        };
        let image = debian_root::ensure(self.workspace, self.row, parts)?;
        self.content.root = Some(Root::Image(image));
        Ok(())
    }

    /// The entry of an installed system, as `kernel-install` writes it (kernel-install(8)).
    fn installed_entry(&mut self) {
        let System {
            kernel,
            initrd,
            version,
            cmdline,
        } = &self.system;
        let directory = format!("{MACHINE_ID}/{version}");
        let esp = &mut self.content.esp;
        esp.file(format!("{directory}/linux"), kernel);
        esp.file(format!("{directory}/initrd.img-{version}"), initrd);
        esp.bytes("loader/loader.conf", "timeout 0\n");
        esp.bytes(
            format!("loader/entries/{MACHINE_ID}-{version}.conf"),
            format!(
                "# Boot Loader Specification type#1 entry\n\
                 title      Debian GNU/Linux 13 (trixie)\n\
                 version    {version}\n\
                 machine-id {MACHINE_ID}\n\
                 sort-key   debian\n\
                 options    root=UUID={uuid} ro {cmdline}\n\
                 linux      /{directory}/linux\n\
                 initrd     /{directory}/initrd.img-{version}\n",
                uuid = ext4::UUID,
            ),
        );
    }

    /// Debian's GRUB, which reads `/EFI/debian/grub.cfg`; that names the root file system. Returns the image.
    fn grub_loader(&mut self) -> Result<PathBuf, Error> {
        let uuid = ext4::UUID;
        self.content.esp.bytes(
            "EFI/debian/grub.cfg",
            format!(
                "search.fs_uuid {uuid} root\nset prefix=($root)'/boot/grub'\nconfigfile $prefix/grub.cfg\n"
            ),
        );
        self.platform.grub.ensure(self.workspace, self.row)
    }

    /// GRUB with a file system of its own. Returns its image.
    fn grub(&mut self) -> Result<PathBuf, Error> {
        let uuid = ext4::UUID;
        let System {
            kernel,
            initrd,
            version,
            cmdline,
        } = &self.system;
        let mut root = Tree::default();
        root.file(format!("boot/vmlinuz-{version}"), kernel);
        root.file(format!("boot/initrd.img-{version}"), initrd);
        root.bytes(
            "boot/grub/grub.cfg",
            format!(
                "terminal_input console\n\
                 terminal_output console\n\
                 set timeout=0\n\
                 menuentry 'Debian GNU/Linux' {{\n\
                 \tinsmod part_gpt\n\
                 \tinsmod part_msdos\n\
                 \tinsmod ext2\n\
                 \tsearch --no-floppy --fs-uuid --set=root {uuid}\n\
                 \techo 'Loading Linux {version} ...'\n\
                 \tlinux /boot/vmlinuz-{version} root=UUID={uuid} ro {cmdline}\n\
                 \techo 'Loading initial ramdisk ...'\n\
                 \tinitrd /boot/initrd.img-{version}\n\
                 }}\n"
            ),
        );
        self.content.root = Some(Root::Tree(root));
        self.grub_loader()
    }

    /// shim and GRUB as Debian installs them: in `/EFI/debian`, and again as the boot loader of a removable medium.
    fn shim(&mut self, with_fallback: bool) -> Result<(), Error> {
        let Some(Shim {
            loader: shim,
            mok_manager,
            fallback,
        }) = &self.platform.shim
        else {
            return Err(MediumError::NoSuchMedium {
                kind: "shim",
                arch: self.row.name,
                reason: "Debian has no shim for it",
            }
            .into());
        };
        debian::ensure(self.workspace, self.row, &[*shim, *mok_manager, *fallback])?;
        let shim = shim.ensure(self.workspace, self.row)?;
        let mok_manager = mok_manager.ensure(self.workspace, self.row)?;
        let fallback = fallback.ensure(self.workspace, self.row)?;
        let grub = self.grub()?;
        for directory in ["debian", "BOOT"] {
            for (name, file) in [("grub", &grub), ("mm", &mok_manager)] {
                let name = format!("EFI/{directory}/{}", self.lower(name));
                self.content.esp.file(name, file);
            }
        }
        self.loader(&shim);
        let installed = self.lower("shim");
        self.content.esp.file(format!("EFI/debian/{installed}"), &shim);
        self.content
            .esp
            .file(format!("EFI/debian/{}", self.lower("fb")), &fallback);
        self.content.esp.bytes(
            format!("EFI/debian/BOOT{}.CSV", self.platform.efi),
            utf16(&format!(
                "{installed},debian,,This is the boot entry for debian\r\n"
            )),
        );
        if with_fallback {
            let name = format!("EFI/BOOT/{}", self.lower("fb"));
            self.content.esp.file(name, &fallback);
        }
        Ok(())
    }
}

/// Little-endian UTF-16 with a byte order mark.
fn utf16(text: &str) -> Vec<u8> {
    std::iter::once(0xfeff)
        .chain(text.encode_utf16())
        .flat_map(u16::to_le_bytes)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::Arch;

    #[test]
    fn the_command_line_selects_the_end() {
        let check = |arch: Arch, end, expected: &str| {
            assert_eq!(command_line(arch.row().firmware, end, None), expected);
        };
        check(
            Arch::X86_64,
            End::Poweroff,
            "console=ttyS0 earlyprintk=serial panic=-1 init.firmware init.end=poweroff",
        );
        assert_eq!(
            command_line(Arch::X86_64.row().firmware, End::Poweroff, Some(5)),
            "console=ttyS0 earlyprintk=serial panic=-1 init.firmware init.end=poweroff tsc_early_khz=5"
        );
        check(
            Arch::X86_64,
            End::Reboot,
            "console=ttyS0 earlyprintk=serial panic=-1 init.firmware init.end=reboot reboot=efi",
        );
        check(
            Arch::Riscv64,
            End::Reboot,
            "console=ttyS0 earlycon panic=-1 init.firmware init.end=reboot",
        );
    }

    #[test]
    fn texts_of_efi_begin_with_a_byte_order_mark() {
        assert_eq!(utf16("aß"), [0xff, 0xfe, 0x61, 0, 0xdf, 0]);
    }
}
