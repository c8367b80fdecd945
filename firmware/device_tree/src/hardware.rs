//! The hardware that the firmware uses.

use alloc::string::String;
use alloc::vec::Vec;

use boot_core::machine::PsciMethod;
use boot_core::{GuestRange, MemoryMap};
use fw_runtime::without;
use proto_fdt::device_tree::DeviceTree;
use proto_fdt::read::{self, PciHostBridge, ReadFdtError, RealTimeClock, SerialPort};
use proto_fdt::{ReservedRange, reserved_ranges};

use crate::pages::{PAGE, aligned_in};

/// The hardware that the firmware uses.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Hardware {
    /// RAM, with the reserved ranges.
    pub memory: MemoryMap,
    /// Ranges of RAM that belong to others.
    pub reserved: Vec<ReservedRange>,
    /// The console.
    pub console: Option<SerialPort>,
    /// Registers of virtio devices.
    pub virtio_mmio: Vec<GuestRange>,
    /// PCI hosts.
    pub pci_hosts: Vec<PciHostBridge>,
    /// Random bytes for the kernel.
    pub rng_seed: Option<Vec<u8>>,
    /// Random number for the kernel's address space layout.
    pub kaslr_seed: Option<u64>,
    /// The command line.
    pub command_line: String,
    /// The real-time clock.
    pub clock: Option<RealTimeClock>,
    /// How PSCI is called.
    pub psci: Option<PsciMethod>,
    /// Ticks per second of the `time` CSR of riscv64.
    pub timebase: Option<u32>,
}

impl Hardware {
    /// Reads the tree. Devices that cannot be read are reported, and left out.
    ///
    /// # Errors
    ///
    /// The memory of the machine cannot be read.
    pub fn read(tree: &DeviceTree<'_>, report: &mut dyn FnMut(&ReadFdtError)) -> Result<Self, ReadFdtError> {
        let mut or_none = |error| report(&error);
        Ok(Self {
            reserved: reserved_ranges(tree)?,
            console: read::serial_port(tree).map_err(&mut or_none).ok().flatten(),
            virtio_mmio: read::virtio_mmio(tree).map_err(&mut or_none).unwrap_or_default(),
            rng_seed: read::rng_seed(tree).map(<[u8]>::to_vec),
            kaslr_seed: read::kaslr_seed(tree),
            pci_hosts: read::pci_hosts(tree).map_err(&mut or_none).unwrap_or_default(),
            command_line: read::bootargs(tree).unwrap_or_default().into(),
            clock: read::real_time_clock(tree).map_err(&mut or_none).ok().flatten(),
            psci: read::psci_method(tree).map_err(&mut or_none).ok().flatten(),
            timebase: read::timebase_frequency(tree)
                .map_err(&mut or_none)
                .ok()
                .flatten(),
            ..Self::new(read::memory(tree)?)
        })
    }

    /// A machine with RAM only.
    pub(crate) const fn new(memory: MemoryMap) -> Self {
        Self {
            memory,
            reserved: Vec::new(),
            console: None,
            virtio_mmio: Vec::new(),
            pci_hosts: Vec::new(),
            rng_seed: None,
            kaslr_seed: None,
            command_line: String::new(),
            clock: None,
            psci: None,
            timebase: None,
        }
    }

    /// The RAM in whole pages, without `own` and without what the tree reserves with `no-map`.
    pub(crate) fn mapped_ram(&self, own: GuestRange) -> Vec<GuestRange> {
        let no_map = self.reserved.iter().filter(|reserved| reserved.no_map);
        let holes = no_map.filter_map(|reserved| reserved.range.aligned_out(PAGE));
        let mut ram: Vec<_> = self.memory.ram().filter_map(aligned_in).collect();
        for hole in holes.chain([own]) {
            ram = ram.iter().flat_map(|range| without(*range, hole)).collect();
        }
        ram
    }

    /// Takes seeds for the kernel that the tree does not have from `random`, which fills a buffer or returns false.
    pub(crate) fn add_seeds(&mut self, random: &mut dyn FnMut(&mut [u8]) -> bool) {
        /// Length of a seed in bytes, as QEMU has it.
        const SEED_LEN: usize = 32;
        if self.rng_seed.is_none() {
            let mut seed = [0; SEED_LEN];
            self.rng_seed = random(&mut seed).then(|| seed.to_vec());
        }
        if self.kaslr_seed.is_none() {
            let mut seed = [0; 8];
            self.kaslr_seed = random(&mut seed).then(|| u64::from_le_bytes(seed));
        }
    }

    /// Registers and windows of the devices, in no order; they may overlap.
    pub fn device_ranges(&self) -> impl Iterator<Item = GuestRange> + '_ {
        let windows = |host: &PciHostBridge| {
            let windows = host.windows.iter().map(|window| window.range);
            windows.chain([host.ecam]).collect::<Vec<_>>()
        };
        let console = self.console.iter().map(|port| port.range);
        let clock = self.clock.iter().map(|clock| clock.range);
        console
            .chain(clock)
            .chain(self.virtio_mmio.iter().copied())
            .chain(self.pci_hosts.iter().flat_map(windows))
    }
}
