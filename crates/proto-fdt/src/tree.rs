//! Writing the device tree of a machine.

pub(crate) mod check;
mod cpus;
mod devices;
mod interrupts;
mod node;

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use boot_core::machine::{Cpus, ReservedMemory};
use boot_core::{GuestRange, Machine};

use crate::TreeError;
use interrupts::Wiring;
use node::Writer;

/// What a device tree says about one boot, in `/chosen` (Devicetree Specification, "/chosen Node"; the schema
/// `chosen.yaml` of dt-schema).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Chosen<'a> {
    /// The kernel command line with its terminating NUL, as [`Cmdline::to_bytes`](boot_core::Cmdline::to_bytes)
    /// gives it. Empty for no `bootargs` at all.
    pub bootargs: &'a [u8],
    /// Where the initrd is: `linux,initrd-start` and, exclusive, `linux,initrd-end`.
    pub initrd: Option<GuestRange>,
    /// Random bytes for the entropy pool: `rng-seed`.
    pub rng_seed: Option<&'a [u8]>,
    /// A random number to place the kernel's virtual addresses by: `kaslr-seed`.
    pub kaslr_seed: Option<u64>,
}

/// The handles by which nodes refer to each other.
mod phandle {
    pub(super) const INTERRUPT_CONTROLLER: u32 = 1;
    pub(super) const MSI_CONTROLLER: u32 = 2;
    pub(super) const SYSCON: u32 = 3;
    /// The first fixed clock; the serial ports have one each at the most.
    pub(super) const CLOCKS: u32 = 0x1000_0000;
    /// The interrupt controller of the first hart; the others follow.
    pub(super) const HARTS: u32 = 0x2000_0000;
}

/// Writes the device tree of `machine` for one boot.
///
/// Equal machines and boots give equal bytes. The tree follows the Devicetree Specification v0.4 and the Linux
/// bindings that each part of [`Platform`](boot_core::machine::Platform) names.
///
/// # Errors
///
/// [`TreeError`] where the platform contradicts itself, or asks for something that has no words in a device tree.
pub fn write(machine: &Machine, chosen: &Chosen<'_>) -> Result<Vec<u8>, TreeError> {
    check::check(machine)?;
    let platform = &machine.platform;
    let wiring = Wiring::new(machine);
    let mut tree = Writer::new()?;
    tree.boot_cpu(boot_cpu_id(&platform.cpus));
    tree.root(|tree| {
        tree.cells("#address-cells", &[2])?;
        tree.cells("#size-cells", &[2])?;
        if !platform.model.is_empty() {
            tree.string("model", &platform.model)?;
        }
        if !platform.compatible.is_empty() {
            tree.strings("compatible", platform.compatible.iter().map(|name| &**name))?;
        }
        if wiring.is_described() {
            tree.cells("interrupt-parent", &[phandle::INTERRUPT_CONTROLLER])?;
        }
        write_chosen(tree, chosen, stdout_path(machine).as_deref())?;
        devices::write_aliases(tree, platform)?;
        for bank in machine.memory.ram() {
            tree.node(&format!("memory@{:x}", bank.start()), |tree| {
                tree.string("device_type", "memory")?;
                tree.reg(&[bank])
            })?;
        }
        write_reserved(tree, &platform.reserved_memory)?;
        cpus::write(tree, machine)?;
        interrupts::write(tree, &wiring)?;
        devices::write(tree, platform, &wiring)
    })?;
    tree.finish()
}

/// The id of the CPU that boots: its `reg` in the tree, and on riscv64 what `a0` holds.
#[must_use]
pub fn boot_cpu_id(cpus: &Cpus) -> Option<u64> {
    match cpus {
        Cpus::Arm64(cpus) => cpus.first().map(boot_core::machine::Arm64Cpu::affinity),
        Cpus::Riscv64(cpus) => cpus.harts.first().map(|hart| hart.hart_id),
        _ => None,
    }
}

fn write_chosen(tree: &mut Writer, chosen: &Chosen<'_>, stdout_path: Option<&str>) -> Result<(), TreeError> {
    tree.node("chosen", |tree| {
        for (name, value) in chosen.properties() {
            tree.bytes(name, &value)?;
        }
        match stdout_path {
            Some(path) => tree.string("stdout-path", path),
            None => Ok(()),
        }
    })
}

impl Chosen<'_> {
    /// Every property that a [`Chosen`] may write.
    pub(crate) const NAMES: [&'static str; 5] = [
        "bootargs",
        "linux,initrd-start",
        "linux,initrd-end",
        "rng-seed",
        "kaslr-seed",
    ];

    /// The properties that it writes, with their values.
    pub(crate) fn properties(&self) -> Vec<(&'static str, Vec<u8>)> {
        let number = |value: u64| value.to_be_bytes().to_vec();
        let [bootargs, start, end, rng, kaslr] = Self::NAMES;
        [
            (!self.bootargs.is_empty()).then(|| (bootargs, self.bootargs.to_vec())),
            self.initrd.map(|initrd| (start, number(initrd.start()))),
            self.initrd.map(|initrd| (end, number(initrd.end()))),
            self.rng_seed.map(|seed| (rng, seed.to_vec())),
            self.kaslr_seed.map(|seed| (kaslr, number(seed))),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// The path of the console.
fn stdout_path(machine: &Machine) -> Option<String> {
    let console = machine.platform.serial.first()?;
    Some(format!("/{}", devices::serial_name(console)))
}

fn write_reserved(tree: &mut Writer, reserved: &[ReservedMemory]) -> Result<(), TreeError> {
    if reserved.is_empty() {
        return Ok(());
    }
    tree.node("reserved-memory", |tree| {
        tree.cells("#address-cells", &[2])?;
        tree.cells("#size-cells", &[2])?;
        tree.bytes("ranges", &[])?;
        reserved.iter().try_for_each(|memory| {
            tree.node(&format!("{}@{:x}", memory.name, memory.range.start()), |tree| {
                tree.reg(&[memory.range])?;
                tree.flag("no-map", memory.no_map)
            })
        })
    })
}
