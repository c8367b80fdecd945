//! Types of events and priorities.

use bitflags::bitflags;

use crate::{Result, Status};

/// A task priority level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tpl(pub usize);

impl Tpl {
    /// Level of applications, and the lowest.
    pub const APPLICATION: Self = Self(4);
    /// Level of ordinary notification functions.
    pub const CALLBACK: Self = Self(8);
    /// Level of short notification functions.
    pub const NOTIFY: Self = Self(16);
    /// Level without interrupts, and the highest.
    pub const HIGH_LEVEL: Self = Self(31);
}

bitflags! {
    /// Type of an event, `EVT_*`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct EventKind: u32 {
        /// The event has a timer.
        const TIMER = 0x8000_0000;
        /// The event's memory is mapped at runtime.
        const RUNTIME = 0x4000_0000;
        /// Checks and waits queue the notification function.
        const NOTIFY_WAIT = 0x100;
        /// Signals queue the notification function.
        const NOTIFY_SIGNAL = 0x200;
    }
}

impl EventKind {
    /// `EVT_SIGNAL_EXIT_BOOT_SERVICES`.
    pub const EXIT_BOOT_SERVICES: u32 = 0x201;
    /// `EVT_SIGNAL_VIRTUAL_ADDRESS_CHANGE`.
    pub const VIRTUAL_ADDRESS_CHANGE: u32 = 0x6000_0202;
}

/// A notification function: opaque numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Notify {
    /// Address of the function.
    pub function: u64,
    /// Its context.
    pub context: u64,
}

/// Kind of a timer, `EFI_TIMER_DELAY`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TimerDelay {
    /// No timer.
    Cancel,
    /// Every so many units of 100 ns; 0 is every tick.
    Periodic,
    /// Once after so many units of 100 ns; 0 is at the next tick.
    Relative,
}

impl TimerDelay {
    /// The kind with this number.
    ///
    /// # Errors
    ///
    /// `INVALID_PARAMETER` for other numbers than 0, 1 and 2.
    pub const fn from_number(number: u32) -> Result<Self> {
        match number {
            0 => Ok(Self::Cancel),
            1 => Ok(Self::Periodic),
            2 => Ok(Self::Relative),
            _ => Err(Status::INVALID_PARAMETER),
        }
    }
}
