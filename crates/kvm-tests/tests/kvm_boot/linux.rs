//! Stock Linux kernels, booted to userspace.

use std::fs;
use std::num::NonZeroU32;
use std::time::Duration;

use boot_cmdline::FastStart;
use boot_core::machine::{Cache, CacheScope, Numa, NumaNode, Topology};
use boot_core::{GuestRange, MemoryMap};
use boot_smbios::Identity;
use contract::Digest;
use hv_core::Outcome;
use hv_core::virt::{Gic, RiscvIrqchip};

use super::board::Board;
use super::boot::{Run, boot};
use super::case::{Case, TestResult};
use super::console::Answer;
use super::fixtures::{Needs, path};
use super::machine;
use super::setup::{Loading, Setup};

/// A kernel, the protocol that boots it, and its machine.
#[derive(Clone, Copy)]
struct Kernel {
    name: &'static str,
    file: &'static str,
    protocol: &'static str,
    board: Board,
}

/// Size of the machine, options of init, and expected outcome.
#[derive(Clone)]
struct Scenario {
    name: &'static str,
    vcpus: u32,
    /// Whether the machine has ACPI tables.
    acpi: bool,
    /// Whether the machine has two NUMA nodes.
    numa: bool,
    /// Whether the four CPUs are those of two sockets, each with a core of two threads.
    topology: bool,
    /// What shortens the start of Linux, on the command line.
    fast: Option<FastStart>,
    /// Options of init on the kernel command line.
    options: &'static str,
    answers: &'static [Answer],
    end: Outcome,
}

const fn pc(name: &'static str, file: &'static str, protocol: &'static str) -> Kernel {
    Kernel {
        name,
        file,
        protocol,
        board: Board::Pc,
    }
}

const X86_64: [Kernel; 3] = [
    pc("debian-13-bzimage", "kernels/x86_64/debian-13.bzImage", "linux"),
    pc("debian-13-vmlinux-pvh", "kernels/x86_64/debian-13.vmlinux", "pvh"),
    pc("debian-13-vmlinux", "kernels/x86_64/debian-13.vmlinux", "linux"),
];

/// Kernels whose decompressors look for the ACPI tables in different ways before they choose an address.
const X86_64_ACPI: [Kernel; 3] = [
    X86_64[0],
    pc("debian-12-bzimage", "kernels/x86_64/debian-12.bzImage", "linux"),
    pc("debian-11-bzimage", "kernels/x86_64/debian-11.bzImage", "linux"),
];

const AARCH64: [Kernel; 1] = [Kernel {
    name: "debian-13-image",
    file: "kernels/aarch64/debian-13.Image",
    protocol: "fdt-arm64",
    board: Board::Arm64(Gic::V3WithIts),
}];

const fn riscv64(name: &'static str, irqchip: RiscvIrqchip) -> Kernel {
    Kernel {
        name,
        file: "kernels/riscv64/debian-13.Image",
        protocol: "fdt-riscv64",
        board: Board::Riscv64(irqchip),
    }
}

const RISCV64: [Kernel; 2] = [
    riscv64("debian-13-image-plic", RiscvIrqchip::Plic),
    riscv64("debian-13-image-aplic-imsic", RiscvIrqchip::AplicImsic),
];

/// Scenarios on a machine of kind `board`.
fn scenarios(board: Board) -> Vec<Scenario> {
    // Without ACPI, a PC has no power-off, so init resets it, and its kernel finds only one CPU.
    let is_pc = board == Board::Pc;
    let plain = Scenario {
        name: "to-userspace",
        vcpus: 1,
        acpi: false,
        numa: false,
        topology: false,
        fast: None,
        options: "",
        answers: &[],
        end: if is_pc { Outcome::Reset } else { Outcome::PowerOff },
    };
    let typed = Scenario {
        name: "serial-input",
        options: " init.echo",
        answers: &[
            ("init: echoing lines", b"Knock, knock!\n"),
            ("echo: Knock, knock!", b"quit\n"),
        ],
        ..plain.clone()
    };
    if is_pc {
        return vec![plain, typed];
    }
    let four_cpus = Scenario {
        name: "four-cpus",
        vcpus: 4,
        topology: true,
        ..plain.clone()
    };
    let reboot = Scenario {
        name: "reboot",
        options: " init.end=reboot",
        end: Outcome::Reset,
        ..plain.clone()
    };
    let numa = Scenario {
        name: "numa",
        numa: true,
        topology: false,
        ..four_cpus.clone()
    };
    let fast = Scenario {
        name: "fast",
        fast: Some(FastStart::new()),
        ..plain.clone()
    };
    let mut scenarios = vec![plain, typed, four_cpus, reboot, fast];
    let acpi_numa = Scenario {
        name: "acpi-numa",
        ..NUMA
    };
    scenarios.extend(match board {
        Board::Riscv64(RiscvIrqchip::Plic) => vec![numa, EARLYCON],
        Board::Riscv64(_) => vec![Scenario {
            options: EARLYCON.options,
            ..acpi_numa
        }],
        _ => vec![
            numa,
            EARLYCON,
            Scenario {
                topology: true,
                ..acpi_numa
            },
        ],
    });
    scenarios
}

/// The machine has four CPUs and ACPI tables, and the kernel chooses its address.
const ACPI: Scenario = Scenario {
    name: "acpi-kaslr",
    vcpus: 4,
    acpi: true,
    numa: false,
    topology: false,
    fast: None,
    options: "",
    answers: &[],
    end: Outcome::PowerOff,
};

/// The same, with a reset by ACPI.
const ACPI_REBOOT: Scenario = Scenario {
    name: "acpi-reboot",
    vcpus: 1,
    options: " reboot=a init.end=reboot",
    end: Outcome::Reset,
    ..ACPI
};

/// The same with an early console, whose port the kernel has from the SPCR, and with SMBIOS tables, which the kernel logs.
const EARLYCON: Scenario = Scenario {
    name: "acpi-earlycon",
    vcpus: 1,
    options: " earlycon ignore_loglevel",
    ..ACPI
};

/// One CPU and ACPI tables, with what shortens the start of Linux.
const FAST: Scenario = Scenario {
    name: "acpi-fast",
    vcpus: 1,
    fast: Some(FastStart::new().without_pci()),
    ..ACPI
};

/// Four CPUs and ACPI tables, with two NUMA nodes.
const NUMA: Scenario = Scenario {
    name: "numa",
    numa: true,
    ..ACPI
};

/// Two nodes, each with every second CPU, or with one half of the CPUs; the first has 192 MiB, the second the rest.
fn numa(scenario: &Scenario, memory: &MemoryMap) -> Result<Numa, Box<dyn std::error::Error>> {
    let node_of = |cpu| {
        if scenario.topology {
            cpu / (scenario.vcpus / 2)
        } else {
            cpu % 2
        }
    };
    let cpus = |node| (0..scenario.vcpus).filter(|cpu| node_of(*cpu) == node).collect();
    let start = memory.ram().next().ok_or("no RAM")?.start();
    let end = memory.ram_end().ok_or("no RAM")?;
    let split = start + (192 << 20);
    let range = |start, end| GuestRange::from_bounds(start, end).ok_or("not enough RAM");
    let first = NumaNode::new(cpus(0), vec![range(start, split)?]);
    let second = NumaNode::new(cpus(1), vec![range(split, end)?]);
    Ok(Numa::new(vec![first, second]).with_distance(0, 1, 33))
}

/// Two sockets, each with one core of two threads; on riscv64 with caches of each core, and a cache of each socket. On arm64, Linux has the kinds of its
/// caches from a register of KVM.
fn topology(board: Board) -> Topology {
    let two = NonZeroU32::MIN.saturating_add(1);
    let mut topology = Topology::new(two, NonZeroU32::MIN, two);
    if !has_caches(board) {
        return topology;
    }
    let l1 = Cache::new(32 << 10, 64, 128);
    topology.caches.l1d = Some(l1);
    topology.caches.l1i = Some(l1);
    topology.caches.l2 = Some(Cache::new(1 << 20, 64, 1024));
    topology.caches.l3 = Some(Cache::new(8 << 20, 64, 8192).with_scope(CacheScope::Socket));
    topology
}

fn has_caches(board: Board) -> bool {
    matches!(board, Board::Riscv64(_))
}

pub(crate) fn cases() -> Vec<Case> {
    let (arch, kernels): (_, &[Kernel]) = match std::env::consts::ARCH {
        "x86_64" => ("x86_64", &X86_64),
        "aarch64" => ("aarch64", &AARCH64),
        "riscv64" => ("riscv64", &RISCV64),
        // There is no harness for this host.
        _ => return Vec::new(),
    };
    let mut cases = Vec::new();
    if arch == "x86_64" {
        cases.extend(X86_64_ACPI.map(|kernel| case(arch, kernel, ACPI)));
        cases.push(case(arch, X86_64[0], ACPI_REBOOT));
        cases.extend(X86_64_ACPI.map(|kernel| case(arch, kernel, EARLYCON)));
        cases.extend(X86_64_ACPI.map(|kernel| case(arch, kernel, NUMA)));
        cases.push(case(arch, X86_64[1], NUMA));
        cases.extend(X86_64.map(|kernel| case(arch, kernel, FAST)));
    }
    for &kernel in kernels {
        let scenarios = scenarios(kernel.board).into_iter();
        cases.extend(scenarios.map(|scenario| case(arch, kernel, scenario)));
    }
    cases
}

fn case(arch: &str, kernel: Kernel, scenario: Scenario) -> Case {
    let (initrd, payload) = (
        format!("initrd/{arch}/linux.cpio"),
        format!("initrd/{arch}/payload.bin"),
    );
    Case {
        name: format!("linux::{}::{}", kernel.name, scenario.name),
        needs: Needs {
            files: vec![kernel.file.into(), initrd.clone(), payload.clone()],
            board: kernel.board,
            hardware: true,
        },
        run: Box::new(move || to_userspace(&kernel, &scenario, &initrd, &payload)),
    }
}

/// The command line, whose console shows no messages but errors.
fn cmdline(kernel: &Kernel, scenario: &Scenario) -> Result<String, Box<dyn std::error::Error>> {
    // Otherwise the kernel tries other ways to reboot first, which this PC lacks.
    let reboot = if kernel.board == Board::Pc && !scenario.acpi {
        " reboot=k"
    } else {
        ""
    };
    let quiet = if scenario.fast.is_none() { " quiet" } else { "" };
    let line = format!(
        "console=ttyS0 panic=-1{reboot}{quiet} words=\"two words\"{}",
        scenario.options
    );
    Ok(match scenario.fast {
        Some(fast) => fast.add_to(&line.parse()?, 1023).to_string(),
        None => line,
    })
}

fn to_userspace(kernel: &Kernel, scenario: &Scenario, initrd: &str, payload: &str) -> TestResult {
    let cmdline = cmdline(kernel, scenario)?;
    let mut setup = Setup {
        memory: 512 << 20,
        has_acpi: scenario.acpi,
        vcpus: NonZeroU32::new(scenario.vcpus).ok_or("a machine without CPUs")?,
        initrd: Some(fs::read(path(initrd))?),
        answers: scenario.answers.to_vec(),
        loading: match scenario.vcpus {
            _ if scenario.fast.is_some() => Loading::Prepared,
            4 if scenario.numa => Loading::PreparedInFile,
            // The code of a bzImage need not begin at a page of its file.
            4 if !kernel.file.ends_with("bzImage") => Loading::Map,
            _ if scenario.answers.is_empty() => Loading::Copy,
            _ => Loading::Make,
        },
        deadline: Duration::from_mins(4),
        ..Setup::of(kernel.board)
    };
    if scenario.options.contains("earlycon") {
        let mut identity = Identity::default();
        identity.manufacturer = Some("vmboot tests".into());
        identity.product_name = Some("a machine".into());
        identity.bios_version = Some("17".into());
        identity.bios_release_date = Some("11/28/2026".into());
        setup.smbios = Some(identity);
    }
    if scenario.numa {
        let machine = machine::describe(&setup)?;
        setup.numa = Some(numa(scenario, &machine.memory)?);
    }
    setup.topology = scenario.topology.then(|| topology(kernel.board));
    let run = boot(kernel.file, kernel.protocol, &setup, &cmdline)?;
    let Digest { len, hash } = Digest::of(&fs::read(path(payload))?);
    let mut expected = vec![
        "userspace reached: Linux ".to_owned(),
        format!("cmdline: {cmdline}"),
        format!("cpus: {}", scenario.vcpus),
        format!("payload: payload.bin {len} {hash:#018x}"),
    ];
    if scenario.acpi {
        let [slit, srat] = if scenario.numa {
            [" SLIT", " SRAT"]
        } else {
            [""; 2]
        };
        let of_arch = match kernel.board {
            Board::Pc => "",
            Board::Arm64(_) => " GTDT",
            Board::Riscv64(_) => " RHCT",
        };
        let pptt = if scenario.topology { " PPTT" } else { "" };
        expected.push(format!(
            "acpi tables: APIC DSDT FACP{of_arch}{pptt}{slit} SPCR{srat}\r\n"
        ));
        // Only the decompressor of a bzImage sets the flag.
        if kernel.file.ends_with("bzImage") {
            expected.push("kaslr: on\r\n".to_owned());
        }
    }
    if scenario.options.contains("earlycon") {
        let port = match kernel.board {
            Board::Pc => "io,0x3f8",
            Board::Arm64(_) | Board::Riscv64(_) => "mmio,0x9000000",
        };
        expected.push(format!("SPCR: console: uart,{port},115200\r\n"));
        expected.push("bootconsole [uart0] enabled\r\n".to_owned());
        expected.push("DMI: vmboot tests a machine, BIOS 17 11/28/2026\r\n".to_owned());
    }
    if scenario.numa {
        let nodes = if scenario.topology {
            ["0-1", "2-3"]
        } else {
            ["0,2", "1,3"]
        };
        expected.push(format!("node 0: cpus {}, distances 10 33, memory ", nodes[0]));
        expected.push(format!("node 1: cpus {}, distances 33 10, memory ", nodes[1]));
    }
    let answered = scenario.answers.iter().map(|(text, _)| (*text).to_owned());
    let complaints = ["ACPI Error", "ACPI BIOS Error", "ACPI Warning", "Firmware Bug"];
    // Without tables, Linux complains that there are none.
    let mut complaints = complaints.iter().filter(|_| scenario.acpi);
    if let Some(complaint) = complaints.find(|text| run.console.contains(**text)) {
        return Err(run.failure(&format!("printed: {complaint}")));
    }
    run.expect(&scenario.end, expected.into_iter().chain(answered))?;
    if let Some(numa) = &setup.numa {
        check_nodes(&run, numa)?;
    }
    if scenario.topology {
        check_topology(&run, has_caches(kernel.board))?;
    }
    check_memory(&run, setup.memory)
}

/// Checks that the kernel found two packages, each with a core of two threads, and with caches a cache of level 3 that they share.
fn check_topology(run: &Run, has_caches: bool) -> TestResult {
    let mut packages = Vec::new();
    for (cpu, siblings) in [(0, "0-1"), (1, "0-1"), (2, "2-3"), (3, "2-3")] {
        let start = format!("cpu {cpu}: package ");
        let line = run
            .console
            .lines()
            .find_map(|line| line.trim().strip_prefix(&start));
        // The numbers of packages and cores are those that the kernel chooses.
        let (package, rest) = line
            .and_then(|line| line.split_once(" of cpus "))
            .ok_or("no topology of a CPU")?;
        let core = rest
            .strip_prefix(siblings)
            .and_then(|rest| rest.strip_prefix(", core "));
        let of_core = core.and_then(|rest| rest.split_once(" of cpus "));
        let is_core = of_core.is_some_and(|(_, rest)| rest.split(", L").next() == Some(siblings));
        let of_socket = format!(", L3 Unified cache of cpus {siblings}");
        if !is_core || (has_caches && !rest.ends_with(&of_socket)) {
            return Err(run.failure(&format!("CPU {cpu} is in the wrong place")));
        }
        packages.push(package.to_owned());
    }
    if packages[0] != packages[1] || packages[2] != packages[3] || packages[0] == packages[2] {
        return Err(run.failure(&format!("the packages are {packages:?}")));
    }
    Ok(())
}

/// Checks that the kernel found at least three quarters of the memory of each node, and not more than all of it.
fn check_nodes(run: &Run, numa: &Numa) -> TestResult {
    for (number, node) in numa.numbered() {
        let start = format!("node {number}: ");
        let line = run
            .console
            .lines()
            .find_map(|line| line.trim().strip_prefix(&start));
        let kib: u64 = line
            .and_then(|line| line.rsplit_once(", memory ")?.1.strip_suffix(" KiB"))
            .ok_or("no memory of a node")?
            .parse()?;
        let total = node.memory.iter().map(|range| range.len()).sum::<u64>() >> 10;
        if !(total / 4 * 3..=total).contains(&kib) {
            return Err(run.failure(&format!("node {number} has {kib} KiB of {total} KiB")));
        }
    }
    Ok(())
}

/// Checks that the kernel found at least 80 % of the memory, and not more than all of it.
fn check_memory(run: &Run, memory: u64) -> TestResult {
    let line = run
        .console
        .lines()
        .find_map(|line| line.trim().strip_prefix("memory total: "));
    let kib: u64 = line
        .and_then(|line| line.strip_suffix(" KiB"))
        .ok_or("no memory total")?
        .parse()?;
    let total = memory >> 10;
    if (total / 10 * 8..=total).contains(&kib) {
        return Ok(());
    }
    Err(run.failure(&format!("the guest found {kib} KiB of {total} KiB")))
}
