//! A vCPU's file: entering the guest, and the exits that every architecture has.
#![expect(
    unsafe_code,
    reason = "reads the unions of the kernel's run structure, and lists registers into a buffer of run-time size"
)]

use std::sync::Arc;

use hv_core::{Exit, Fault, Interrupter, SystemEvent};
use kvm_bindings::{
    KVM_EXIT_FAIL_ENTRY, KVM_EXIT_INTERNAL_ERROR, KVM_EXIT_INTR, KVM_EXIT_MMIO, KVM_EXIT_SYSTEM_EVENT,
    KVM_SYSTEM_EVENT_CRASH, KVM_SYSTEM_EVENT_RESET, KVM_SYSTEM_EVENT_SHUTDOWN, KVMIO, kvm_reg_list, kvm_run,
};
use kvm_ioctls::{Error, VcpuExit, VcpuFd};
use vmm_sys_util::{ioctl::ioctl_with_mut_ptr, ioctl_iowr_nr};

use crate::{HarnessError, Kicker, exit_reason};

ioctl_iowr_nr!(KVM_GET_REG_LIST, KVMIO, 0xb0, kvm_reg_list);

/// How one entry into the kernel ended.
#[derive(Debug)]
pub enum Entry {
    /// With an exit that stands in the run structure; this is its reason, `KVM_EXIT_*`.
    Exit(u32),
    /// By a signal or a request to leave, or because the vCPU has not been started yet.
    Interrupted,
    /// With something wrong that does not stand in the run structure.
    Fault(Fault),
}

/// The file of a vCPU, and what the kernel still has to do for its last exit.
#[derive(Debug)]
pub struct VcpuFile {
    fd: VcpuFd,
    kicker: Arc<Kicker>,
    pending: bool,
}

impl VcpuFile {
    /// A vCPU that has not run yet.
    ///
    /// # Errors
    ///
    /// [`HarnessError::Request`] when the host refuses the signal that gets vCPUs out of the guest.
    pub fn new(fd: VcpuFd) -> Result<Self, HarnessError> {
        let kicker = Kicker::new().map_err(|error| HarnessError::refused("sigaction", error))?;
        Ok(Self {
            fd,
            kicker: Arc::new(kicker),
            pending: false,
        })
    }

    /// The file, for requests about registers.
    #[must_use]
    pub fn fd(&self) -> &VcpuFd {
        &self.fd
    }

    /// The structure that the kernel and user space share.
    pub fn kvm_run(&mut self) -> &mut kvm_run {
        self.fd.get_kvm_run()
    }

    /// Whether the kernel still has to finish the access or the call of the last exit, and the registers are not those
    /// after it yet.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.pending
    }

    /// Gets this vCPU out of [`run`](Self::run) from another thread.
    #[must_use]
    pub fn interrupter(&self) -> Arc<dyn Interrupter> {
        Arc::clone(&self.kicker) as Arc<dyn Interrupter>
    }

    /// Enters the guest, unless the vCPU has been asked to leave already.
    ///
    /// # Errors
    ///
    /// What `KVM_RUN` failed with, other than by being interrupted.
    pub fn run(&mut self) -> Result<Entry, Error> {
        let kicker = Arc::clone(&self.kicker);
        // Asked to leave before it entered, which is answered by that.
        let Some(entry) = kicker.run(|| self.enter()) else {
            return Ok(Entry::Interrupted);
        };
        let entry = entry?;
        if matches!(entry, Entry::Interrupted) {
            kicker.answered();
        }
        Ok(entry)
    }

    /// Lets the kernel finish the access or the call of the last exit, without running any further instruction; `None`
    /// where there is nothing to finish. The instruction may have a further access, which then is a new exit.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub fn settle(&mut self) -> Result<Option<Entry>, Error> {
        if !self.pending {
            return Ok(None);
        }
        self.fd.set_kvm_immediate_exit(1);
        let entry = self.enter();
        self.fd.set_kvm_immediate_exit(0);
        entry.map(Some)
    }

    fn enter(&mut self) -> Result<Entry, Error> {
        let entry = match self.fd.run() {
            Ok(VcpuExit::MemoryFault { flags, gpa, size }) => Entry::Fault(Fault::MemoryFault {
                address: gpa,
                len: size,
                flags,
            }),
            Ok(_) => Entry::Exit(self.fd.get_kvm_run().exit_reason),
            // EAGAIN: a secondary vCPU was initialised, and still waits to be started.
            Err(error) if matches!(error.errno(), libc::EINTR | libc::EAGAIN) => Entry::Interrupted,
            Err(error) => return Err(error),
        };
        self.pending = match entry {
            Entry::Exit(reason) => exit_reason::is_finished_by_entry(reason),
            Entry::Interrupted | Entry::Fault(_) => false,
        };
        Ok(entry)
    }

    /// The exit that stands in the run structure, if its reason is one that every architecture has; an unsupported one
    /// otherwise.
    pub fn decode(&mut self) -> Exit<'_> {
        let reason = self.fd.get_kvm_run().exit_reason;
        if reason == KVM_EXIT_INTERNAL_ERROR {
            return Exit::Fault(self.internal_error(None));
        }
        let run = self.fd.get_kvm_run();
        match reason {
            KVM_EXIT_MMIO => {
                // SAFETY: the reason says that this is the union's valid field, and its parts are plain numbers.
                let mmio = unsafe { &mut run.__bindgen_anon_1.mmio };
                let len = usize::try_from(mmio.len)
                    .unwrap_or(usize::MAX)
                    .min(mmio.data.len());
                let (data, _) = mmio.data.split_at_mut(len);
                if mmio.is_write != 0 {
                    Exit::MmioWrite {
                        address: mmio.phys_addr,
                        data,
                    }
                } else {
                    Exit::MmioRead {
                        address: mmio.phys_addr,
                        data,
                    }
                }
            }
            KVM_EXIT_SYSTEM_EVENT => {
                // SAFETY: as above.
                let kind = unsafe { run.__bindgen_anon_1.system_event }.type_;
                Exit::System(match kind {
                    KVM_SYSTEM_EVENT_SHUTDOWN => SystemEvent::PowerOff,
                    KVM_SYSTEM_EVENT_RESET => SystemEvent::Reset,
                    KVM_SYSTEM_EVENT_CRASH => SystemEvent::Crash,
                    kind => SystemEvent::Other(kind),
                })
            }
            KVM_EXIT_FAIL_ENTRY => {
                // SAFETY: as above.
                let fail = unsafe { run.__bindgen_anon_1.fail_entry };
                Exit::Fault(Fault::EntryFailed {
                    reason: fail.hardware_entry_failure_reason,
                    cpu: fail.cpu,
                })
            }
            KVM_EXIT_INTR => Exit::Interrupted,
            reason => exit_reason::unsupported(reason),
        }
    }

    /// The internal error that stands in the run structure, at the instruction at `pc`.
    pub fn internal_error(&mut self, pc: Option<u64>) -> Fault {
        // SAFETY: the parts of this field of the union are plain numbers, for which any bits will do; the exit reason
        // says that they mean something.
        let internal = unsafe { self.fd.get_kvm_run().__bindgen_anon_1.internal };
        let words = usize::try_from(internal.ndata).unwrap_or(usize::MAX);
        let data = internal.data.get(..words).unwrap_or(&internal.data);
        exit_reason::internal_error(internal.suberror, data, pc)
    }

    /// The ids of the registers that this vCPU has, in ascending order, where the architecture has such a list.
    ///
    /// # Errors
    ///
    /// [`HarnessError::Request`] when KVM refuses.
    pub fn register_ids(&self) -> Result<Vec<u64>, HarnessError> {
        // `struct kvm_reg_list` is a count and that many ids. With too small a count the kernel says E2BIG and the right
        // one, so the first request has room for none. The binding's own type stops short of what a vCPU with all
        // extensions has.
        let mut list = vec![0_u64];
        loop {
            let room = list.len().saturating_sub(1);
            // SAFETY: the kernel reads the count, and writes it and at most that many ids behind it; `list` has room for
            // as many ids as its first element, the count, says.
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
                return Err(HarnessError::refused("KVM_GET_REG_LIST", error));
            }
            list.resize(count.saturating_add(1), 0);
        }
    }
}
