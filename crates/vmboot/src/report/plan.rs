//! Report of `vmboot plan`.

use boot_core::cpu::x86_64;
use boot_core::{BootPlan, CpuState, Load, LoadContent, MemoryRegion};
use serde::{Deserialize, Serialize};

use super::Hex;

/// Report on a boot plan: memory map, loads and CPU state. Created by `PlanReport::from(&plan)`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PlanReport {
    /// Always `vmboot.plan/1`.
    pub schema: String,
    /// Name of the protocol.
    pub protocol: String,
    /// Name of the architecture: `x86_64`, `aarch64` or `riscv64`.
    pub arch: String,
    /// Start of the extent of the image, at its load address.
    pub kernel_start: Hex,
    /// End of the extent, exclusive.
    pub kernel_end: Hex,
    /// Memory map for the guest.
    pub memory: Vec<MemoryReport>,
    /// Writes to guest memory, in ascending order of addresses.
    pub loads: Vec<LoadReport>,
    /// Entry states of the CPUs that are started.
    pub cpus: Vec<CpuReport>,
    /// Warnings about this boot.
    pub warnings: Vec<String>,
}

/// A region of the memory map.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MemoryReport {
    /// First address.
    pub start: Hex,
    /// End, exclusive.
    pub end: Hex,
    /// `ram`, `reserved`, `acpi-reclaimable`, `acpi-nvs`, `unusable` or `persistent`.
    pub kind: String,
}

/// A write to guest memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LoadReport {
    /// Name of the load, such as `zero page`.
    pub label: String,
    /// First address.
    pub start: Hex,
    /// End, exclusive.
    pub end: Hex,
    /// `source`, `bytes` or `zeros`.
    pub content: String,
    /// For `source`: the file, `kernel`, `initrd` or `module N`, counted from 0.
    pub source: Option<String>,
    /// For `source`: the offset in the file.
    pub offset: Option<Hex>,
}

/// Entry state of a CPU.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CpuReport {
    /// Guest physical address of the first instruction.
    pub entry: Hex,
    /// Names and values of the nonzero registers. The value of a segment register is its selector, that of `gdtr` and `idtr`
    /// the base.
    pub registers: Vec<(String, Hex)>,
}

impl PlanReport {
    /// Current schema.
    pub const SCHEMA: &'static str = "vmboot.plan/1";
}

impl From<&BootPlan> for PlanReport {
    fn from(plan: &BootPlan) -> Self {
        Self {
            schema: Self::SCHEMA.to_owned(),
            protocol: plan.protocol().to_owned(),
            arch: plan.arch().name().to_owned(),
            kernel_start: Hex(plan.kernel().start()),
            kernel_end: Hex(plan.kernel().end()),
            memory: plan.memory().regions().iter().map(MemoryReport::from).collect(),
            loads: plan.loads().iter().map(LoadReport::from).collect(),
            cpus: plan.cpus().iter().map(CpuReport::from).collect(),
            warnings: plan.warnings().iter().map(ToString::to_string).collect(),
        }
    }
}

impl From<&MemoryRegion> for MemoryReport {
    fn from(region: &MemoryRegion) -> Self {
        Self {
            start: Hex(region.range.start()),
            end: Hex(region.range.end()),
            kind: region.kind.name().to_owned(),
        }
    }
}

impl From<&Load> for LoadReport {
    fn from(load: &Load) -> Self {
        let (content, source, offset) = match &load.content {
            LoadContent::File { id, range } => ("source", Some(id.to_string()), Some(Hex(range.offset()))),
            LoadContent::Bytes(_) => ("bytes", None, None),
            LoadContent::Zeros => ("zeros", None, None),
            LoadContent::Present => ("present", None, None),
            // `LoadContent` is non-exhaustive.
            _ => ("other", None, None),
        };
        Self {
            label: load.label.to_string(),
            start: Hex(load.range.start()),
            end: Hex(load.range.end()),
            content: content.to_owned(),
            source,
            offset,
        }
    }
}

impl From<&CpuState> for CpuReport {
    fn from(state: &CpuState) -> Self {
        let mut registers: Vec<(String, u64)> = Vec::new();
        let mut add = |name: &str, value: u64| registers.push((name.to_owned(), value));
        match state {
            CpuState::X86_64(state) => x86_registers(state, &mut add),
            CpuState::Aarch64(state) => {
                for (i, value) in state.x.iter().enumerate() {
                    add(&format!("x{i}"), *value);
                }
                add("sp_el1", state.sp_el1);
                add("pc", state.pc);
                add("pstate", state.pstate);
            }
            CpuState::Riscv64(state) => {
                for (i, value) in state.x.iter().enumerate() {
                    add(&format!("x{i}"), *value);
                }
                add("pc", state.pc);
                add("satp", state.satp);
            }
            _ => {}
        }
        let registers = registers
            .into_iter()
            .filter(|(_, value)| *value != 0)
            .map(|(name, value)| (name, Hex(value)))
            .collect();
        Self {
            entry: Hex(state.entry()),
            registers,
        }
    }
}

fn x86_registers(state: &x86_64::State, add: &mut impl FnMut(&str, u64)) {
    let general = [
        ("rax", state.rax),
        ("rbx", state.rbx),
        ("rcx", state.rcx),
        ("rdx", state.rdx),
        ("rsi", state.rsi),
        ("rdi", state.rdi),
        ("rsp", state.rsp),
        ("rbp", state.rbp),
        ("r8", state.r8),
        ("r9", state.r9),
        ("r10", state.r10),
        ("r11", state.r11),
        ("r12", state.r12),
        ("r13", state.r13),
        ("r14", state.r14),
        ("r15", state.r15),
        ("rip", state.rip),
        ("rflags", state.rflags),
    ];
    let segments = [
        ("cs", state.cs),
        ("ds", state.ds),
        ("es", state.es),
        ("fs", state.fs),
        ("gs", state.gs),
        ("ss", state.ss),
        ("tr", state.tr),
        ("ldtr", state.ldtr),
    ];
    let system = [
        ("gdtr", state.gdtr.base),
        ("idtr", state.idtr.base),
        ("cr0", state.cr0),
        ("cr2", state.cr2),
        ("cr3", state.cr3),
        ("cr4", state.cr4),
        ("efer", state.efer),
    ];
    let segments = segments.map(|(name, segment)| (name, segment.selector.into()));
    for (name, value) in general.into_iter().chain(segments).chain(system) {
        add(name, value);
    }
}
