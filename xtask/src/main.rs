//! Developer tasks of the workspace: `cargo xtask --help`.
//!
//! Each task installs or fetches what it needs: system packages ([`packages`]), Debian's kernels through a private apt
//! configuration ([`apt`], [`kernel`]), the standard library for other targets ([`toolchain`]). Apart from system packages,
//! everything is stored below `target/` ([`workspace`]).
//!
//! A [`runner`] runs programs that need KVM: natively, or in the *lab*, a KVM host machine that QEMU emulates. The lab's
//! init program is the package `lab-init`. Everything that depends on the architecture is a row of [`arch`].
//!
//! The files that tests and benches use are [`fixtures`], in the directory that the environment variable
//! `VMBOOT_FIXTURES` names.
#![forbid(unsafe_code)]

mod apt;
mod arch;
mod bench;
mod build;
mod bzimage;
mod cargo;
mod ci;
mod cli;
mod crate_packages;
mod disk_space;
mod error;
mod extract_vmlinux;
mod firmware;
mod fixtures;
mod fuzz;
mod guest_elf;
mod guest_file;
mod guests;
mod image;
mod initramfs;
mod json_lines;
mod kernel;
mod metadata;
mod msrv;
mod mutants;
mod new_guest;
mod packages;
mod parallel;
mod plot;
mod process;
mod profile;
mod progress;
mod qemu;
mod run;
mod runner;
mod sandbox;
mod setup;
mod suite;
mod test;
mod tidy;
mod timing;
mod toolchain;
mod tools;
mod workspace;

use std::process::ExitCode;

use clap::{Parser as _, ValueEnum as _};

use crate::arch::Arch;
use crate::cli::{Cli, Task};
use crate::error::Error;
use crate::timing::Timings;
use crate::workspace::Workspace;

fn main() -> ExitCode {
    match dispatch(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        // The error is then that of the child process that was ended.
        Err(_) if process::is_interrupted() => {
            eprintln!("error: {}", Error::Interrupted);
            ExitCode::from(process::INTERRUPTED_CODE)
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(cli: &Cli) -> Result<(), Error> {
    process::end_children_on_interrupt()?;
    let workspace = Workspace::find()?;
    let all = || cli.rows(Arch::value_variants());
    match &cli.task {
        Task::Setup => setup::run(&workspace, &all()),
        Task::Run(args) => cli
            .rows(&[Arch::X86_64])
            .into_iter()
            .try_for_each(|row| run::run(&workspace, row, args)),
        Task::Test(args) => disk_space::check(&workspace, disk_space::TEST)
            .and_then(|()| test::run(&workspace, &all(), args, &mut Timings::default())),
        Task::Guests => all().into_iter().try_for_each(|row| guests::run(&workspace, row)),
        Task::NewGuest(args) => new_guest::run(&workspace, &args.directory),
        Task::Bench(args) => bench::run(&workspace, &cli.rows(&[Arch::X86_64]), args),
        Task::Sandbox(args) => cli
            .rows(&[Arch::X86_64])
            .into_iter()
            .try_for_each(|row| sandbox::run(&workspace, row, args)),
        Task::Firmware(args) => {
            let default: &[Arch] = if args.covers_all() {
                Arch::value_variants()
            } else {
                &[Arch::X86_64]
            };
            firmware::run(&workspace, &cli.rows(default), args)
        }
        Task::Fuzz(args) => fuzz::run(&workspace, &args.targets, args.seconds, fuzz::Output::Progress),
        Task::Msrv => msrv::run(&workspace),
        Task::Mutants(args) => mutants::run(&workspace, args),
        Task::Tidy(args) => tidy::run(&workspace, args),
        Task::Ci(args) => {
            disk_space::check(&workspace, disk_space::CI).and_then(|()| ci::run(&workspace, &all(), args))
        }
    }
}
