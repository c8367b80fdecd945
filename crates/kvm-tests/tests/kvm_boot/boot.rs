//! A boot, from a file to its outcome and console output.

use std::error::Error;
use std::fs::{self, File};
use std::num::NonZeroU64;

use boot_acpi::{AcpiTables, Pc};
use boot_core::protocol::select;
use boot_core::{
    Arch, BootPlan, BootRequest, ByteSource, Cmdline, GuestMemory, KernelImage, Machine, Module, RegionKind,
    Sources, detect,
};
use boot_kaslr::{VirtualOffset, relocate};
use boot_smbios::SmbiosTables;
use guest_ram::{AccessOptions, FileMapping, GuestRam, HugePages, PreparedBoot, RamOptions};
use hv_core::{Outcome, RunConfig};

use super::console::Console;
use super::huge_pages;
use super::machine::{self, Start};
use super::setup::{Loading, Setup};

/// Outcome of a boot.
pub(crate) struct Run {
    pub(crate) outcome: Outcome,
    pub(crate) console: String,
}

impl Run {
    /// An error with the outcome, the message `what`, and the console output.
    pub(crate) fn failure(&self, what: &str) -> Box<dyn Error> {
        format!("{}; {what}; console:\n{}", self.outcome, self.console).into()
    }

    /// Checks the outcome, and that the console has each of the texts.
    pub(crate) fn expect<S: AsRef<str>>(
        &self,
        outcome: &Outcome,
        texts: impl IntoIterator<Item = S>,
    ) -> Result<(), Box<dyn Error>> {
        let texts = texts.into_iter().map(|text| text.as_ref().to_owned());
        let missing: Vec<String> = texts
            .filter(|text| !self.console.contains(text.as_str()))
            .collect();
        if missing.is_empty() && self.outcome == *outcome {
            return Ok(());
        }
        Err(self.failure(&format!("expected {outcome}; not printed: {missing:#?}")))
    }
}

/// A machine and the plan for it.
struct Planned {
    machine: Machine,
    plan: BootPlan,
}

/// Plans a boot by `protocol`, or by the default protocol of the kernel.
fn plan(
    kernel: &dyn ByteSource,
    protocol: Option<&str>,
    setup: &Setup,
    cmdline: &str,
) -> Result<Planned, Box<dyn Error>> {
    let mut image = detect(&vmboot::formats()?, kernel)?;
    if let (Arch::X86_64, Some(seed)) = (image.arch(), setup.kaslr) {
        let offset = virtual_offset(&image, seed)?;
        image = image.with_metadata(offset.metadata());
    }
    let mut machine = machine::describe(setup)?;
    let cmdline = Cmdline::parse(cmdline)?;
    let modules = setup
        .modules
        .iter()
        .map(|(bytes, line)| Ok(Module::new(ByteSource::len(bytes)?).with_cmdline(line.parse()?)))
        .collect::<Result<Vec<_>, Box<dyn Error>>>()?;
    let tables = setup
        .has_acpi
        .then(|| AcpiTables::at_end_of_ram(&machine, &Pc::default()))
        .transpose()?;
    let smbios = smbios(setup, &mut machine, tables.as_ref())?;
    if let Some(tables) = &tables {
        machine.acpi_rsdp = Some(tables.rsdp());
    }
    let loads: Vec<_> = tables
        .iter()
        .map(AcpiTables::load)
        .chain(smbios.iter().map(SmbiosTables::load))
        .collect();
    let mut request = BootRequest::new(&image, &machine, &cmdline)
        .with_modules(&modules)
        .with_additional_loads(&loads);
    let initrd_len = setup.initrd.as_ref().map(ByteSource::len).transpose()?;
    request.initrd_len = initrd_len.and_then(NonZeroU64::new);
    if let Some(seeds) = &setup.seeds {
        request = request.with_rng_seed(seeds.rng);
        request.kaslr_seed = seeds.kaslr;
    }
    request.placement_seed = setup.kaslr;
    let protocols = vmboot::protocols()?;
    let protocol = match protocol {
        None => select(&protocols, &image)?,
        Some(name) => {
            let mut protocols = protocols.iter().copied();
            protocols
                .find(|known| known.name() == name)
                .ok_or("no such protocol")?
        }
    };
    let plan = protocol.plan(&request)?;
    Ok(Planned { machine, plan })
}

/// The SMBIOS tables of the machine, which gets what they need.
fn smbios(
    setup: &Setup,
    machine: &mut Machine,
    acpi: Option<&AcpiTables>,
) -> Result<Option<SmbiosTables>, Box<dyn Error>> {
    let Some(identity) = &setup.smbios else {
        return Ok(None);
    };
    if machine.arch == Arch::X86_64 {
        SmbiosTables::add_pc_memory(&mut machine.memory)?;
        return Ok(Some(SmbiosTables::for_machine(identity, machine)?));
    }
    let mut free = machine.clone();
    if let Some(acpi) = acpi {
        free.memory.reserve(acpi.range(), RegionKind::AcpiReclaimable)?;
    }
    let tables = SmbiosTables::for_machine(identity, &free)?;
    machine.smbios = Some(tables.entry_point());
    Ok(Some(tables))
}

fn virtual_offset(image: &KernelImage, seed: u64) -> Result<VirtualOffset, Box<dyn Error>> {
    Ok(VirtualOffset::choose(image, seed).ok_or("a kernel above 1 GiB")?)
}

/// The vmlinux in `file` with its virtual addresses moved by the offset that `seed` chooses, and the offset.
pub(crate) fn relocated(file: &str, seed: u64) -> Result<(Vec<u8>, VirtualOffset), Box<dyn Error>> {
    let mut kernel = fs::read(super::fixtures::path(file))?;
    let image = detect(&vmboot::formats()?, &kernel)?;
    let offset = virtual_offset(&image, seed)?;
    if !relocate(&image, &mut kernel, offset)? {
        return Err("a vmlinux without relocations".into());
    }
    Ok((kernel, offset))
}

fn open(file: &str) -> Result<File, Box<dyn Error>> {
    Ok(File::open(super::fixtures::path(file))?)
}

/// The load address of the kernel.
pub(crate) fn kernel_base(file: &str, protocol: &str, setup: &Setup) -> Result<u64, Box<dyn Error>> {
    let planned = plan(&open(file)?, Some(protocol), setup, "")?;
    Ok(planned.plan.kernel().start())
}

/// Boots the image `file` with `protocol`.
pub(crate) fn boot(file: &str, protocol: &str, setup: &Setup, cmdline: &str) -> Result<Run, Box<dyn Error>> {
    boot_source(&open(file)?, Some(protocol), setup, cmdline)
}

/// Boots an image with `protocol`, or with its default protocol.
pub(crate) fn boot_source(
    kernel: &dyn ByteSource,
    protocol: Option<&str>,
    setup: &Setup,
    cmdline: &str,
) -> Result<Run, Box<dyn Error>> {
    let Planned { machine, plan } = plan(kernel, protocol, setup, cmdline)?;
    let mut ram = match setup.loading {
        Loading::Make => RamOptions::new()
            .huge_pages(HugePages::Avoid)
            .access(AccessOptions::new().userfaultfd(true))
            .build(&machine.memory)?,
        _ => GuestRam::new(&machine.memory)?,
    };
    let files: Vec<&dyn ByteSource> = setup
        .modules
        .iter()
        .map(|(bytes, _)| bytes as &dyn ByteSource)
        .collect();
    let mut sources = Sources::kernel(kernel).with_modules(&files);
    sources.initrd = setup.initrd.as_ref().map(|bytes| bytes as &dyn ByteSource);
    match setup.loading {
        Loading::Copy | Loading::Make => plan.load(&sources, &mut ram)?,
        Loading::Map => {
            let mut mapper = ram.map_files(FileMapping::Trusted);
            plan.load(&sources, &mut mapper)?;
            if mapper.mapped_len() < plan.kernel().len() / 2 {
                return Err(format!("{mapper:?} has not even half of the kernel").into());
            }
        }
        Loading::Prepared => PreparedBoot::new(&plan, &sources)?.load(&mut ram)?,
        Loading::PreparedInFile => {
            let mut file = tempfile::tempfile()?;
            PreparedBoot::new(&plan, &sources)?.save(&mut file)?;
            PreparedBoot::open(file, FileMapping::Trusted)?.load(&mut ram)?;
        }
    }
    if let Some(addr) = setup.acpi_rsdp {
        ram.write(addr, &acpi_rsdp())?;
    }

    let console = Console::default();
    let run_config = RunConfig::default()
        .with_deadline(setup.deadline)
        .with_shutdown(setup.shutdown)
        .with_unhandled_access(setup.unhandled_access);
    if let Some(text) = setup.stop_at {
        console.stop_at(text, run_config.stop.clone());
    }
    let start = Start {
        machine: &machine,
        ram: &ram,
        state: plan.cpus().first().ok_or("a plan without CPUs")?,
        console: console.clone(),
        disks: &setup.disks,
        exit_page: setup.exit_page,
        run_config: &run_config,
    };
    let outcome = machine::run(setup.board, &start, |input| {
        console.converse(&setup.answers, input);
    })?;
    if setup.loading == Loading::Prepared {
        huge_pages::check_memory_files()?;
    }
    Ok(Run {
        outcome,
        console: console.text(),
    })
}

/// An ACPI 1.0 root pointer without tables: signature, checksum, OEM, revision, address of the RSDT.
fn acpi_rsdp() -> [u8; 20] {
    let mut rsdp = *b"RSD PTR \0vmboot\0\0\0\0\0";
    let sum = rsdp.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
    rsdp[8] = sum.wrapping_neg();
    rsdp
}
