//! The virtual CPU.
#![expect(
    unsafe_code,
    reason = "reads the unions of the kernel's run structure and passes XSAVE areas"
)]

use std::{collections::BTreeMap, slice, sync::Arc};

use boot_core::CpuState;
use hv_core::{Exit, Fault, Interrupter, SystemEvent, Vcpu};
use kvm_bindings::{
    KVM_EXIT_DEBUG, KVM_EXIT_FAIL_ENTRY, KVM_EXIT_HLT, KVM_EXIT_INTERNAL_ERROR, KVM_EXIT_INTR, KVM_EXIT_IO,
    KVM_EXIT_IO_IN, KVM_EXIT_MMIO, KVM_EXIT_SHUTDOWN, KVM_EXIT_SYSTEM_EVENT, KVM_MAX_MSR_ENTRIES,
    KVM_SYSTEM_EVENT_CRASH, KVM_SYSTEM_EVENT_RESET, KVM_SYSTEM_EVENT_SHUTDOWN, Msrs, Xsave as KvmXsave,
    kvm_debugregs, kvm_lapic_state, kvm_mp_state, kvm_msr_entry, kvm_run, kvm_xcrs, kvm_xsave,
};
use kvm_ioctls::{Cap, VcpuExit, VcpuFd};

use super::{convert, kick::Kicker, refused, vm::Machine};
use crate::{
    Activity, KvmError, Lapic, Msr, Register, RegisterError, VcpuState, Xsave, exit_reason, msr, state::Group,
};

/// A vCPU of a [`KvmVm`](super::KvmVm).
///
/// A secondary vCPU waits for INIT and SIPI from the guest, as on hardware; running it blocks until then.
#[derive(Debug)]
pub struct KvmVcpu {
    // Dropped in this order: the vCPU's file, which keeps the kernel's machine alive, before the RAM in `machine`.
    fd: VcpuFd,
    machine: Arc<Machine>,
    index: u32,
    kicker: Arc<Kicker>,
    /// Size of the XSAVE area, in words beyond the first 4096 bytes; `None` on kernels that know no larger one.
    extra_xsave_words: Option<usize>,
    /// The kernel still has to finish the access of the last exit.
    pending: bool,
    /// The kernel reported an exit while it finished an access: the next `run` starts with it.
    unreported: bool,
    /// The state after creation.
    fresh: Box<VcpuState>,
}

/// How one entry into the kernel ended.
enum Entry {
    /// With an exit that stands in the run structure.
    Exit,
    /// By a signal, or because the vCPU has not been started yet.
    Interrupted,
    /// Guest memory could not be accessed.
    MemoryFault(Fault),
}

impl KvmVcpu {
    pub(super) fn create(machine: Arc<Machine>, index: u32) -> Result<Self, KvmError> {
        let count = machine.topology.vcpus();
        if index >= count {
            return Err(KvmError::NoSuchVcpu { index, count });
        }
        // KVM uses a vCPU's number as its initial APIC id.
        let fd = machine
            .fd
            .create_vcpu(machine.topology.apic_id(index).into())
            .map_err(refused("KVM_CREATE_VCPU"))?;
        // Asked for after a vCPU exists, when the state components of guests cannot change any more.
        let xsave_size = machine.fd.check_extension_int(Cap::Xsave2);
        let extra_xsave_words = usize::try_from(xsave_size)
            .ok()
            .filter(|&size| size > 0)
            .map(|size| {
                size.saturating_sub(size_of::<kvm_xsave>())
                    .div_ceil(size_of::<u32>())
            });
        let cpuid = convert::to_cpuid(&machine.cpuid(index))?;
        fd.set_cpuid2(&cpuid).map_err(refused("KVM_SET_CPUID2"))?;
        let mut vcpu = Self {
            fd,
            machine,
            index,
            kicker: Arc::default(),
            extra_xsave_words,
            pending: false,
            unreported: false,
            fresh: Box::new(VcpuState::blank()),
        };
        vcpu.write_msrs(&msr::BOOT)?;
        let mut lapic = vcpu.read_lapic()?;
        lapic.connect_pins();
        vcpu.write_lapic(&lapic)?;
        vcpu.fresh = Box::new(vcpu.whole_state()?);
        Ok(vcpu)
    }

    /// Reads everything there is. An access that the last run reported is completed first.
    ///
    /// # Errors
    ///
    /// Whatever KVM refuses.
    pub fn whole_state(&mut self) -> Result<VcpuState, KvmError> {
        self.settle()?;
        let mut state = VcpuState::blank();
        for group in [
            Group::Activity,
            Group::Cpu,
            Group::Xcrs,
            Group::Xsave,
            Group::Debug,
            Group::Lapic,
            Group::Events,
        ] {
            self.load(group, &mut state)?;
        }
        state.msrs = self.read_msrs()?;
        Ok(state)
    }

    /// Replaces everything there is, except registers that only tell the time ([`Msr::is_clock`]).
    ///
    /// Of the other model-specific registers, those that differ are written: some can be read and not written,
    /// and then they have the same value in every state of this vCPU. One that `state` lacks keeps its value.
    ///
    /// # Errors
    ///
    /// [`KvmError::ForeignState`] when `state` has a register that this vCPU does not have; [`KvmError::Incomplete`];
    /// whatever KVM refuses.
    pub fn set_whole_state(&mut self, state: &VcpuState) -> Result<(), KvmError> {
        self.discard()?;
        // The APIC's mode comes with the system registers, so it goes after them; MSRs like the timer's deadline
        // depend on the APIC; events come last because everything else can cancel them.
        for group in [
            Group::Activity,
            Group::Cpu,
            Group::Xcrs,
            Group::Xsave,
            Group::Debug,
            Group::Lapic,
        ] {
            self.store(group, state)?;
        }
        let current = self.read_msrs()?;
        let mut changed = Vec::new();
        for (&msr, &value) in state.msrs.iter().filter(|(msr, _)| !msr.is_clock()) {
            match current.get(&msr) {
                Some(&found) if found == value => {}
                Some(_) => changed.push((msr, value)),
                None => return Err(KvmError::ForeignState { msr }),
            }
        }
        self.write_msrs(&changed)?;
        self.store(Group::Events, state)
    }

    /// Reads one register. Of model-specific registers, every one that KVM knows can be read, not only the saved ones.
    ///
    /// # Errors
    ///
    /// [`KvmError::Register`] when there is no such register, [`KvmError::GetMsr`] when there is no such MSR.
    pub fn register(&mut self, register: Register) -> Result<u64, KvmError> {
        self.settle()?;
        let mut state = VcpuState::blank();
        self.load(register.group(), &mut state)?;
        state
            .get(register)
            .ok_or(RegisterError::Missing { register }.into())
    }

    /// Writes one register.
    ///
    /// # Errors
    ///
    /// [`KvmError::Register`] when there is no such register or the value is too wide for it, [`KvmError::SetMsr`]
    /// and [`KvmError::Request`] when KVM refuses the value.
    pub fn set_register(&mut self, register: Register, value: u64) -> Result<(), KvmError> {
        self.settle()?;
        let group = register.group();
        let mut state = VcpuState::blank();
        self.load(group, &mut state)?;
        state.set(register, value)?;
        self.store(group, &state)
    }

    fn load(&self, group: Group, state: &mut VcpuState) -> Result<(), KvmError> {
        let fd = &self.fd;
        match group {
            Group::Cpu => {
                let regs = fd.get_regs().map_err(refused("KVM_GET_REGS"))?;
                let sregs = fd.get_sregs().map_err(refused("KVM_GET_SREGS"))?;
                state.cpu = convert::from_kvm(&regs, &sregs);
                state.cr8 = sregs.cr8;
                state.apic_base = sregs.apic_base;
                state.interrupt_bitmap = sregs.interrupt_bitmap;
            }
            Group::Xcrs => {
                let xcrs = fd.get_xcrs().map_err(refused("KVM_GET_XCRS"))?;
                let used = usize::try_from(xcrs.nr_xcrs).unwrap_or(usize::MAX);
                // The FPU alone is what a CPU without XSAVE has.
                state.xcr0 = xcrs
                    .xcrs
                    .iter()
                    .take(used)
                    .find(|xcr| xcr.xcr == 0)
                    .map_or(1, |xcr| xcr.value);
            }
            Group::Xsave => state.xsave = self.read_xsave()?,
            Group::Debug => {
                let debug = fd.get_debug_regs().map_err(refused("KVM_GET_DEBUGREGS"))?;
                (state.dr, state.dr6, state.dr7) = (debug.db, debug.dr6, debug.dr7);
            }
            Group::Lapic => state.lapic = self.read_lapic()?,
            Group::Activity => {
                state.activity = Activity(fd.get_mp_state().map_err(refused("KVM_GET_MP_STATE"))?.mp_state);
            }
            Group::Events => {
                let events = fd.get_vcpu_events().map_err(refused("KVM_GET_VCPU_EVENTS"))?;
                state.events = convert::from_events(&events);
            }
            Group::Msr(msr) => {
                let value = self
                    .read_msr_batch(&[msr])?
                    .pop()
                    .ok_or(KvmError::GetMsr { msr })?;
                state.msrs.insert(msr, value);
            }
        }
        Ok(())
    }

    fn store(&self, group: Group, state: &VcpuState) -> Result<(), KvmError> {
        let fd = &self.fd;
        match group {
            Group::Cpu => {
                let mut sregs = fd.get_sregs().map_err(refused("KVM_GET_SREGS"))?;
                convert::to_sregs(&state.cpu, &mut sregs);
                sregs.cr8 = state.cr8;
                sregs.apic_base = state.apic_base;
                sregs.interrupt_bitmap = state.interrupt_bitmap;
                fd.set_sregs(&sregs).map_err(refused("KVM_SET_SREGS"))?;
                fd.set_regs(&convert::to_regs(&state.cpu))
                    .map_err(refused("KVM_SET_REGS"))
            }
            Group::Xcrs => {
                let mut xcrs = kvm_xcrs {
                    nr_xcrs: 1,
                    ..kvm_xcrs::default()
                };
                if let Some(first) = xcrs.xcrs.first_mut() {
                    first.value = state.xcr0;
                }
                fd.set_xcrs(&xcrs).map_err(refused("KVM_SET_XCRS"))
            }
            Group::Xsave => self.write_xsave(&state.xsave),
            Group::Debug => {
                let debug = kvm_debugregs {
                    db: state.dr,
                    dr6: state.dr6,
                    dr7: state.dr7,
                    ..Default::default()
                };
                fd.set_debug_regs(&debug).map_err(refused("KVM_SET_DEBUGREGS"))
            }
            Group::Lapic => self.write_lapic(&state.lapic),
            Group::Activity => fd
                .set_mp_state(kvm_mp_state {
                    mp_state: state.activity.0,
                })
                .map_err(refused("KVM_SET_MP_STATE")),
            Group::Events => {
                let kernel = fd.get_vcpu_events().map_err(refused("KVM_GET_VCPU_EVENTS"))?;
                fd.set_vcpu_events(&convert::to_events(&state.events, kernel.flags))
                    .map_err(refused("KVM_SET_VCPU_EVENTS"))
            }
            Group::Msr(msr) => {
                let value = state.msrs.get(&msr).copied().ok_or(KvmError::GetMsr { msr })?;
                self.write_msrs(&[(msr, value)])
            }
        }
    }

    fn read_lapic(&self) -> Result<Lapic, KvmError> {
        let lapic = self.fd.get_lapic().map_err(refused("KVM_GET_LAPIC"))?;
        Ok(Lapic::from_bytes(lapic.regs.map(i8::cast_unsigned)))
    }

    fn write_lapic(&self, lapic: &Lapic) -> Result<(), KvmError> {
        let lapic = kvm_lapic_state {
            regs: lapic.as_bytes().map(u8::cast_signed),
        };
        self.fd.set_lapic(&lapic).map_err(refused("KVM_SET_LAPIC"))
    }

    fn read_xsave(&self) -> Result<Xsave, KvmError> {
        let Some(extra) = self.extra_xsave_words else {
            let xsave = self.fd.get_xsave().map_err(refused("KVM_GET_XSAVE"))?;
            return Ok(Xsave::from_words(xsave.region.to_vec()));
        };
        let mut xsave = new_xsave(extra)?;
        // SAFETY: the area has the size that KVM_CAP_XSAVE2 named when this vCPU existed already; from then on the
        // kernel does not let the process enable further state components for guests.
        unsafe { self.fd.get_xsave2(&mut xsave) }.map_err(refused("KVM_GET_XSAVE2"))?;
        let mut words = xsave.as_fam_struct_ref().xsave.region.to_vec();
        words.extend_from_slice(xsave.as_slice());
        Ok(Xsave::from_words(words))
    }

    fn write_xsave(&self, xsave: &Xsave) -> Result<(), KvmError> {
        let extra = self.extra_xsave_words.unwrap_or(0);
        let mut area = new_xsave(extra)?;
        let (first, rest) = xsave
            .words()
            .split_at_checked(Xsave::MIN_WORDS)
            .unwrap_or((xsave.words(), &[]));
        area.as_mut_slice()
            .iter_mut()
            .zip(rest)
            .for_each(|(to, from)| *to = *from);
        // SAFETY: `as_mut_fam_struct` asks that the length of the flexible array stays as it is; only `region` is
        // written here.
        let region = unsafe { &mut area.as_mut_fam_struct().xsave.region };
        region.iter_mut().zip(first).for_each(|(to, from)| *to = *from);
        // SAFETY: the area has the size the kernel reads: 4096 bytes on kernels without KVM_CAP_XSAVE2, otherwise the
        // size that capability named when this vCPU existed already, which cannot grow any more.
        unsafe { self.fd.set_xsave2(&area) }.map_err(refused("KVM_SET_XSAVE"))
    }

    /// The saved MSRs that this vCPU has. Which ones it has depends on its CPUID table; KVM tells by refusing others.
    fn read_msrs(&self) -> Result<BTreeMap<Msr, u64>, KvmError> {
        let mut values = BTreeMap::new();
        let mut rest = self.machine.msrs.as_slice();
        while !rest.is_empty() {
            let (batch, later) = rest.split_at(rest.len().min(KVM_MAX_MSR_ENTRIES));
            let read = self.read_msr_batch(batch)?;
            let done = read.len();
            values.extend(batch.iter().copied().zip(read));
            // KVM stops at the first one it refuses: go on behind that one.
            rest = if done < batch.len() {
                rest.get(done.saturating_add(1)..).unwrap_or(&[])
            } else {
                later
            };
        }
        Ok(values)
    }

    /// The values of the first `msrs`, up to the first one that KVM refuses.
    fn read_msr_batch(&self, msrs: &[Msr]) -> Result<Vec<u64>, KvmError> {
        let mut request = new_msrs(msrs.iter().take(KVM_MAX_MSR_ENTRIES).map(|&msr| (msr, 0)))?;
        let read = self.fd.get_msrs(&mut request).map_err(refused("KVM_GET_MSRS"))?;
        Ok(request
            .as_slice()
            .iter()
            .take(read)
            .map(|entry| entry.data)
            .collect())
    }

    fn write_msrs(&self, msrs: &[(Msr, u64)]) -> Result<(), KvmError> {
        for batch in msrs.chunks(KVM_MAX_MSR_ENTRIES) {
            let request = new_msrs(batch.iter().copied())?;
            let written = self.fd.set_msrs(&request).map_err(refused("KVM_SET_MSRS"))?;
            // KVM stops at the first one it refuses.
            if let Some(&(msr, value)) = batch.get(written) {
                return Err(KvmError::SetMsr { msr, value });
            }
        }
        Ok(())
    }

    /// Enters the kernel once.
    fn enter(&mut self) -> Result<Entry, KvmError> {
        let entry = match self.fd.run() {
            Ok(VcpuExit::MemoryFault { flags, gpa, size }) => Entry::MemoryFault(Fault::MemoryFault {
                address: gpa,
                len: size,
                flags,
            }),
            Ok(_) => Entry::Exit,
            // EAGAIN: a secondary vCPU got INIT, and still waits for SIPI.
            Err(error) if matches!(error.errno(), libc::EINTR | libc::EAGAIN) => Entry::Interrupted,
            Err(error) => return Err(refused("KVM_RUN")(error)),
        };
        let reason = self.fd.get_kvm_run().exit_reason;
        self.pending = matches!(entry, Entry::Exit) && matches!(reason, KVM_EXIT_IO | KVM_EXIT_MMIO);
        Ok(entry)
    }

    /// Lets the kernel finish the access of the last exit, without running any further instruction.
    ///
    /// An instruction may consist of several accesses. Then the next one is kept for the next `run`.
    fn settle(&mut self) -> Result<(), KvmError> {
        if !self.pending || self.unreported {
            return Ok(());
        }
        self.fd.set_kvm_immediate_exit(1);
        let entry = self.enter();
        self.fd.set_kvm_immediate_exit(0);
        self.unreported = matches!(entry?, Entry::Exit);
        Ok(())
    }

    /// Brings the instruction of the last exit to its end, whatever becomes of it: the state is replaced next.
    fn discard(&mut self) -> Result<(), KvmError> {
        // Enough for the parts of the longest access; a repeated string instruction ends when its count is zero.
        const PARTS: usize = 64;
        for _ in 0..PARTS {
            self.unreported = false;
            self.settle()?;
            if !self.pending {
                return Ok(());
            }
            let mut regs = self.fd.get_regs().map_err(refused("KVM_GET_REGS"))?;
            regs.rcx = 0;
            self.fd.set_regs(&regs).map_err(refused("KVM_SET_REGS"))?;
        }
        Err(KvmError::Incomplete)
    }

    /// The exit that stands in the run structure.
    fn decode(&mut self) -> Exit<'_> {
        let reason = self.fd.get_kvm_run().exit_reason;
        match reason {
            KVM_EXIT_IO => return self.decode_pio(),
            KVM_EXIT_INTERNAL_ERROR => return Exit::Fault(self.decode_internal_error()),
            _ => {}
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
            KVM_EXIT_HLT => Exit::Halt,
            KVM_EXIT_SHUTDOWN => Exit::Fault(Fault::Shutdown),
            KVM_EXIT_FAIL_ENTRY => {
                // SAFETY: as above.
                let fail = unsafe { run.__bindgen_anon_1.fail_entry };
                Exit::Fault(Fault::EntryFailed {
                    reason: fail.hardware_entry_failure_reason,
                    cpu: fail.cpu,
                })
            }
            KVM_EXIT_DEBUG => {
                // SAFETY: as above.
                let arch = unsafe { run.__bindgen_anon_1.debug }.arch;
                Exit::Fault(Fault::Debug {
                    pc: arch.pc,
                    exception: arch.exception,
                })
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
            KVM_EXIT_INTR => Exit::Interrupted,
            reason => Exit::Fault(Fault::Unsupported {
                reason,
                name: exit_reason::name(reason),
            }),
        }
    }

    fn decode_pio(&mut self) -> Exit<'_> {
        let run_size = self.machine.fd.run_size();
        let run = self.fd.get_kvm_run();
        // SAFETY: the reason says that this is the union's valid field, and its parts are plain numbers.
        let io = unsafe { run.__bindgen_anon_1.io };
        let run: *mut kvm_run = run;
        let len = usize::from(io.size).saturating_mul(usize::try_from(io.count).unwrap_or(usize::MAX));
        let offset = usize::try_from(io.data_offset).unwrap_or(usize::MAX);
        if offset < size_of::<kvm_run>() || offset.checked_add(len).is_none_or(|end| end > run_size) {
            return Exit::Fault(Fault::Unsupported {
                reason: KVM_EXIT_IO,
                name: exit_reason::name(KVM_EXIT_IO),
            });
        }
        // SAFETY: the run structure is the start of a mapping of `run_size` bytes that lives as long as `self.fd`, and
        // `offset` lies in it.
        let first = unsafe { run.cast::<u8>().add(offset) };
        // SAFETY: `len` bytes from `first` lie in that mapping, behind the run structure, so no other reference
        // covers them; the result borrows `self`, so the kernel, which accesses them during KVM_RUN only, does not
        // meanwhile. Any bytes are valid.
        let data = unsafe { slice::from_raw_parts_mut(first, len) };
        if u32::from(io.direction) == KVM_EXIT_IO_IN {
            Exit::IoRead {
                port: io.port,
                size: io.size,
                data,
            }
        } else {
            Exit::IoWrite {
                port: io.port,
                size: io.size,
                data,
            }
        }
    }

    fn decode_internal_error(&mut self) -> Fault {
        let pc = self.fd.get_regs().ok().map(|regs| regs.rip);
        // SAFETY: the reason says that this is the union's valid field, and its parts are plain numbers.
        let internal = unsafe { self.fd.get_kvm_run().__bindgen_anon_1.internal };
        let words = usize::try_from(internal.ndata).unwrap_or(usize::MAX);
        let data = internal.data.get(..words).unwrap_or(&internal.data);
        exit_reason::internal_error(internal.suberror, data, pc)
    }
}

impl Vcpu for KvmVcpu {
    type Error = KvmError;

    fn index(&self) -> u32 {
        self.index
    }

    fn state(&mut self) -> Result<CpuState, KvmError> {
        self.settle()?;
        let regs = self.fd.get_regs().map_err(refused("KVM_GET_REGS"))?;
        let sregs = self.fd.get_sregs().map_err(refused("KVM_GET_SREGS"))?;
        Ok(convert::from_kvm(&regs, &sregs).into())
    }

    fn set_state(&mut self, state: &CpuState) -> Result<(), KvmError> {
        let CpuState::X86_64(state) = state else {
            return Err(KvmError::WrongArch { found: state.arch() });
        };
        self.discard()?;
        let mut sregs = self.fd.get_sregs().map_err(refused("KVM_GET_SREGS"))?;
        convert::to_sregs(state, &mut sregs);
        self.fd.set_sregs(&sregs).map_err(refused("KVM_SET_SREGS"))?;
        self.fd
            .set_regs(&convert::to_regs(state))
            .map_err(refused("KVM_SET_REGS"))
    }

    fn reset(&mut self) -> Result<(), KvmError> {
        let fresh = self.fresh.clone();
        self.set_whole_state(&fresh)
    }

    fn run(&mut self) -> Result<Exit<'_>, KvmError> {
        if std::mem::take(&mut self.unreported) {
            return Ok(self.decode());
        }
        let kicker = Arc::clone(&self.kicker);
        let Some(entered) = kicker.enter() else {
            return Ok(Exit::Interrupted);
        };
        let entry = self.enter();
        drop(entered);
        Ok(match entry? {
            Entry::Exit => self.decode(),
            Entry::Interrupted => {
                self.kicker.answered();
                Exit::Interrupted
            }
            Entry::MemoryFault(fault) => Exit::Fault(fault),
        })
    }

    fn interrupter(&self) -> Arc<dyn Interrupter> {
        Arc::clone(&self.kicker) as Arc<dyn Interrupter>
    }
}

fn new_xsave(extra_words: usize) -> Result<KvmXsave, KvmError> {
    // A size that does not fit is the only thing that can be wrong with it.
    KvmXsave::new(extra_words)
        .ok()
        .ok_or(KvmError::XsaveSize { words: extra_words })
}

fn new_msrs(msrs: impl Iterator<Item = (Msr, u64)>) -> Result<Msrs, KvmError> {
    let entries: Vec<kvm_msr_entry> = msrs
        .map(|(msr, data)| kvm_msr_entry {
            index: msr.0,
            data,
            ..kvm_msr_entry::default()
        })
        .collect();
    Msrs::from_entries(&entries)
        .ok()
        .ok_or(KvmError::TooManyMsrs { count: entries.len() })
}
