//! EFI on a machine with a device tree.
#![expect(unsafe_code, reason = "memory and devices of the machine")]

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use boot_core::GuestRange;
use boot_paging::Access;
use disk::BlockDevice;
use efi_abi::{Platform, RuntimeHooks, Status, guids};
use efi_core::memory::{Attributes, Descriptor, MapConfig, MemoryMap, MemoryType, PAGE_SIZE, Placement};
use fw_boot::Chain;
use fw_efi::{Disk, InUse, Options, Setup, map_of, path};
use fw_runtime::Console;
use fw_virtio::EntropySource;
use proto_fdt::device_tree::DeviceTree;

use crate::clock;
use crate::disks::{Devices, FoundDisk};
use crate::hardware::Hardware;
use crate::layout::Layout;
use crate::pages::PAGE;
use crate::print::print;
use crate::target::Target;

/// Why there is no EFI.
#[derive(Debug)]
enum EfiError {
    /// The device tree cannot be changed for the kernel.
    Tree,
    /// The memory map cannot be made.
    Map(Status),
    /// RAM cannot be made executable.
    Access {
        /// The RAM.
        range: GuestRange,
        /// Cause.
        status: Status,
    },
}

impl fmt::Display for EfiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tree => f.write_str("the device tree is too long for EFI"),
            Self::Map(_) => f.write_str("the memory map of EFI cannot be made"),
            Self::Access { range, .. } => write!(f, "memory at {range} cannot be given to EFI programs"),
        }
    }
}

impl core::error::Error for EfiError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Tree => None,
            Self::Map(status) | Self::Access { status, .. } => Some(status),
        }
    }
}

/// Boots with EFI. Returns, after messages, when nothing can be booted or all programs have returned.
///
/// # Safety
///
/// `hardware` is that of the machine, `layout` is the firmware's memory, and `tree` the device tree of the VMM. RAM and devices are mapped at
/// their physical addresses, or addresses are not translated, and nothing but the firmware and what is reserved is in use. The stack has
/// 128 KiB for each level of programs.
pub(crate) unsafe fn boot<T: Target>(
    mut target: T,
    hardware: &Hardware,
    layout: &Layout,
    tree: &[u8],
    devices: Devices,
) {
    let out = target.console();
    let failed = |error: EfiError| print(out, format_args!("{}", Chain(&error)));
    let Ok((map, tables)) = prepare(&mut target, hardware, layout, tree).map_err(failed) else {
        return;
    };
    let (context, get_time, set_time) = clock::hooks::<T::Registers>(hardware.clock.as_ref());
    let hooks = RuntimeHooks {
        context,
        get_time,
        set_time,
        reset: target.reset(hardware),
    };
    let port = hardware.console.as_ref();
    let console = port.and_then(|port| path::uart(path::mmio(port.range).ok()?).ok());
    let (platform, disks) = EfiPlatform::new(target, layout, devices);
    let setup = Setup {
        default: T::DEFAULT_PROGRAM,
        platform: Box::new(platform),
        hooks,
        map,
        console: console.unwrap_or_default(),
        tables,
        disks,
    };
    // SAFETY: the map has the RAM of the machine with what is in use, all free RAM is mapped with all access, and code and data of the firmware
    // are in runtime regions. The caller guarantees the stack.
    let error = unsafe { fw_efi::boot(setup, &mut |event| print(out, format_args!("{event}"))) };
    print(out, format_args!("{}", Chain(&error)));
}

/// The memory map and the configuration tables; the CPU is then in the state for EFI.
fn prepare<T: Target>(
    target: &mut T,
    hardware: &Hardware,
    layout: &Layout,
    tree: &[u8],
) -> Result<(MemoryMap, Vec<(efi_abi::Guid, u64)>), EfiError> {
    let tree = kernel_tree(tree, &hardware.command_line).ok_or(EfiError::Tree)?;
    target.prepare_efi(hardware);
    for range in hardware.mapped_ram(layout.whole()) {
        let access = Access::WRITE | Access::EXECUTE;
        match target.protect(range.start(), range.len(), access) {
            // Without page tables, programs have all access.
            Ok(()) | Err(Status::UNSUPPORTED) => {}
            Err(status) => return Err(EfiError::Access { range, status }),
        }
    }
    let config = MapConfig::default()
        .with_runtime_granularity(T::RUNTIME_PAGES)
        .with_small_range(T::SMALL_RANGE);
    let mut map = memory_map(hardware, layout, config).map_err(EfiError::Map)?;
    let len = u64::try_from(tree.len()).unwrap_or(u64::MAX);
    // A kernel reads the tree after it has freed memory of boot services (EBBR 2.1, section 2.3.1).
    let place = map.allocate(Placement::Any, MemoryType::ACPI_RECLAIM, len.div_ceil(PAGE_SIZE));
    let place = place.map_err(EfiError::Map)?;
    let pointer = core::ptr::with_exposed_provenance_mut::<u8>(usize::try_from(place).unwrap_or_default());
    // SAFETY: the map has just given these pages, which are mapped RAM that nobody else uses.
    unsafe { core::ptr::copy_nonoverlapping(tree.as_ptr(), pointer, tree.len()) };
    Ok((map, Vec::from([(guids::DEVICE_TREE, place)])))
}

/// The tree for the kernel: without the options of the firmware on the command line. `None` if it is too long.
fn kernel_tree(bytes: &[u8], command_line: &str) -> Option<Vec<u8>> {
    let mut tree = DeviceTree::parse(bytes).ok()?;
    let options: Vec<&str> = Options(command_line).of_kernel().collect();
    let mut options = options.join(" ").into_bytes();
    options.push(0);
    let chosen = tree.root.children.iter_mut().find(|node| node.name == "chosen");
    let mut properties = chosen.into_iter().flat_map(|node| &mut node.properties);
    if let Some(property) = properties.find(|property| property.name == "bootargs") {
        property.value = Cow::Owned(options);
    }
    tree.to_bytes()
}

/// The memory map: RAM, what of it is in use, and the registers of the clock.
fn memory_map(hardware: &Hardware, layout: &Layout, config: MapConfig) -> Result<MemoryMap, Status> {
    let unit = config.runtime_granularity.saturating_mul(PAGE_SIZE);
    let runtime = |range: GuestRange, kind| Some(InUse::new(range.aligned_out(unit)?, kind));
    let own = [
        runtime(layout.code, MemoryType::RUNTIME_SERVICES_CODE),
        runtime(layout.constants, MemoryType::RUNTIME_SERVICES_DATA),
        runtime(layout.variables, MemoryType::RUNTIME_SERVICES_DATA),
        Some(InUse::new(layout.boot, MemoryType::BOOT_SERVICES_DATA)),
    ];
    // The kernel reads from the tree that these belong to others (EBBR 2.1, section 2.3.1).
    let reserved = hardware.reserved.iter().map(|reserved| {
        let kind = if reserved.no_map {
            MemoryType::RESERVED
        } else {
            MemoryType::BOOT_SERVICES_DATA
        };
        InUse::new(reserved.range, kind)
    });
    let in_use: Vec<_> = own.into_iter().flatten().chain(reserved).collect();
    let mut map = map_of(&hardware.memory, &in_use, config)?;
    let clock = hardware.clock.as_ref();
    if let Some(registers) = clock.and_then(|clock| clock.range.aligned_out(PAGE)) {
        map.add(&Descriptor {
            kind: MemoryType::MMIO,
            start: registers.start(),
            pages: registers.len() / PAGE_SIZE,
            attributes: Attributes::UC | Attributes::RUNTIME,
        })?;
    }
    Ok(map)
}

/// The devices of the machine for boot services.
struct EfiPlatform<T> {
    target: T,
    console: &'static dyn Console,
    layout: Layout,
    /// The drivers, which the firmware uses by reference until boot services end.
    drivers: Vec<*mut dyn BlockDevice>,
    /// A source of random bytes for CPUs without one.
    entropy: Option<Box<dyn EntropySource>>,
}

impl<T: Target> EfiPlatform<T> {
    /// The platform, and its disks for EFI.
    fn new(target: T, layout: &Layout, devices: Devices) -> (Self, Vec<Disk>) {
        let mut drivers = Vec::new();
        let mut found = Vec::new();
        for FoundDisk { driver, path } in devices.disks {
            let driver = Box::into_raw(driver);
            drivers.push(driver);
            // SAFETY: the driver was just leaked. It is dropped at the end of boot services, when nobody uses disks any more.
            let device = unsafe { &*driver };
            found.push(Disk { device, path });
        }
        let platform = Self {
            console: target.console(),
            target,
            layout: *layout,
            drivers,
            entropy: devices.entropy,
        };
        (platform, found)
    }
}

/// 100 ns in a second.
const UNITS_PER_SECOND: u128 = 10_000_000;

impl<T: Target> Platform for EfiPlatform<T> {
    fn write_console(&mut self, text: &[u8]) {
        for byte in text {
            self.console.send(*byte);
        }
    }

    fn read_console(&mut self) -> Option<u8> {
        self.console.receive()
    }

    fn monotonic(&mut self) -> u64 {
        let (ticks, per_second) = self.target.counter();
        let units = u128::from(ticks) * UNITS_PER_SECOND / u128::from(per_second.max(1));
        u64::try_from(units).unwrap_or(u64::MAX)
    }

    fn random(&mut self, buffer: &mut [u8]) -> bool {
        self.target.random(buffer) || self.entropy.as_ref().is_some_and(|entropy| entropy.fill(buffer))
    }

    fn protect(&mut self, start: u64, len: u64, attributes: Attributes) -> Result<(), Status> {
        // Neither architecture has pages that can be executed and not read.
        if attributes.contains(Attributes::RP) {
            return Err(Status::UNSUPPORTED);
        }
        let range = GuestRange::new(start, len).ok_or(Status::INVALID_PARAMETER)?;
        // The firmware keeps the access to its own memory.
        if range.overlaps(self.layout.whole()) {
            return Err(Status::ACCESS_DENIED);
        }
        let mut access = Access::empty();
        access.set(Access::WRITE, !attributes.contains(Attributes::RO));
        access.set(Access::EXECUTE, !attributes.contains(Attributes::XP));
        self.target.protect(start, len, access)
    }

    fn sync_code(&mut self, start: u64, len: u64) {
        if let Some(range) = GuestRange::new(start, len) {
            self.target.sync_code(range);
        }
    }

    fn boot_hart(&self) -> Option<u64> {
        self.target.boot_hart()
    }

    fn exit_boot_services(&mut self) {
        self.entropy = None;
        for driver in self.drivers.drain(..) {
            // SAFETY: `new` leaked the driver, and nobody uses it after the end of boot services.
            drop(unsafe { Box::from_raw(driver) });
        }
    }
}

#[cfg(test)]
mod tests {
    use boot_core::{MemoryMap as MachineMap, RegionKind};
    use proto_fdt::ReservedRange;
    use proto_fdt::device_tree::Node;

    use super::*;

    fn range(start: u64, end: u64) -> GuestRange {
        GuestRange::from_bounds(start, end).unwrap()
    }

    /// A machine with 8 MiB of RAM, a reserved page of each kind, and a clock.
    fn hardware() -> Hardware {
        let mut memory = MachineMap::new();
        memory
            .insert(range(0x4000_0000, 0x4080_0000), RegionKind::Ram)
            .unwrap();
        let mut hardware = Hardware::new(memory);
        hardware.reserved = Vec::from([
            ReservedRange::new(range(0x4000_0000, 0x4000_1000), true),
            ReservedRange::new(range(0x4000_1000, 0x4000_2000), false),
        ]);
        let mut rtc = Node::new("rtc@9010000");
        rtc.push_property("compatible", b"arm,pl031\0".as_slice());
        rtc.push_property("reg", [0, 0x901_0000, 0x1000_u32].map(u32::to_be_bytes).concat());
        let mut root = Node::new("");
        root.children.push(rtc);
        hardware.clock = proto_fdt::read::real_time_clock(&DeviceTree::new(root)).unwrap();
        hardware
    }

    #[test]
    fn runtime_regions_are_whole_units() {
        // The firmware is not at a multiple of 64 KiB.
        let layout = Layout {
            code: range(0x4020_1000, 0x4021_1000),
            constants: range(0x4021_1000, 0x4022_1000),
            variables: range(0x4022_1000, 0x4023_1000),
            boot: range(0x4023_1000, 0x4025_0000),
            guard: range(0x4023_2000, 0x4023_3000),
        };
        let config = MapConfig::default().with_runtime_granularity(16);
        let map = memory_map(&hardware(), &layout, config).unwrap();
        let found: Vec<_> = map
            .descriptors()
            .map(|region| (region.start, region.start + region.len(), region.kind))
            .collect();
        let [code, data] = [
            MemoryType::RUNTIME_SERVICES_CODE,
            MemoryType::RUNTIME_SERVICES_DATA,
        ];
        let [boot, free] = [MemoryType::BOOT_SERVICES_DATA, MemoryType::CONVENTIONAL];
        let expected = [
            (0x901_0000, 0x901_1000, MemoryType::MMIO),
            (0x4000_0000, 0x4000_1000, MemoryType::RESERVED),
            (0x4000_1000, 0x4000_2000, boot),
            (0x4000_2000, 0x4020_0000, free),
            (0x4020_0000, 0x4022_0000, code),
            (0x4022_0000, 0x4024_0000, data),
            (0x4024_0000, 0x4025_0000, boot),
            (0x4025_0000, 0x4080_0000, free),
        ];
        assert_eq!(found, expected);
        let is_runtime = |address| {
            map.at(address)
                .unwrap()
                .0
                .attributes
                .contains(Attributes::RUNTIME)
        };
        assert_eq!(
            [0x901_0000, 0x4020_0000, 0x4022_0000, 0x4024_0000].map(is_runtime),
            [true, true, true, false]
        );
    }

    #[test]
    fn kernels_do_not_get_options_of_the_firmware() {
        let tree = |bootargs: &[u8]| {
            let mut chosen = Node::new("chosen");
            chosen.push_property("bootargs", bootargs.to_vec());
            let mut root = Node::new("");
            root.children.push(chosen);
            DeviceTree::new(root).to_bytes().unwrap()
        };
        let line = "quiet firmware.boot=efi x=1";
        let changed = kernel_tree(&tree(b"quiet firmware.boot=efi x=1\0"), line);
        assert_eq!(changed, Some(tree(b"quiet x=1\0")));
        let root = DeviceTree::new(Node::new("")).to_bytes().unwrap();
        assert_eq!(kernel_tree(&root, ""), Some(root.clone()));
        assert_eq!(kernel_tree(&root[..8], ""), None);
    }
}
