//! A bare machine as the target of a debugger.

#[cfg(target_arch = "aarch64")]
#[path = "machine/aarch64.rs"]
mod arch;
#[cfg(target_arch = "riscv64")]
#[path = "machine/riscv64.rs"]
mod arch;
#[cfg(target_arch = "x86_64")]
#[path = "machine/x86_64.rs"]
mod arch;

use std::sync::Arc;

use boot_core::GuestRange;
use boot_paging::{Access, Attributes, Mapping, PageTables};
use guest_ram::{HostMapping, Memfd, MemfdSharing, RamRegion};
use hv_core::{
    BareVm, DebugRequest, DebugVcpu, GuestRegisters, RegisterAccess, SlotAttributes, Vcpu, VcpuExit, Vm,
};
use sandbox_debug::{
    BreakpointInstruction, DebugTarget, GdbSession, PhysicalMemory, Resume, Stop, TargetError,
};

pub(crate) use self::arch::{
    ARCH, BREAKPOINT_LEN, CALLER, COUNTER, COUNTER_NAME, INC, INSTRUCTION, NEXT, PC, POP, RETURN, STORE,
};
use self::arch::{Harness, KvmBareVcpu, KvmBareVm, KvmError};
use crate::layout::{CODE, CODE_PHYS, MEMORY, MEMORY_LEN, TABLES};

/// Reason why tests on KVM cannot run.
pub(crate) fn skip_reason() -> Option<String> {
    match KvmBareVm::new(arch::CONFIG) {
        Err(error @ KvmError::Harness(Harness::Open(_))) => Some(hv_kvm_test::explain(&error)),
        _ => None,
    }
}

/// The code of all machines of a test.
pub(crate) fn image() -> Result<Memfd, TargetError> {
    let image = Memfd::create(c"image", 0x1000)?;
    HostMapping::shared(&image)?.write(0, &arch::program())?;
    image.seal()?;
    Ok(image)
}

/// A machine with one vCPU.
pub(crate) struct Machine {
    pub(crate) vcpu: KvmBareVcpu,
    /// The mappings with their physical addresses, in ascending order.
    slots: Vec<(u64, Arc<HostMapping>)>,
    /// Values of the doorbell.
    pub(crate) rings: Vec<u64>,
    _vm: KvmBareVm,
}

impl Machine {
    /// A machine whose code is a copy of the image that other machines do not see. The guest cannot write it.
    pub(crate) fn new(image: &Memfd) -> Result<Self, TargetError> {
        let vm = KvmBareVm::new(arch::CONFIG)?;
        // Without page tables, these are not used.
        let scheme = arch::SCHEME.unwrap_or(boot_paging::Scheme::Arm64);
        let mut tables = PageTables::new(scheme, TABLES, 8)?;
        for (virt, phys, len, access) in [
            (CODE, CODE_PHYS, 0x1000, Access::EXECUTE),
            (MEMORY, MEMORY, u64::try_from(MEMORY_LEN)?, Access::WRITE),
        ] {
            let attributes = Attributes::normal(access);
            tables.map(&Mapping {
                virt,
                phys,
                len,
                attributes,
            })?;
        }
        let bytes = tables.to_bytes();
        let table_memory = HostMapping::anonymous(bytes.len())?;
        table_memory.write(0, &bytes)?;
        let mut code = HostMapping::reserve(0x1000)?;
        code.place_memfd(0..0x1000, image, 0, MemfdSharing::Private)?;
        let memory = HostMapping::anonymous(MEMORY_LEN)?;
        let slots = vec![
            (TABLES, Arc::new(table_memory)),
            (CODE_PHYS, Arc::new(code)),
            (MEMORY, Arc::new(memory)),
        ];
        for (number, (address, mapping)) in (0..).zip(&slots) {
            let range = range(*address, mapping);
            let region = RamRegion::from_mapping(range, Arc::clone(mapping), 0).ok_or("region")?;
            let attributes = SlotAttributes::default().with_read_only(*address == CODE_PHYS);
            vm.map_slot(number, region, attributes)?;
        }
        let mut vcpu = vm.create_vcpu(0)?;
        arch::start(&mut vcpu, tables.root())?;
        Ok(Self {
            vcpu,
            slots,
            rings: Vec::new(),
            _vm: vm,
        })
    }

    /// The slot with these bytes, and the offset in it.
    fn slot(&self, address: u64, len: usize) -> Option<(&HostMapping, usize)> {
        let wanted = GuestRange::new(address, u64::try_from(len).ok()?)?;
        let found = self
            .slots
            .iter()
            .find(|(start, mapping)| range(*start, mapping).contains(wanted));
        let (start, mapping) = found?;
        Some((mapping, usize::try_from(address - start).ok()?))
    }

    /// The 32-bit word at a physical address.
    pub(crate) fn word(&self, address: u64) -> Result<u32, TargetError> {
        let mut bytes = [0; 4];
        if self.read(address, &mut bytes) {
            Ok(u32::from_le_bytes(bytes))
        } else {
            Err("no memory".into())
        }
    }

    /// Runs to the next doorbell. Another stop is the result.
    pub(crate) fn run_to_ring(&mut self) -> Result<Option<Stop>, TargetError> {
        loop {
            return match self.vcpu.run()? {
                VcpuExit::Doorbell(_) => Ok(None),
                VcpuExit::Interrupted => continue,
                VcpuExit::Debug(stop) => Ok(Some(Stop::Debug(stop))),
                exit => Err(format!("{exit:?}").into()),
            };
        }
    }

    /// Runs to the next stop. Collects what the doorbell brings.
    pub(crate) fn run(&mut self) -> Result<Stop, TargetError> {
        loop {
            return Ok(match self.vcpu.run()? {
                VcpuExit::Doorbell(value) => {
                    self.rings.push(value);
                    continue;
                }
                VcpuExit::Debug(stop) => Stop::Debug(stop),
                VcpuExit::Interrupted => Stop::Interrupted,
                VcpuExit::Halt => Stop::Halted,
                VcpuExit::Fault(_) => Stop::Crashed(11),
                exit => return Err(format!("{exit:?}").into()),
            });
        }
    }

    /// Runs under a debugger until it goes.
    pub(crate) fn debug(&mut self, session: &mut GdbSession) -> Result<Resume, TargetError> {
        let mut stop = Stop::Attached;
        loop {
            match session.stopped(stop, self)? {
                Resume::Run => stop = self.run()?,
                end => return Ok(end),
            }
        }
    }
}

fn range(start: u64, mapping: &HostMapping) -> GuestRange {
    GuestRange::new(start, u64::try_from(mapping.len()).unwrap()).unwrap()
}

impl PhysicalMemory for Machine {
    fn ranges(&self) -> Vec<GuestRange> {
        self.slots
            .iter()
            .map(|(start, mapping)| range(*start, mapping))
            .collect()
    }

    fn read(&self, address: u64, bytes: &mut [u8]) -> bool {
        self.slot(address, bytes.len())
            .is_some_and(|(mapping, offset)| mapping.read(offset, bytes).is_ok())
    }
}

impl DebugTarget for Machine {
    fn read_registers(&mut self) -> Result<GuestRegisters, TargetError> {
        Ok(self.vcpu.read_registers()?)
    }

    fn write_registers(&mut self, registers: &GuestRegisters) -> Result<(), TargetError> {
        Ok(self.vcpu.write_registers(registers)?)
    }

    fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), TargetError> {
        let (mapping, offset) = self.slot(address, bytes.len()).ok_or("no memory")?;
        Ok(mapping.write(offset, bytes)?)
    }

    fn set_debug(&mut self, request: &DebugRequest) -> Result<(), TargetError> {
        Ok(self.vcpu.set_debug(request)?)
    }

    fn can_step(&self) -> bool {
        !cfg!(target_arch = "riscv64")
    }

    fn breakpoint_instruction(&self) -> BreakpointInstruction {
        BreakpointInstruction::Halt
    }
}
