//! Files in which Linux describes a host.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

/// The drivers of VMX and of SVM.
const X86_DRIVERS: [&str; 2] = ["kvm_intel", "kvm_amd"];

/// The files below a root directory: that of the host, or of a test.
#[derive(Clone, Debug)]
pub(super) struct HostFiles {
    root: PathBuf,
}

/// Owner and permissions of `/dev/kvm`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DeviceFile {
    /// Permission bits.
    pub(super) mode: u32,
    /// Name of its group, or the number of a group without a name.
    pub(super) group: String,
}

impl HostFiles {
    pub(super) fn of_host() -> Self {
        Self::below("/")
    }

    pub(super) fn below(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The text of a file, without whitespace at its ends. `path` is relative to the root.
    fn text(&self, path: &str) -> Option<String> {
        let text = fs::read_to_string(self.root.join(path)).ok()?;
        Some(text.trim().to_owned())
    }

    /// The value after a key and a colon: the first one in the file.
    fn field(&self, path: &str, key: &str) -> Option<String> {
        let text = self.text(path)?;
        let mut lines = text.lines().filter_map(|line| line.split_once(':'));
        lines
            .find(|(name, _)| name.trim() == key)
            .map(|(_, value)| value.trim().to_owned())
    }

    /// Release of the kernel.
    pub(super) fn kernel_release(&self) -> Option<String> {
        self.text("proc/sys/kernel/osrelease")
    }

    /// Whether the CPU of an x86 host has this flag.
    pub(super) fn has_cpu_flag(&self, flag: &'static str) -> bool {
        self.first_cpu_flag([flag]).is_some()
    }

    /// The flag of hardware virtualization of an x86 host.
    pub(super) fn x86_virtualization(&self) -> Option<&'static str> {
        self.first_cpu_flag(["vmx", "svm"])
    }

    /// Whether the CPU of an x86 host executes the code of guests: a driver of VMX or SVM is loaded, which refuses other CPUs, or the CPU has the flag. The
    /// list of flags takes the kernel longer.
    pub(super) fn has_x86_virtualization(&self) -> bool {
        let is_loaded = |driver: &str| self.root.join("sys/module").join(driver).exists();
        X86_DRIVERS.into_iter().any(is_loaded) || self.x86_virtualization().is_some()
    }

    /// The first of these flags that the CPU of an x86 host has.
    fn first_cpu_flag<const N: usize>(&self, wanted: [&'static str; N]) -> Option<&'static str> {
        let flags = self.field("proc/cpuinfo", "flags")?;
        let has = |flag: &&str| flags.split_whitespace().any(|found| found == *flag);
        wanted.into_iter().find(has)
    }

    /// Whether the harts of a riscv64 host have the hypervisor extension: a letter before the first underscore of the ISA string.
    pub(super) fn has_h_extension(&self) -> bool {
        let isa = self.field("proc/cpuinfo", "isa").unwrap_or_default();
        let letters = isa
            .trim_start_matches("rv64")
            .split('_')
            .next()
            .unwrap_or_default();
        letters.contains('h')
    }

    /// Whether guests of an x86 host can use hardware virtualization; `None` without a KVM module.
    pub(super) fn is_nesting_enabled(&self) -> Option<bool> {
        X86_DRIVERS
            .into_iter()
            .find_map(|module| self.text(&format!("sys/module/{module}/parameters/nested")))
            .map(|value| matches!(value.as_str(), "Y" | "1"))
    }

    /// `/dev/kvm`, if it exists.
    pub(super) fn device(&self) -> Option<DeviceFile> {
        let file = fs::metadata(self.root.join("dev/kvm")).ok()?;
        let id = file.gid().to_string();
        let groups = self.text("etc/group").unwrap_or_default();
        // `name:password:number:members`, see group(5).
        let name = groups.lines().find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            (fields.nth(1)? == id).then(|| name.to_owned())
        });
        Some(DeviceFile {
            mode: file.mode() & 0o777,
            group: name.unwrap_or(id),
        })
    }

    /// The selected setting of transparent huge pages: `always`, `madvise` or `never`.
    pub(super) fn huge_pages(&self) -> Option<String> {
        let text = self.text("sys/kernel/mm/transparent_hugepage/enabled")?;
        let (_, rest) = text.split_once('[')?;
        Some(rest.split_once(']')?.0.to_owned())
    }

    /// Memory that a program can get without swapping, in bytes.
    pub(super) fn available_memory(&self) -> Option<u64> {
        let value = self.field("proc/meminfo", "MemAvailable")?;
        let kib: u64 = value.strip_suffix("kB")?.trim().parse().ok()?;
        kib.checked_mul(1024)
    }

    /// The lowest memory limit of the control groups (version 2) that this process is in.
    pub(super) fn memory_limit(&self) -> Option<u64> {
        let groups = self.text("proc/self/cgroup")?;
        let path = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
        // A group whose name climbs out of the hierarchy is in another namespace.
        let names = path.split('/').filter(|name| !matches!(*name, "" | "." | ".."));
        let mut directory = "sys/fs/cgroup".to_owned();
        let mut limits = vec![self.text(&format!("{directory}/memory.max"))];
        for name in names {
            directory = format!("{directory}/{name}");
            limits.push(self.text(&format!("{directory}/memory.max")));
        }
        limits
            .into_iter()
            .flatten()
            .filter_map(|limit| limit.parse().ok())
            .min()
    }

    /// Whether a seccomp filter applies to this process.
    pub(super) fn is_filtered(&self) -> bool {
        self.field("proc/self/status", "Seccomp")
            .is_some_and(|mode| mode == "2")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A host with these files.
    pub(crate) fn host(files: &[(&str, &str)]) -> (tempfile::TempDir, HostFiles) {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let files = HostFiles::below(root.path());
        (root, files)
    }

    #[test]
    fn flags_are_whole_words_of_the_first_cpu() {
        let flags = |text: &str| {
            let text = format!("processor\t: 0\nvmx flags\t: ept\nflags\t\t: {text}\n\nflags\t\t: svm\n");
            let (_root, files) = host(&[("proc/cpuinfo", &text)]);
            files.x86_virtualization()
        };
        assert_eq!(flags("fpu vmx sse"), Some("vmx"));
        assert_eq!(flags("fpu svm"), Some("svm"));
        assert_eq!(flags("fpu svm_lock vmxx"), None);
        let (_root, files) = host(&[]);
        assert_eq!(files.x86_virtualization(), None);
    }

    #[test]
    fn a_driver_of_the_cpu_is_evidence_of_virtualization() {
        let check = |path, text, expected| {
            let (_root, files) = host(&[(path, text)]);
            assert_eq!(files.has_x86_virtualization(), expected, "{path}");
        };
        check("sys/module/kvm_intel/parameters/nested", "N\n", true);
        check("sys/module/kvm_amd/parameters/nested", "1\n", true);
        check("sys/module/kvm/parameters/halt_poll_ns", "0\n", false);
        check("proc/cpuinfo", "flags\t: svm\n", true);
        check("proc/cpuinfo", "flags\t: sse\n", false);
    }

    #[test]
    fn the_h_extension_is_a_single_letter() {
        let has_h = |isa: &str| {
            let (_root, files) = host(&[("proc/cpuinfo", &format!("hart\t: 0\nisa\t\t: {isa}\n"))]);
            files.has_h_extension()
        };
        assert!(has_h("rv64imafdch_zicbom"));
        assert!(!has_h("rv64imafdc_zihintpause_sha"));
        assert!(!has_h(""));
    }

    #[test]
    fn settings_are_read() {
        let (_root, files) = host(&[
            ("proc/sys/kernel/osrelease", "6.12.0\n"),
            (
                "sys/kernel/mm/transparent_hugepage/enabled",
                "always [madvise] never\n",
            ),
            ("proc/meminfo", "MemTotal:  8 kB\nMemAvailable:     2048 kB\n"),
            ("sys/module/kvm_amd/parameters/nested", "1\n"),
            ("proc/self/status", "Name:\tvmboot\nSeccomp:\t2\n"),
        ]);
        assert_eq!(files.kernel_release().as_deref(), Some("6.12.0"));
        assert_eq!(files.huge_pages().as_deref(), Some("madvise"));
        assert_eq!(files.available_memory(), Some(2 << 20));
        assert_eq!(files.is_nesting_enabled(), Some(true));
        assert!(files.is_filtered());
        let (_root, files) = host(&[("proc/self/status", "Seccomp:\t0\n")]);
        assert!(!files.is_filtered());
        assert_eq!((files.huge_pages(), files.available_memory()), (None, None));
        assert_eq!(files.is_nesting_enabled(), None);
    }

    #[test]
    fn the_lowest_limit_of_the_control_groups_counts() {
        let limit = |group: &str| {
            let (_root, files) = host(&[
                ("proc/self/cgroup", &format!("1:name=x:/a\n0::{group}\n")),
                ("sys/fs/cgroup/a/memory.max", "1000\n"),
                ("sys/fs/cgroup/a/b/memory.max", "max\n"),
                ("sys/fs/cgroup/c/memory.max", "max\n"),
            ]);
            files.memory_limit()
        };
        assert_eq!(limit("/a/b"), Some(1000));
        assert_eq!(limit("/c"), None);
        assert_eq!(limit("/../a"), Some(1000));
    }

    #[test]
    fn the_group_of_the_device_has_a_name() {
        let (root, files) = host(&[("dev/kvm", "")]);
        let id = fs::metadata(root.path().join("dev/kvm")).unwrap().gid();
        assert_eq!(files.device().unwrap().group, id.to_string());
        fs::create_dir(root.path().join("etc")).unwrap();
        fs::write(
            root.path().join("etc/group"),
            format!("x:x:{id}1:\nvirt:x:{id}:me\n"),
        )
        .unwrap();
        assert_eq!(files.device().unwrap().group, "virt");
        let (_root, files) = host(&[]);
        assert_eq!(files.device(), None);
    }
}
