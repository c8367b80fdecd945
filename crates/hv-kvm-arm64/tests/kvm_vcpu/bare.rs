//! A bare machine for a handful of instructions.

use std::{
    error::Error,
    mem,
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError, Sender},
    },
    thread,
    time::Duration,
};

use boot_core::{CpuState, GuestRange, cpu::aarch64::State};
use guest_ram::{HostMapping, HugePages, Memfd, MemfdSharing, RamRegion};
use hv_core::{BareVcpu, BareVm, DirtyPages, RegisterImage, SlotAttributes, Vcpu, VcpuExit, Vm};
use hv_kvm_arm64::{BareConfig, BareState, KvmBareVcpu, KvmBareVm, KvmError, rewind};

// Multiples of the largest page size of arm64:
//
// ```text
// 0x8000_0000  slot 1: code, read-only, a sealed memory file
// 0x8001_0000  slot 0: plain memory
// 0x8002_0000  slot 2: rewind code, read-only
// 0x8003_0000  slot 4: register image, read-only
// 0x8010_0000  slot 3: memory with a dirty log
// ```
pub(crate) const CODE: u64 = 0x8000_0000;
pub(crate) const PLAIN: u64 = 0x8001_0000;
pub(crate) const REWIND_CODE: u64 = 0x8002_0000;
pub(crate) const REWIND_IMAGE: u64 = 0x8003_0000;
pub(crate) const MEMORY: u64 = 0x8010_0000;
const LEN: usize = 0x1_0000;
/// At least 130 pages of 4 KiB, and whole pages of every size.
const MEMORY_LEN: usize = 0x9_0000;
pub(crate) const LOGGED: u32 = 3;

/// The number of the doorbell.
pub(crate) const FUNCTION: u32 = 0xc600_5342;

/// The last page of the address space.
pub(crate) fn last_page() -> Result<u64, KvmError> {
    Ok((1 << KvmBareVm::address_bits()?) - 0x1000)
}

/// Doorbells of both kinds.
pub(crate) fn configs() -> Result<[BareConfig; 2], KvmError> {
    let config = BareConfig::new(FUNCTION, last_page()?).with_rewind(REWIND_CODE, REWIND_IMAGE);
    Ok([config, config.with_hvc(false)])
}

pub(crate) struct Bare {
    pub(crate) vm: KvmBareVm,
    pub(crate) vcpu: KvmBareVcpu,
    pub(crate) plain: Arc<HostMapping>,
    pub(crate) memory: Arc<HostMapping>,
    pub(crate) image: Arc<HostMapping>,
    /// Its drop ends the watchdog.
    _watched: Sender<()>,
}

/// Kicks a guest that runs after the deadline of a test.
fn watch(vcpu: &KvmBareVcpu) -> Sender<()> {
    let (watched, watchdog) = mpsc::channel();
    let kicker = vcpu.kicker();
    thread::spawn(move || {
        if watchdog.recv_timeout(Duration::from_secs(20)) == Err(RecvTimeoutError::Timeout) {
            kicker.kick();
        }
    });
    watched
}

pub(crate) fn region(start: u64, mapping: &Arc<HostMapping>) -> Result<RamRegion, Box<dyn Error>> {
    let range = GuestRange::new(start, mapping.len().try_into()?).ok_or("range")?;
    RamRegion::from_mapping(range, Arc::clone(mapping), 0).ok_or("region".into())
}

/// A captured state.
#[derive(Debug, PartialEq)]
pub(crate) struct Captured {
    pub(crate) state: BareState,
    pub(crate) image: RegisterImage,
}

/// The state at the entry: the doorbell of `vm` in X20 and X21.
pub(crate) fn entry(vm: &KvmBareVm) -> State {
    let mut state = State::new(CODE);
    [state.x[20], state.x[21]] = match vm.abilities().doorbell {
        hv_core::Doorbell::Hvc(function) => [function.into(), 0],
        hv_core::Doorbell::Mmio(address) => [0, address],
        _ => [0; 2],
    };
    state
}

impl Bare {
    /// A machine with `code`, ready to run it.
    pub(crate) fn new(code: &[u8], config: BareConfig) -> Result<Self, Box<dyn Error>> {
        let vm = KvmBareVm::new(config)?;
        let text = Memfd::create(c"text", LEN)?;
        HostMapping::shared(&text)?.write(0, code)?;
        text.seal()?;
        let mut image = HostMapping::reserve(LEN)?;
        image.place_memfd(0..LEN, &text, 0, MemfdSharing::SharedReadOnly)?;
        let plain = Arc::new(HostMapping::anonymous(LEN)?);
        let rewind_code = HostMapping::anonymous(LEN)?;
        rewind_code.write(0, &rewind::CODE)?;
        let image_memory = Arc::new(HostMapping::anonymous(LEN)?);
        let base = Memfd::create(c"base", MEMORY_LEN)?;
        let memory = Arc::new(HostMapping::private(&base)?);
        memory.advise_huge_pages(HugePages::Avoid);
        let plain_slot = SlotAttributes::default();
        let read_only = plain_slot.with_read_only(true);
        vm.map_slot(0, region(PLAIN, &plain)?, plain_slot)?;
        let image = Arc::new(image);
        // The emulator of the lab (QEMU 7.2) executes instructions of an earlier guest where a page of code is used again with other contents,
        // so no page of code is used again.
        mem::forget(Arc::clone(&image));
        vm.map_slot(1, region(CODE, &image)?, read_only)?;
        vm.map_slot(2, region(REWIND_CODE, &Arc::new(rewind_code))?, read_only)?;
        vm.map_slot(4, region(REWIND_IMAGE, &image_memory)?, read_only)?;
        vm.map_slot(LOGGED, region(MEMORY, &memory)?, plain_slot.with_log_dirty(true))?;
        let mut vcpu = vm.create_vcpu(0)?;
        vcpu.set_state(&entry(&vm).into())?;
        Ok(Self {
            _watched: watch(&vcpu),
            vm,
            vcpu,
            plain,
            memory,
            image: image_memory,
        })
    }

    /// Runs to the next doorbell.
    pub(crate) fn ring(&mut self) -> Result<(), Box<dyn Error>> {
        let exit = match self.vcpu.run()? {
            VcpuExit::Doorbell(0) => return Ok(()),
            exit => format!("{exit:x?}"),
        };
        Err(format!("no doorbell: {exit} at {:#x}", self.vcpu.state()?.entry()).into())
    }

    pub(crate) fn capture(&mut self) -> Result<Captured, KvmError> {
        let mut image = RegisterImage::default();
        let state = self.vcpu.capture(&mut image)?;
        Ok(Captured { state, image })
    }

    pub(crate) fn rewind(&mut self, to: &Captured, flush: bool) -> Result<(), Box<dyn Error>> {
        self.image.write(0, &to.image.0)?;
        Ok(self.vcpu.rewind(&to.state, flush)?)
    }

    /// Register X`n`.
    pub(crate) fn x(&mut self, n: usize) -> Result<u64, Box<dyn Error>> {
        match self.vcpu.state()? {
            CpuState::Aarch64(state) => Ok(state.x[n]),
            state => Err(format!("{state:?}").into()),
        }
    }

    pub(crate) fn dirty(&self) -> Result<Vec<usize>, KvmError> {
        let mut dirty = DirtyPages::default();
        self.vm.take_dirty(LOGGED, &mut dirty)?;
        Ok(dirty.iter().collect())
    }
}
