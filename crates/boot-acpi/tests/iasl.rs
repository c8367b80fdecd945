//! The compiler of ACPICA disassembles every table and compiles the result again, without an error, a warning or a remark. What it compiles equals
//! the table, except for the fields that name the compiler.

#[path = "support/machines.rs"]
mod machines;

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use boot_acpi::{AcpiTables, Pc, ResetPort, SerialPort};
use boot_core::machine::Line;
use boot_core::{Arch, GuestMemory as _, Machine, SliceMemory};
use fw_acpi::{Acpi, Signature};
use hv_core::virt::{Gic, RiscvIrqchip};
use libtest_mimic::{Arguments, Failed, Trial};
use machines::{arm64, machine, numa_machine, riscv64, with_numa, with_pci, with_topology};

/// Address of the tables.
const BASE: u64 = 0xe_0000;

/// Length of the root pointer (ACPI 6.5, section 5.2.5.3).
const RSDP_LEN: usize = 36;

/// Fields of the header that iasl writes: the checksum, and the identification and revision of the tool (ACPI 6.5, section 5.2.6).
const OF_THE_TOOL: [std::ops::Range<usize>; 2] = [9..10, 28..36];

/// The root pointer, the address of the XSDT, and all tables with their signatures.
struct Tables {
    rsdp: Vec<u8>,
    xsdt: u64,
    others: Vec<(String, Vec<u8>)>,
}

fn tables(machine: &Machine, pc: &Pc) -> Result<Tables, Failed> {
    let mut bytes = AcpiTables::new(machine, pc, BASE)?.bytes().to_vec();
    let rsdp = bytes.get(..RSDP_LEN).ok_or("no root pointer")?.to_vec();
    let mut memory = SliceMemory::new();
    if memory.add(BASE, &mut bytes).is_err() {
        return Err("no memory for the tables".into());
    }
    let acpi = Acpi::read(&memory, BASE)?;
    let read = |addr: u64| {
        let mut len = [0; 4];
        memory.read(addr + 4, &mut len)?;
        let mut bytes = vec![0; usize::try_from(u32::from_le_bytes(len))?];
        memory.read(addr, &mut bytes)?;
        Ok::<_, Failed>(bytes)
    };
    let fadt = acpi.fadt(&memory)?.ok_or("no FADT")?;
    // The root pointer has the address of the XSDT at its offset 24.
    let xsdt = u64::from_le_bytes(*rsdp.get(24..).and_then(<[u8]>::first_chunk).ok_or("no XSDT")?);
    let mut others = vec![
        (Signature::XSDT.to_string(), read(xsdt)?),
        (Signature::DSDT.to_string(), read(fadt.dsdt.ok_or("no DSDT")?)?),
    ];
    for table in acpi.tables() {
        others.push((table.signature.to_string(), read(table.addr)?));
    }
    Ok(Tables { rsdp, xsdt, others })
}

/// What iasl prints with these arguments, if it has no complaint.
fn iasl(directory: &Path, args: &[&str]) -> Result<String, Failed> {
    let output = Command::new("iasl").args(args).current_dir(directory).output()?;
    let mut printed = String::from_utf8_lossy(&output.stdout).into_owned();
    printed.push_str(&String::from_utf8_lossy(&output.stderr));
    // The line of the counts is that of a compilation.
    let complaints = ["Error", "Warning", "Remark", "Invalid", "Unknown", "Could not"];
    let has_complaint = printed
        .lines()
        .filter(|line| !line.contains(" 0 Errors, 0 Warnings, 0 Remarks"))
        .any(|line| complaints.iter().any(|complaint| line.contains(complaint)));
    if has_complaint || !output.status.success() {
        return Err(format!("iasl {}: {}\n{printed}", args.join(" "), output.status).into());
    }
    Ok(printed)
}

/// The source of a root pointer. iasl compiles them, but does not disassemble them, and writes the checksums.
fn rsdp_source(xsdt: u64) -> String {
    format!(
        "[0008] Signature : \"RSD PTR \"\n[0001] Checksum : 00\n[0006] Oem ID : \"VMBOOT\"\n\
         [0001] Revision : 02\n[0004] RSDT Address : 00000000\n[0004] Length : 00000024\n\
         [0008] XSDT Address : {xsdt:016X}\n[0001] Extended Checksum : 00\n[0003] Reserved : 000000\n"
    )
}

/// Compiles a source.
fn compile(at: &Path, source: &str) -> Result<Vec<u8>, Failed> {
    fs::write(at.join("source.dsl"), source)?;
    let printed = iasl(at, &["-p", "again", "source.dsl"])?;
    // Else the file would be that of an earlier table.
    if !printed.contains("Compilation successful") {
        return Err(format!("not compiled: {printed}").into());
    }
    Ok(fs::read(at.join("again.aml"))?)
}

/// What a version of iasl can do with a table.
#[derive(PartialEq)]
enum Knowledge {
    /// It disassembles the table and compiles it again.
    Both,
    Disassembles,
    Nothing,
}

/// Versions of iasl are dates. Each has one revision of a structure only, so none has all of these tables.
fn knowledge(version: u32, name: &str, arch: Arch) -> Knowledge {
    /// RISC-V structures in MADT and SRAT, and the RHCT.
    const RISCV: u32 = 20_241_212;
    /// The SPCR of revision 4.
    const SPCR_4: u32 = 20_240_322;
    /// The GIC CPU interface structure of ACPI 6.5.
    const GICC_82: u32 = 20_221_020;
    match (name, arch) {
        ("SPCR", _) if version >= SPCR_4 => Knowledge::Nothing,
        ("APIC", Arch::Aarch64) if version >= GICC_82 => Knowledge::Nothing,
        ("APIC" | "SRAT" | "RHCT", Arch::Riscv64) if version < RISCV => Knowledge::Nothing,
        ("RHCT", _) => Knowledge::Disassembles,
        _ => Knowledge::Both,
    }
}

/// Shows all tables to iasl.
fn check(version: u32, machine: &Machine, pc: &Pc) -> Result<(), Failed> {
    let Tables { rsdp, xsdt, others } = tables(machine, pc)?;
    let directory = tempfile::tempdir()?;
    let at = directory.path();
    let again = compile(at, &rsdp_source(xsdt))?;
    if again != rsdp {
        return Err(format!("RSDP: {rsdp:02x?}, expected {again:02x?}").into());
    }
    for (name, table) in others {
        let knowledge = knowledge(version, &name, machine.arch);
        if knowledge == Knowledge::Nothing {
            continue;
        }
        fs::write(at.join("table.aml"), &table)?;
        iasl(at, &["-d", "table.aml"])?;
        let source = fs::read_to_string(at.join("table.dsl"))?;
        // The disassembler marks what it does not understand.
        if source.contains("****") || source.contains("Invalid") {
            return Err(format!("{name}: {source}").into());
        }
        if knowledge == Knowledge::Disassembles {
            continue;
        }
        let mut again = compile(at, &source)?;
        if again.len() == table.len() {
            for field in OF_THE_TOOL {
                again[field.clone()].copy_from_slice(&table[field]);
            }
        }
        if again != table {
            return Err(format!("{name}: {table:02x?} is {again:02x?} after\n{source}").into());
        }
    }
    Ok(())
}

/// The version of iasl, which is a date; `None` without iasl.
fn version() -> Option<u32> {
    let output = Command::new("iasl")
        .arg("-v")
        .stdin(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let (_, rest) = text.split_once("version ")?;
    rest.split_whitespace().next()?.parse().ok()
}

fn main() -> ExitCode {
    let args = Arguments::from_args();
    let version = version();
    if version.is_none() && !args.list {
        eprintln!("SKIPPED: there is no `iasl` here, so no table was shown to it (Debian: acpica-tools)");
    }
    let bare = Pc::default()
        .with_serial(None)
        .with_sleep_control(None)
        .with_reset(None)
        .with_keyboard_controller(true)
        .with_cmos_rtc(false);
    let other = Pc::default()
        .with_serial(Some(SerialPort::new(0x2f8, 3)))
        .with_reset(Some(ResetPort::new(0xcf9, 6)));
    let trials = [
        ("one-cpu", machine(1, 0), Pc::default()),
        ("four-cpus-and-slots", machine(4, 3), Pc::default()),
        ("x2apic", machine(300, 40), Pc::default()),
        // iasl does not disassemble a definition block without an object, so there is a slot.
        ("bare", machine(1, 1), bare),
        ("numa", numa_machine(4), Pc::default()),
        ("numa-x2apic", numa_machine(300), Pc::default()),
        (
            "topology",
            with_topology(machine(4, 1), [1, 1, 2, 2]),
            Pc::default(),
        ),
        (
            "arm64-topology",
            with_topology(arm64(24, Gic::V3), [2, 3, 2, 2]),
            Pc::default(),
        ),
        (
            "riscv64-topology",
            with_topology(riscv64(4, RiscvIrqchip::Plic), [2, 1, 2, 1]),
            Pc::default(),
        ),
        ("other-ports", machine(2, 1), other),
        ("arm64-gicv2", arm64(4, Gic::V2), Pc::default()),
        (
            "arm64-pci",
            with_pci(arm64(1, Gic::V3WithIts), Line::Spi),
            Pc::default(),
        ),
        ("arm64-numa", with_numa(arm64(4, Gic::V3WithIts)), Pc::default()),
        ("arm64-300-cpus", with_numa(arm64(300, Gic::V3)), Pc::default()),
        ("riscv64-plic", riscv64(4, RiscvIrqchip::Plic), Pc::default()),
        ("riscv64-aplic", riscv64(4, RiscvIrqchip::Aplic), Pc::default()),
        (
            "riscv64-300-cpus",
            with_numa(riscv64(300, RiscvIrqchip::AplicImsic)),
            Pc::default(),
        ),
    ];
    let trials = trials.into_iter().map(|(name, machine, pc)| {
        Trial::test(name, move || check(version.unwrap_or(0), &machine, &pc))
            .with_ignored_flag(version.is_none())
    });
    libtest_mimic::run(&args, trials.collect()).exit_code()
}
