//! Configuration of a boot.

use std::num::NonZeroU32;
use std::time::Duration;

use boot_core::machine::{Numa, ReservedMemory, Topology};
use boot_core::{GuestRange, RegionKind};
use boot_smbios::Identity;
use hv_core::{ShutdownPolicy, UnhandledAccessPolicy};

use hv_virtio::DiskMode;

use super::board::Board;
use super::console::Answer;

/// A machine, its initrd, modules and seeds, and the configuration of its run.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) board: Board,
    pub(crate) memory: u64,
    /// Further ranges of RAM.
    pub(crate) banks: Vec<GuestRange>,
    /// Ranges removed from RAM, with the kind in the memory map of the guest.
    pub(crate) other_regions: Vec<(GuestRange, RegionKind)>,
    /// Reserved RAM.
    pub(crate) reserved: Vec<ReservedMemory>,
    pub(crate) vcpus: NonZeroU32,
    /// The NUMA nodes.
    pub(crate) numa: Option<Numa>,
    /// The topology of the CPUs.
    pub(crate) topology: Option<Topology>,
    /// Address of an ACPI 1.0 root pointer without tables.
    pub(crate) acpi_rsdp: Option<u64>,
    /// Whether the machine has ACPI tables: an arm64 or riscv64 machine in place of a device tree.
    pub(crate) has_acpi: bool,
    /// What the SMBIOS tables of the machine tell, if it has them.
    pub(crate) smbios: Option<Identity>,
    pub(crate) initrd: Option<Vec<u8>>,
    pub(crate) modules: Vec<(Vec<u8>, &'static str)>,
    pub(crate) seeds: Option<Seeds>,
    /// Number that chooses the addresses of the kernel: the physical one, and the virtual one of a vmlinux with relocations.
    pub(crate) kaslr: Option<u64>,
    pub(crate) loading: Loading,
    pub(crate) disks: Vec<DiskSetup>,
    /// Input for the console, in order.
    pub(crate) answers: Vec<Answer>,
    /// Text of the guest that stops the run.
    pub(crate) stop_at: Option<&'static str>,
    /// Debug-exit page; a PC has none.
    pub(crate) exit_page: Option<u64>,
    pub(crate) shutdown: ShutdownPolicy,
    pub(crate) unhandled_access: UnhandledAccessPolicy,
    pub(crate) deadline: Duration,
}

/// How files get into guest memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loading {
    Copy,
    /// They are copied to small pages that userfaultfd makes.
    Make,
    /// Their pages are mapped.
    Map,
    /// The whole boot is prepared, and its pages are mapped.
    Prepared,
    /// The same from a file, as another process does.
    PreparedInFile,
}

/// Randomness for the guest.
#[derive(Clone, Copy)]
pub(crate) struct Seeds {
    pub(crate) rng: &'static [u8],
    /// `None` for protocols that cannot hand it over.
    pub(crate) kaslr: Option<u64>,
}

/// A virtio disk.
#[derive(Clone)]
pub(crate) struct DiskSetup {
    pub(crate) content: DiskContent,
    pub(crate) mode: DiskMode,
}

/// What is on a disk.
#[derive(Clone)]
pub(crate) enum DiskContent {
    Bytes(Vec<u8>),
    /// A file below the fixtures directory.
    Fixture(String),
}

impl Setup {
    /// 256 MiB and one CPU, without initrd, modules and seeds.
    pub(crate) fn of(board: Board) -> Self {
        Self {
            board,
            memory: 256 << 20,
            banks: Vec::new(),
            other_regions: Vec::new(),
            reserved: Vec::new(),
            vcpus: NonZeroU32::MIN,
            numa: None,
            topology: None,
            acpi_rsdp: None,
            has_acpi: false,
            smbios: None,
            initrd: None,
            modules: Vec::new(),
            seeds: None,
            kaslr: None,
            loading: Loading::Copy,
            disks: Vec::new(),
            answers: Vec::new(),
            stop_at: None,
            exit_page: None,
            shutdown: ShutdownPolicy::Crash,
            unhandled_access: UnhandledAccessPolicy::Ignore,
            deadline: Duration::from_mins(1),
        }
    }
}
