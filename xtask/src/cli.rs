//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::arch::{Arch, ArchRow};
use crate::place::Host;
use crate::test::Tier;

/// Developer tasks of the workspace. Each installs or fetches what it misses, where it may.
#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    disable_help_subcommand = true
)]
pub(crate) struct Cli {
    /// Architecture of the guests; may be given several times. Without it, `run` takes x86_64 and the other tasks all.
    #[arg(long = "arch", value_enum, value_name = "ARCH", global = true)]
    pub(crate) archs: Vec<Arch>,
    #[command(subcommand)]
    pub(crate) task: Task,
}

impl Cli {
    /// The architectures asked for, or these where none was.
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
    /// Every other task does by itself what it needs of this. What is there already is left alone, so a second call
    /// costs nothing. As root on Debian, missing packages are installed; elsewhere the command to type is shown.
    Setup,
    /// Boot a stock Linux kernel to userspace through these crates, on KVM.
    ///
    /// Boots Debian's current cloud kernel with an initramfs that says what it sees and ends the machine. The guest's
    /// console goes to standard output, the timeline (loaded, first console byte, userspace) to standard error. Succeeds
    /// when the guest reached userspace and ended the machine by itself.
    Run(RunArgs),
    /// Run all tests: on this machine, on KVM, and the guests under another loader.
    ///
    /// Ends with one summary: what ran where, and how many tests passed, failed and were skipped, each skipped one with
    /// its reason. Writes JUnit XML to target/xtask/junit.xml. Fails when a test fails or a tier runs none.
    Test(TestArgs),
    /// Build the programs that run inside virtual machines, into target/guests/ARCH/.
    Guests,
    /// Measure the load path beside linux-loader and beside a plain read, on real x86_64 kernels.
    Bench(BenchArgs),
    /// Run the fuzz targets.
    Fuzz(FuzzArgs),
    /// Build the crates for firmware with the oldest compiler that they are for.
    ///
    /// Takes the compiler of a toolchain that rustup has, or else that of Debian 13, unpacked below target/.
    Msrv,
    /// Run what CI runs: format, lints, docs, bare-metal builds, the oldest Rust, packages, tests, a short fuzz run.
    Ci(CiArgs),
}

/// How the guest is booted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Protocol {
    /// The Linux boot protocol of the architecture.
    Linux,
    /// PVH on x86_64, with the vmlinux inside the bzImage.
    Pvh,
}

/// Options of `run`.
#[derive(Clone, Debug, Args)]
pub(crate) struct RunArgs {
    /// Where KVM comes from: this machine, an emulated KVM host machine, or whichever works.
    #[arg(long, value_enum, default_value_t = Host::Auto)]
    pub(crate) host: Host,
    /// Boot protocol.
    #[arg(long, value_enum, default_value_t = Protocol::Linux)]
    pub(crate) protocol: Protocol,
    /// Boot this kernel instead of Debian's.
    #[arg(long, value_name = "FILE")]
    pub(crate) kernel: Option<PathBuf>,
    /// Boot with this initramfs instead of ours; then reaching userspace is not checked.
    #[arg(long, value_name = "FILE")]
    pub(crate) initrd: Option<PathBuf>,
    /// The guest's command line, instead of one that puts its console on the serial port.
    #[arg(long, value_name = "LINE", allow_hyphen_values = true)]
    pub(crate) cmdline: Option<String>,
    /// Number of virtual CPUs.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) vcpus: u32,
    /// The guest's memory, such as 512M or 1G.
    #[arg(long, value_name = "SIZE", default_value = "512M")]
    pub(crate) memory: String,
    /// Give up after this many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    pub(crate) timeout: u64,
}

/// Options of `test`.
#[derive(Clone, Debug, Args)]
pub(crate) struct TestArgs {
    /// Where KVM comes from: this machine, an emulated KVM host machine, or whichever works.
    #[arg(long, value_enum, default_value_t = Host::Auto)]
    pub(crate) host: Host,
    /// Run these tiers only.
    #[arg(long = "tier", value_enum, value_name = "TIER")]
    pub(crate) tiers: Vec<Tier>,
    /// Run only tests whose name contains this.
    #[arg(value_name = "FILTER")]
    pub(crate) filter: Option<String>,
}

/// Options of `bench`.
#[derive(Clone, Debug, Args)]
pub(crate) struct BenchArgs {
    /// Arguments for criterion, such as a filter.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) arguments: Vec<String>,
}

/// Options of `fuzz`.
#[derive(Clone, Debug, Args)]
pub(crate) struct FuzzArgs {
    /// Fuzz these targets; all when none is named.
    #[arg(value_name = "TARGET")]
    pub(crate) targets: Vec<String>,
    /// Time for each target.
    #[arg(long, value_name = "N", default_value_t = 60)]
    pub(crate) seconds: u32,
}

/// Options of `ci`.
#[derive(Clone, Debug, Args)]
pub(crate) struct CiArgs {
    /// Time for each fuzz target.
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub(crate) fuzz_seconds: u32,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

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
