//! Command line of `vmboot`.

pub(crate) mod acpi;
pub(crate) mod advice;
pub(crate) mod advised;
pub(crate) mod boot;
pub(crate) mod completions;
pub(crate) mod default_cmdline;
pub(crate) mod disks;
pub(crate) mod doctor;
pub(crate) mod dump;
pub(crate) mod extract;
pub(crate) mod file;
pub(crate) mod habits;
pub(crate) mod help;
mod host_machine;
pub(crate) mod initrd_dir;
pub(crate) mod initrds;
pub(crate) mod inspect;
pub(crate) mod kaslr;
pub(crate) mod kernel;
pub(crate) mod machine;
pub(crate) mod man;
pub(crate) mod measure;
pub(crate) mod numa;
mod number;
pub(crate) mod output;
pub(crate) mod plan;
pub(crate) mod prepare;
mod prepared;
pub(crate) mod protocols;
pub(crate) mod result;
pub(crate) mod run;
pub(crate) mod seeds;
pub(crate) mod smbios;
mod summary;
mod tables;
mod topology;
mod uki;
pub(crate) mod usage;
pub(crate) mod words;

use clap::{Parser, Subcommand};

/// Inspect, plan and boot kernel images.
#[derive(Debug, Parser)]
#[command(name = "vmboot", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show the format, segments and entry points of an image, and the protocols that can boot it.
    Inspect(inspect::Args),
    /// Write the kernels inside a file to a directory, one file for each layer.
    Extract(extract::Args),
    /// Plan a boot and show the guest's memory map, without a virtual machine.
    Plan(plan::Args),
    /// Print digests of a boot without a virtual machine: of its plan, and of a launch of AMD SEV-SNP.
    Measure(measure::Args),
    /// Write a boot to a file, from which any number of machines start without reading kernel and initrd again.
    ///
    /// The file contains the pages of the guest's memory: kernel, initrd, tables and command line. `vmboot run --prepared` starts a machine from it; the
    /// machine has the memory, the vCPUs and the number of disks that it was prepared for. There are no random seeds in it, as every machine gets the same bytes.
    Prepare(prepare::Args),
    /// Boot an image in a KVM virtual machine, with the guest's serial console on this terminal.
    ///
    /// Needs access to /dev/kvm and an image of the host's architecture. Control-] ends the run with status 0; if the
    /// kernel or another file comes from standard input, the guest has no input, and Control-C ends the run.
    ///
    /// Exit status: 0 if the guest powered off or Control-] ended the run (or, on x86_64, the guest reset the machine), 1 for an error, 2 for an invalid command
    /// line, 3 if the guest crashed, 4 after --timeout, 5 without the text of --milestone, 6 if all CPUs halted, 7 if an
    /// arm64 or riscv64 guest reset the machine, (value << 1 | 1) if the guest wrote to the debug-exit port.
    #[command(mut_args = run::beside_prepared)]
    Run(run::Args),
    /// Print the completion script of a shell.
    Completions(completions::Args),
    /// Print the manual page of vmboot, or write the pages of all subcommands to a directory.
    Man(man::Args),
    /// Examine this host: what `vmboot run` can boot here, and why.
    ///
    /// Exit status: 0 if it can boot all kernels of the host's architecture, else 1.
    Doctor(doctor::Args),
}
