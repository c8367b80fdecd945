//! vCPU file descriptor: `KVM_RUN`, and the exits that are common to all architectures.
#![expect(
    unsafe_code,
    reason = "reads the unions of `struct kvm_run`, and passes a buffer of run-time size to KVM_GET_REG_LIST"
)]

use std::sync::{Arc, atomic::Ordering};

use hv_core::{Fault, SystemEvent, VcpuExit, VcpuKicker};
use kvm_bindings::{
    KVM_EXIT_FAIL_ENTRY, KVM_EXIT_INTERNAL_ERROR, KVM_EXIT_INTR, KVM_EXIT_MMIO, KVM_EXIT_SYSTEM_EVENT,
    KVM_SYSTEM_EVENT_CRASH, KVM_SYSTEM_EVENT_RESET, KVM_SYSTEM_EVENT_SHUTDOWN, KVMIO, kvm_reg_list, kvm_run,
};
use kvm_ioctls::{Error, VcpuFd};
use vmm_sys_util::{ioctl::ioctl_with_mut_ptr, ioctl_iowr_nr};

use super::immediate_exit::ImmediateExit;
use crate::{HarnessError, VcpuEntry, exit_reason};

ioctl_iowr_nr!(KVM_GET_REG_LIST, KVMIO, 0xb0, kvm_reg_list);

/// Result of one `KVM_RUN`, before the exit is decoded to a [`VcpuExit`].
#[derive(Debug)]
pub enum RunStatus {
    /// An exit that `struct kvm_run` describes; the value is its reason, `KVM_EXIT_*`.
    Exit(u32),
    /// A signal or a kick interrupted the vCPU, or the vCPU has not been started yet.
    Interrupted,
    /// A fault that `struct kvm_run` does not describe. Boxed, because every exit moves the value, and faults are rare.
    Fault(Box<Fault>),
}

/// File descriptor of a vCPU, with its kicker and the pending I/O of its last exit.
#[derive(Debug)]
pub struct VcpuFile {
    fd: VcpuFd,
    immediate_exit: ImmediateExit,
    entry: VcpuEntry,
    pending: bool,
}

impl VcpuFile {
    /// Wraps the descriptor of a vCPU that has not run yet.
    ///
    /// # Errors
    ///
    /// [`HarnessError::Request`] when the handler of the kick signal cannot be installed, or a page of the vCPU cannot be
    /// mapped.
    pub fn new(fd: VcpuFd) -> Result<Self, HarnessError> {
        let entry = VcpuEntry::new().map_err(|error| HarnessError::request("sigaction", error))?;
        let immediate_exit = ImmediateExit::map(&fd).map_err(|error| HarnessError::request("mmap", error))?;
        Ok(Self {
            fd,
            immediate_exit,
            entry,
            pending: false,
        })
    }

    /// The descriptor, for ioctls on registers.
    #[must_use]
    pub fn fd(&self) -> &VcpuFd {
        &self.fd
    }

    /// `struct kvm_run` of the vCPU. The harness sets `immediate_exit` through another mapping.
    pub fn kvm_run(&mut self) -> &mut kvm_run {
        self.fd.get_kvm_run()
    }

    /// Whether the I/O access or call of the last exit is not completed yet, so that the registers do not have its results.
    #[must_use]
    pub fn is_io_pending(&self) -> bool {
        self.pending
    }

    /// Handle that makes this vCPU leave [`run`](Self::run) from another thread.
    #[must_use]
    pub fn kicker(&self) -> Arc<dyn VcpuKicker> {
        self.entry.kicker()
    }

    /// Enters the guest, unless a kick is pending.
    ///
    /// # Errors
    ///
    /// Errors of `KVM_RUN` other than an interruption.
    pub fn run(&mut self) -> Result<RunStatus, Error> {
        let Self {
            fd,
            immediate_exit,
            entry: entries,
            pending,
        } = self;
        let entry = entries.run(immediate_exit.byte(), || enter(fd, pending));
        // A kick was pending, and is acknowledged now.
        let Some(entry) = entry else {
            return Ok(RunStatus::Interrupted);
        };
        let entry = entry?;
        if matches!(entry, RunStatus::Interrupted) {
            entries.acknowledge();
        }
        Ok(entry)
    }

    /// Completes the I/O access or call of the last exit without the execution of further instructions; `None` if none is
    /// pending. A further access of the same instruction is a new exit.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub fn complete_io(&mut self) -> Result<Option<RunStatus>, Error> {
        if !self.pending {
            return Ok(None);
        }
        self.immediate_exit.byte().store(1, Ordering::SeqCst);
        let entry = enter(&mut self.fd, &mut self.pending);
        self.immediate_exit.byte().store(0, Ordering::SeqCst);
        entry.map(Some)
    }

    /// Decodes the exit in `struct kvm_run` after [`RunStatus::Exit`]. A reason that is not common to all architectures is
    /// [`Fault::Unsupported`].
    pub fn decode(&mut self) -> VcpuExit<'_> {
        let reason = self.fd.get_kvm_run().exit_reason;
        if reason == KVM_EXIT_INTERNAL_ERROR {
            return VcpuExit::Fault(self.internal_error(None));
        }
        let run = self.fd.get_kvm_run();
        match reason {
            KVM_EXIT_MMIO => {
                // SAFETY: the exit reason selects this field of the union, and its fields are integers.
                let mmio = unsafe { &mut run.__bindgen_anon_1.mmio };
                let len = usize::try_from(mmio.len)
                    .unwrap_or(usize::MAX)
                    .min(mmio.data.len());
                let (data, _) = mmio.data.split_at_mut(len);
                if mmio.is_write != 0 {
                    VcpuExit::MmioWrite {
                        address: mmio.phys_addr,
                        data,
                    }
                } else {
                    VcpuExit::MmioRead {
                        address: mmio.phys_addr,
                        data,
                    }
                }
            }
            KVM_EXIT_SYSTEM_EVENT => {
                // SAFETY: as above.
                let kind = unsafe { run.__bindgen_anon_1.system_event }.type_;
                VcpuExit::System(match kind {
                    KVM_SYSTEM_EVENT_SHUTDOWN => SystemEvent::PowerOff,
                    KVM_SYSTEM_EVENT_RESET => SystemEvent::Reset,
                    KVM_SYSTEM_EVENT_CRASH => SystemEvent::Crash,
                    kind => SystemEvent::Other(kind),
                })
            }
            KVM_EXIT_FAIL_ENTRY => {
                // SAFETY: as above.
                let fail = unsafe { run.__bindgen_anon_1.fail_entry };
                VcpuExit::Fault(Fault::EntryFailed {
                    reason: fail.hardware_entry_failure_reason,
                    cpu: fail.cpu,
                })
            }
            KVM_EXIT_INTR => VcpuExit::Interrupted,
            reason => exit_reason::unsupported(reason),
        }
    }

    /// Decodes the internal error in `struct kvm_run` after an exit `KVM_EXIT_INTERNAL_ERROR`; `pc` is the address of the
    /// instruction.
    pub fn internal_error(&mut self, pc: Option<u64>) -> Fault {
        // SAFETY: this field of the union consists of integers, for which all bit patterns are valid.
        let internal = unsafe { self.fd.get_kvm_run().__bindgen_anon_1.internal };
        let words = usize::try_from(internal.ndata).unwrap_or(usize::MAX);
        let data = internal.data.get(..words).unwrap_or(&internal.data);
        exit_reason::internal_error(internal.suberror, data, pc)
    }

    /// Ids of the registers of this vCPU (`KVM_GET_REG_LIST`), in ascending order.
    ///
    /// # Errors
    ///
    /// [`HarnessError::Request`].
    pub fn register_ids(&self) -> Result<Vec<u64>, HarnessError> {
        // `struct kvm_reg_list` is a count and that many ids. For a count that is too small, the kernel returns E2BIG and
        // the required count, so the first request has a count of zero. `kvm_bindings::RegList` has a lower limit than the
        // number of registers of a vCPU with all extensions.
        let mut list = vec![0_u64];
        loop {
            let room = list.len().saturating_sub(1);
            // SAFETY: the kernel reads the count, and writes the count and at most that many ids after it. `list` has room
            // for that number of ids: its first element is the count.
            let result = unsafe {
                ioctl_with_mut_ptr(
                    &self.fd,
                    KVM_GET_REG_LIST(),
                    list.as_mut_ptr().cast::<kvm_reg_list>(),
                )
            };
            let error = Error::last();
            let count = list.first().copied().unwrap_or_default();
            let count = usize::try_from(count).unwrap_or(usize::MAX);
            if result == 0 {
                let mut ids: Vec<_> = list.into_iter().skip(1).take(count).collect();
                ids.sort_unstable();
                ids.dedup();
                return Ok(ids);
            }
            if error.errno() != libc::E2BIG || count <= room {
                return Err(HarnessError::request("KVM_GET_REG_LIST", error));
            }
            list.resize(count.saturating_add(1), 0);
        }
    }
}

/// Enters the guest. `pending` becomes whether an I/O access or a call is to be completed by the next entry.
fn enter(fd: &mut VcpuFd, pending: &mut bool) -> Result<RunStatus, Error> {
    let entry = match fd.run() {
        Ok(kvm_ioctls::VcpuExit::MemoryFault { flags, gpa, size }) => {
            RunStatus::Fault(Box::new(Fault::MemoryFault {
                address: gpa,
                len: size,
                flags,
            }))
        }
        Ok(_) => RunStatus::Exit(fd.get_kvm_run().exit_reason),
        // EAGAIN: a secondary vCPU was initialised and waits to be started.
        Err(error) if matches!(error.errno(), libc::EINTR | libc::EAGAIN) => RunStatus::Interrupted,
        Err(error) => return Err(error),
    };
    *pending = match entry {
        RunStatus::Exit(reason) => exit_reason::completes_on_entry(reason),
        RunStatus::Interrupted | RunStatus::Fault(_) => false,
    };
    Ok(entry)
}
