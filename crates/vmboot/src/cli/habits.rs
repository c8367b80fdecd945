//! Options and subcommands of other programs: QEMU, Firecracker, Cloud Hypervisor, kvmtool and crosvm.

const KERNEL: &str = "pass the kernel without an option, as in `vmboot run vmlinuz`";
const MEMORY: &str = "use --memory SIZE";
const VCPUS: &str = "use --vcpus N";
const CMDLINE: &str = "use --cmdline LINE";
const INITRD: &str = "use --initrd FILE";
const DTB: &str = "use --dtb FILE";
const CONSOLE: &str = "omit it; the guest's serial console is always on this terminal";
const KVM: &str = "omit it; `vmboot run` always uses KVM";
const MACHINE: &str = "omit it; the image determines the machine, and --irqchip its interrupt controller";
const DISK: &str = "use --disk FILE, with a raw disk image";
const DEVICE: &str =
    "omit it; the machine has no network and no shared directory: pass files as --disk FILE or --initrd FILE";
const FIRMWARE: &str = "use --firmware FILE, with a firmware that starts as a kernel does, or pass a kernel";
const DEBUGGER: &str = "omit it; vmboot has no debugger stub";
const RESET: &str = "omit it; a run always ends when the guest resets the machine";
const MANAGEMENT: &str = "omit it; vmboot has no control socket, configuration file, daemon or sandbox";
const OUTPUT: &str = "omit it; --timeline and --count-exits of `vmboot run` print more";

/// Options of other programs, without dashes, and the advice on them.
const OPTIONS: [(&str, &[&str]); 18] = [
    (KERNEL, &["kernel", "k", "image", "vmlinux", "bzimage"]),
    (
        MEMORY,
        &[
            "m",
            "mem",
            "ram",
            "mem-size",
            "memory-size",
            "mem-size-mib",
            "memsize",
        ],
    ),
    (
        VCPUS,
        &[
            "smp",
            "cpus",
            "cpu-count",
            "vcpu-count",
            "cores",
            "ncpus",
            "c",
            "vcpu",
        ],
    ),
    (
        CMDLINE,
        &[
            "append",
            "params",
            "p",
            "cmd",
            "args",
            "boot-args",
            "bootargs",
            "kernel-cmdline",
            "command-line",
            "commandline",
            "kernel-opts",
            "kernel-args",
        ],
    ),
    (INITRD, &["initramfs", "i", "ramdisk", "initrd-path", "initrd"]),
    (DTB, &["fdt", "device-tree", "device-tree-overlay", "dtb"]),
    (
        CONSOLE,
        &[
            "nographic",
            "serial",
            "console",
            "display",
            "vnc",
            "monitor",
            "chardev",
            "virtio-console",
            "curses",
            "tty",
            "gpu",
            "sdl",
        ],
    ),
    (KVM, &["enable-kvm", "accel", "kvm", "hypervisor"]),
    (MACHINE, &["machine", "M", "cpu", "platform", "cpu-type"]),
    (
        DISK,
        &[
            "drive", "d", "hda", "hdb", "cdrom", "blockdev", "block", "rwdisk", "root", "rwroot", "disks",
        ],
    ),
    (
        DEVICE,
        &[
            "device",
            "net",
            "netdev",
            "nic",
            "network",
            "n",
            "fs",
            "virtfs",
            "9p",
            "fsdev",
            "shared-dir",
            "pmem",
            "vsock",
            "usb",
            "virtio-rng",
            "rng",
            "balloon",
            "object",
        ],
    ),
    (FIRMWARE, &["bios", "pflash", "firmware-address"]),
    (DEBUGGER, &["s", "S", "gdb"]),
    (RESET, &["no-reboot", "no-shutdown"]),
    (
        MANAGEMENT,
        &[
            "api-sock",
            "api-socket",
            "config-file",
            "no-api",
            "seccomp",
            "no-seccomp",
            "seccomp-filter",
            "disable-sandbox",
            "name",
            "pidfile",
            "daemonize",
            "qmp",
            "id",
            "boot-timer",
            "metadata",
            "nodefaults",
            "no-user-config",
            "runas",
            "sandbox",
            "landlock",
            "event-monitor",
            "socket",
        ],
    ),
    (
        OUTPUT,
        &[
            "v", "vv", "verbose", "q", "quiet", "debug", "D", "trace", "log", "log-file", "log-path", "level",
        ],
    ),
    ("use --protocol NAME", &["proto", "boot-protocol", "method"]),
    ("use --irqchip NAME", &["gic", "gic-version", "aia"]),
];

/// The advice on an option of another program.
pub(crate) fn option_advice(name: &str) -> Option<&'static str> {
    let name = name.trim_start_matches('-');
    let name = name.split(['=', ',']).next().unwrap_or(name);
    // A value may follow without a space: -m512.
    let without_value = name.trim_end_matches(|c: char| c.is_ascii_digit() || "MGK".contains(c));
    let find = |name: &str| {
        OPTIONS
            .iter()
            .find(|(_, names)| names.contains(&name))
            .map(|(advice, _)| *advice)
    };
    find(name).or_else(|| find(without_value))
}

/// The subcommand that corresponds to a word that is none.
pub(crate) fn subcommand(word: &str) -> Option<&'static str> {
    Some(match word {
        "boot" | "start" | "exec" | "launch" | "load" => "run",
        "show" | "info" | "parse" | "probe" | "file" | "identify" => "inspect",
        "map" | "dry-run" | "layout" | "check" => "plan",
        "completion" | "complete" => "completions",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn habits_of_other_programs_have_advice() {
        let check = |names: &[&str], expected: &str| {
            for name in names {
                assert_eq!(option_advice(name), Some(expected), "{name}");
            }
        };
        check(&["-m", "--mem", "-m512", "-m2G", "--mem=512", "--ram"], MEMORY);
        check(
            &["-smp", "--smp", "--cpus", "-c", "-smp4", "--smp=2,sockets=1"],
            VCPUS,
        );
        check(&["-append", "--append", "--params", "-p"], CMDLINE);
        check(&["-kernel", "--kernel", "-k"], KERNEL);
        check(&["-initrd", "--initramfs", "-i"], INITRD);
        check(&["-nographic", "--console"], CONSOLE);
        check(&["-d", "-hda", "--rwdisk"], DISK);
        check(&["-device", "--net"], DEVICE);
        check(&["-M", "-machine", "-cpu"], MACHINE);
        assert_eq!(option_advice("--frobnicate"), None);
    }

    #[test]
    fn no_option_has_two_pieces_of_advice() {
        let mut all: Vec<_> = OPTIONS.iter().flat_map(|(_, names)| *names).collect();
        let count = all.len();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), count);
    }
}
