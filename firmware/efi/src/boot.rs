//! The boot manager, UEFI 2.10 chapter 3: boot options, then the default program of each volume.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use disk::Node;
use efi_abi::raw::table::system::SystemTable;
use efi_abi::{
    BuildError, Config, Firmware, Guid, ImageSource, Platform, RuntimeHooks, Status, VARIABLE_STORE,
};
use efi_core::Result;
use efi_core::device_path::{DevicePath, DevicePathBuf};
use efi_core::memory::MemoryMap;
use efi_core::variables::{LoadOptionAttributes, Variables};

use crate::event::Event;
use crate::storage::{self, Disk, Volume};

/// Name of the vendor in the system table.
const VENDOR: &str = "vmboot";
/// Revision of the firmware in the system table.
const REVISION: u32 = 0x1_0000;

/// Type and subtype of nodes of a file path and of a partition (UEFI 2.10, sections 10.3.5.4 and 10.3.5.1).
const FILE_PATH: (u8, u8) = (4, 4);
const HARD_DRIVE: (u8, u8) = (4, 1);

/// The default program of volumes on x86_64, UEFI 2.10 table 3.2.
pub const DEFAULT_X86_64: &str = "\\EFI\\BOOT\\BOOTX64.EFI";
/// The default program of volumes on arm64.
pub const DEFAULT_ARM64: &str = "\\EFI\\BOOT\\BOOTAA64.EFI";
/// The default program of volumes on riscv64.
pub const DEFAULT_RISCV64: &str = "\\EFI\\BOOT\\BOOTRISCV64.EFI";

/// What a machine gives to EFI.
pub struct Setup {
    /// Path of the default program of volumes, such as [`DEFAULT_X86_64`].
    pub default: &'static str,
    /// Console, clock and other devices of boot services.
    pub platform: Box<dyn Platform>,
    /// Clock and reset of runtime services.
    pub hooks: RuntimeHooks,
    /// The memory map, see [`map_of`](crate::map_of).
    pub map: MemoryMap,
    /// Device path of the console; without nodes if there is none.
    pub console: DevicePathBuf,
    /// Configuration tables with their physical addresses: ACPI, SMBIOS, device tree.
    pub tables: Vec<(Guid, u64)>,
    /// The disks in the order in which they are tried.
    pub disks: Vec<Disk>,
}

/// Why a boot has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BootError {
    /// EFI cannot be set up.
    Build(BuildError),
    /// A configuration table or a variable cannot be set.
    Variables(Status),
    /// Nothing could be started, or all programs have returned.
    Nothing,
}

impl fmt::Display for BootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Build(_) => f.write_str("there is no EFI"),
            Self::Variables(_) => f.write_str("the boot options cannot be used"),
            Self::Nothing => f.write_str("no EFI program has booted an operating system"),
        }
    }
}

impl core::error::Error for BootError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Build(error) => Some(error),
            Self::Variables(status) => Some(status),
            Self::Nothing => None,
        }
    }
}

/// Boots the machine with EFI: the options of `BootNext` and `BootOrder`, then the default program of each volume. What returns is
/// followed by the next one. Returns when all have returned.
///
/// # Safety
///
/// The contract of [`Firmware::install`]: memory of the map is RAM at its address and in nobody's use, as the map has it; the stack has at
/// least 128 KiB for each level of images; one CPU calls services; hooks, code and data of the firmware are in runtime memory.
#[expect(unsafe_code, reason = "memory and stack of the machine")]
pub unsafe fn boot(setup: Setup, report: &mut dyn FnMut(&Event<'_>)) -> BootError {
    // SAFETY: the contract is the same.
    unsafe { boot_with(setup, |_| (), report) }
}

/// [`boot`] of a machine that changes the tables of EFI: `prepare` gets the system table before any program runs.
///
/// # Safety
///
/// As for [`boot`]. The tables stay valid.
#[expect(unsafe_code, reason = "memory and stack of the machine")]
pub unsafe fn boot_with(
    setup: Setup,
    prepare: impl FnOnce(*mut SystemTable),
    report: &mut dyn FnMut(&Event<'_>),
) -> BootError {
    let config = Config::new(VENDOR, REVISION).with_console(setup.console.as_path());
    // SAFETY: the contract is the same.
    let firmware = match unsafe { Firmware::install(setup.platform, setup.map, setup.hooks, &config) } {
        Ok(firmware) => firmware,
        Err(error) => return BootError::Build(error),
    };
    match firmware.system_table() {
        Ok(table) => prepare(table),
        Err(status) => return BootError::Variables(status),
    }
    for (guid, table) in setup.tables {
        if let Err(status) = firmware.add_configuration_table(guid, table) {
            return BootError::Variables(status);
        }
    }
    let volumes = storage::add(&firmware, &setup.disks, report);
    let manager = Manager {
        firmware: &firmware,
        volumes: &volumes,
        default: setup.default,
    };
    match manager.run(report) {
        Ok(()) => BootError::Nothing,
        Err(status) => BootError::Variables(status),
    }
}

/// What boot options and default programs are started with.
struct Manager<'a> {
    firmware: &'a Firmware,
    volumes: &'a [Volume],
    /// The default program of volumes.
    default: &'a str,
}

/// A boot option.
struct BootOption {
    number: u16,
    attributes: LoadOptionAttributes,
    description: String,
    path: DevicePathBuf,
    data: Vec<u8>,
}

impl Manager<'_> {
    /// Starts everything once: the boot options, then the default programs. A program may add boot options, such as shim's fallback does;
    /// they come before the next default program.
    fn run(&self, report: &mut dyn FnMut(&Event<'_>)) -> Result<()> {
        let mut tried = Vec::new();
        self.options(&mut tried, report)?;
        let mut is_any = false;
        for volume in self.volumes {
            if !has_file(volume, self.default) {
                continue;
            }
            is_any = true;
            let path = default_of(volume, self.default)?;
            let path = path.as_path();
            report(&Event::Starting { option: None, path });
            self.start(path, &[], report);
            self.options(&mut tried, report)?;
        }
        if !is_any {
            report(&Event::NoDefault { file: self.default });
        }
        Ok(())
    }

    /// Starts the boot options that were not tried yet.
    fn options(&self, tried: &mut Vec<u16>, report: &mut dyn FnMut(&Event<'_>)) -> Result<()> {
        while let Some((number, is_next)) = self.next_option(tried)? {
            tried.push(number);
            let Some(option) = self.read(number, report)? else {
                continue;
            };
            // An option is a boot option unless it has another category; BootNext need not be active.
            let is_boot = !option.attributes.intersects(LoadOptionAttributes::CATEGORY);
            let is_active = option.attributes.contains(LoadOptionAttributes::ACTIVE);
            if is_next || (is_boot && is_active) {
                let set = |variables: &mut Variables<VARIABLE_STORE>| variables.set_boot_current(number);
                self.firmware.variables(set)?;
                self.try_option(&option, report);
            }
        }
        Ok(())
    }

    /// The next option that was not tried, and whether it is `BootNext`.
    fn next_option(&self, tried: &[u16]) -> Result<Option<(u16, bool)>> {
        self.firmware.variables(|variables| {
            let next = variables.take_boot_next().map(|number| (number, true));
            let order = variables.boot_order().into_iter();
            let mut all = next.into_iter().chain(order.map(|number| (number, false)));
            Ok(all.find(|(number, _)| !tried.contains(number)))
        })
    }

    /// Reads a boot option; `None` if it does not exist or is malformed.
    fn read(&self, number: u16, report: &mut dyn FnMut(&Event<'_>)) -> Result<Option<BootOption>> {
        self.firmware.variables(|variables| {
            let found = variables.load_option(number);
            let found = found.inspect_err(|error| report(&Event::BadOption { number, error }));
            Ok(found.ok().flatten().map(|option| BootOption {
                number,
                attributes: option.attributes,
                description: option.description,
                path: option.path.into(),
                data: option.optional_data.to_vec(),
            }))
        })
    }

    /// Starts the program of a boot option from each volume that its path can mean.
    fn try_option(&self, option: &BootOption, report: &mut dyn FnMut(&Event<'_>)) {
        let number = option.number;
        let paths = candidates(self.volumes, option.path.as_path(), self.default);
        if paths.is_empty() {
            report(&Event::NoVolume { number });
        }
        for path in paths {
            let path = path.as_path();
            report(&Event::Starting {
                option: Some((number, &option.description)),
                path,
            });
            self.start(path, &option.data, report);
        }
    }

    /// Loads and starts a program, and reports how it ended.
    fn start(&self, path: DevicePath<'_>, data: &[u8], report: &mut dyn FnMut(&Event<'_>)) {
        let firmware = self.firmware;
        let run = || {
            let image = firmware.load_image(ImageSource::Path(path))?;
            if !data.is_empty() {
                firmware.set_load_options(image, data)?;
            }
            firmware.signal_ready_to_boot()?;
            firmware.start_image(image)
        };
        match run() {
            Ok(exited) => report(&Event::Ended {
                path,
                status: exited.status,
                message: &text(&exited.data),
            }),
            Err(status) => report(&Event::Failed { path, status }),
        }
    }
}

/// The paths that a boot option can mean, UEFI 2.10 section 3.1.2: a path that begins with a file means that of any volume, and the path of
/// a disk or partition means its default program. The path of a partition may begin with its node.
fn candidates(volumes: &[Volume], path: DevicePath<'_>, default: &str) -> Vec<DevicePathBuf> {
    let mut kinds = path.nodes().map(|node| (node.kind, node.subtype));
    let first = kinds.next();
    if first == Some(FILE_PATH) {
        let on = |volume: &Volume| {
            is_file(volume, path).then_some(())?;
            let mut whole = volume.path.clone();
            whole.append(path).ok()?;
            Some(whole)
        };
        return volumes.iter().filter_map(on).collect();
    }
    if first.is_none() || kinds.any(|kind| kind == FILE_PATH) {
        return first.map(|_| path.into()).into_iter().collect();
    }
    let is_meant = |volume: &&Volume| {
        let volume = volume.path.as_path();
        let partition = volume.from_node(|node| (node.kind, node.subtype) == HARD_DRIVE);
        volume.strip_prefix(path).is_some() || partition == Some(path)
    };
    let meant = volumes.iter().filter(is_meant);
    meant
        .filter_map(|volume| default_of(volume, default).ok())
        .collect()
}

/// True if the volume has the file of a path of files.
fn is_file(volume: &Volume, path: DevicePath<'_>) -> bool {
    has_file(volume, &String::from_utf16_lossy(&path.file_path()))
}

fn has_file(volume: &Volume, name: &str) -> bool {
    let found = volume.file_system.lookup(&name.replace('\\', "/"));
    found.is_ok_and(|node| node.as_ref().is_some_and(Node::is_file))
}

/// The path of a volume's default program.
fn default_of(volume: &Volume, default: &str) -> Result<DevicePathBuf> {
    let mut path = volume.path.clone();
    path.push_file_path(default)?;
    Ok(path)
}

/// The text at the start of exit data.
fn text(data: &[u8]) -> String {
    let units = data.chunks_exact(2).map(|unit| match unit {
        [low, high] => u16::from_le_bytes([*low, *high]),
        _ => 0,
    });
    let units: Vec<u16> = units.take_while(|unit| *unit != 0).collect();
    String::from_utf16_lossy(&units)
}

#[cfg(test)]
mod tests {
    use core::ops::ControlFlow;

    use disk::{ByteSource, DirEntry, DirPosition, FileSystem, FsError, FsInfo, Metadata, NodeId, NodeKind};
    use efi_core::device_path::{HardDrive, HardDriveSignature};

    use super::*;

    const DEFAULT: &str = DEFAULT_X86_64;

    /// A volume with files at these paths.
    struct Files(FsInfo, &'static [&'static str]);

    impl Files {
        fn leak(files: &'static [&'static str]) -> &'static Self {
            Box::leak(Box::new(Self(FsInfo::new("test", 512, 0), files)))
        }
    }

    fn node(kind: NodeKind) -> Node {
        Node {
            id: NodeId(0, 0),
            kind,
            metadata: Metadata::default(),
        }
    }

    impl FileSystem for Files {
        fn info(&self) -> &FsInfo {
            &self.0
        }

        fn root(&self) -> Node {
            node(NodeKind::Directory)
        }

        fn lookup(&self, path: &str) -> core::result::Result<Option<Node>, FsError> {
            Ok(self.1.contains(&path).then(|| node(NodeKind::File)))
        }

        fn read_dir(
            &self,
            _: &Node,
            _: DirPosition,
            _: &mut dyn FnMut(DirEntry<'_>) -> ControlFlow<()>,
        ) -> core::result::Result<(), FsError> {
            Ok(())
        }

        fn open<'a>(&'a self, _: &Node) -> core::result::Result<Box<dyn ByteSource + 'a>, FsError> {
            Ok(Box::new(&b""[..]))
        }
    }

    fn disk(device: u8) -> DevicePathBuf {
        let mut path = DevicePathBuf::new();
        path.push_pci_root(0).unwrap();
        path.push_pci(device, 0).unwrap();
        path
    }

    fn partition(number: u32) -> HardDrive {
        HardDrive {
            number,
            start: 2048,
            size: 100,
            signature: HardDriveSignature::Mbr(0x1234_5678),
        }
    }

    fn path(nodes: impl Fn(&mut DevicePathBuf)) -> DevicePathBuf {
        let mut path = DevicePathBuf::new();
        nodes(&mut path);
        path
    }

    #[test]
    fn short_paths_mean_volumes() {
        let volume = |device, number, files| {
            let mut path = disk(device);
            path.push_hard_drive(&partition(number)).unwrap();
            Volume::new(Files::leak(files), path, true)
        };
        let volumes = [
            volume(2, 1, &["/EFI/debian/shimx64.efi"]),
            volume(3, 2, &["/EFI/debian/shimx64.efi", "/EFI/BOOT/BOOTX64.EFI"]),
        ];
        let check = |option: &DevicePathBuf, expected: &[&str]| {
            let found: Vec<_> = candidates(&volumes, option.as_path(), DEFAULT)
                .iter()
                .map(|path| path.as_path().to_text())
                .collect();
            assert_eq!(found, expected);
        };
        let first = "PciRoot(0x0)/Pci(0x2,0x0)/HD(1,MBR,0x12345678,0x800,0x64)";
        let second = "PciRoot(0x0)/Pci(0x3,0x0)/HD(2,MBR,0x12345678,0x800,0x64)";
        let [shim, default] = ["\\EFI\\debian\\shimx64.efi", DEFAULT];
        // A file of any volume that has it.
        check(
            &path(|path| path.push_file_path(shim).unwrap()),
            &[&format!("{first}/{shim}"), &format!("{second}/{shim}")],
        );
        check(
            &path(|path| path.push_file_path(default).unwrap()),
            &[&format!("{second}/{default}")],
        );
        check(&path(|path| path.push_file_path("\\x").unwrap()), &[]);
        // A disk, a partition, the end of a partition's path.
        check(&disk(2), &[&format!("{first}/{default}")]);
        check(&volumes[1].path, &[&format!("{second}/{default}")]);
        check(
            &path(|path| path.push_hard_drive(&partition(2)).unwrap()),
            &[&format!("{second}/{default}")],
        );
        check(&path(|path| path.push_hard_drive(&partition(3)).unwrap()), &[]);
        check(&path(|_| ()), &[]);
        // Whole paths, and paths of a partition with a file, are used as they are.
        let mut whole = volumes[0].path.clone();
        whole.push_file_path("\\x").unwrap();
        check(&whole, &[&format!("{first}/\\x")]);
        let short = path(|path| {
            path.push_hard_drive(&partition(3)).unwrap();
            path.push_file_path("\\x").unwrap();
        });
        check(&short, &["HD(3,MBR,0x12345678,0x800,0x64)/\\x"]);
    }

    #[test]
    fn exit_data_begins_with_text() {
        assert_eq!(text(b"o\0k\0\0\0\xff\xff"), "ok");
        assert_eq!(text(b"o\0k\0x"), "ok");
        assert_eq!(text(b""), "");
    }
}
