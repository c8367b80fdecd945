//! Reads a device tree with an independent parser, and turns it back into the machine that it describes.
//!
//! Every node and property that is read is removed from the tree. In the end the tree must be empty.

use std::collections::BTreeMap;

use boot_core::GuestRange;
use boot_core::machine::{
    Aplic, Arm64Cpu, Arm64Timer, Cpus, GicV2, GicV2m, GicV3, Imsic, Interrupt, InterruptController, Isa,
    Line, MmuType, PciHost, PciSpace, PciWindow, Platform, Plic, Psci, PsciMethod, PsciVersion,
    RegisterWrite, ReservedMemory, RiscvCpus, RiscvHart, Serial, SerialKind, Syscon, Trigger, VirtioMmio,
};
use dtoolkit::fdt::{Fdt, FdtNode};
use dtoolkit::{Node as _, Property as _};

/// The properties and children of a node that have not been read.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Node {
    properties: BTreeMap<String, Vec<u8>>,
    children: BTreeMap<String, Node>,
}

/// The contents of a tree.
pub(crate) struct View {
    pub(crate) platform: Platform,
    pub(crate) memory: Vec<GuestRange>,
    pub(crate) chosen: BTreeMap<String, Vec<u8>>,
    pub(crate) boot_cpu: u32,
    /// The ids of the harts in the order of the PLIC, the APLIC or the IMSICs; `None` without such a controller.
    pub(crate) counted: Option<Vec<u64>>,
    pub(crate) numa: Option<NumaView>,
    pub(crate) topology: Option<TopologyView>,
}

/// The topology of the CPUs of a tree.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct TopologyView {
    /// Paths below `cpu-map`, such as `socket0/cluster0/core1/thread0`, with the ids of the CPUs.
    pub(crate) map: BTreeMap<String, u64>,
    /// Caches of the CPUs by their ids, from level 1 on.
    pub(crate) caches: BTreeMap<u64, Vec<CacheView>>,
}

/// A cache of a CPU.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct CacheView {
    pub(crate) kind: &'static str,
    /// Size, size of a line, and number of sets.
    pub(crate) sizes: [u32; 3],
    /// Which of the shared caches it is.
    pub(crate) number: Option<u32>,
}

/// The NUMA nodes of a tree.
#[derive(Debug, PartialEq)]
pub(crate) struct NumaView {
    /// Memory nodes, with their NUMA nodes.
    pub(crate) memory: Vec<(GuestRange, u32)>,
    /// CPUs by their ids, with their NUMA nodes.
    pub(crate) cpus: BTreeMap<u64, u32>,
    /// Triples of two nodes and their distance.
    pub(crate) distances: Vec<u32>,
}

/// The context of interrupt specifiers.
struct Wiring {
    controller: InterruptController,
    cpus: usize,
}

impl Node {
    pub(crate) fn parse(dtb: &[u8]) -> Self {
        Self::read(
            &Fdt::new(dtb)
                .expect("an independent parser reads the tree")
                .root(),
        )
    }

    fn read(node: &FdtNode<'_>) -> Self {
        let mut this = Self::default();
        for property in node.properties() {
            let old = this
                .properties
                .insert(property.name().into(), property.value().into());
            assert_eq!(old, None, "property {} twice", property.name());
        }
        for child in node.children() {
            let old = this.children.insert(child.name().into(), Self::read(&child));
            assert!(old.is_none(), "node {} twice", child.name());
        }
        this
    }

    pub(crate) fn child(&mut self, name: &str) -> Option<Self> {
        self.children.remove(name)
    }

    /// The children called `name@address`, by rising address.
    pub(crate) fn children(&mut self, name: &str) -> Vec<(u64, Self)> {
        let address = |full: &str| {
            let (base, address) = full.split_once('@')?;
            (base == name).then(|| u64::from_str_radix(address, 16).expect("an address in hexadecimal"))
        };
        let (matching, others): (BTreeMap<_, _>, _) = std::mem::take(&mut self.children)
            .into_iter()
            .partition(|(full, _)| address(full).is_some());
        self.children = others;
        let mut found: Vec<_> = matching
            .into_iter()
            .map(|(full, node)| (address(&full).unwrap(), node))
            .collect();
        found.sort_by_key(|(address, _)| *address);
        found
    }

    pub(crate) fn bytes(&mut self, name: &str) -> Option<Vec<u8>> {
        self.properties.remove(name)
    }

    fn flag(&mut self, name: &str) -> bool {
        self.bytes(name)
            .inspect(|value| assert!(value.is_empty(), "{name}"))
            .is_some()
    }

    fn cells(&mut self, name: &str) -> Option<Vec<u32>> {
        let value = self.bytes(name)?;
        let cells = value.chunks_exact(4);
        assert!(cells.remainder().is_empty(), "{name} has {} bytes", value.len());
        Some(
            cells
                .map(|cell| u32::from_be_bytes(cell.try_into().unwrap()))
                .collect(),
        )
    }

    fn cell(&mut self, name: &str) -> Option<u32> {
        let cells = self.cells(name)?;
        assert_eq!(cells.len(), 1, "{name}");
        Some(cells[0])
    }

    fn strings(&mut self, name: &str) -> Option<Vec<String>> {
        let value = String::from_utf8(self.bytes(name)?).unwrap();
        let list = value.strip_suffix('\0').expect("a terminated string");
        Some(list.split('\0').map(Into::into).collect())
    }

    fn string(&mut self, name: &str) -> Option<String> {
        let strings = self.strings(name)?;
        assert_eq!(strings.len(), 1, "{name}");
        strings.into_iter().next()
    }

    /// Takes a list of strings, which must be present and equal to the expected list.
    fn expect_list(&mut self, name: &str, values: &[&str]) {
        assert_eq!(self.strings(name).expect(name), values, "{name}");
    }

    /// Takes a string, which must be present.
    fn expect(&mut self, name: &str, value: &str) {
        assert_eq!(self.string(name).as_deref(), Some(value), "{name}");
    }

    fn expect_cells(&mut self, name: &str, cells: &[u32]) {
        assert_eq!(self.cells(name).as_deref(), Some(cells), "{name}");
    }

    /// `reg` with two cells for each number.
    fn reg(&mut self) -> Vec<GuestRange> {
        let cells = self.cells("reg").expect("reg");
        let numbers: Vec<u64> = cells.chunks(2).map(join).collect();
        let ranges = numbers
            .chunks(2)
            .map(|pair| GuestRange::new(pair[0], pair[1]).unwrap());
        ranges.collect()
    }

    fn one_reg(&mut self, address: u64) -> GuestRange {
        let reg = self.reg();
        assert_eq!(
            (reg.len(), reg[0].start()),
            (1, address),
            "one range, at the unit address"
        );
        reg[0]
    }

    pub(crate) fn expect_empty(&self, what: &str) {
        assert!(
            self.properties.is_empty() && self.children.is_empty(),
            "not expected in {what}: {self:?}"
        );
    }
}

/// The number in one or two cells.
fn join(cells: &[u32]) -> u64 {
    cells
        .iter()
        .fold(0, |number, cell| (number << 32) | u64::from(*cell))
}

/// Reads a whole tree; panics on unknown nodes and properties.
pub(crate) fn view(dtb: &[u8]) -> View {
    let mut root = Node::parse(dtb);
    let mut platform = Platform::new();
    root.expect_cells("#address-cells", &[2]);
    root.expect_cells("#size-cells", &[2]);
    platform.model = root.string("model").unwrap_or_default().into();
    platform.compatible = root
        .strings("compatible")
        .into_iter()
        .flatten()
        .map(Into::into)
        .collect();
    let mut memory: Vec<GuestRange> = Vec::new();
    let mut numa_memory = Vec::new();
    for (address, mut node) in root.children("memory") {
        node.expect("device_type", "memory");
        let range = node.one_reg(address);
        let id = node.cell("numa-node-id");
        node.expect_empty("memory");
        numa_memory.extend(id.map(|id| (range, id)));
        // A bank has a memory node for each of its NUMA nodes.
        match memory.last_mut() {
            Some(last) if id.is_some() && last.end() == range.start() => *last = last.span(range),
            _ => memory.push(range),
        }
    }
    let chosen = root.child("chosen").expect("/chosen");
    assert!(chosen.children.is_empty());
    let mut intc = Vec::new();
    let mut numa_cpus = BTreeMap::new();
    let mut topology = None;
    platform.cpus = cpus(&mut root, &mut intc, &mut numa_cpus, &mut topology);
    let numa = root.child("distance-map").map(|mut map| {
        map.expect("compatible", "numa-distance-map-v1");
        let distances = map.cells("distance-matrix").unwrap();
        map.expect_empty("the distances");
        NumaView {
            memory: numa_memory.clone(),
            cpus: numa_cpus.clone(),
            distances,
        }
    });
    assert!(numa.is_some() || (numa_memory.is_empty() && numa_cpus.is_empty()));
    let counted;
    (platform.interrupt_controller, counted) = controller(&mut root, &intc);
    let wiring = Wiring {
        controller: platform.interrupt_controller.clone(),
        cpus: platform.cpus.count().unwrap(),
    };
    platform.timer = root.child("timer").map(|node| timer(node, &wiring));
    platform.psci = root.child("psci").map(psci);
    platform.reserved_memory = reserved(&mut root);
    platform.serial = serials(&mut root, &wiring);
    platform.virtio_mmio = virtio(&mut root, &wiring);
    platform.pci = pci(&mut root, &wiring);
    platform.syscon = syscon(&mut root);
    if let Some(console) = platform.serial.first() {
        let path = format!("/serial@{:x}\0", console.range.start());
        assert_eq!(chosen.properties.get("stdout-path"), Some(&path.into_bytes()));
    }
    root.expect_empty("the root");
    View {
        platform,
        memory,
        chosen: chosen
            .properties
            .into_iter()
            .filter(|(name, _)| name != "stdout-path")
            .collect(),
        boot_cpu: Fdt::new(dtb).unwrap().boot_cpuid_phys(),
        counted,
        numa,
        topology,
    }
}

/// Harts and CPUs in the order of the tree's addresses; `intc` receives the phandles of the harts' interrupt controllers, `numa` the nodes.
fn cpus(
    root: &mut Node,
    intc: &mut Vec<(u64, u32)>,
    numa: &mut BTreeMap<u64, u32>,
    topology: &mut Option<TopologyView>,
) -> Cpus {
    let mut node = root.child("cpus").expect("/cpus");
    *topology = read_topology(&mut node);
    let cells = node.cell("#address-cells").unwrap();
    node.expect_cells("#size-cells", &[0]);
    let timebase = node.cell("timebase-frequency");
    let mut arm64 = Vec::new();
    let mut harts = Vec::new();
    for (id, mut cpu) in node.children("cpu") {
        cpu.expect("device_type", "cpu");
        let reg = cpu.cells("reg").unwrap();
        assert_eq!((reg.len(), join(&reg)), (usize::try_from(cells).unwrap(), id));
        numa.extend(cpu.cell("numa-node-id").map(|node| (id, node)));
        let compatible = cpu.string("compatible").unwrap();
        if timebase.is_some() {
            assert_eq!(compatible, "riscv");
            harts.push(hart(id, &mut cpu, intc));
        } else {
            if let Some(method) = cpu.string("enable-method") {
                assert_eq!(method, "psci");
            }
            let mut description = Arm64Cpu::new(id);
            description.compatible = compatible.into();
            arm64.push(description);
        }
        cpu.expect_empty("a CPU");
    }
    node.expect_empty("/cpus");
    match timebase {
        Some(timebase_frequency) => Cpus::Riscv64(RiscvCpus::new(timebase_frequency, harts)),
        None => Cpus::Arm64(arm64),
    }
}

/// Takes `cpu-map` and the caches, and the properties of CPUs that belong to them.
fn read_topology(cpus: &mut Node) -> Option<TopologyView> {
    let mut map = cpus.child("cpu-map")?;
    let mut shared = BTreeMap::new();
    for (name, level, kind) in [("l2-cache", 2, "unified 2"), ("l3-cache", 3, "unified 3")] {
        for number in 0.. {
            let Some(mut node) = cpus.child(&format!("{name}{number}")) else {
                break;
            };
            node.expect("compatible", "cache");
            node.expect_cells("cache-level", &[level]);
            assert!(node.flag("cache-unified"));
            let cache = CacheView {
                kind,
                sizes: sizes(&mut node, "cache").unwrap(),
                number: Some(number),
            };
            let next = node.cell("next-level-cache");
            let old = shared.insert(node.cell("phandle").unwrap(), (cache, next));
            assert!(old.is_none(), "a phandle twice");
            node.expect_empty("a cache");
        }
    }
    let mut view = TopologyView::default();
    let mut phandles = BTreeMap::new();
    for (full, cpu) in &mut cpus.children {
        let id = u64::from_str_radix(full.strip_prefix("cpu@").unwrap(), 16).unwrap();
        phandles.insert(cpu.cell("phandle").unwrap(), id);
        let mut caches = Vec::new();
        for (prefix, kind) in [("d-cache", "data"), ("i-cache", "instruction")] {
            let of_kind = sizes(cpu, prefix);
            caches.extend(of_kind.map(|sizes| CacheView {
                kind,
                sizes,
                number: None,
            }));
        }
        let mut next = cpu.cell("next-level-cache");
        while let Some(phandle) = next {
            let (cache, above) = &shared[&phandle];
            caches.push(cache.clone());
            next = *above;
        }
        view.caches.insert(id, caches);
    }
    leaves(&mut map, "", &phandles, &mut view.map);
    map.expect_empty("cpu-map");
    Some(view)
}

fn sizes(node: &mut Node, prefix: &str) -> Option<[u32; 3]> {
    let size = node.cell(&format!("{prefix}-size"))?;
    let [line_size, sets] = ["line-size", "sets"].map(|name| node.cell(&format!("{prefix}-{name}")).unwrap());
    Some([size, line_size, sets])
}

/// Takes the CPUs of a part of `cpu-map`.
fn leaves(node: &mut Node, path: &str, phandles: &BTreeMap<u32, u64>, found: &mut BTreeMap<String, u64>) {
    for (name, mut child) in std::mem::take(&mut node.children) {
        let path = format!("{path}{name}");
        match child.cell("cpu") {
            Some(cpu) => {
                found.insert(path, phandles[&cpu]);
                child.expect_empty("a CPU of cpu-map");
            }
            None => leaves(&mut child, &format!("{path}/"), phandles, found),
        }
        assert!(child.properties.is_empty(), "{child:?}");
    }
}

fn hart(id: u64, cpu: &mut Node, intc: &mut Vec<(u64, u32)>) -> RiscvHart {
    cpu.expect("status", "okay");
    cpu.expect("riscv,isa-base", "rv64i");
    let isa = Isa::new(cpu.strings("riscv,isa-extensions").unwrap()).unwrap();
    cpu.expect("riscv,isa", &isa.to_string());
    let mut hart = RiscvHart::new(id, isa);
    let mmu = cpu.string("mmu-type").unwrap();
    hart.mmu = [MmuType::None, MmuType::Sv39, MmuType::Sv48, MmuType::Sv57]
        .into_iter()
        .find(|kind| kind.name() == mmu)
        .unwrap();
    hart.cbom_block_size = cpu.cell("riscv,cbom-block-size");
    hart.cboz_block_size = cpu.cell("riscv,cboz-block-size");
    hart.cbop_block_size = cpu.cell("riscv,cbop-block-size");
    let mut local = cpu.child("interrupt-controller").unwrap();
    local.expect("compatible", "riscv,cpu-intc");
    assert!(local.flag("interrupt-controller"));
    local.expect_cells("#interrupt-cells", &[1]);
    local.expect_cells("#address-cells", &[0]);
    let phandle = local.cell("phandle").unwrap();
    local.expect_cells("interrupt-parent", &[phandle]);
    intc.push((id, phandle));
    local.expect_empty("a hart's interrupt controller");
    hart
}

/// The interrupt controller, and the ids of the harts in the order of its contexts.
fn controller(root: &mut Node, intc: &[(u64, u32)]) -> (InterruptController, Option<Vec<u64>>) {
    let mut nodes = root.children("interrupt-controller");
    let Some(parent) = root.cell("interrupt-parent") else {
        assert!(nodes.is_empty());
        return (InterruptController::Unspecified, None);
    };
    let main = nodes
        .iter()
        .position(|(_, node)| node.properties["phandle"] == parent.to_be_bytes())
        .expect("the interrupt parent");
    let (address, mut node) = nodes.remove(main);
    node.bytes("phandle");
    assert!(node.flag("interrupt-controller"));
    let cells = node.cell("#interrupt-cells").unwrap();
    let compatible = node.strings("compatible").unwrap();
    let compatible: Vec<&str> = compatible.iter().map(String::as_str).collect();
    let reg = node.reg();
    assert_eq!(reg[0].start(), address);
    let mut counted = None;
    let found = match compatible[..] {
        ["arm,cortex-a15-gic"] => {
            assert_eq!((cells, reg.len()), (3, 2));
            let v2m = frame(&mut node, "v2m", "arm,gic-v2m-frame").map(|(frame, mut v2m)| {
                let first_spi = v2m.cell("arm,msi-base-spi").unwrap() - 32;
                let spis = v2m.cell("arm,msi-num-spis").unwrap();
                v2m.expect_empty("the frame");
                GicV2m::new(frame, first_spi, spis)
            });
            InterruptController::GicV2(GicV2::new(reg[0], reg[1]).with_v2m(v2m))
        }
        ["arm,gic-v3"] => {
            let regions = node.cell("#redistributor-regions").unwrap_or(1);
            assert_eq!((cells, reg.len()), (3, 1 + usize::try_from(regions).unwrap()));
            let its = frame(&mut node, "msi-controller", "arm,gic-v3-its").map(|(range, mut its)| {
                its.expect_cells("#msi-cells", &[1]);
                its.expect_empty("the ITS");
                range
            });
            InterruptController::GicV3(GicV3::new(reg[0], reg[1..].to_vec()).with_its(its))
        }
        ["sifive,plic-1.0.0", "riscv,plic0"] => {
            assert_eq!((cells, reg.len()), (1, 1));
            node.expect_cells("#address-cells", &[0]);
            counted = Some(harts(&mut node, intc));
            InterruptController::Plic(Plic::new(reg[0], node.cell("riscv,ndev").unwrap()))
        }
        ["qemu,aplic", "riscv,aplic"] => {
            assert_eq!((cells, reg.len()), (2, 1));
            node.expect_cells("#address-cells", &[0]);
            let imsic = node.cell("msi-parent").map(|handle| {
                let (address, mut node) = nodes.pop().expect("the MSI parent");
                counted = Some(harts(&mut node, intc));
                imsic(address, node, handle)
            });
            if imsic.is_none() {
                counted = Some(harts(&mut node, intc));
            }
            let sources = node.cell("riscv,num-sources").unwrap();
            InterruptController::Aplic(Aplic::new(reg[0], sources).with_imsic(imsic))
        }
        _ => panic!("interrupt controller {compatible:?}"),
    };
    if let InterruptController::GicV2(GicV2 { v2m: None, .. })
    | InterruptController::GicV3(GicV3 { its: None, .. }) = found
    {
        node.expect_cells("#address-cells", &[0]);
    }
    node.expect_empty("the interrupt controller");
    assert!(nodes.is_empty());
    (found, counted)
}

/// The child of a GIC that receives MSIs.
fn frame(gic: &mut Node, name: &str, compatible: &str) -> Option<(GuestRange, Node)> {
    let (address, mut node) = gic.children(name).pop()?;
    gic.expect_cells("#address-cells", &[2]);
    gic.expect_cells("#size-cells", &[2]);
    assert!(gic.flag("ranges") && node.flag("msi-controller"));
    node.expect("compatible", compatible);
    node.expect_cells("phandle", &[2]);
    Some((node.one_reg(address), node))
}

/// The ids of the harts that `interrupts-extended` leads to, each by its supervisor external interrupt, in
/// the order of the property: context, delivery structure or file number n belongs to its entry n.
fn harts(node: &mut Node, intc: &[(u64, u32)]) -> Vec<u64> {
    let hart = |entry: &[u32]| {
        let &[handle, 9] = entry else {
            panic!("no supervisor external interrupt: {entry:?}");
        };
        let known = intc.iter().find(|(_, known)| *known == handle);
        known.expect("the handle of a hart").0
    };
    let cells = node.cells("interrupts-extended").unwrap();
    cells.chunks(2).map(hart).collect()
}

fn imsic(address: u64, mut node: Node, handle: u32) -> Imsic {
    node.expect_list("compatible", &["qemu,imsics", "riscv,imsics"]);
    node.expect_cells("phandle", &[handle]);
    node.expect_cells("#interrupt-cells", &[0]);
    node.expect_cells("#address-cells", &[0]);
    node.expect_cells("#msi-cells", &[0]);
    assert!(node.flag("interrupt-controller") && node.flag("msi-controller"));
    let found = Imsic::new(node.one_reg(address), node.cell("riscv,num-ids").unwrap())
        .with_guest_index_bits(node.cell("riscv,guest-index-bits").unwrap_or(0))
        .with_hart_index_bits(node.cell("riscv,hart-index-bits"));
    node.expect_empty("the IMSIC");
    found
}

/// The interrupts of a list of specifiers.
fn interrupts(cells: &[u32], wiring: &Wiring) -> Vec<Interrupt> {
    let trigger = |flags| match flags {
        1 => Trigger::EdgeRising,
        4 => Trigger::LevelHigh,
        other => panic!("trigger {other:#x}"),
    };
    // The specifier of a GICv2's PPI contains the mask of its CPUs, here all, in bits 8 to 15.
    let mask = match wiring.controller {
        InterruptController::GicV2(_) => ((1 << wiring.cpus) - 1) << 8,
        _ => 0,
    };
    let private = |flags: u32| {
        let cpus = flags & !0xff;
        assert_eq!(cpus, mask, "the CPUs of a private line");
        trigger(flags - cpus)
    };
    let size = match &wiring.controller {
        InterruptController::GicV2(_) | InterruptController::GicV3(_) => 3,
        InterruptController::Aplic(_) => 2,
        InterruptController::Plic(_) => 1,
        other => panic!("interrupts without a controller: {other:?}"),
    };
    assert!(cells.len() % size == 0);
    let read = |specifier: &[u32]| match *specifier {
        [0, number, flags] => (Line::Spi(number), trigger(flags)),
        [1, number, flags] => (Line::Ppi(number), private(flags)),
        [number, flags] => (Line::Source(number), trigger(flags)),
        [number] => (Line::Source(number), Trigger::LevelHigh),
        _ => panic!("specifier {specifier:?}"),
    };
    cells
        .chunks(size)
        .map(read)
        .map(|(line, trigger)| Interrupt::new(line, trigger))
        .collect()
}

fn timer(mut node: Node, wiring: &Wiring) -> Arm64Timer {
    node.expect("compatible", "arm,armv8-timer");
    assert!(node.flag("always-on"));
    let lines = interrupts(&node.cells("interrupts").unwrap(), wiring);
    node.expect_empty("the timer");
    let [secure_physical, physical, virtual_timer, hypervisor] = lines.try_into().unwrap();
    Arm64Timer::new(secure_physical, physical, virtual_timer, hypervisor)
}

fn psci(mut node: Node) -> Psci {
    let compatible = node.strings("compatible").unwrap();
    let compatible: Vec<&str> = compatible.iter().map(String::as_str).collect();
    let version = match compatible[..] {
        ["arm,psci-0.2"] => PsciVersion::V0_2,
        ["arm,psci-1.0", "arm,psci-0.2"] => PsciVersion::V1_0,
        _ => panic!("PSCI {compatible:?}"),
    };
    let method = match node.string("method").unwrap().as_str() {
        "hvc" => PsciMethod::Hvc,
        "smc" => PsciMethod::Smc,
        other => panic!("method {other}"),
    };
    node.expect_empty("PSCI");
    Psci::new(method, version)
}

fn reserved(root: &mut Node) -> Vec<ReservedMemory> {
    let Some(mut node) = root.child("reserved-memory") else {
        return Vec::new();
    };
    node.expect_cells("#address-cells", &[2]);
    node.expect_cells("#size-cells", &[2]);
    assert!(node.flag("ranges"));
    let names: Vec<String> = node.children.keys().cloned().collect();
    let mut found: Vec<_> = names
        .into_iter()
        .map(|full| {
            let (name, address) = full.split_once('@').unwrap();
            let mut child = node.child(&full).unwrap();
            let range = child.one_reg(u64::from_str_radix(address, 16).unwrap());
            let memory = ReservedMemory::new(name.to_owned(), range).with_no_map(child.flag("no-map"));
            child.expect_empty("reserved memory");
            memory
        })
        .collect();
    found.sort_by_key(|memory| memory.range);
    node.expect_empty("/reserved-memory");
    found
}

/// The serial ports in the order of their aliases.
fn serials(root: &mut Node, wiring: &Wiring) -> Vec<Serial> {
    let Some(mut aliases) = root.child("aliases") else {
        return Vec::new();
    };
    let paths = (0..).map_while(|index| aliases.string(&format!("serial{index}")));
    let names: Vec<String> = paths
        .map(|path| path.strip_prefix('/').unwrap().to_owned())
        .collect();
    aliases.expect_empty("/aliases");
    names.iter().map(|name| serial(root, name, wiring)).collect()
}

fn serial(root: &mut Node, name: &str, wiring: &Wiring) -> Serial {
    let mut node = root.child(name).expect("the alias leads to a port");
    let address = u64::from_str_radix(name.strip_prefix("serial@").unwrap(), 16).unwrap();
    let compatible = node.strings("compatible").unwrap();
    let compatible: Vec<&str> = compatible.iter().map(String::as_str).collect();
    let (kind, clock_hz) = match compatible[..] {
        ["ns16550a"] => (
            SerialKind::Ns16550a {
                reg_shift: node.cell("reg-shift").unwrap_or(0),
                reg_io_width: node.cell("reg-io-width").unwrap_or(1),
            },
            node.cell("clock-frequency").unwrap(),
        ),
        ["arm,pl011", "arm,primecell"] => {
            let mut clock = root.child(&format!("clock-{address:x}")).unwrap();
            let handle = clock.cell("phandle").unwrap();
            clock.expect("compatible", "fixed-clock");
            clock.expect_cells("#clock-cells", &[0]);
            let hz = clock.cell("clock-frequency").unwrap();
            clock.expect_empty("a clock");
            node.expect_cells("clocks", &[handle, handle]);
            assert_eq!(node.strings("clock-names").unwrap(), ["uartclk", "apb_pclk"]);
            (SerialKind::Pl011, hz)
        }
        _ => panic!("serial port {compatible:?}"),
    };
    let interrupt = node
        .cells("interrupts")
        .map(|cells| interrupts(&cells, wiring)[0]);
    let found = Serial::new(kind, node.one_reg(address), clock_hz).with_interrupt(interrupt);
    node.expect_empty("a serial port");
    found
}

fn virtio(root: &mut Node, wiring: &Wiring) -> Vec<VirtioMmio> {
    let slot = |(address, mut node): (u64, Node)| {
        node.expect("compatible", "virtio,mmio");
        assert!(node.flag("dma-coherent"));
        let interrupt = interrupts(&node.cells("interrupts").unwrap(), wiring)[0];
        let found = VirtioMmio::new(node.one_reg(address), interrupt);
        node.expect_empty("a virtio-mmio slot");
        found
    };
    root.children("virtio_mmio").into_iter().map(slot).collect()
}

fn pci(root: &mut Node, wiring: &Wiring) -> Option<PciHost> {
    let (address, mut node) = root.children("pcie").pop()?;
    node.expect("compatible", "pci-host-ecam-generic");
    node.expect("device_type", "pci");
    node.expect_cells("#address-cells", &[3]);
    node.expect_cells("#size-cells", &[2]);
    node.expect_cells("linux,pci-domain", &[0]);
    assert!(node.flag("dma-coherent"));
    let ecam = node.one_reg(address);
    node.expect_cells("bus-range", &[0, u32::try_from(ecam.len() >> 20).unwrap() - 1]);
    let windows = node
        .cells("ranges")
        .unwrap()
        .chunks(7)
        .map(|cells| {
            let space = match cells[0] {
                0x0100_0000 => PciSpace::Io,
                0x0200_0000 => PciSpace::Memory32,
                0x4300_0000 => PciSpace::Memory64,
                other => panic!("space {other:#x}"),
            };
            let range = GuestRange::new(join(&cells[3..5]), join(&cells[5..7])).unwrap();
            PciWindow::new(space, range, join(&cells[1..3]))
        })
        .collect();
    let intx = node.cells("interrupt-map").map(|map| {
        node.expect_cells("#interrupt-cells", &[1]);
        node.expect_cells("interrupt-map-mask", &[0x1800, 0, 0, 7]);
        pins(&map, wiring)
    });
    let msi_map = node.cells("msi-map");
    let msi_parent = node.cell("msi-parent");
    if let Some(map) = &msi_map {
        assert_eq!(*map, [0, 2, 0, 0x1_0000]);
    }
    if let Some(parent) = msi_parent {
        assert_eq!(parent, 2);
    }
    node.expect_empty("the PCI host");
    let msi = msi_map.is_some() || msi_parent.is_some();
    Some(PciHost::new(ecam, windows).with_intx(intx).with_msi(msi))
}

/// The lines of slot 0's pins; those of the other slots must be the same, rotated by the slot's number.
fn pins(map: &[u32], wiring: &Wiring) -> [Interrupt; 4] {
    let address_cells = match wiring.controller {
        InterruptController::GicV2(GicV2 { v2m: Some(_), .. })
        | InterruptController::GicV3(GicV3 { its: Some(_), .. }) => 2,
        _ => 0,
    };
    assert!(map.len() % 16 == 0);
    let lines: Vec<Interrupt> = map
        .chunks(map.len() / 16)
        .zip((0..4).flat_map(|slot| (1..=4).map(move |pin| (slot, pin))))
        .map(|(entry, (slot, pin))| {
            assert_eq!(entry[..5], [slot << 11, 0, 0, pin, 1]);
            assert!(entry[5..5 + address_cells].iter().all(|cell| *cell == 0));
            interrupts(&entry[5 + address_cells..], wiring)[0]
        })
        .collect();
    for slot in 0..4 {
        for pin in 0..4 {
            assert_eq!(
                lines[slot * 4 + pin],
                lines[(slot + pin) % 4],
                "slot {slot} pin {pin}"
            );
        }
    }
    [lines[0], lines[1], lines[2], lines[3]]
}

fn syscon(root: &mut Node) -> Option<Syscon> {
    let (address, mut node) = root.children("syscon").pop()?;
    node.expect_list("compatible", &["syscon", "simple-mfd"]);
    let handle = node.cell("phandle").unwrap();
    let mut write = |name: &str, compatible: &str| {
        let mut child = node.child(name)?;
        child.expect("compatible", compatible);
        child.expect_cells("regmap", &[handle]);
        let found = RegisterWrite::new(child.cell("offset").unwrap(), child.cell("value").unwrap());
        child.expect_empty(name);
        Some(found)
    };
    let poweroff = write("poweroff", "syscon-poweroff");
    let reset = write("reboot", "syscon-reboot");
    let found = Syscon::new(node.one_reg(address))
        .with_poweroff(poweroff)
        .with_reset(reset);
    node.expect_empty("the syscon");
    Some(found)
}
