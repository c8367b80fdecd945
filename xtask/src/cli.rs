//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::arch::{Arch, ArchRow};
use crate::firmware::medium::kind::Kind;
use crate::firmware::options::FirmwareArgs;
use crate::runner::{Clock, Host};
use crate::test::tier::Tier;

/// Developer tasks of the workspace. Each installs or fetches what it needs.
#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    disable_help_subcommand = true
)]
pub(crate) struct Cli {
    /// Architecture of the guests; may be given several times. Default: x86_64 for `run`, all for the other tasks.
    #[arg(long = "arch", value_enum, value_name = "ARCH", global = true)]
    pub(crate) archs: Vec<Arch>,
    #[command(subcommand)]
    pub(crate) task: Task,
}

impl Cli {
    /// The selected architectures, or `default` if none is selected.
    pub(crate) fn rows(&self, default: &[Arch]) -> Vec<&'static ArchRow> {
        let archs = if self.archs.is_empty() {
            default
        } else {
            &self.archs
        };
        let mut rows: Vec<&'static ArchRow> = Vec::new();
        for row in archs.iter().map(|arch| arch.row()) {
            if rows.iter().all(|known| known.arch != row.arch) {
                rows.push(row);
            }
        }
        rows
    }
}

/// The tasks.
#[derive(Debug, Subcommand)]
pub(crate) enum Task {
    /// Install, fetch and build everything that the other tasks need.
    ///
    /// Every other task does the part of this that it needs. What is already installed is kept. Missing packages are
    /// installed on Debian as root; otherwise the error message has the command that installs them.
    Setup,
    /// Boot a stock Linux kernel to userspace through these crates, on KVM.
    ///
    /// Boots Debian's current cloud kernel with an initramfs whose init program prints what it finds and powers the machine
    /// off. The guest's console goes to standard output, the timeline (loaded, first console byte, userspace) to standard
    /// error. Succeeds when the guest reaches userspace and powers off.
    Run(RunArgs),
    /// Run all tests: on this machine, on KVM, and the guests under QEMU's loader.
    ///
    /// Ends with a summary: the tests that passed, failed and were skipped on each machine, with the reason of each skipped
    /// one. Writes JUnit XML to target/xtask/junit.xml. Fails when a test fails or a tier runs no test.
    Test(TestArgs),
    /// Build the programs that run inside virtual machines, into target/guests/ARCH/.
    Guests,
    /// Write a guest program for sandboxes, to start from, into a new directory.
    ///
    /// It is templates/sandbox-guest with the name of the directory, and uses the crates of this repository. `cargo build --release`
    /// builds it, with stable Rust.
    NewGuest(NewGuestArgs),
    /// Measure the load of kernels, calls of sandboxes, or boots.
    Bench(BenchArgs),
    /// Show what sandboxes do: calls, host functions, a panic, a deadline, snapshots and clones.
    ///
    /// Runs examples/sandbox-demo with the guest of guests/sandbox/demo, prints the time of each step, and draws the times to
    /// target/sandbox/ARCH.svg. Ends with the line `sandbox demo: ok`.
    Sandbox(SandboxArgs),
    /// Boot disks under QEMU with our firmware or with others, and show the time of each step.
    ///
    /// Makes the medium, a disk image with Debian's kernel and boot loaders, below target/xtask/firmware/media/, boots it, and
    /// prints the times of the boot loader, the kernel's first line and userspace in seconds since the start of QEMU, and what
    /// init finds: EFI, its variables, the clock, ACPI, SMBIOS, the device tree. Succeeds if userspace is reached, finds what the
    /// firmware should provide, and ends the machine. `--all` does this for every medium, machine, bus and firmware.
    Firmware(FirmwareArgs),
    /// Run the fuzz targets.
    Fuzz(FuzzArgs),
    /// Build the pure crates with the oldest compiler that they support.
    ///
    /// Uses the compiler of a rustup toolchain if installed, otherwise that of Debian 13, unpacked below target/.
    Msrv,
    /// Measure how many mutants of the pure crates their own tests catch.
    ///
    /// Ends with a table and the missed mutants; fails below 99 % caught. Equivalent mutants are listed with their reason in
    /// xtask/equivalent-mutants.toml. The results are below target/xtask/mutants/CRATE/.
    Mutants(MutantsArgs),
    /// Check the house rules: dependencies between crates, unsafe code, import circles between files and others.
    ///
    /// Prints every violation as `path:line: rule: what is wrong and what to do`. Fails when there is one.
    Tidy(TidyArgs),
    /// Run what CI runs: format, house rules, lints, docs, bare-metal builds, MSRV, packages, tests, counts, a short fuzz run.
    Ci(CiArgs),
}

/// Boot protocol of the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Protocol {
    /// The Linux boot protocol of the architecture.
    Linux,
    /// PVH on x86_64, with the vmlinux extracted from the bzImage.
    Pvh,
}

/// Options of `run`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub(crate) struct RunArgs {
    /// Where KVM runs: on this machine or on an emulated KVM host machine.
    #[arg(long, value_enum, default_value_t = Host::Auto)]
    pub(crate) host: Host,
    /// What the clock of the emulated machine counts. With instructions, times of --timeline do not depend on other work on this machine.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) clock: Clock,
    /// Boot protocol.
    #[arg(long, value_enum, default_value_t = Protocol::Linux)]
    pub(crate) protocol: Protocol,
    /// Boot this kernel instead of Debian's.
    #[arg(long, value_name = "FILE")]
    pub(crate) kernel: Option<PathBuf>,
    /// Whether vmboot unpacks the kernel inside a file: auto, always or never.
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    pub(crate) unpack: String,
    /// Boot with this initramfs instead of the default one; reaching userspace is then not checked.
    #[arg(long, value_name = "FILE")]
    pub(crate) initrd: Option<PathBuf>,
    /// The guest's command line, instead of one that puts its console on the serial port.
    #[arg(long, value_name = "LINE", allow_hyphen_values = true)]
    pub(crate) cmdline: Option<String>,
    /// Boot this medium with the firmware of this repository instead of a kernel.
    #[arg(long, value_enum, conflicts_with_all = ["kernel", "initrd", "protocol", "cmdline"])]
    pub(crate) medium: Option<Kind>,
    /// Boot a system of Debian, whose root file system is on a virtio disk, to its own init, systemd.
    #[arg(long, conflicts_with_all = ["medium", "initrd", "cmdline"])]
    pub(crate) debian: bool,
    /// Number of virtual CPUs.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) vcpus: u32,
    /// The guest's memory, such as 512M. The default of --debian is 1G.
    #[arg(
        long,
        value_name = "SIZE",
        default_value = "512M",
        default_value_if("debian", "true", "1G")
    )]
    pub(crate) memory: String,
    /// Fail after this many seconds. The default of --debian is 500.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value = "120",
        default_value_if("debian", "true", "500")
    )]
    pub(crate) timeout: u64,
    /// Print the number of exits by reason and address.
    #[arg(long)]
    pub(crate) count_exits: bool,
    /// Shorten the start of the guest, as `vmboot run --fast` does.
    #[arg(long, conflicts_with = "medium")]
    pub(crate) fast: bool,
}

impl RunArgs {
    /// Those of `run --debian`.
    pub(crate) fn debian() -> Self {
        Self {
            host: Host::Auto,
            clock: Clock::Time,
            protocol: Protocol::Linux,
            kernel: None,
            unpack: "auto".into(),
            initrd: None,
            cmdline: None,
            medium: None,
            debian: true,
            vcpus: 1,
            memory: "1G".into(),
            timeout: 500,
            count_exits: false,
            fast: false,
        }
    }
}

/// Options of `test`.
#[derive(Clone, Debug, Args)]
pub(crate) struct TestArgs {
    /// Where KVM runs: on this machine or on an emulated KVM host machine.
    #[arg(long, value_enum, default_value_t = Host::Auto)]
    pub(crate) host: Host,
    /// Run these tiers only.
    #[arg(long = "tier", value_enum, value_name = "TIER")]
    pub(crate) tiers: Vec<Tier>,
    /// Run only tests whose name contains this.
    #[arg(value_name = "FILTER")]
    pub(crate) filter: Option<String>,
}

/// Options of `new-guest`.
#[derive(Clone, Debug, Args)]
pub(crate) struct NewGuestArgs {
    /// The directory, which does not exist yet. Its name becomes that of the program.
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
}

/// What `bench` measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Bench {
    /// The time to load x86_64 kernels, beside linux-loader and a plain read.
    Load,
    /// The time to parse and plan x86_64 kernels, from files and from memory, beside other ELF parsers.
    Parse,
    /// The time to decompress Debian's vmlinux, beside the tool of each codec.
    Codecs,
    /// Calls, snapshots and clones of sandboxes, in units of one bare KVM round trip.
    Sandbox,
    /// The time from exec to userspace of Debian's kernel, beside QEMU as a VMM.
    Boot,
    /// System calls and instructions of `vmboot run` from exec to the first KVM_RUN.
    Start,
    /// Instructions of the x86_64 guest from the entry of Debian's kernel to `start_kernel`, by route: bzImage, vmlinux, PVH.
    Entry,
}

/// Another project that a bench measures in the same run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Peer {
    /// Hyperlight 0.18, from crates.io; on x86_64.
    Hyperlight,
}

/// Options of `bench`.
#[derive(Clone, Debug, Args)]
pub(crate) struct BenchArgs {
    /// What to measure.
    #[arg(value_enum, value_name = "WHAT", default_value_t = Bench::Load)]
    pub(crate) what: Bench,
    /// sandbox, boot, start: where KVM runs. In the lab the clock counts instructions, so that other work on this machine changes nothing.
    #[arg(long, value_enum, default_value_t = Host::Lab)]
    pub(crate) host: Host,
    /// load, sandbox, boot, start, entry: fail if a row misses its limit; limits are in xtask/bench-limits.toml, those of sandboxes in their bench.
    #[arg(long)]
    pub(crate) check: bool,
    /// sandbox: measure this project, too, in the same run. The first time builds it, which takes some minutes.
    #[arg(long, value_enum)]
    pub(crate) peer: Option<Peer>,
    /// load, parse: arguments for criterion, such as a filter.
    #[arg(last = true)]
    pub(crate) arguments: Vec<String>,
}

/// Options of `sandbox`.
#[derive(Clone, Debug, Args)]
pub(crate) struct SandboxArgs {
    /// Where KVM runs: on this machine or on an emulated KVM host machine.
    #[arg(long, value_enum, default_value_t = Host::Auto)]
    pub(crate) host: Host,
}

/// Options of `fuzz`.
#[derive(Clone, Debug, Args)]
pub(crate) struct FuzzArgs {
    /// Fuzz these targets; default: all.
    #[arg(value_name = "TARGET")]
    pub(crate) targets: Vec<String>,
    /// Seconds for each target.
    #[arg(long, value_name = "N", default_value_t = 60)]
    pub(crate) seconds: u32,
}

/// Options of `mutants`.
#[derive(Clone, Debug, Args)]
pub(crate) struct MutantsArgs {
    /// Directory names of crates, such as fmt-elf; default: all pure crates.
    #[arg(value_name = "CRATE")]
    pub(crate) crates: Vec<String>,
    /// Change only these files; a name such as parse.rs, or a glob of whole paths. May be given several times.
    #[arg(long = "file", value_name = "GLOB")]
    pub(crate) files: Vec<String>,
}

/// Options of `tidy`.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct TidyArgs {
    /// Show only the violations below these paths, such as crates/fmt-elf.
    #[arg(value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
    /// Check only these rules; default: all.
    #[arg(long = "rule", value_name = "RULE")]
    pub(crate) rules: Vec<String>,
}

/// Options of `ci`.
#[derive(Clone, Debug, Args)]
pub(crate) struct CiArgs {
    /// Run this step only; may be given several times, in any order. Default: every step.
    #[arg(long = "step", value_name = "STEP", value_parser = crate::ci::step_names())]
    pub(crate) steps: Vec<String>,

    /// Seconds for each fuzz target.
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub(crate) fuzz_seconds: u32,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[derive(Debug, Parser)]
    struct RunOnly {
        #[command(flatten)]
        args: RunArgs,
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn architectures_may_repeat() {
        let check = |args: &[&str], expected: &[&str]| {
            let cli = Cli::parse_from(["xtask"].iter().chain(args));
            let names: Vec<_> = cli.rows(&[Arch::X86_64]).iter().map(|row| row.name).collect();
            assert_eq!(names, expected, "{args:?}");
        };
        check(&["test"], &["x86_64"]);
        check(&["test", "--arch", "riscv64"], &["riscv64"]);
        check(&["--arch", "aarch64", "test", "--arch", "aarch64"], &["aarch64"]);
        check(
            &[
                "test", "--arch", "riscv64", "--arch", "x86_64", "--arch", "riscv64",
            ],
            &["riscv64", "x86_64"],
        );
    }

    #[test]
    fn systemd_has_memory_and_time() {
        let parse = |args: &[&str]| RunOnly::parse_from(["run"].iter().chain(args)).args;
        assert_eq!(parse(&["--debian"]), RunArgs::debian());
        assert_eq!((parse(&[]).memory.as_str(), parse(&[]).timeout), ("512M", 120));
        assert_eq!(parse(&["--debian", "--memory", "2G"]).memory, "2G");
    }

    #[test]
    fn every_task_and_option_has_a_help_text() {
        for task in Cli::command().get_subcommands() {
            assert!(task.get_about().is_some(), "{}", task.get_name());
            for option in task.get_arguments().filter(|option| option.get_id() != "help") {
                assert!(
                    option.get_help().is_some(),
                    "{} {}",
                    task.get_name(),
                    option.get_id()
                );
            }
        }
    }
}
