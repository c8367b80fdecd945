//! Report on what the firmware left for the system, with `init.firmware`.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};
use rustix::mount::{MountFlags, mount};

use crate::modules::sorted;

/// Present if the system was started through EFI (Linux `ABI/testing/sysfs-firmware-efi`).
const EFI: &str = "/sys/firmware/efi";

/// Mount point of the file system of EFI variables.
const VARIABLES: &str = "/sys/firmware/efi/efivars";

/// The variable that is written and read back.
const VARIABLE: &str = "VmbootInit-8f2a4c52-61f5-4d0e-9b1c-2b7f0a6d3e55";

/// `NON_VOLATILE | BOOTSERVICE_ACCESS | RUNTIME_ACCESS`: only non-volatile variables can be created after ExitBootServices
/// (UEFI specification 2.10, section 8.2).
const ATTRIBUTES: u32 = 7;

/// Values of the report.
pub(crate) struct FirmwareReport {
    /// The word size of the firmware; `None` without EFI.
    efi: Option<String>,
    /// The number of EFI variables.
    variables: io::Result<usize>,
    /// Whether a variable was created, read back and deleted.
    variable: io::Result<()>,
    /// Name and seconds since 1970 of each real-time clock.
    clocks: Vec<(String, String)>,
    /// Numbers and values of registers of the TPM, in the bank SHA-256.
    pcrs: Vec<(u8, String)>,
    smbios: Option<u64>,
    acpi: bool,
    device_tree: bool,
}

impl FirmwareReport {
    /// Mounts the variables and reads the values of the running system.
    pub(crate) fn read() -> Self {
        let efi = Path::new(EFI).exists().then(|| {
            let size = fs::read_to_string(Path::new(EFI).join("fw_platform_size"));
            size.map_or_else(|_| "unknown".to_owned(), |size| size.trim().to_owned())
        });
        let directory = Path::new(VARIABLES);
        let mounted = mount("efivarfs", directory, "efivarfs", MountFlags::empty(), None);
        let mounted = mounted.map_err(io::Error::from);
        let (variables, variable) = match (&efi, mounted) {
            (None, _) => (Ok(0), Ok(())),
            (Some(_), Err(error)) => (Err(io::Error::from(error.kind())), Err(error)),
            (Some(_), Ok(())) => (count(directory), try_variable(directory)),
        };
        Self {
            efi,
            variables,
            variable,
            clocks: clocks(Path::new("/sys/class/rtc")),
            pcrs: pcrs(Path::new("/sys/class/tpm/tpm0/pcr-sha256")),
            smbios: fs::metadata("/sys/firmware/dmi/tables/DMI")
                .map(|file| file.len())
                .ok(),
            acpi: Path::new("/sys/firmware/acpi/tables").exists(),
            device_tree: Path::new("/sys/firmware/devicetree/base").exists(),
        }
    }
}

/// One line for each value.
impl fmt::Display for FirmwareReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.efi {
            Some(size) => {
                writeln!(f, "efi: {size} bits")?;
                match &self.variables {
                    Ok(count) => writeln!(f, "efi variables: {count}")?,
                    Err(error) => writeln!(f, "efi variables: unknown ({error})")?,
                }
                match &self.variable {
                    Ok(()) => writeln!(f, "efi variable: created, read back, deleted")?,
                    Err(error) => writeln!(f, "efi variable: {error}")?,
                }
            }
            None => writeln!(f, "efi: none")?,
        }
        for (name, seconds) in &self.clocks {
            writeln!(f, "clock: {seconds} {name}")?;
        }
        for (number, value) in &self.pcrs {
            writeln!(f, "pcr {number}: {value}")?;
        }
        match self.smbios {
            Some(length) => writeln!(f, "smbios: {length} bytes")?,
            None => writeln!(f, "smbios: none")?,
        }
        let word = |is_present| if is_present { "present" } else { "none" };
        writeln!(f, "acpi: {}", word(self.acpi))?;
        writeln!(f, "device tree: {}", word(self.device_tree))
    }
}

/// The registers that boot loaders and the kernel extend (Linux `ABI/stable/sysfs-class-tpm`, `pcr-HASH`), in lower case; none without a TPM.
fn pcrs(directory: &Path) -> Vec<(u8, String)> {
    let value = |number: u8| {
        let value = fs::read_to_string(directory.join(number.to_string())).ok()?;
        Some((number, value.trim().to_lowercase()))
    };
    [4, 9, 11, 12, 13].into_iter().filter_map(value).collect()
}

/// Keeps all messages of the kernel but emergencies from the console, where they would split lines of the report (Linux
/// `admin-guide/sysctl/kernel.rst`, printk).
pub(crate) fn silence_kernel() -> io::Result<()> {
    fs::write("/proc/sys/kernel/printk", "1")
}

fn count(directory: &Path) -> io::Result<usize> {
    sorted(directory).map(|paths| paths.len())
}

/// Creates a variable, reads it back and deletes it.
fn try_variable(directory: &Path) -> io::Result<()> {
    let path = directory.join(VARIABLE);
    // The file of a variable has its attributes and then its value (Linux `filesystems/efivarfs.rst`).
    let content = [&ATTRIBUTES.to_le_bytes()[..], b"vmboot"].concat();
    fs::write(&path, &content)?;
    if fs::read(&path)? != content {
        return Err(io::Error::other("another value was read than written"));
    }
    // Variables that Linux does not know are protected against deletion.
    let file = File::open(&path)?;
    let flags = ioctl_getflags(&file)?;
    ioctl_setflags(&file, flags.difference(IFlags::IMMUTABLE))?;
    drop(file);
    fs::remove_file(&path)?;
    if path.exists() {
        return Err(io::Error::other("the variable is there after its deletion"));
    }
    Ok(())
}

/// Name and time of each clock in a directory of sysfs (Linux `ABI/testing/sysfs-class-rtc`). Reading the time reads the clock.
fn clocks(directory: &Path) -> Vec<(String, String)> {
    let value = |clock: &Path, file: &str| {
        let text = fs::read_to_string(clock.join(file)).ok()?;
        Some(text.trim().to_owned())
    };
    let paths = sorted(directory).unwrap_or_default();
    let clock = |path: &PathBuf| Some((value(path, "name")?, value(path, "since_epoch")?));
    paths.iter().filter_map(clock).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An empty directory of this process.
    fn new_directory(name: &str) -> PathBuf {
        let directory = std::env::temp_dir().join(format!("init-{name}-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        directory
    }

    #[test]
    fn registers_of_a_tpm_are_in_lower_case() {
        let directory = new_directory("pcrs");
        for (number, value) in [("4", "0AFF\n"), ("5", "00\n"), ("12", "01\n")] {
            fs::write(directory.join(number), value).unwrap();
        }
        assert_eq!(pcrs(&directory), [(4, "0aff".to_owned()), (12, "01".to_owned())]);
        fs::remove_dir_all(&directory).unwrap();
        assert!(pcrs(&directory).is_empty());
    }

    #[test]
    fn clocks_have_a_name_and_a_time() {
        let directory = new_directory("clocks");
        for (clock, name, time) in [
            ("rtc1", "rtc-pl031", "7\n"),
            ("rtc0", "rtc-efi rtc-efi.0\n", "1795807600\n"),
        ] {
            fs::create_dir_all(directory.join(clock)).unwrap();
            fs::write(directory.join(clock).join("name"), name).unwrap();
            fs::write(directory.join(clock).join("since_epoch"), time).unwrap();
        }
        fs::create_dir_all(directory.join("rtc2")).unwrap();
        let pair = |name: &str, time: &str| (name.to_owned(), time.to_owned());
        assert_eq!(
            clocks(&directory),
            [pair("rtc-efi rtc-efi.0", "1795807600"), pair("rtc-pl031", "7")]
        );
        fs::remove_dir_all(&directory).unwrap();
        assert!(clocks(&directory).is_empty());
    }

    #[test]
    fn lines_depend_on_what_is_there() {
        let report = FirmwareReport {
            efi: Some("64".to_owned()),
            variables: Ok(12),
            variable: Err(io::Error::from_raw_os_error(30)),
            clocks: vec![("rtc_cmos".to_owned(), "1795807600".to_owned())],
            pcrs: vec![(4, "0a".to_owned())],
            smbios: Some(300),
            acpi: true,
            device_tree: false,
        };
        assert_eq!(
            report.to_string(),
            "efi: 64 bits\nefi variables: 12\nefi variable: Read-only file system (os error 30)\n\
             clock: 1795807600 rtc_cmos\npcr 4: 0a\nsmbios: 300 bytes\nacpi: present\ndevice tree: none\n"
        );
        let report = FirmwareReport {
            efi: None,
            clocks: Vec::new(),
            pcrs: Vec::new(),
            smbios: None,
            ..report
        };
        assert_eq!(
            report.to_string(),
            "efi: none\nsmbios: none\nacpi: present\ndevice tree: none\n"
        );
    }
}
