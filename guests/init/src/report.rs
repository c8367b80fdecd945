//! Report on the system.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;
use std::thread;

use contract::{Digest, Fnv1a64};

/// File in the initrd whose digest is printed.
const PAYLOAD: &str = "payload.bin";

/// Values of the report. Those that cannot be read are printed as unknown.
pub(crate) struct SystemReport {
    release: String,
    machine: String,
    cmdline: io::Result<String>,
    memory_kib: Option<u64>,
    cpus: usize,
    /// The signatures of the ACPI tables, sorted. Empty without ACPI.
    acpi_tables: Vec<String>,
    /// Whether KASLR moved the kernel. `None` if the kernel does not report it.
    kaslr: Option<bool>,
    /// `None` if there is no such file.
    payload: io::Result<Option<Digest>>,
}

impl SystemReport {
    /// Reads the values of the running system.
    pub(crate) fn read() -> Self {
        let names = rustix::system::uname();
        Self {
            release: names.release().to_string_lossy().into_owned(),
            machine: names.machine().to_string_lossy().into_owned(),
            cmdline: fs::read_to_string("/proc/cmdline"),
            memory_kib: fs::read_to_string("/proc/meminfo")
                .ok()
                .and_then(|text| memory_total(&text)),
            cpus: thread::available_parallelism().map_or(0, usize::from),
            acpi_tables: acpi_tables(Path::new("/sys/firmware/acpi/tables")),
            kaslr: fs::read("/sys/kernel/boot_params/data")
                .ok()
                .and_then(|boot_params| kaslr(&boot_params)),
            payload: digest_of(&Path::new("/").join(PAYLOAD)),
        }
    }
}

/// One line for each value.
impl fmt::Display for SystemReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "userspace reached: Linux {} {}", self.release, self.machine)?;
        match &self.cmdline {
            Ok(line) => writeln!(f, "cmdline: {}", line.trim_end_matches('\n'))?,
            Err(error) => writeln!(f, "cmdline: unknown ({error})")?,
        }
        match self.memory_kib {
            Some(kib) => writeln!(f, "memory total: {kib} KiB")?,
            None => writeln!(f, "memory total: unknown")?,
        }
        writeln!(f, "cpus: {}", self.cpus)?;
        if !self.acpi_tables.is_empty() {
            writeln!(f, "acpi tables: {}", self.acpi_tables.join(" "))?;
        }
        if let Some(kaslr) = self.kaslr {
            writeln!(f, "kaslr: {}", if kaslr { "on" } else { "off" })?;
        }
        match &self.payload {
            Ok(Some(Digest { len, hash })) => writeln!(f, "payload: {PAYLOAD} {len} {hash:#018x}"),
            Ok(None) => writeln!(f, "payload: none"),
            Err(error) => writeln!(f, "payload: unknown ({error})"),
        }
    }
}

/// `MemTotal` of `/proc/meminfo` in KiB (Linux `filesystems/proc.rst`).
fn memory_total(meminfo: &str) -> Option<u64> {
    let rest = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    rest.trim().strip_suffix("kB")?.trim_end().parse().ok()
}

/// The signatures of the ACPI tables in a directory of sysfs.
fn acpi_tables(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()))
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// Bit `KASLR_FLAG` of `loadflags` in `boot_params` (Linux `arch/x86/boot.rst`), which the decompressor of a bzImage sets when
/// it moves the kernel.
fn kaslr(boot_params: &[u8]) -> Option<bool> {
    boot_params.get(0x211).map(|loadflags| loadflags & 1 << 1 != 0)
}

/// The digest of a file, read in pieces: it may be larger than the free memory.
pub(crate) fn digest_of(path: &Path) -> io::Result<Option<Digest>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let (mut len, mut hash) = (0, Fnv1a64::new());
    let mut piece = vec![0; 64 << 10];
    loop {
        match file.read(&mut piece) {
            Ok(0) => {
                return Ok(Some(Digest {
                    len,
                    hash: hash.finish(),
                }));
            }
            Ok(count) => {
                hash.update(&piece[..count]);
                len += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::path::PathBuf;

    /// An empty directory of this process.
    fn new_directory(name: &str) -> PathBuf {
        let directory = std::env::temp_dir().join(format!("init-{name}-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        directory
    }

    #[test]
    fn memory_is_read_from_meminfo() {
        let text = "MemTotal:         244768 kB\nMemFree:          200000 kB\n";
        assert_eq!(memory_total(text), Some(244_768));
        assert_eq!(memory_total("MemFree: 1 kB\n"), None);
        assert_eq!(memory_total("MemTotal: many kB\n"), None);
    }

    #[test]
    fn kaslr_is_a_bit_of_the_boot_parameters() {
        let mut boot_params = vec![0; 0x1000];
        assert_eq!(kaslr(&boot_params), Some(false));
        boot_params[0x211] = 0x03;
        assert_eq!(kaslr(&boot_params), Some(true));
        boot_params[0x211] = 0x81;
        assert_eq!(kaslr(&boot_params), Some(false));
        assert_eq!(kaslr(&[]), None);
    }

    #[test]
    fn acpi_tables_are_the_files_of_a_directory() {
        let directory = new_directory("tables");
        for name in ["FACP", "APIC"] {
            File::create(directory.join(name)).unwrap();
        }
        fs::create_dir(directory.join("dynamic")).unwrap();
        assert_eq!(acpi_tables(&directory), ["APIC", "FACP"]);
        fs::remove_dir_all(&directory).unwrap();
        assert!(acpi_tables(&directory).is_empty());
    }

    #[test]
    fn a_file_hashes_like_its_bytes() {
        let directory = new_directory("payload");
        let path = directory.join("payload");
        let bytes: Vec<u8> = (0..200_000_u32).map(|index| index.to_le_bytes()[1]).collect();
        File::create(&path).unwrap().write_all(&bytes).unwrap();
        assert_eq!(digest_of(&path).unwrap(), Some(Digest::of(&bytes)));
        assert!(digest_of(&directory).is_err());
        fs::remove_dir_all(&directory).unwrap();
        assert_eq!(digest_of(&path).unwrap(), None);
    }

    #[test]
    fn missing_values_are_printed_as_unknown() {
        let report = SystemReport {
            release: "6.12".to_owned(),
            machine: "riscv64".to_owned(),
            cmdline: Ok("console=ttyS0 quiet\n".to_owned()),
            memory_kib: Some(1024),
            cpus: 2,
            acpi_tables: Vec::new(),
            kaslr: None,
            payload: Ok(Some(Digest { len: 3, hash: 0xab })),
        };
        let expected = "userspace reached: Linux 6.12 riscv64\ncmdline: console=ttyS0 quiet\nmemory total: 1024 KiB\n\
                        cpus: 2\npayload: payload.bin 3 0x00000000000000ab\n";
        assert_eq!(report.to_string(), expected);
        let report = SystemReport {
            payload: Ok(None),
            memory_kib: None,
            acpi_tables: vec!["APIC".to_owned(), "FACP".to_owned()],
            kaslr: Some(true),
            ..report
        };
        assert!(
            report
                .to_string()
                .contains("cpus: 2\nacpi tables: APIC FACP\nkaslr: on\n")
        );
        assert!(report.to_string().contains("memory total: unknown\n"));
        assert!(report.to_string().ends_with("payload: none\n"));
    }
}
