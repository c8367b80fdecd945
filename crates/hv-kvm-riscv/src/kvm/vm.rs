//! The virtual machine.
#![expect(unsafe_code, reason = "hands interrupts to the kernel")]

use std::{
    collections::BTreeMap,
    os::fd::{AsRawFd as _, BorrowedFd, OwnedFd},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use boot_core::{Arch, machine::RiscvHart};
use guest_ram::RamRegion;
use hv_core::{IrqError, Vm};
use hv_kvm::{HarnessError, RamRules, VmFile};
use kvm_bindings::{KVM_CAP_VM_GPA_BITS, KVM_INTERRUPT_SET, KVM_INTERRUPT_UNSET, KVMIO, kvm_interrupt};
use kvm_ioctls::{Cap, Kvm, VcpuFd, VmFd};
use vmm_sys_util::{ioctl::ioctl_with_ref, ioctl_iow_nr};

use super::{KvmVcpu, aia::Aia, refused};
use crate::{HartInputs, ImsicRegister, KvmError, Layout, Plic, layout::Controller as Kind, sbi::SbiConsole};

ioctl_iow_nr!(KVM_INTERRUPT, KVMIO, 0x86, kvm_interrupt);

/// A riscv64 machine under KVM. Interrupts go through the AIA in the kernel or through a PLIC in user space, as its
/// description says; timers, interrupts between harts and hart state management are always in the kernel.
///
/// The numbers of interrupt lines are the sources of the PLIC or APLIC, from 1 up.
#[derive(Clone, Debug)]
pub struct KvmVm(Arc<Inner>);

/// The page size of riscv64.
const PAGE: u64 = 4096;

/// What the machine's handle and all its vCPUs share: each of them keeps the guest's RAM alive.
#[derive(Debug)]
pub(super) struct Inner {
    pub(super) file: VmFile,
    controller: Controller,
    /// A second handle of each vCPU, by the order of creation, to interrupt it from any thread.
    harts: Mutex<Harts>,
    vcpus: u32,
    /// What each hart is to be; empty for harts as KVM gives them.
    pub(super) descriptions: Vec<RiscvHart>,
    pub(super) timebase_frequency: Option<u32>,
    pub(super) console: SbiConsole,
}

/// The vCPUs that exist.
#[derive(Debug, Default)]
struct Harts {
    /// Their numbers in the order of creation, which is the order the kernel counts them in.
    order: Vec<u32>,
    handles: BTreeMap<u32, OwnedFd>,
}

#[derive(Debug)]
enum Controller {
    None,
    Plic(Plic),
    Aia(Aia),
}

/// The way from the PLIC to the vCPUs. The PLIC belongs to the machine and must not keep it alive.
struct Inputs(Weak<Inner>);

impl HartInputs for Inputs {
    fn set(&self, hart: u32, level: bool) -> Result<(), IrqError> {
        let Some(machine) = self.0.upgrade() else {
            // Nobody is left to be interrupted.
            return Ok(());
        };
        machine.interrupt(hart, level).map_err(|error| IrqError {
            line: hart,
            source: error.into(),
        })
    }
}

/// Opens KVM and checks what this harness cannot do without.
pub(super) fn open() -> Result<Kvm, HarnessError> {
    hv_kvm::open(&[(Cap::OneReg, "KVM_CAP_ONE_REG")])
}

/// How many bits guest physical addresses can have; 64 where KVM does not say.
fn address_bits(vm: &VmFd) -> u32 {
    u32::try_from(vm.check_extension_raw(KVM_CAP_VM_GPA_BITS.into()))
        .ok()
        .filter(|&bits| bits > 0)
        .unwrap_or(u64::BITS)
}

impl KvmVm {
    /// Creates a machine with the vCPUs and the interrupt controller of `layout`, without RAM. The consoles of SBI go to
    /// `console`.
    ///
    /// # Errors
    ///
    /// [`HarnessError::Open`] where there is no KVM; [`KvmError::Machine`] where this host cannot have so many vCPUs;
    /// whatever KVM refuses.
    pub fn new(layout: &Layout, console: SbiConsole) -> Result<Self, KvmError> {
        let kvm = open()?;
        let vcpus = layout.vcpus;
        let fd = kvm.create_vm().map_err(refused("KVM_CREATE_VM"))?;
        let max = u32::try_from(fd.check_extension_int(Cap::MaxVcpus)).unwrap_or(0);
        if vcpus > max {
            return Err(KvmError::Machine {
                what: "so many vCPUs",
                found: vcpus.into(),
                expected: max.into(),
            });
        }
        let aia = Aia::create(&fd, layout.controller, vcpus)?;
        let rules = RamRules {
            page: PAGE,
            address_bits: address_bits(&fd),
            reserved: layout.controller.ranges(),
        };
        Ok(Self(Arc::new_cyclic(|inner| {
            let controller = match (aia, layout.controller) {
                (Some(aia), _) => Controller::Aia(aia),
                (None, Kind::Plic { sources, .. }) => {
                    Controller::Plic(Plic::new(sources, vcpus, Inputs(Weak::clone(inner))))
                }
                (None, _) => Controller::None,
            };
            Inner {
                file: VmFile::new(fd, rules),
                controller,
                harts: Mutex::default(),
                vcpus,
                descriptions: layout.harts.clone(),
                timebase_frequency: layout.timebase_frequency,
                console,
            }
        })))
    }

    /// The PLIC, where the machine has one: it belongs on the bus, at the range that the machine describes.
    #[must_use]
    pub fn plic(&self) -> Option<Plic> {
        match &self.0.controller {
            Controller::Plic(plic) => Some(plic.clone()),
            Controller::None | Controller::Aia(_) => None,
        }
    }

    /// The console of SBI, to type into it.
    #[must_use]
    pub fn console(&self) -> &SbiConsole {
        &self.0.console
    }

    /// Puts the interrupt controllers back into the state they were created in. A machine reset is this and a reset
    /// of every vCPU.
    ///
    /// # Errors
    ///
    /// Whatever KVM refuses.
    pub fn reset_chips(&self) -> Result<(), KvmError> {
        match &self.0.controller {
            Controller::None => Ok(()),
            Controller::Plic(plic) => Ok(plic.reset()?),
            Controller::Aia(aia) => aia.reset(),
        }
    }
}

/// Nothing in this module panics while it holds a lock.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Inner {
    /// Sets the external interrupt of a vCPU from outside the kernel. A vCPU that does not exist yet is told when it
    /// is created.
    fn interrupt(&self, hart: u32, level: bool) -> Result<(), KvmError> {
        let harts = lock(&self.harts);
        match harts.handles.get(&hart) {
            Some(handle) => raise(handle, level),
            None => Ok(()),
        }
    }

    /// Tells vCPU `hart` once more whether it has an external interrupt: its registers were replaced.
    pub(super) fn drive(&self, hart: u32) -> Result<(), KvmError> {
        match &self.controller {
            Controller::Plic(plic) => Ok(plic.drive(hart)?),
            Controller::None | Controller::Aia(_) => Ok(()),
        }
    }

    /// The interrupt file of vCPU `index`; empty where there is none, or not all vCPUs exist yet.
    pub(super) fn imsic(&self, index: u32) -> Result<BTreeMap<ImsicRegister, u64>, KvmError> {
        match &self.controller {
            Controller::Aia(aia) => aia.imsic(index),
            Controller::None | Controller::Plic(_) => Ok(BTreeMap::new()),
        }
    }

    /// Replaces the interrupt file of vCPU `index`.
    pub(super) fn set_imsic(&self, index: u32, state: &BTreeMap<ImsicRegister, u64>) -> Result<(), KvmError> {
        match &self.controller {
            Controller::Aia(aia) => aia.set_imsic(index, state),
            Controller::None | Controller::Plic(_) if state.is_empty() => Ok(()),
            Controller::None | Controller::Plic(_) => Err(KvmError::NoImsic),
        }
    }

    /// An interrupt file as it was created; empty where there is none.
    pub(super) fn fresh_imsic(&self) -> BTreeMap<ImsicRegister, u64> {
        match &self.controller {
            Controller::Aia(aia) => aia.fresh_imsic(),
            Controller::None | Controller::Plic(_) => BTreeMap::new(),
        }
    }

    /// Creates the kernel's part of vCPU `index`, and lets `set_up` finish it before anybody else knows of it.
    fn create_hart(
        &self,
        index: u32,
        set_up: impl FnOnce(VcpuFd) -> Result<KvmVcpu, KvmError>,
    ) -> Result<KvmVcpu, KvmError> {
        let count = self.vcpus;
        if index >= count {
            return Err(HarnessError::NoSuchVcpu { index, count }.into());
        }
        let mut harts = lock(&self.harts);
        // KVM uses a vCPU's number as its hart id.
        let fd = self
            .file
            .fd()
            .create_vcpu(index.into())
            .map_err(refused("KVM_CREATE_VCPU"))?;
        // SAFETY: the file is open: `fd` owns it and lives to the end of this block.
        let handle = unsafe { BorrowedFd::borrow_raw(fd.as_raw_fd()) }
            .try_clone_to_owned()
            .map_err(|error| HarnessError::refused("fcntl(F_DUPFD_CLOEXEC)", error))?;
        harts.order.push(index);
        let vcpu = set_up(fd)?;
        harts.handles.insert(index, handle);
        let all = u32::try_from(harts.order.len()) == Ok(count);
        if let (Controller::Aia(aia), true) = (&self.controller, all) {
            // The AIA is finished between the creation of the last vCPU and the first run.
            aia.finish(&harts.order)?;
        }
        drop(harts);
        self.drive(index)?;
        Ok(vcpu)
    }
}

/// `KVM_INTERRUPT`: one of the few requests that may come while the vCPU runs.
fn raise(vcpu: &OwnedFd, level: bool) -> Result<(), KvmError> {
    let interrupt = kvm_interrupt {
        irq: if level {
            KVM_INTERRUPT_SET
        } else {
            KVM_INTERRUPT_UNSET
        }
        .cast_unsigned(),
    };
    // SAFETY: the file is a vCPU's, and the kernel reads one `kvm_interrupt` from the pointer, which is valid for it.
    match unsafe { ioctl_with_ref(vcpu, KVM_INTERRUPT(), &interrupt) } {
        0 => Ok(()),
        _ => Err(refused("KVM_INTERRUPT")(kvm_ioctls::Error::last())),
    }
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
        match &self.0.controller {
            Controller::Plic(plic) => Ok(plic.set_source(line, level)?),
            Controller::Aia(aia) => {
                aia.check_source(line)?;
                self.0
                    .file
                    .fd()
                    .set_irq_line(line, level)
                    .map_err(refused("KVM_IRQ_LINE"))
            }
            Controller::None => Err(IrqError {
                line,
                source: "the machine has no interrupt controller".into(),
            }
            .into()),
        }
    }
}
