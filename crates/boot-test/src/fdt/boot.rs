//! A generated boot by device tree, and the requirements that its plan must meet.

use arbitrary::{Result, Unstructured};
use boot_core::machine::{Cpus, MmuType, Platform};
use boot_core::{
    Arch, BootFile, BootPlan, BootProtocol, BootRequest, Cmdline, Constraints, CpuState, Endian, EntryAbi,
    GuestRange, ImageBuilder, KernelImage, Load, LoadContent, Machine, Placement, PlanError, SourceRange,
};
use dtoolkit::fdt::Fdt;
use dtoolkit::{Node as _, Property as _};

use super::machine::machine;
use crate::odds::{maybe, number, one_in, pick};
use crate::variations;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// A boot of an arm64 or riscv64 machine.
#[derive(Clone, Debug)]
pub struct FdtBoot {
    machine: Machine,
    image: KernelImage,
    cmdline: Cmdline,
    initrd_len: Option<u64>,
    rng_seed: Vec<u8>,
    kaslr_seed: u64,
    /// A tree of the caller.
    tree: Option<Vec<u8>>,
    /// Reserved memory, and whether the guest must not map it.
    reserved: Vec<(GuestRange, bool)>,
    /// The id of the boot CPU.
    boot_cpu: u64,
}

impl FdtBoot {
    /// A boot of a generated machine of `arch`, aarch64 or riscv64. One boot in three has a tree of the caller, made by
    /// `create_fdt` for the machine and these memory reservations.
    ///
    /// # Errors
    ///
    /// None of its own; see [`Unstructured::int_in_range`].
    ///
    /// # Panics
    ///
    /// Never: all generated values are valid.
    pub fn new(
        u: &mut Unstructured<'_>,
        arch: Arch,
        create_fdt: impl FnOnce(&Machine, Vec<GuestRange>) -> Vec<u8>,
    ) -> Result<Self> {
        let mut machine = machine(u, arch)?;
        let image = image(u, &machine)?;
        let boot_cpu = match &machine.platform.cpus {
            Cpus::Arm64(cpus) => cpus[0].affinity(),
            Cpus::Riscv64(cpus) => cpus.harts[0].hart_id,
            other => panic!("{other:?}"),
        };
        let mut reserved: Vec<_> = machine
            .platform
            .reserved_memory
            .iter()
            .map(|memory| (memory.range, memory.no_map))
            .collect();
        let tree = if one_in(u, 3)? {
            let mut reservations = Vec::new();
            for _ in 0..u.int_in_range(0..=2u8)? {
                // In RAM, outside of it, across its end, or over another one.
                let ram = machine.memory.ram().next().map_or(0, GuestRange::start);
                let range = GuestRange::new(ram + number(u, 32)?, number(u, 24)?).unwrap();
                reservations.push(range);
                reserved.push((range, false));
            }
            let tree = create_fdt(&machine, reservations);
            machine.platform = Platform::new();
            Some(tree)
        } else {
            None
        };
        let boot_cpu = match tree {
            // `boot_cpuid_phys` has 32 bits; it is 0 for a larger id.
            Some(_) => u64::from(u32::try_from(boot_cpu).unwrap_or(0)),
            None => boot_cpu,
        };
        let len = pick(u, &[0, 20, 40, 100, 200, 300, 900, 1022, 1023, 1024, 2046, 2048])?;
        let mut line = "root=/dev/vda quiet ".repeat(len / 20 + 1);
        line.truncate(len);
        let initrd_len = match u.int_in_range(0..=3u8)? {
            0 => None,
            1 if one_in(u, 3)? => Some(number(u, 38)?),
            _ => Some(number(u, 26)? - u64::from(one_in(u, 8)?)),
        };
        // Below all RAM, or in it, which is refused.
        machine.acpi_rsdp = maybe(u, 4, |u| pick(u, &[0x800, 0x800, 0x800, 0x8000_0000]))?;
        Ok(Self {
            machine,
            image,
            cmdline: line.parse().unwrap(),
            initrd_len,
            rng_seed: vec![7; usize::from(u.arbitrary::<u8>()?)],
            kaslr_seed: number(u, 64)?,
            tree,
            reserved,
            boot_cpu,
        })
    }

    fn request(&self) -> BootRequest<'_> {
        let request = BootRequest::new(&self.image, &self.machine, &self.cmdline)
            .with_rng_seed(&self.rng_seed)
            .with_kaslr_seed(self.kaslr_seed);
        let request = match self.initrd_len {
            Some(len) => request.with_initrd(len),
            None => request,
        };
        match &self.tree {
            Some(tree) => request.with_device_tree(tree),
            None => request,
        }
    }

    /// Plans the boot by `protocol` and checks the plan.
    ///
    /// # Errors
    ///
    /// The error of the planner, which is not a failure of the check.
    ///
    /// # Panics
    ///
    /// If the plan does not meet a requirement.
    pub fn check(&self, protocol: &dyn BootProtocol) -> std::result::Result<(), PlanError> {
        let plan = protocol.plan(&self.request())?;
        self.check_plan(&plan);
        Ok(())
    }

    /// Checks plans of variations of this boot, if it can be planned.
    ///
    /// # Panics
    ///
    /// If one of these plans does not meet a requirement.
    pub fn check_variations(&self, protocol: &dyn BootProtocol) {
        let request = self.request();
        if let Ok(plan) = protocol.plan(&request) {
            let checked = variations::check(protocol, &request, &plan);
            assert_eq!(checked, Ok(()));
        }
    }

    fn check_plan(&self, plan: &BootPlan) {
        let kernel = plan.kernel();
        let find = |label: &str| plan.loads().iter().find(|load| load.label == label);
        let dtb = find("device tree").expect("a device tree");
        let initrd = find("initrd");
        assert_eq!(
            initrd.map(|load| load.range.len()),
            self.initrd_len.filter(|len| *len > 0)
        );
        self.check_kernel(plan, kernel);
        self.check_free(plan, kernel, dtb);
        let LoadContent::Bytes(bytes) = &dtb.content else {
            panic!("the device tree is made of bytes");
        };
        assert!(dtb.range.start().is_multiple_of(8) && bytes.len() as u64 == dtb.range.len());
        assert!(dtb.range.len() <= 2 * MIB);
        assert_eq!(
            dtb.range.start() / (2 * MIB),
            (dtb.range.end() - 1) / (2 * MIB),
            "the tree crosses a boundary of 2 MiB"
        );
        if self.machine.arch == Arch::Aarch64 {
            let all = initrd.map_or(kernel, |initrd| initrd.range.span(kernel));
            let window = all.aligned_out(GIB).unwrap();
            assert!(window.len() <= 32 * GIB, "{initrd:?}, kernel {kernel}");
        } else {
            let first = self.machine.memory.ram().next().unwrap().start();
            let mapped = first + direct_mapping(&self.machine.platform.cpus);
            assert!(dtb.range.end() <= mapped && kernel.end() <= mapped);
            assert!(initrd.is_none_or(|initrd| initrd.range.end() <= mapped));
            assert!(find("EFI tables").is_none_or(|tables| tables.range.end() <= mapped));
        }
        self.check_tree(bytes, initrd.map(|load| load.range), find("EFI tables"));
        self.check_cpu(plan, kernel, dtb.range.start());
    }

    /// The kernel is at an address that its placement rule allows, and its segments keep their distances.
    fn check_kernel(&self, plan: &BootPlan, kernel: GuestRange) {
        let link = self.image.extent();
        assert_eq!(kernel.len(), link.len());
        if let Placement::Relocatable(rule) = self.image.placement() {
            assert_eq!(kernel.start() % rule.align, rule.align_offset);
        } else {
            assert_eq!(kernel, link);
        }
        if self.image.entry(EntryAbi::RISCV_IMAGE).is_some() {
            assert!(kernel.start().is_multiple_of(2 * MIB));
        }
        for segment in self.image.segments() {
            let start = segment.range.start() - link.start() + kernel.start();
            let at = |load: &&Load| load.is_kernel() && load.range.start() == start;
            let load = plan.loads().iter().find(at).expect("the segment");
            if !segment.source.is_empty() {
                let content = LoadContent::File {
                    id: BootFile::Kernel,
                    range: segment.source,
                };
                assert_eq!(
                    (load.range.len(), &load.content),
                    (segment.source.len(), &content)
                );
            }
        }
    }

    /// All loads are in RAM and overlap neither each other nor reserved memory.
    fn check_free(&self, plan: &BootPlan, kernel: GuestRange, dtb: &Load) {
        let ram: Vec<_> = self.machine.memory.ram().collect();
        for (i, load) in plan.loads().iter().enumerate() {
            assert!(
                ram.iter().any(|ram| ram.contains(load.range)),
                "{load:?} is not in RAM"
            );
            assert!(
                plan.loads()
                    .iter()
                    .skip(i + 1)
                    .all(|other| !load.range.overlaps(other.range))
            );
            assert!(load.is_kernel() || !load.range.overlaps(kernel) || !self.uses_extent());
            for (reserved, _) in &self.reserved {
                assert!(!reserved.overlaps(load.range), "{load:?} in reserved {reserved}");
            }
        }
        for (reserved, no_map) in &self.reserved {
            assert!(!self.uses_extent() || !reserved.overlaps(kernel));
            let block = reserved.aligned_out(2 * MIB).unwrap();
            assert!(
                !no_map || !block.overlaps(dtb.range),
                "{dtb:?} too near to {reserved}"
            );
            // The largest page size of a kernel: Linux reserves an initrd by whole pages.
            let pages = reserved.aligned_out(0x1_0000).unwrap();
            let initrd = plan.loads().iter().find(|load| load.label == "initrd");
            assert!(
                !no_map || initrd.is_none_or(|initrd| !pages.overlaps(initrd.range)),
                "{initrd:?} too near to {reserved}"
            );
        }
    }

    /// Whether the kernel uses all of its extent, not only its segments.
    fn uses_extent(&self) -> bool {
        matches!(self.image.placement(), Placement::Relocatable(_))
    }

    /// An independent parser reads the boot parameters and the memory from the tree.
    fn check_tree(&self, dtb: &[u8], initrd: Option<GuestRange>, efi: Option<&Load>) {
        let fdt = Fdt::new(dtb).unwrap();
        let chosen = fdt.find_node("/chosen").unwrap();
        let value = |name: &str| chosen.property(name).map(|property| property.value().to_vec());
        let number = |value: u64| value.to_be_bytes().to_vec();
        assert_eq!(
            value("linux,initrd-start"),
            initrd.map(|range| number(range.start()))
        );
        assert_eq!(value("linux,initrd-end"), initrd.map(|range| number(range.end())));
        assert_eq!(value("kaslr-seed"), Some(number(self.kaslr_seed)));
        assert_eq!(value("rng-seed").as_ref(), Some(&self.rng_seed));
        let line = self.cmdline.to_string();
        assert_eq!(
            value("bootargs"),
            (!line.is_empty()).then(|| format!("{line}\0").into_bytes())
        );
        let system_table = efi.map(|load| number(load.range.start()));
        assert_eq!(value("linux,uefi-system-table"), system_table);
        assert_eq!(efi.is_some(), self.machine.acpi_rsdp.is_some());
        let mut banks: Vec<GuestRange> = Vec::new();
        for node in fdt.root().children() {
            if !node.name().starts_with("memory@") {
                continue;
            }
            let reg = node.property("reg").unwrap().value().to_vec();
            let (start, len) = reg.split_at(8);
            let number = |bytes: &[u8]| u64::from_be_bytes(bytes.try_into().unwrap());
            let range = GuestRange::new(number(start), number(len)).unwrap();
            // A bank has a node for each of its NUMA nodes.
            match banks.last_mut() {
                Some(last) if last.end() == range.start() => *last = last.span(range),
                _ => banks.push(range),
            }
        }
        // The kernel has its memory map from the EFI tables if the tree has only the boot parameters.
        if efi.is_some() && self.tree.is_none() {
            assert!(banks.is_empty() && fdt.root().children().count() == 1);
        } else {
            assert_eq!(banks, self.machine.memory.ram().collect::<Vec<_>>());
        }
    }

    fn check_cpu(&self, plan: &BootPlan, kernel: GuestRange, dtb: u64) {
        let [cpu] = plan.cpus() else {
            panic!("one CPU starts");
        };
        let entry = self.image.entries()[0].addr - self.image.extent().start() + kernel.start();
        match cpu {
            CpuState::Aarch64(state) => {
                assert_eq!((state.pc, state.x[0]), (entry, dtb));
                assert!(state.x[1..].iter().all(|x| *x == 0) && state.sp_el1 == 0);
                // D, A, I and F masked; EL1 with its own stack pointer.
                assert_eq!(state.pstate, 0b1111 << 6 | 0b0101);
                assert_eq!(state.data_endian, self.image.endian());
            }
            CpuState::Riscv64(state) => {
                assert_eq!((state.pc, state.satp), (entry, 0));
                assert_eq!((state.x[10], state.x[11]), (self.boot_cpu, dtb));
                assert!((0..32).filter(|i| ![10, 11].contains(i)).all(|i| state.x[i] == 0));
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Size of the direct mapping of riscv64 Linux (vm-layout.rst) without its last 4 GiB, which older kernels do not map.
fn direct_mapping(cpus: &Cpus) -> u64 {
    let weakest = match cpus {
        Cpus::Riscv64(cpus) => cpus.harts.iter().map(|hart| hart.mmu).min().unwrap(),
        _ => MmuType::Sv39,
    };
    let all = match weakest {
        MmuType::Sv57 => 32 * 1024 * 1024 * GIB,
        MmuType::Sv48 => 64 * 1024 * GIB,
        _ => 128 * GIB,
    };
    all - 4 * GIB
}

/// An `Image`, or an ELF file that is fixed or relocatable.
fn image(u: &mut Unstructured<'_>, machine: &Machine) -> Result<KernelImage> {
    let arch = machine.arch;
    let file = 0x40 + number(u, 22)?;
    let memory = file + number(u, 24)?;
    let endian = match arch {
        Arch::Aarch64 => pick(u, &[Endian::Little, Endian::Big])?,
        _ => Endian::Little,
    };
    let builder = ImageBuilder::new("test", arch, endian, file);
    let range = |start, len| GuestRange::new(start, len).unwrap();
    let relocatable = |align: u64, offset: u64| {
        let constraints = Constraints::aligned(align).with_align_offset(offset % align);
        Placement::Relocatable(constraints.with_base_offset(offset))
    };
    let whole = SourceRange::whole(file);
    let builder = match (u.int_in_range(0..=3u8)?, arch) {
        (0 | 1, Arch::Aarch64) => builder
            .segment(whole, range(0, file))
            .extent(range(0, memory))
            .placement(relocatable(
                2 * MIB,
                pick(u, &[0, 0, 0x8_0000, 0x1000, 2 * MIB, 0x108_0000])?,
            ))
            .entry(EntryAbi::ARM64_IMAGE, 0),
        (0 | 1, _) => builder
            .segment(whole, range(0, file))
            .extent(range(0, memory))
            .placement(relocatable(2 * MIB, 0))
            .entry(EntryAbi::RISCV_IMAGE, 0),
        (2, _) => builder
            .segment(whole, range(0x1000, memory))
            .placement(relocatable(pick(u, &[0x1000, 0x1_0000, 2 * MIB])?, 0))
            .entry(EntryAbi::ELF64, 0x1000 + file / 2),
        _ => {
            // At the start of RAM or near it, in two segments.
            let banks: Vec<_> = machine.memory.ram().map(GuestRange::start).collect();
            let near = if banks.is_empty() { 0 } else { pick(u, &banks)? };
            let start = near + pick(u, &[0, 0, 0x8_0000, 0x20_0000])?;
            let half = SourceRange::whole(file / 2);
            builder
                .segment(half, range(start, file / 2))
                .segment(half, range(start + file, file / 2 + 0x100))
                .entry(EntryAbi::ELF64, start + 4)
        }
    };
    Ok(builder.build().unwrap())
}
