//! A machine of memory for the firmware.
#![expect(
    unsafe_code,
    reason = "memory of the machine is mapped, and services are called by their pointers"
)]

use std::collections::VecDeque;
use std::ffi::c_void;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use efi_abi::raw::Status as RawStatus;
use efi_abi::raw::table::boot::BootServices;
use efi_abi::raw::table::runtime::{ResetType, RuntimeServices};
use efi_abi::raw::table::system::SystemTable;
use efi_abi::{Config, Firmware, Platform, RuntimeHooks, Status};
use efi_core::memory::{Attributes, Descriptor, MapConfig, MemoryMap, MemoryType};

/// An entry point.
pub(crate) type Entry = unsafe extern "efiapi" fn(efi_abi::raw::Handle, *mut SystemTable) -> RawStatus;

/// Length of the RAM in bytes.
pub(crate) const RAM: usize = 32 << 20;
/// Seconds of the clock.
pub(crate) const NOW: u64 = 1_795_811_177;

/// What tests see of the platform.
#[derive(Default)]
pub(crate) struct Log {
    pub(crate) output: Vec<u8>,
    pub(crate) input: VecDeque<u8>,
    pub(crate) clock: u64,
    pub(crate) protections: Vec<(u64, u64, Attributes)>,
    pub(crate) has_exited: bool,
    pub(crate) set_time: u64,
}

struct FakePlatform(Arc<Mutex<Log>>);

fn lock(log: &Mutex<Log>) -> MutexGuard<'_, Log> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Platform for FakePlatform {
    fn write_console(&mut self, text: &[u8]) {
        lock(&self.0).output.extend_from_slice(text);
    }

    fn read_console(&mut self) -> Option<u8> {
        lock(&self.0).input.pop_front()
    }

    fn monotonic(&mut self) -> u64 {
        let mut log = lock(&self.0);
        log.clock += 1000;
        log.clock
    }

    fn random(&mut self, buffer: &mut [u8]) -> bool {
        buffer.fill(0x5a);
        true
    }

    fn protect(&mut self, start: u64, len: u64, attributes: Attributes) -> Result<(), Status> {
        lock(&self.0).protections.push((start, len, attributes));
        Ok(())
    }

    fn boot_hart(&self) -> Option<u64> {
        Some(3)
    }

    fn exit_boot_services(&mut self) {
        lock(&self.0).has_exited = true;
    }
}

unsafe extern "efiapi" fn get_time(_: *mut c_void, seconds: *mut u64) -> RawStatus {
    // SAFETY: the service passes a valid pointer.
    unsafe { seconds.write(NOW) };
    RawStatus::SUCCESS
}

unsafe extern "efiapi" fn set_time(context: *mut c_void, seconds: u64) -> RawStatus {
    // SAFETY: the context is the log of the machine, which outlives the firmware.
    let log = unsafe { &*context.cast_const().cast::<Mutex<Log>>() };
    lock(log).set_time = seconds;
    RawStatus::SUCCESS
}

unsafe extern "efiapi" fn reset(_: *mut c_void, _: ResetType, _: RawStatus) -> ! {
    std::process::abort();
}

/// RAM that is mapped twice, as an operating system maps runtime memory a second time.
struct Ram {
    start: *mut c_void,
    alias: *mut c_void,
}

impl Ram {
    fn new() -> Self {
        // SAFETY: the name is a C string.
        let fd = unsafe { libc::memfd_create(c"ram".as_ptr(), 0) };
        assert!(fd >= 0, "memfd_create");
        // SAFETY: the descriptor is open.
        assert_eq!(unsafe { libc::ftruncate(fd, RAM.try_into().unwrap()) }, 0);
        let protection = libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC;
        let map = || {
            // SAFETY: a new mapping at an address of the kernel's choice.
            let start = unsafe { libc::mmap(std::ptr::null_mut(), RAM, protection, libc::MAP_SHARED, fd, 0) };
            assert_ne!(start, libc::MAP_FAILED, "mmap");
            start
        };
        let ram = Self {
            start: map(),
            alias: map(),
        };
        // SAFETY: the descriptor is open and not used any more.
        unsafe { libc::close(fd) };
        ram
    }
}

impl Drop for Ram {
    fn drop(&mut self) {
        for start in [self.start, self.alias] {
            // SAFETY: the mappings are whole, and the firmware is gone.
            unsafe { libc::munmap(start, RAM) };
        }
    }
}

/// A firmware with its memory. The program has one at a time, so machines wait for each other.
pub(crate) struct Machine {
    pub(crate) firmware: Firmware,
    pub(crate) log: Arc<Mutex<Log>>,
    pub(crate) system: *mut SystemTable,
    ram: Ram,
    _turn: MutexGuard<'static, ()>,
}

static TURN: Mutex<()> = Mutex::new(());

impl Machine {
    pub(crate) fn new() -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let ram = Ram::new();
        let log = Arc::new(Mutex::new(Log::default()));
        let mut map = MemoryMap::new(MapConfig::default());
        let start = ram.start.expose_provenance() as u64;
        map.add(&Descriptor::ram(
            MemoryType::CONVENTIONAL,
            start,
            RAM as u64 / 4096,
        ))
        .unwrap();
        let context = Arc::as_ptr(&log).cast_mut().cast();
        let hooks = RuntimeHooks {
            context,
            get_time,
            set_time,
            reset,
        };
        let platform = Box::new(FakePlatform(Arc::clone(&log)));
        // SAFETY: the memory is mapped until the firmware is dropped; one thread at a time has a turn.
        let firmware = unsafe { Firmware::install(platform, map, hooks, &Config::new("vmboot", 1)) };
        let firmware = firmware.unwrap_or_else(|error| panic!("{error}: {}", error.status));
        let system = firmware.system_table().unwrap();
        Self {
            firmware,
            log,
            system,
            ram,
            _turn: turn,
        }
    }

    pub(crate) fn system(&self) -> &SystemTable {
        // SAFETY: the table is valid as long as the machine; tests do not keep the reference over calls that change it.
        unsafe { &*self.system }
    }

    pub(crate) fn boot(&self) -> &BootServices {
        // SAFETY: boot services were not exited when tests use this.
        unsafe { &*self.system().boot_services }
    }

    pub(crate) fn runtime(&self) -> &RuntimeServices {
        // SAFETY: the table is valid as long as the machine.
        unsafe { &*self.system().runtime_services }
    }

    pub(crate) fn log(&self) -> MutexGuard<'_, Log> {
        lock(&self.log)
    }

    /// What was written to the console since the last call.
    pub(crate) fn output(&self) -> String {
        String::from_utf8(std::mem::take(&mut self.log().output)).unwrap()
    }

    /// Physical address of the RAM.
    pub(crate) fn ram_start(&self) -> u64 {
        self.ram.start.addr() as u64
    }

    /// Where the second mapping has an address of the first one.
    pub(crate) fn alias(&self, address: u64) -> u64 {
        address - self.ram.start.addr() as u64 + self.ram.alias.expose_provenance() as u64
    }
}

/// Units of a text with NUL.
pub(crate) fn text(text: &str) -> Vec<u16> {
    text.encode_utf16().chain([0]).collect()
}
