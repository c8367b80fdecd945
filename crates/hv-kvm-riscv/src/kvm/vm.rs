//! The virtual machine.

use std::{
    io,
    sync::{Arc, Mutex, Weak},
};

use boot_core::Arch;
use guest_ram::RamRegion;
use hv_core::{IrqError, NullObserver, Vm};
use hv_kvm::{RamConstraints, ResetState, VmFile};
use kvm_bindings::KVM_CAP_MAX_VCPUS;

use super::{
    aia::Aia,
    machine::{Irqchip, Machine, PlicOutputs, address_bits, open},
    request::failed_request,
    vcpu::KvmVcpu,
};
use crate::{IrqchipLayout, KvmError, Layout, Plic, VcpuState, sbi::SbiConsole};

/// A riscv64 machine on KVM. The kernel emulates timers, interrupts between harts and hart state management. The interrupt
/// controller for devices is the AIA in the kernel or a PLIC in user space, according to the layout.
///
/// Interrupt lines are sources of the PLIC or APLIC, from 1 up.
#[derive(Clone, Debug)]
pub struct KvmVm(Arc<Machine>);

/// Page size of riscv64.
const PAGE: u64 = 4096;

impl KvmVm {
    /// Creates a machine for the vCPUs and with the interrupt controller of `layout`, without RAM. `console` handles the SBI
    /// calls of the guest that KVM forwards.
    ///
    /// # Errors
    ///
    /// [`HarnessError::Open`](hv_kvm::HarnessError::Open) on a host without KVM; [`KvmError::HostMismatch`] for more vCPUs
    /// than the host supports; errors of KVM.
    pub fn new(layout: &Layout, console: SbiConsole) -> Result<Self, KvmError> {
        let kvm = open()?;
        let vcpus = layout.vcpus;
        let fd = hv_kvm::retry_interrupted(|| kvm.create_vm()).map_err(failed_request("KVM_CREATE_VM"))?;
        let max = u32::try_from(hv_kvm::vm_capability(&fd, KVM_CAP_MAX_VCPUS)?).unwrap_or(0);
        if vcpus > max {
            return Err(KvmError::HostMismatch {
                what: "the number of vCPUs",
                found: vcpus.into(),
                expected: max.into(),
            });
        }
        let aia = Aia::create(&fd, layout.irqchip, vcpus)?;
        let constraints = RamConstraints::new(PAGE, address_bits(&fd)?, layout.irqchip.ranges());
        Ok(Self(Arc::new_cyclic(|machine| {
            let irqchip = match (aia, layout.irqchip) {
                (Some(aia), _) => Irqchip::Aia(aia),
                (None, IrqchipLayout::Plic { sources, .. }) => {
                    Irqchip::Plic(Plic::new(sources, vcpus, PlicOutputs(Weak::clone(machine))))
                }
                (None, _) => Irqchip::None,
            };
            Machine {
                file: VmFile::new(fd, constraints),
                irqchip,
                harts: Mutex::default(),
                layout: layout.clone(),
                console,
                reset_state: ResetState::new(read_new_state),
            }
        })))
    }

    /// The PLIC, if the machine has one. The caller adds it to the bus at the range in the layout.
    #[must_use]
    pub fn plic(&self) -> Option<Plic> {
        match &self.0.irqchip {
            Irqchip::Plic(plic) => Some(plic.clone()),
            Irqchip::None | Irqchip::Aia(_) => None,
        }
    }

    /// The SBI console, for input.
    #[must_use]
    pub fn console(&self) -> &SbiConsole {
        &self.0.console
    }

    /// Resets the interrupt controller to its state after creation. A machine reset is this and a reset of every vCPU.
    ///
    /// # Errors
    ///
    /// Errors of KVM.
    pub fn reset_irqchip(&self) -> Result<(), KvmError> {
        match &self.0.irqchip {
            Irqchip::None => Ok(()),
            Irqchip::Plic(plic) => Ok(plic.reset()?),
            Irqchip::Aia(aia) => aia.reset(),
        }
    }

    /// Reads the state to which resets of vCPUs return from a temporary machine of the same layout, which never runs. The first
    /// reset does this otherwise: it opens `/dev/kvm` and creates a virtual machine with all its vCPUs. For programs that give
    /// up access to `/dev/kvm` before the guest runs.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new), and errors of KVM.
    pub fn prepare_reset(&self) -> Result<(), KvmError> {
        self.0.reset_state().map(drop)
    }
}

/// Reads the state of the vCPUs after creation from a temporary machine, without their configuration, which cannot change
/// after the first run.
fn read_new_state(layout: &Layout) -> Result<Vec<VcpuState>, KvmError> {
    let console = SbiConsole::new(Box::new(io::sink()), Arc::new(NullObserver));
    let vm = KvmVm::new(layout, console)?;
    let mut vcpus = (0..layout.vcpus)
        .map(|index| vm.create_vcpu(index))
        .collect::<Result<Vec<_>, _>>()?;
    let states = vcpus.iter_mut().map(|vcpu| {
        let mut state = vcpu.save_state()?;
        state.registers.retain(|register, _| !register.is_configuration());
        Ok(state)
    });
    states.collect()
}

impl Vm for KvmVm {
    type Error = KvmError;
    type Vcpu = KvmVcpu;
    type Ram = RamRegion;

    fn arch(&self) -> Arch {
        Arch::Riscv64
    }

    fn create_vcpu(&self, index: u32) -> Result<KvmVcpu, KvmError> {
        self.0
            .create_hart(index, |fd| KvmVcpu::new(Arc::clone(&self.0), fd, index))
    }

    fn map_ram(&self, slot: u32, ram: RamRegion) -> Result<(), KvmError> {
        Ok(self.0.file.map(slot, ram)?)
    }

    fn unmap_ram(&self, slot: u32) -> Result<RamRegion, KvmError> {
        Ok(self.0.file.unmap(slot)?)
    }

    fn set_irq(&self, line: u32, level: bool) -> Result<(), KvmError> {
        match &self.0.irqchip {
            Irqchip::Plic(plic) => Ok(plic.set_irq(line, level)?),
            Irqchip::Aia(aia) => {
                aia.check_source(line)?;
                self.0
                    .file
                    .fd()
                    .set_irq_line(line, level)
                    .map_err(failed_request("KVM_IRQ_LINE"))
            }
            Irqchip::None => Err(IrqError::new(line, "the machine has no interrupt controller").into()),
        }
    }
}
