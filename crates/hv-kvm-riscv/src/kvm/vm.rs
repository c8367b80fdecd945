//! The virtual machine.
#![expect(unsafe_code, reason = "hands host memory and interrupts to the kernel")]

use std::{
    collections::BTreeMap,
    os::fd::{AsRawFd as _, BorrowedFd, OwnedFd},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use boot_core::{Arch, GuestRange, machine::RiscvHart};
use guest_ram::RamRegion;
use hv_core::{IrqError, Vm};
use kvm_bindings::{
    KVM_API_VERSION, KVM_INTERRUPT_SET, KVM_INTERRUPT_UNSET, KVMIO, kvm_interrupt,
    kvm_userspace_memory_region,
};
use kvm_ioctls::{Cap, Kvm, VcpuFd, VmFd};
use vmm_sys_util::{ioctl::ioctl_with_ref, ioctl_iow_nr};

use super::{KvmVcpu, aia::Aia, memory::Slots, refused};
use crate::{HartInputs, KvmError, Layout, Plic, layout::Controller as Kind, sbi::SbiConsole};

ioctl_iow_nr!(KVM_INTERRUPT, KVMIO, 0x86, kvm_interrupt);

/// A riscv64 machine under KVM. Interrupts go through the AIA in the kernel or through a PLIC in user space, as its
/// description says; timers, interrupts between harts and hart state management are always in the kernel.
///
/// The numbers of interrupt lines are the sources of the PLIC or APLIC, from 1 up.
#[derive(Clone, Debug)]
pub struct KvmVm(Arc<Inner>);

/// What the machine's handle and all its vCPUs share. The guest can reach RAM as long as the kernel's machine
/// exists, which each vCPU's file keeps alive; so the vCPUs keep the RAM alive as well.
#[derive(Debug)]
pub(super) struct Inner {
    // Dropped in this order: everything that keeps the kernel's machine alive before the memory it uses.
    pub(super) fd: VmFd,
    controller: Controller,
    /// A second handle of each vCPU, by the order of creation, to interrupt it from any thread.
    harts: Mutex<Harts>,
    slots: Mutex<Slots>,
    vcpus: u32,
    /// What each hart is to be; empty for harts as KVM gives them.
    pub(super) descriptions: Vec<RiscvHart>,
    pub(super) timebase_frequency: Option<u32>,
    /// Where the interrupt controller is.
    reserved: Vec<GuestRange>,
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
pub(super) fn open() -> Result<Kvm, KvmError> {
    let kvm = Kvm::new().map_err(|error| KvmError::Open(error.into()))?;
    let expected = i32::try_from(KVM_API_VERSION).unwrap_or(i32::MAX);
    let found = kvm.get_api_version();
    if found != expected {
        return Err(KvmError::ApiVersion { found, expected });
    }
    for (cap, name) in [
        (Cap::UserMemory, "KVM_CAP_USER_MEMORY"),
        (Cap::OneReg, "KVM_CAP_ONE_REG"),
        (Cap::MpState, "KVM_CAP_MP_STATE"),
        (Cap::ImmediateExit, "KVM_CAP_IMMEDIATE_EXIT"),
    ] {
        if !kvm.check_extension(cap) {
            return Err(KvmError::MissingCapability { name });
        }
    }
    Ok(kvm)
}

impl KvmVm {
    /// Creates a machine with the vCPUs and the interrupt controller of `layout`, without RAM. The consoles of SBI go to
    /// `console`.
    ///
    /// # Errors
    ///
    /// [`KvmError::Open`] where there is no KVM; [`KvmError::Machine`] where this host cannot have so many vCPUs;
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
        Ok(Self(Arc::new_cyclic(|inner| {
            let controller = match (aia, layout.controller) {
                (Some(aia), _) => Controller::Aia(aia),
                (None, Kind::Plic { sources, .. }) => {
                    Controller::Plic(Plic::new(sources, vcpus, Inputs(Weak::clone(inner))))
                }
                (None, _) => Controller::None,
            };
            Inner {
                fd,
                controller,
                harts: Mutex::default(),
                slots: Mutex::default(),
                vcpus,
                descriptions: layout.harts.clone(),
                timebase_frequency: layout.timebase_frequency,
                reserved: layout.controller.ranges(),
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
    pub(super) fn slots(&self) -> MutexGuard<'_, Slots> {
        lock(&self.slots)
    }

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

    /// Creates the kernel's part of vCPU `index`, and lets `set_up` finish it before anybody else knows of it.
    fn create_hart(
        &self,
        index: u32,
        set_up: impl FnOnce(VcpuFd) -> Result<KvmVcpu, KvmError>,
    ) -> Result<KvmVcpu, KvmError> {
        let count = self.vcpus;
        if index >= count {
            return Err(KvmError::NoSuchVcpu { index, count });
        }
        let mut harts = lock(&self.harts);
        // KVM uses a vCPU's number as its hart id.
        let fd = self
            .fd
            .create_vcpu(index.into())
            .map_err(refused("KVM_CREATE_VCPU"))?;
        // SAFETY: the file is open: `fd` owns it and lives to the end of this block.
        let handle = unsafe { BorrowedFd::borrow_raw(fd.as_raw_fd()) }
            .try_clone_to_owned()
            .map_err(|source| KvmError::Request {
                request: "fcntl(F_DUPFD_CLOEXEC)",
                source,
            })?;
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
        const PAGE: u64 = 4096;
        let range = ram.range();
        if !range.start().is_multiple_of(PAGE) || !range.len().is_multiple_of(PAGE) {
            return Err(KvmError::RamUnaligned { range });
        }
        if let Some(&reserved) = self.0.reserved.iter().find(|reserved| reserved.overlaps(range)) {
            return Err(KvmError::RamReserved { range, reserved });
        }
        let mut slots = self.0.slots();
        if slots.contains_key(&slot) {
            return Err(KvmError::SlotInUse { slot });
        }
        if let Some((&other, _)) = slots.iter().find(|(_, other)| other.range().overlaps(range)) {
            return Err(KvmError::RamOverlap { range, other });
        }
        let region = kvm_userspace_memory_region {
            slot,
            flags: 0,
            guest_phys_addr: range.start(),
            memory_size: range.len(),
            userspace_addr: ram.host_addr(),
        };
        // SAFETY: the kernel will access `range.len()` bytes from `ram.host_addr()` until the slot is deleted or its machine
        // is gone. `ram` owns a share of exactly this mapping, and it is put into `slots`, from where only
        // `unmap_ram` takes it, after the slot was deleted. `slots` lives in `Inner`, which every file that keeps the
        // kernel's machine alive is stored in or together with: the machine's, the interrupt controller's and the
        // handles of the vCPUs in it, and each vCPU's own beside its `Arc<Inner>`. No Rust reference to the memory
        // exists: `RamRegion` forbids them, and its slots are disjoint.
        unsafe { self.0.fd.set_user_memory_region(region) }.map_err(refused("KVM_SET_USER_MEMORY_REGION"))?;
        slots.insert(slot, ram);
        Ok(())
    }

    fn unmap_ram(&self, slot: u32) -> Result<RamRegion, KvmError> {
        let mut slots = self.0.slots();
        let Some(ram) = slots.get(&slot) else {
            return Err(KvmError::SlotUnused { slot });
        };
        let region = kvm_userspace_memory_region {
            slot,
            guest_phys_addr: ram.range().start(),
            ..Default::default()
        };
        // SAFETY: a size of zero deletes the slot: the kernel is given no memory.
        unsafe { self.0.fd.set_user_memory_region(region) }.map_err(refused("KVM_SET_USER_MEMORY_REGION"))?;
        slots.remove(&slot).ok_or(KvmError::SlotUnused { slot })
    }

    fn set_irq(&self, line: u32, level: bool) -> Result<(), KvmError> {
        match &self.0.controller {
            Controller::Plic(plic) => Ok(plic.set_source(line, level)?),
            Controller::Aia(aia) => {
                aia.check_source(line)?;
                self.0
                    .fd
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
