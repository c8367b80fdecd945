//! One boot, from a file to its outcome and what the guest printed.

use std::fs::File;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use boot_core::{
    Arch, BootRequest, ByteSource, Cmdline, GuestMemory, GuestRange, Machine, MemoryMap, Module, RegionKind,
    Sources, detect,
};
use guest_ram::GuestRam;
use hv_core::{OnShutdown, Outcome, Policy};
use hv_kvm_x86::{PcBoot, PcDevices, SerialPort, boot_pc};

/// A machine and what it is given.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) memory: u64,
    /// Taken out of RAM, with the kind the guest is told.
    pub(crate) carved: Vec<(GuestRange, RegionKind)>,
    pub(crate) vcpus: u32,
    pub(crate) acpi_rsdp: Option<u64>,
    pub(crate) initrd: Option<Vec<u8>>,
    pub(crate) modules: Vec<(Vec<u8>, &'static str)>,
    /// Typed into the guest's console as soon as it has printed the text.
    pub(crate) answer: Option<(&'static str, &'static [u8])>,
    pub(crate) on_shutdown: OnShutdown,
    pub(crate) deadline: Duration,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            memory: 256 << 20,
            carved: Vec::new(),
            vcpus: 1,
            acpi_rsdp: None,
            initrd: None,
            modules: Vec::new(),
            answer: None,
            on_shutdown: OnShutdown::Crash,
            deadline: Duration::from_mins(1),
        }
    }
}

impl Setup {
    pub(crate) fn memory_map(&self) -> MemoryMap {
        let mut map = MemoryMap::pc(self.memory).unwrap();
        for (range, kind) in &self.carved {
            map.carve(*range, *kind).unwrap();
        }
        map
    }
}

/// How a boot ended.
pub(crate) struct Run {
    pub(crate) outcome: Outcome,
    pub(crate) console: String,
    /// Where the kernel was placed.
    pub(crate) base: u64,
}

/// Boots the image `file` with `protocol`.
pub(crate) fn boot(
    file: &str,
    protocol: &str,
    setup: &Setup,
    cmdline: &str,
) -> Result<Run, Box<dyn std::error::Error>> {
    let kernel = File::open(super::fixtures::path(file))?;
    let image = detect(&vmboot::formats()?, &kernel)?;
    let mut machine = Machine::new(Arch::X86_64, setup.memory_map());
    machine.vcpus = NonZeroU32::new(setup.vcpus).ok_or("a machine without CPUs")?;
    machine.acpi_rsdp = setup.acpi_rsdp;
    let cmdline = Cmdline::parse(cmdline)?;
    let modules = setup
        .modules
        .iter()
        .map(|(bytes, line)| {
            Ok(Module {
                len: ByteSource::len(bytes)?,
                cmdline: Cmdline::parse(line)?,
            })
        })
        .collect::<Result<Vec<_>, Box<dyn std::error::Error>>>()?;
    let mut request = BootRequest::new(&image, &machine, &cmdline).with_modules(&modules);
    request.initrd_len = setup.initrd.as_ref().map(ByteSource::len).transpose()?;
    let protocols = vmboot::protocols()?;
    let protocol = protocols
        .iter()
        .find(|known| known.name() == protocol)
        .ok_or("no such protocol")?;
    let plan = protocol.plan(&request)?;

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
        ..Policy::default()
    };
    let devices = PcDevices {
        serial: Some(SerialPort::com1(console.clone())),
        ..PcDevices::default()
    };
    let state = plan.cpus().first().ok_or("a plan without CPUs")?;
    let pc = PcBoot {
        ram: &ram,
        vcpus: setup.vcpus,
        state,
        devices,
        policy: &policy,
    };
    let answer = setup.answer;
    let typed = console.clone();
    let outcome = boot_pc(pc, move |input| {
        if let Some((text, bytes)) = answer {
            typed.when(text, move || input.push(bytes).is_ok());
        }
    })?;
    Ok(Run {
        outcome,
        console: console.text(),
        base: plan.kernel().start(),
    })
}

/// A root pointer of ACPI 1.0 that points to no tables: signature, checksum, OEM, revision, address of the RSDT.
fn acpi_rsdp() -> [u8; 20] {
    let mut rsdp = *b"RSD PTR \0vmboot\0\0\0\0\0";
    let sum = rsdp.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
    rsdp[8] = sum.wrapping_neg();
    rsdp
}

/// Collects the guest's output, and may answer it.
#[derive(Clone, Default)]
struct Console(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    output: Vec<u8>,
    answer: Option<(&'static str, Answer)>,
}

type Answer = Box<dyn FnOnce() -> bool + Send>;

impl Console {
    fn when(&self, text: &'static str, answer: impl FnOnce() -> bool + Send + 'static) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).answer = Some((text, Box::new(answer)));
    }

    fn text(&self) -> String {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&state.output).into_owned()
    }
}

impl std::io::Write for Console {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.output.extend_from_slice(bytes);
        let State { output, answer } = &mut *state;
        let seen = |text: &str| output.windows(text.len()).any(|window| window == text.as_bytes());
        if answer.as_ref().is_some_and(|(text, _)| seen(text))
            && let Some((_, answer)) = answer.take()
        {
            // The serial port calls this while it is locked, so the answer comes from a thread of its own.
            std::thread::spawn(answer);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
