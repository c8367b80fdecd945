//! One boot, from a file to its outcome and what the guest printed.

use std::error::Error;
use std::fs::File;
use std::num::NonZeroU32;
use std::num::NonZeroU64;
use std::time::Duration;

use boot_core::machine::ReservedMemory;
use boot_core::{
    BootPlan, BootRequest, ByteSource, Cmdline, GuestMemory, GuestRange, Machine, Module, RegionKind,
    Sources, detect,
};
use guest_ram::GuestRam;
use hv_core::{OnShutdown, OnUnclaimed, Outcome, Policy};

use super::console::{Answer, Console};
use super::machine::{Board, Start};

/// A machine and what it is given.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) board: Board,
    pub(crate) memory: u64,
    /// RAM beside it.
    pub(crate) banks: Vec<GuestRange>,
    /// Taken out of RAM, with the kind the guest is told.
    pub(crate) other_regions: Vec<(GuestRange, RegionKind)>,
    /// RAM that the guest is told to leave alone.
    pub(crate) reserved: Vec<ReservedMemory>,
    pub(crate) vcpus: NonZeroU32,
    pub(crate) acpi_rsdp: Option<u64>,
    pub(crate) initrd: Option<Vec<u8>>,
    pub(crate) modules: Vec<(Vec<u8>, &'static str)>,
    pub(crate) seeds: Option<Seeds>,
    /// Typed into the guest's console, one after the other.
    pub(crate) answers: Vec<Answer>,
    /// The run is stopped as soon as the guest has printed this.
    pub(crate) stop_at: Option<&'static str>,
    /// The page whose writes end the run; a PC has none.
    pub(crate) exit_page: Option<u64>,
    pub(crate) on_shutdown: OnShutdown,
    pub(crate) on_unclaimed: OnUnclaimed,
    pub(crate) deadline: Duration,
}

/// Randomness for the guest.
#[derive(Clone, Copy)]
pub(crate) struct Seeds {
    pub(crate) rng: &'static [u8],
    pub(crate) kaslr: u64,
}

impl Setup {
    /// 256 MiB, one CPU, and nothing given.
    pub(crate) fn of(board: Board) -> Self {
        Self {
            board,
            memory: 256 << 20,
            banks: Vec::new(),
            other_regions: Vec::new(),
            reserved: Vec::new(),
            vcpus: NonZeroU32::MIN,
            acpi_rsdp: None,
            initrd: None,
            modules: Vec::new(),
            seeds: None,
            answers: Vec::new(),
            stop_at: None,
            exit_page: None,
            on_shutdown: OnShutdown::Crash,
            on_unclaimed: OnUnclaimed::Ignore,
            deadline: Duration::from_mins(1),
        }
    }

    /// The description of the machine.
    pub(crate) fn machine(&self) -> Result<Machine, Box<dyn Error>> {
        self.board.describe(self)
    }
}

/// How a boot ended.
pub(crate) struct Run {
    pub(crate) outcome: Outcome,
    pub(crate) console: String,
}

impl Run {
    /// An error that says how the run ended, what was wrong about that, and what the guest printed.
    pub(crate) fn complaint(&self, what: &str) -> Box<dyn Error> {
        format!("{}; {what}; console:\n{}", self.outcome, self.console).into()
    }
}

/// A kernel file and the plan for it.
struct Planned {
    kernel: File,
    machine: Machine,
    plan: BootPlan,
}

fn plan(file: &str, protocol: &str, setup: &Setup, cmdline: &str) -> Result<Planned, Box<dyn Error>> {
    let kernel = File::open(super::fixtures::path(file))?;
    let image = detect(&vmboot::formats()?, &kernel)?;
    let machine = setup.machine()?;
    let cmdline = Cmdline::parse(cmdline)?;
    let modules = setup
        .modules
        .iter()
        .map(|(bytes, line)| Ok(Module::new(ByteSource::len(bytes)?).with_cmdline(Cmdline::parse(line)?)))
        .collect::<Result<Vec<_>, Box<dyn Error>>>()?;
    let mut request = BootRequest::new(&image, &machine, &cmdline).with_modules(&modules);
    let initrd_len = setup.initrd.as_ref().map(ByteSource::len).transpose()?;
    request.initrd_len = initrd_len.and_then(NonZeroU64::new);
    if let Some(seeds) = &setup.seeds {
        request = request.with_rng_seed(seeds.rng).with_kaslr_seed(seeds.kaslr);
    }
    let protocols = vmboot::protocols()?;
    let protocol = protocols
        .iter()
        .find(|known| known.name() == protocol)
        .ok_or("no such protocol")?;
    let plan = protocol.plan(&request)?;
    Ok(Planned {
        kernel,
        machine,
        plan,
    })
}

/// Where the kernel's first byte goes.
pub(crate) fn kernel_base(file: &str, protocol: &str, setup: &Setup) -> Result<u64, Box<dyn Error>> {
    Ok(plan(file, protocol, setup, "")?.plan.kernel().start())
}

/// Boots the image `file` with `protocol`.
pub(crate) fn boot(file: &str, protocol: &str, setup: &Setup, cmdline: &str) -> Result<Run, Box<dyn Error>> {
    let Planned {
        kernel,
        machine,
        plan,
    } = plan(file, protocol, setup, cmdline)?;
    let mut ram = GuestRam::new(&machine.memory)?;
    let files: Vec<&dyn ByteSource> = setup
        .modules
        .iter()
        .map(|(bytes, _)| bytes as &dyn ByteSource)
        .collect();
    let sources = Sources {
        kernel: &kernel,
        initrd: setup.initrd.as_ref().map(|bytes| bytes as &dyn ByteSource),
        modules: &files,
    };
    plan.load(&sources, &mut ram)?;
    if let Some(addr) = setup.acpi_rsdp {
        ram.write(addr, &acpi_rsdp())?;
    }

    let console = Console::default();
    let policy = Policy {
        deadline: Some(setup.deadline),
        on_shutdown: setup.on_shutdown,
        on_unclaimed: setup.on_unclaimed,
        ..Policy::default()
    };
    if let Some(text) = setup.stop_at {
        console.stop_at(text, policy.stop.clone());
    }
    let start = Start {
        machine: &machine,
        ram: &ram,
        state: plan.cpus().first().ok_or("a plan without CPUs")?,
        console: console.clone(),
        exit_page: setup.exit_page,
        policy: &policy,
    };
    let outcome = setup
        .board
        .run(start, |input| console.converse(&setup.answers, input))?;
    Ok(Run {
        outcome,
        console: console.text(),
    })
}

/// A root pointer of ACPI 1.0 that points to no tables: signature, checksum, OEM, revision, address of the RSDT.
fn acpi_rsdp() -> [u8; 20] {
    let mut rsdp = *b"RSD PTR \0vmboot\0\0\0\0\0";
    let sum = rsdp.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
    rsdp[8] = sum.wrapping_neg();
    rsdp
}
