//! The state of the boot services, and the only place that holds it.
//!
//! Services have no parameter for it, so there is one for the program. [`with`] lends it to one closure at a time; code of images is
//! never called inside of a closure. A service that is called while the state is lent, by a second thread or by a platform against
//! its contract, gets `NOT_READY` instead of a second borrow.
#![expect(
    unsafe_code,
    reason = "the state of a program's only firmware is a static variable"
)]

mod attributes;
mod key_notify;
mod memory;
mod storage;
mod variable_file;

use alloc::boxed::Box;
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, Ordering};

use efi_core::events::Events;
use efi_core::handles::{Database, Handle};
use efi_core::images::Images;
use efi_core::sorted_map::SortedMap;
use efi_core::{Result, Status};

use crate::keys::Keys;
use crate::platform::Platform;
use crate::screen::Screen;

use attributes::AttributesTable;
pub(crate) use key_notify::{KeyCall, KeyNotifications};
pub(crate) use memory::Memory;
pub(crate) use storage::{OpenFile, Storage, Volume};
pub(crate) use variable_file::{FileDevice, VariableFile};

/// Addresses of the firmware's own tables and interfaces.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Addresses {
    pub(crate) system_table: u64,
    pub(crate) text_mode: u64,
}

/// What `Exit` leaves for `StartImage`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ExitData {
    pub(crate) size: usize,
    pub(crate) address: u64,
}

/// Memory of a loaded image beside its pages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Loaded {
    /// Address of `EFI_LOADED_IMAGE_PROTOCOL`, which is in the pool.
    pub(crate) interface: u64,
    /// Address of its file path in the pool, or 0.
    pub(crate) file_path: u64,
    /// Address of its device path in the pool, or 0.
    pub(crate) device_path: u64,
}

/// Everything behind the boot services.
pub(crate) struct State {
    pub(crate) platform: Box<dyn Platform>,
    pub(crate) memory: Memory,
    /// The file of non-volatile variables, if they are kept.
    pub(crate) variable_file: Option<VariableFile>,
    pub(crate) attributes_table: AttributesTable,
    pub(crate) handles: Database,
    pub(crate) events: Events,
    pub(crate) images: Images,
    pub(crate) loaded: SortedMap<Handle, Loaded>,
    pub(crate) screen: Screen,
    pub(crate) keys: Keys,
    pub(crate) key_notifications: KeyNotifications,
    pub(crate) storage: Storage,
    pub(crate) addresses: Addresses,
    /// The firmware as an agent of `OpenProtocol` and as the parent of images.
    pub(crate) firmware: Option<Handle>,
    pub(crate) exit_data: ExitData,
    /// True after the first call of `ExitBootServices`.
    pub(crate) is_exiting: bool,
    pub(crate) monotonic_count: u64,
}

impl State {
    pub(crate) fn new(platform: Box<dyn Platform>, memory: Memory) -> Self {
        Self {
            platform,
            memory,
            variable_file: None,
            attributes_table: AttributesTable::new(),
            handles: Database::new(),
            events: Events::new(),
            images: Images::new(),
            loaded: SortedMap::new(),
            screen: Screen::new(),
            keys: Keys::new(),
            key_notifications: KeyNotifications::new(),
            storage: Storage::new(),
            addresses: Addresses::default(),
            firmware: None,
            exit_data: ExitData::default(),
            is_exiting: false,
            monotonic_count: 0,
        }
    }

    /// Signals timers that are due and takes the console's input.
    pub(crate) fn poll(&mut self) -> u64 {
        let now = self.platform.monotonic();
        self.events.tick(now);
        while let Some(byte) = self.platform.read_console() {
            self.keys.push(byte, now);
        }
        for key in self.keys.take_fresh(now) {
            self.key_notifications.pressed(key);
        }
        now
    }

    /// Signals the events of registrations that a change of the handle database calls for.
    pub(crate) fn signal_registrations(&mut self) {
        for event in self.handles.take_signals() {
            // A closed event has no registrations.
            let _ = self.events.signal(efi_core::events::Event(event));
        }
    }
}

struct Global {
    is_lent: AtomicBool,
    state: UnsafeCell<Option<State>>,
}

// SAFETY: `is_lent` allows one access at a time. `Firmware::install` has the contract that all accesses are by one CPU or are
// ordered by the caller, so that a state that cannot be sent is not used by another thread while its own one uses it.
unsafe impl Sync for Global {}

static GLOBAL: Global = Global {
    is_lent: AtomicBool::new(false),
    state: UnsafeCell::new(None),
};

/// Ends the loan also if a closure panics, in tests.
struct Loan;

impl Drop for Loan {
    fn drop(&mut self) {
        GLOBAL.is_lent.store(false, Ordering::Release);
    }
}

fn with_slot<R>(action: impl FnOnce(&mut Option<State>) -> Result<R>) -> Result<R> {
    if GLOBAL.is_lent.swap(true, Ordering::Acquire) {
        return Err(Status::NOT_READY);
    }
    let loan = Loan;
    // SAFETY: `is_lent` was false and is true until `loan` is dropped, so this is the only reference.
    let slot = unsafe { &mut *GLOBAL.state.get() };
    let result = action(slot);
    drop(loan);
    result
}

/// Lends the state to a closure, which must not call code of images.
///
/// # Errors
///
/// `NOT_READY` if the state is lent; `UNSUPPORTED` without a firmware, as after `ExitBootServices`.
pub(crate) fn with<R>(action: impl FnOnce(&mut State) -> Result<R>) -> Result<R> {
    with_slot(|slot| action(slot.as_mut().ok_or(Status::UNSUPPORTED)?))
}

/// Sets the state of the program's firmware.
///
/// # Errors
///
/// `ALREADY_STARTED` if there is one.
pub(crate) fn install(state: State) -> Result<()> {
    with_slot(|slot| {
        if slot.is_some() {
            return Err(Status::ALREADY_STARTED);
        }
        *slot = Some(state);
        Ok(())
    })
}

/// Takes the state away: services return `UNSUPPORTED` from now on.
///
/// # Errors
///
/// `NOT_READY` if the state is lent.
pub(crate) fn remove() -> Result<Option<State>> {
    with_slot(|slot| Ok(slot.take()))
}
