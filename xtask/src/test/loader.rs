//! The conformance guest under another loader than ours: QEMU's own `-kernel`, emulating.
//!
//! Were a check of the guest wrong in the same way as our loader, both would agree. QEMU's loader was written by others.

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use contract::{Blob, Cpus, Digest, Entry, Expectation, Image, Irqchip, Seal};

use super::results::{Case, Outcome};
use crate::arch::{ArchRow, QEMU_AARCH64, QEMU_RISCV64, QEMU_RISCV64_AIA, QEMU_X86_64};
use crate::error::{At as _, Error};
use crate::process::{self, Running};
use crate::qemu::{Emulator, Qemu};
use crate::workspace::Workspace;

/// Time for one run; it takes a few seconds on an idle machine.
const DEADLINE: Duration = Duration::from_mins(2);

/// A machine that QEMU emulates and loads a guest into.
#[derive(Debug)]
pub(crate) struct Loader {
    /// The machine's name in the results.
    machine: &'static str,
    /// QEMU, in a version that has the machine.
    qemu: Qemu,
    args: &'static [&'static str],
    /// The builds it can load.
    builds: &'static [Build],
    /// What the guest has to find, whichever build it is.
    irqchip: Option<Irqchip>,
    cpus: Option<Cpus<'static>>,
    /// QEMU's exit code when all clauses held, and when one did not.
    exit_codes: (i32, i32),
}

/// A build of the guest, and how QEMU takes it.
#[derive(Clone, Copy, Debug)]
struct Build {
    file: &'static str,
    entry: Entry,
    image: Image,
    /// Whether it is run a second time, with an initrd. QEMU gives an ELF for arm64 none: it is no kernel to it.
    takes_initrd: bool,
}

/// The machines of x86_64. QEMU boots by PVH or Multiboot what is not a whole bzImage.
pub(crate) const X86_64: &[Loader] = &[Loader {
    machine: "q35",
    qemu: QEMU_X86_64,
    args: &[
        "-machine",
        "q35,accel=tcg",
        "-m",
        "256",
        "-device",
        "isa-debug-exit,iobase=0xf4,iosize=4",
    ],
    builds: &[
        pvh("conformance-pvh.elf"),
        pvh("conformance-pvh32.elf"),
        pvh("conformance-pvh-reloc.elf"),
        multiboot("conformance-multiboot.elf"),
        multiboot("conformance-multiboot-aout.elf"),
        multiboot("conformance-multiboot-aout.bin"),
    ],
    irqchip: None,
    cpus: None,
    // What the guest writes to the debug-exit port (0x10 and 0x11), doubled, plus one.
    exit_codes: (0x21, 0x23),
}];

/// The machines of arm64. Their RAM begins at 1 GiB and an ELF that runs at one address is linked for 2 GiB, so there must
/// be more than one of RAM.
pub(crate) const AARCH64: &[Loader] = &[
    Loader {
        machine: "GICv3",
        qemu: QEMU_AARCH64,
        args: &[
            "-machine",
            "virt,gic-version=3",
            "-cpu",
            "max",
            "-smp",
            "2",
            "-m",
            "1536",
        ],
        builds: &[
            image("conformance.Image", Entry::Arm64),
            image("conformance-offset.Image", Entry::Arm64),
            image("conformance-old.Image", Entry::Arm64),
            Build {
                takes_initrd: false,
                ..elf("conformance.elf", Entry::Arm64QemuElf)
            },
        ],
        irqchip: Some(Irqchip::GicV3Its),
        cpus: Some(Cpus::Ids(&[0, 1])),
        exit_codes: (0, 0),
    },
    Loader {
        machine: "GICv2",
        qemu: QEMU_AARCH64,
        args: &[
            "-machine",
            "virt,gic-version=2",
            "-cpu",
            "cortex-a72",
            "-smp",
            "2",
            "-m",
            "512",
        ],
        builds: &[image("conformance.Image", Entry::Arm64)],
        irqchip: Some(Irqchip::GicV2),
        cpus: Some(Cpus::Ids(&[0, 1])),
        exit_codes: (0, 0),
    },
];

/// The machines of riscv64.
pub(crate) const RISCV64: &[Loader] = &[
    Loader {
        machine: "PLIC",
        qemu: QEMU_RISCV64,
        args: &["-machine", "virt", "-cpu", "rv64", "-smp", "2", "-m", "512"],
        builds: &[
            image("conformance.Image", Entry::Riscv64),
            elf("conformance.elf", Entry::Riscv64),
        ],
        irqchip: Some(Irqchip::Plic),
        cpus: Some(Cpus::Ids(&[0, 1])),
        exit_codes: (0, 0),
    },
    Loader {
        machine: "AIA",
        qemu: QEMU_RISCV64_AIA,
        args: &[
            "-machine",
            "virt,aia=aplic-imsic",
            "-cpu",
            "rv64,smaia=true,ssaia=true",
            "-smp",
            "2",
            "-m",
            "512",
        ],
        builds: &[image("conformance.Image", Entry::Riscv64)],
        irqchip: Some(Irqchip::AplicImsic),
        cpus: Some(Cpus::Ids(&[0, 1])),
        exit_codes: (0, 0),
    },
];

const fn pvh(file: &'static str) -> Build {
    elf(file, Entry::Pvh)
}

const fn multiboot(file: &'static str) -> Build {
    elf(file, Entry::Multiboot)
}

const fn elf(file: &'static str, entry: Entry) -> Build {
    Build {
        file,
        entry,
        image: Image::Elf,
        takes_initrd: true,
    }
}

const fn image(file: &'static str, entry: Entry) -> Build {
    Build {
        file,
        entry,
        image: Image::Image,
        takes_initrd: true,
    }
}

/// Runs every build on every machine, with and without an initrd. Each clause that the guest checks is a test.
pub(super) fn run(
    workspace: &Workspace,
    row: &ArchRow,
    fixtures: &Path,
    filter: Option<&str>,
) -> Result<Vec<Case>, Error> {
    let initrd = fixtures.join("initrd").join(row.name).join("payload.bin");
    let initrd_bytes = fs::read(&initrd).at(&initrd)?;
    let mut cases = Vec::new();
    for loader in row.loaders {
        let emulator = loader.qemu.ensure(workspace)?;
        for build in loader.builds {
            let kernel = fixtures.join("guests").join(row.name).join(build.file);
            let with_initrd = build.takes_initrd.then_some(&initrd);
            for initrd in [None].into_iter().chain(with_initrd.map(Some)) {
                let alone = if initrd.is_some() { "with initrd" } else { "alone" };
                let suite = format!("{} on {}, {alone}", build.file, loader.machine);
                let line = loader.command_line(build, &kernel, initrd.map(|_| initrd_bytes.as_slice()));
                let mut command = loader.qemu(&emulator, &kernel, &line);
                if let Some(initrd) = initrd {
                    command.arg("-initrd").arg(initrd);
                }
                let (output, code) = boot(&mut command, &kernel)?;
                let found = read(&suite, &output, code, loader.exit_codes);
                cases.extend(found.into_iter().filter(|case| {
                    filter.is_none_or(|filter| case.suite.contains(filter) || case.name.contains(filter))
                }));
            }
        }
    }
    for case in &cases {
        let word = if case.outcome == Outcome::Passed {
            "ok"
        } else {
            "FAILED"
        };
        println!("test {}: {} ... {word}", case.suite, case.name);
    }
    Ok(cases)
}

impl Loader {
    /// What the guest has to find, as its command line.
    fn command_line(&self, build: &Build, kernel: &Path, initrd: Option<&[u8]>) -> String {
        let initrd = initrd.map_or(Blob::Absent, |bytes| Blob::Present(Digest::of(bytes)));
        let expectation = Expectation {
            entry: Some(build.entry),
            image: Some(build.image),
            initrd: Some(initrd),
            irqchip: self.irqchip,
            cpus: self.cpus,
            ..Expectation::default()
        };
        let sealed = format!("mode=exit {expectation} ");
        // As a Multiboot loader, QEMU puts the file's name before the command line.
        let first = match build.entry {
            Entry::Multiboot => format!("{} ", kernel.display()),
            _ => String::new(),
        };
        let seal = Seal::over((first + &sealed).as_bytes());
        sealed + &seal.to_string()
    }

    /// The command that boots `kernel` with this command line.
    fn qemu(&self, emulator: &Emulator, kernel: &Path, line: &str) -> Command {
        let mut command = emulator.command();
        command
            .args(self.args)
            .args([
                "-nodefaults",
                "-no-reboot",
                "-display",
                "none",
                "-serial",
                "stdio",
            ])
            .args(["-append", line, "-kernel"])
            .arg(kernel);
        command
    }
}

/// Boots the guest; gives what it printed and QEMU's exit code, which is absent when QEMU had to be stopped.
fn boot(command: &mut Command, kernel: &Path) -> Result<(String, Option<i32>), Error> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit());
    let mut running = Running::start(command)?;
    let id = running.id();
    let (alive, stop) = mpsc::channel::<()>();
    let watchdog = thread::spawn(move || {
        if stop.recv_timeout(DEADLINE) == Err(RecvTimeoutError::Timeout) {
            process::kill(id);
        }
    });
    let mut output = Vec::new();
    if let Some(stdout) = running.child().stdout.as_mut() {
        stdout.read_to_end(&mut output).at(kernel)?;
    }
    drop(alive);
    // A watchdog cannot fail: it only waits and kills.
    let _: thread::Result<()> = watchdog.join();
    let code = running.wait()?.code();
    Ok((String::from_utf8_lossy(&output).into_owned(), code))
}

/// Reads the guest's lines `ok NAME` and `FAIL NAME: found …`, and holds its total and exit code against them.
fn read(suite: &str, output: &str, code: Option<i32>, (held, broken): (i32, i32)) -> Vec<Case> {
    let case = |name: &str, outcome| Case {
        suite: suite.to_owned(),
        name: name.to_owned(),
        outcome,
    };
    let mut cases = Vec::new();
    for line in output.lines() {
        if let Some(name) = line.strip_prefix("ok ") {
            cases.push(case(name.trim_end(), Outcome::Passed));
        } else if let Some((name, message)) =
            line.strip_prefix("FAIL ").and_then(|rest| rest.split_once(": "))
        {
            cases.push(case(name, Outcome::Failed(message.trim_end().to_owned())));
        }
    }
    let failed = cases
        .iter()
        .filter(|case| case.outcome != Outcome::Passed)
        .count();
    let total = format!("conformance: {} ok, {failed} failed", cases.len() - failed);
    let has_total = output.lines().any(|line| line.trim_end() == total);
    let expected = if failed == 0 { held } else { broken };
    let ending = if has_total && code == Some(expected) {
        Outcome::Passed
    } else {
        Outcome::Failed(format!(
            "expected {total:?} and QEMU's exit code {expected}, got {code:?} and\n{output}"
        ))
    };
    cases.push(case("the guest comes to its end", ending));
    cases
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;
    use crate::arch::Arch;

    /// Reads this output and gives the names of the failed cases and the number of passed ones.
    fn check(output: &str, code: Option<i32>, failed: &[&str], passed: usize) {
        let cases = read("suite", output, code, (33, 35));
        let found: Vec<_> = cases
            .iter()
            .filter(|case| case.outcome != Outcome::Passed)
            .map(|case| case.name.as_str())
            .collect();
        assert_eq!(found, failed, "{output}");
        assert_eq!(cases.len() - found.len(), passed, "{output}");
    }

    #[test]
    fn clauses_total_and_exit_code_must_agree() {
        let end = "the guest comes to its end";
        check(
            "ok a\r\nok b\r\nconformance: 2 ok, 0 failed\r\n",
            Some(33),
            &[],
            3,
        );
        check(
            "ok a\nFAIL b: found 1, expected 2\nconformance: 1 ok, 1 failed\n",
            Some(35),
            &["b"],
            2,
        );
        check(
            "ok a\nFAIL b: found 1, expected 2\nconformance: 1 ok, 1 failed\n",
            Some(33),
            &["b", end],
            1,
        );
        check("ok a\nok b\nconformance: 2 ok, 0 failed\n", Some(35), &[end], 2);
        check("ok a\nok b\nconformance: 3 ok, 0 failed\n", Some(33), &[end], 2);
        check("ok a\n", None, &[end], 1);
        check("", Some(0), &[end], 0);
    }

    #[test]
    fn the_guest_is_told_what_to_expect() {
        for (loader, initrd, expected) in [
            (
                &X86_64[0],
                None,
                "mode=exit expect.entry=pvh expect.image=elf expect.initrd=none expect.cmdline=",
            ),
            (
                &RISCV64[0],
                Some(b"x".as_slice()),
                "mode=exit expect.entry=riscv64 expect.image=image expect.initrd=1:0xaf63f54c86021707 \
                 expect.cpus=0x0,0x1 expect.irqchip=plic expect.cmdline=",
            ),
        ] {
            let line = loader.command_line(&loader.builds[0], Path::new("/kernel"), initrd);
            assert!(line.starts_with(expected), "{line}");
        }
    }

    #[test]
    fn every_machine_loads_something_that_is_built() {
        for arch in Arch::value_variants() {
            let row = arch.row();
            assert!(!row.loaders.is_empty(), "{arch}");
            for loader in row.loaders {
                assert!(!loader.builds.is_empty(), "{arch} {}", loader.machine);
                for build in loader.builds {
                    assert!(
                        row.guests.iter().any(|guest| guest.makes(build.file)),
                        "{}",
                        build.file
                    );
                }
            }
        }
    }
}
