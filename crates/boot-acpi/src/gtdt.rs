//! The GTDT of the arm64 generic timer.

use alloc::vec::Vec;

use boot_core::machine::Arm64Timer;
use zerocopy::little_endian::{U32, U64};
use zerocopy::{Immutable, IntoBytes};

use crate::error::AcpiError;
use crate::gsi::{Gsi, private};
use crate::oem::table;

/// Revision of the table: without the interrupt of the virtual timer of EL2, which later revisions have at the end.
const REVISION: u8 = 2;

/// The address of a timer frame that is not there (ACPI 6.5, section 5.2.25).
const NO_FRAME: U64 = U64::MAX_VALUE;

/// The GTDT of a timer (ACPI 6.5, section 5.2.25).
pub(crate) fn gtdt(timer: &Arm64Timer) -> Result<Vec<u8>, AcpiError> {
    let body = Body {
        control_base: NO_FRAME,
        reserved: U32::ZERO,
        secure_el1: Timer::new(private("secure physical", timer.secure_physical)?),
        non_secure_el1: Timer::new(private("physical", timer.physical)?),
        virtual_el1: Timer::new(private("virtual", timer.virtual_timer)?),
        el2: Timer::new(private("hypervisor", timer.hypervisor)?),
        read_base: NO_FRAME,
        platform_timers: U32::ZERO,
        platform_timer_offset: U32::ZERO,
    };
    Ok(table(*b"GTDT", REVISION, body.as_bytes()))
}

/// The table behind its header.
#[derive(Clone, Copy, Debug, Immutable, IntoBytes)]
#[repr(C)]
struct Body {
    control_base: U64,
    reserved: U32,
    secure_el1: Timer,
    non_secure_el1: Timer,
    virtual_el1: Timer,
    el2: Timer,
    read_base: U64,
    platform_timers: U32,
    platform_timer_offset: U32,
}

const _: () = assert!(size_of::<Body>() == 60);

/// The interrupt of a timer.
#[derive(Clone, Copy, Debug, Immutable, IntoBytes)]
#[repr(C)]
struct Timer {
    gsi: U32,
    flags: U32,
}

impl Timer {
    /// Bit 0: edge-triggered. Bit 1: active when low.
    const EDGE: u32 = 1 << 0;
    /// Bit 2: the timer of a virtual machine does not stop in idle states of its CPU.
    const ALWAYS_ON: u32 = 1 << 2;

    fn new(gsi: Gsi) -> Self {
        let trigger = if gsi.is_edge { Self::EDGE } else { 0 };
        Self {
            gsi: gsi.number.into(),
            flags: (Self::ALWAYS_ON | trigger).into(),
        }
    }
}
