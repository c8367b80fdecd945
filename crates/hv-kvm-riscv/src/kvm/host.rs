//! Query of the capabilities of this host.

use std::{io, sync::Arc};

use boot_core::machine::{Isa, MmuType};
use hv_core::{NullObserver, Vm as _};
use hv_kvm::{HarnessError, KvmProbe};

use super::{aia, machine, request::failed_request, vcpu::KvmVcpu, vm::KvmVm};
use crate::{HostCapabilities, IsaExtension, KvmError, Layout, Register, sbi::SbiConsole};

/// Queries KVM itself.
pub(crate) fn probe() -> Result<KvmProbe, HarnessError> {
    hv_kvm::probe(&machine::CAPABILITIES)
}

/// Queries a temporary virtual machine.
pub(crate) fn host_capabilities() -> Result<HostCapabilities, KvmError> {
    let kvm = machine::open()?;
    let scratch = hv_kvm::retry_interrupted(|| kvm.create_vm()).map_err(failed_request("KVM_CREATE_VM"))?;
    let aia_ids = aia::probe(&scratch)?.map(|limits| limits.ids);
    let console = SbiConsole::new(Box::new(io::sink()), Arc::new(NullObserver));
    let vm = KvmVm::new(&Layout::vcpus_only(1), console)?;
    let mut vcpu = vm.create_vcpu(0)?;
    Ok(HostCapabilities {
        timebase_frequency: number_u32(&mut vcpu, Register::TIMER_FREQUENCY)?,
        isa: isa(&mut vcpu)?,
        mmu: match number(&mut vcpu, Register::SATP_MODE)? {
            // The modes of `satp` (RISC-V Privileged Architecture, "Supervisor Address Translation and Protection").
            8 => MmuType::Sv39,
            9 => MmuType::Sv48,
            10.. => MmuType::Sv57,
            _ => MmuType::None,
        },
        cbom_block_size: optional(&mut vcpu, Register::ZICBOM_BLOCK_SIZE)?,
        cboz_block_size: optional(&mut vcpu, Register::ZICBOZ_BLOCK_SIZE)?,
        cbop_block_size: optional(&mut vcpu, Register::ZICBOP_BLOCK_SIZE)?,
        aia_ids,
    })
}

fn number(vcpu: &mut KvmVcpu, register: Register) -> Result<u64, KvmError> {
    let value = vcpu.register(register)?;
    value.to_u64().ok_or(KvmError::ValueSize {
        register,
        found: value.bytes().len(),
        expected: size_of::<u64>(),
    })
}

/// A number of at most 32 bits, the size of its device tree property.
fn number_u32(vcpu: &mut KvmVcpu, register: Register) -> Result<u32, KvmError> {
    let value = number(vcpu, register)?;
    u32::try_from(value)
        .ok()
        .ok_or(KvmError::NumberTooLarge { register, value })
}

fn optional(vcpu: &mut KvmVcpu, register: Register) -> Result<Option<u32>, KvmError> {
    if vcpu.has(register) {
        number_u32(vcpu, register).map(Some)
    } else {
        Ok(None)
    }
}

/// The default extensions of a vCPU, in the order of ISA strings: single letters first, starting with the base ("ISA
/// Extension Naming Conventions" of the unprivileged specification).
fn isa(vcpu: &mut KvmVcpu) -> Result<Isa, KvmError> {
    const LETTERS: &str = "imafdqlcbpvh";
    let mut names = Vec::new();
    for register in vcpu.registers().to_vec() {
        let Some(extension) = register.isa_extension() else {
            continue;
        };
        // Extensions without a name cannot be described to a guest. KVM has no nested virtualization.
        if extension == IsaExtension::H || number(vcpu, register)? == 0 {
            continue;
        }
        names.extend(extension.name());
    }
    names.sort_by_key(|name| match name.len() {
        1 => (LETTERS.find(name).unwrap_or(LETTERS.len()), *name),
        _ => (LETTERS.len() + 1, *name),
    });
    Isa::new(names).map_err(|error| HarnessError::request("KVM_GET_REG_LIST", io::Error::other(error)).into())
}
