//! State of a virtual machine that its handle and all its vCPUs share.
#![expect(
    unsafe_code,
    reason = "passes a structure to KVM_INTERRUPT, and duplicates a file descriptor"
)]

use std::{
    collections::BTreeMap,
    os::fd::{AsRawFd as _, BorrowedFd, OwnedFd},
    sync::{Mutex, MutexGuard, PoisonError, Weak},
};

use hv_core::IrqError;
use hv_kvm::{Capability, HarnessError, ResetState, VmFile};
use kvm_bindings::{
    KVM_CAP_ONE_REG, KVM_CAP_VM_GPA_BITS, KVM_INTERRUPT_SET, KVM_INTERRUPT_UNSET, KVMIO, kvm_interrupt,
};
use kvm_ioctls::{Kvm, VcpuFd, VmFd};
use vmm_sys_util::{ioctl::ioctl_with_ref, ioctl_iow_nr};

use super::{aia::Aia, request::failed_request};
use crate::{HartInterrupts, ImsicRegister, KvmError, Layout, Plic, VcpuState, sbi::SbiConsole};

ioctl_iow_nr!(KVM_INTERRUPT, KVMIO, 0x86, kvm_interrupt);

/// State that the handle of the machine and all its vCPUs share. The RAM of the guest stays mapped while one of them exists.
#[derive(Debug)]
pub(super) struct Machine {
    pub(super) file: VmFile,
    pub(super) irqchip: Irqchip,
    /// Duplicates of the vCPU file descriptors, for interrupts from any thread.
    pub(super) harts: Mutex<Harts>,
    pub(super) layout: Layout,
    pub(super) console: SbiConsole,
    pub(super) reset_state: ResetState<Layout, Vec<VcpuState>, KvmError>,
}

/// The vCPUs that were created.
#[derive(Debug, Default)]
pub(super) struct Harts {
    /// vCPU numbers in the order of creation, which is the order of the AIA attributes.
    created: Vec<u32>,
    handles: BTreeMap<u32, OwnedFd>,
}

/// Interrupt controller for devices.
#[derive(Debug)]
pub(super) enum Irqchip {
    None,
    Plic(Plic),
    Aia(Aia),
}

/// Connection of the PLIC to the vCPUs. The machine owns the PLIC, so this reference is weak.
pub(super) struct PlicOutputs(pub(super) Weak<Machine>);

impl HartInterrupts for PlicOutputs {
    fn set(&self, hart: u32, level: bool) -> Result<(), IrqError> {
        let Some(machine) = self.0.upgrade() else {
            // The machine was dropped.
            return Ok(());
        };
        machine
            .interrupt(hart, level)
            .map_err(|error| IrqError::new(hart, error))
    }
}

/// Capabilities that this harness asks for.
pub(crate) const CAPABILITIES: [Capability; 2] = [
    Capability::required(
        KVM_CAP_ONE_REG,
        "KVM_CAP_ONE_REG",
        "state of vCPUs: registers by their numbers",
    ),
    Capability::limit(
        KVM_CAP_VM_GPA_BITS,
        "KVM_CAP_VM_GPA_BITS",
        "number of guest physical address bits; zero if unknown",
    ),
];

/// Opens KVM with the capabilities that this harness needs.
pub(super) fn open() -> Result<Kvm, HarnessError> {
    hv_kvm::open(&CAPABILITIES)
}

/// Number of bits of guest physical addresses; 64 if KVM does not report it.
pub(super) fn address_bits(vm: &VmFd) -> Result<u32, HarnessError> {
    let bits = u32::try_from(hv_kvm::vm_capability(vm, KVM_CAP_VM_GPA_BITS)?).ok();
    Ok(bits.filter(|&bits| bits > 0).unwrap_or(u64::BITS))
}

/// Locks `mutex`. No code panics with the lock held.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Machine {
    /// Sets the external interrupt input of a vCPU. For a vCPU that does not exist yet, [`create_hart`](Self::create_hart) sets
    /// it.
    fn interrupt(&self, hart: u32, level: bool) -> Result<(), KvmError> {
        let harts = lock(&self.harts);
        match harts.handles.get(&hart) {
            Some(handle) => raise(handle, level),
            None => Ok(()),
        }
    }

    /// Sets the external interrupt input of vCPU `hart` to its current level again, after its registers were replaced.
    pub(super) fn resend(&self, hart: u32) -> Result<(), KvmError> {
        match &self.irqchip {
            Irqchip::Plic(plic) => Ok(plic.resend(hart)?),
            Irqchip::None | Irqchip::Aia(_) => Ok(()),
        }
    }

    /// Reads the interrupt file of vCPU `index`; empty without an AIA, or before all vCPUs exist.
    pub(super) fn imsic(&self, index: u32) -> Result<BTreeMap<ImsicRegister, u64>, KvmError> {
        match &self.irqchip {
            Irqchip::Aia(aia) => aia.imsic(index),
            Irqchip::None | Irqchip::Plic(_) => Ok(BTreeMap::new()),
        }
    }

    /// Writes the interrupt file of vCPU `index`.
    pub(super) fn set_imsic(&self, index: u32, state: &BTreeMap<ImsicRegister, u64>) -> Result<(), KvmError> {
        match &self.irqchip {
            Irqchip::Aia(aia) => aia.set_imsic(index, state),
            Irqchip::None | Irqchip::Plic(_) if state.is_empty() => Ok(()),
            Irqchip::None | Irqchip::Plic(_) => Err(KvmError::NoImsic),
        }
    }

    /// Whether the interrupt files exist: with an AIA, once all vCPUs do.
    pub(super) fn has_imsics(&self) -> bool {
        matches!(&self.irqchip, Irqchip::Aia(aia) if aia.is_initialised())
    }

    /// States of the vCPUs after a reset, without their configuration. The first call reads them.
    pub(super) fn reset_state(&self) -> Result<&[VcpuState], KvmError> {
        Ok(self.reset_state.get(&self.layout)?)
    }

    /// State of vCPU `index` after a reset.
    pub(super) fn vcpu_reset_state(&self, index: u32) -> Result<&VcpuState, KvmError> {
        Ok(hv_kvm::state_of_vcpu(self.reset_state()?, index)?)
    }

    /// Creates vCPU `index` in the kernel and calls `set_up` before interrupts can reach the vCPU.
    pub(super) fn create_hart<T>(
        &self,
        index: u32,
        set_up: impl FnOnce(VcpuFd) -> Result<T, KvmError>,
    ) -> Result<T, KvmError> {
        let count = self.layout.vcpus;
        if index >= count {
            return Err(HarnessError::NoSuchVcpu { index, count }.into());
        }
        let mut harts = lock(&self.harts);
        // KVM uses the vCPU id as the hart id.
        let fd = hv_kvm::retry_interrupted(|| self.file.fd().create_vcpu(index.into()))
            .map_err(failed_request("KVM_CREATE_VCPU"))?;
        // SAFETY: the descriptor is open: `fd` owns it and lives until the end of this statement.
        let handle = unsafe { BorrowedFd::borrow_raw(fd.as_raw_fd()) }
            .try_clone_to_owned()
            .map_err(|error| HarnessError::request("fcntl(F_DUPFD_CLOEXEC)", error))?;
        harts.created.push(index);
        let vcpu = set_up(fd)?;
        harts.handles.insert(index, handle);
        let all = u32::try_from(harts.created.len()) == Ok(count);
        if let (Irqchip::Aia(aia), true) = (&self.irqchip, all) {
            // The AIA is initialised between the creation of the last vCPU and the first run.
            aia.initialise(&harts.created)?;
        }
        drop(harts);
        self.resend(index)?;
        Ok(vcpu)
    }
}

/// Sets the external interrupt of a vCPU with `KVM_INTERRUPT`, which is allowed while the vCPU runs.
fn raise(vcpu: &OwnedFd, level: bool) -> Result<(), KvmError> {
    let interrupt = kvm_interrupt {
        irq: if level {
            KVM_INTERRUPT_SET
        } else {
            KVM_INTERRUPT_UNSET
        }
        .cast_unsigned(),
    };
    // SAFETY: the descriptor is that of a vCPU, and the kernel reads one `kvm_interrupt` from a valid pointer.
    match unsafe { ioctl_with_ref(vcpu, KVM_INTERRUPT(), &interrupt) } {
        0 => Ok(()),
        _ => Err(failed_request("KVM_INTERRUPT")(kvm_ioctls::Error::last())),
    }
}
