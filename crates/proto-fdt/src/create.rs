//! Creating the device tree of a machine.

mod cpus;
mod device_ranges;
mod devices;
mod interrupts;
mod nodes;
mod numa;
mod phandle;
mod topology;
mod validate;
mod writer;

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use boot_core::Machine;
use boot_core::machine::{Cpus, ReservedMemory};

use crate::chosen::Chosen;
use crate::error::CreateFdtError;
pub(crate) use device_ranges::device_ranges;
use interrupts::Wiring;
use writer::Writer;

/// Creates the flattened device tree of `machine` for one boot.
///
/// The tree follows the Devicetree Specification v0.4 and the Linux bindings that the parts of
/// [`Platform`](boot_core::machine::Platform) name. `stdout-path` is the first serial port. Equal arguments result in equal
/// bytes. For an existing tree use [`update_fdt`](crate::update_fdt).
///
/// ```
/// use boot_core::machine::{Arm64Cpu, Cpus};
/// use boot_core::{Arch, GuestRange, Machine, MemoryMap, RegionKind};
/// use proto_fdt::{Chosen, create_fdt};
///
/// let mut memory = MemoryMap::new();
/// memory.insert(GuestRange::new(0x8000_0000, 64 << 20).unwrap(), RegionKind::Ram)?;
/// let mut machine = Machine::new(Arch::Aarch64, memory);
/// machine.platform.cpus = Cpus::Arm64(vec![Arm64Cpu::new(0)]);
/// // Also set interrupt controller, timer, PSCI and devices.
///
/// let dtb = create_fdt(&machine, &Chosen::new().with_bootargs(b"console=ttyAMA0\0"))?;
/// # assert!(proto_fdt::device_tree::DeviceTree::parse(&dtb)?.root.child("memory@80000000").is_some());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`CreateFdtError`] if the platform is incomplete or inconsistent, or violates a binding.
pub fn create_fdt(machine: &Machine, chosen: &Chosen<'_>) -> Result<Vec<u8>, CreateFdtError> {
    validate::validate(machine)?;
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
        write_memory(tree, machine)?;
        write_reserved(tree, &platform.reserved_memory)?;
        cpus::write(tree, machine)?;
        if let Some(numa) = &machine.numa {
            numa::write_distances(tree, numa)?;
        }
        interrupts::write(tree, &wiring)?;
        devices::write(tree, platform, &wiring)?;
        nodes::write(tree, &platform.nodes, &wiring)
    })?;
    tree.finish()
}

/// Creates a device tree that has only `/chosen`, for a boot by ACPI tables: Linux on arm64 prefers them to a device tree that describes no hardware.
///
/// # Errors
///
/// [`CreateFdtError::Writer`].
pub fn create_chosen_fdt(cpus: &Cpus, chosen: &Chosen<'_>) -> Result<Vec<u8>, CreateFdtError> {
    let mut tree = Writer::new()?;
    tree.boot_cpu(boot_cpu_id(cpus));
    tree.root(|tree| {
        tree.cells("#address-cells", &[2])?;
        tree.cells("#size-cells", &[2])?;
        write_chosen(tree, chosen, None)
    })?;
    tree.finish()
}

/// The id of the boot CPU, which is the first CPU of the platform. `None` without CPUs.
///
/// On arm64 it is the affinity, on riscv64 the hart id, which `a0` contains at entry. It is the `reg` of the CPU's node.
#[must_use]
pub fn boot_cpu_id(cpus: &Cpus) -> Option<u64> {
    match cpus {
        Cpus::Arm64(cpus) => cpus.first().map(boot_core::machine::Arm64Cpu::affinity),
        Cpus::Riscv64(cpus) => cpus.harts.first().map(|hart| hart.hart_id),
        _ => None,
    }
}

fn write_chosen(
    tree: &mut Writer,
    chosen: &Chosen<'_>,
    stdout_path: Option<&str>,
) -> Result<(), CreateFdtError> {
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

/// The path of the console: the first serial port.
fn stdout_path(machine: &Machine) -> Option<String> {
    let console = machine.platform.serial.first()?;
    Some(format!("/{}", devices::serial_name(console)))
}

/// A node for each bank of RAM, or for each part of a bank that is in one NUMA node.
fn write_memory(tree: &mut Writer, machine: &Machine) -> Result<(), CreateFdtError> {
    let ranges: Vec<_> = match &machine.numa {
        Some(numa) => {
            let ranges = numa.ram(&machine.memory).into_iter();
            ranges.map(|(range, node)| (range, Some(node))).collect()
        }
        None => machine.memory.ram().map(|bank| (bank, None)).collect(),
    };
    ranges.into_iter().try_for_each(|(range, numa_node)| {
        tree.node(&format!("memory@{:x}", range.start()), |tree| {
            tree.string("device_type", "memory")?;
            tree.reg(&[range])?;
            numa::write_id(tree, numa_node)
        })
    })
}

fn write_reserved(tree: &mut Writer, reserved: &[ReservedMemory]) -> Result<(), CreateFdtError> {
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
