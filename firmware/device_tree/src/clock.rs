//! Real-time clocks as hooks of the runtime services of EFI.
//!
//! The functions run after the start of a kernel, at the virtual address that it has mapped them to: they use no static variable. Their context
//! is the address of the registers.
#![expect(unsafe_code, reason = "registers of clocks")]

use core::ffi::c_void;

use efi_abi::raw::Status;
use proto_fdt::read::{ClockKind, RealTimeClock};

use crate::registers::Registers;

/// Registers of a PL031 (PrimeCell RTC technical reference manual, section 3.2).
mod pl031 {
    /// `RTCDR`: seconds.
    pub(super) const DATA: u64 = 0x00;
    /// `RTCLR`: sets the seconds.
    pub(super) const LOAD: u64 = 0x08;
}

/// Registers of a Goldfish RTC (Android, "Goldfish virtual hardware", RTC).
mod goldfish {
    /// The lower half of nanoseconds; a read latches the upper half, and a write sets both.
    pub(super) const LOW: u64 = 0x00;
    pub(super) const HIGH: u64 = 0x04;
    pub(super) const NANOSECONDS: u64 = 1_000_000_000;
}

/// `RuntimeHooks::get_time`.
pub(crate) type GetTime = unsafe extern "efiapi" fn(*mut c_void, *mut u64) -> Status;
/// `RuntimeHooks::set_time`.
pub(crate) type SetTime = unsafe extern "efiapi" fn(*mut c_void, u64) -> Status;

/// The context and the hooks of a clock; of none if there is none.
pub(crate) fn hooks<R: Registers + Default>(
    clock: Option<&RealTimeClock>,
) -> (*mut c_void, GetTime, SetTime) {
    let Some(clock) = clock else {
        return (core::ptr::null_mut(), no_time, no_change);
    };
    let addr = usize::try_from(clock.range.start()).unwrap_or_default();
    let context = core::ptr::with_exposed_provenance_mut(addr);
    match clock.kind {
        ClockKind::Pl031 => (context, get_pl031::<R>, set_pl031::<R>),
        ClockKind::Goldfish => (context, get_goldfish::<R>, set_goldfish::<R>),
        _ => (core::ptr::null_mut(), no_time, no_change),
    }
}

/// The address of a register.
fn register(context: *mut c_void, offset: u64) -> u64 {
    fw_runtime::address(context).wrapping_add(offset)
}

unsafe extern "efiapi" fn no_time(_: *mut c_void, _: *mut u64) -> Status {
    Status::UNSUPPORTED
}

unsafe extern "efiapi" fn no_change(_: *mut c_void, _: u64) -> Status {
    Status::UNSUPPORTED
}

unsafe extern "efiapi" fn get_pl031<R: Registers + Default>(
    context: *mut c_void,
    seconds: *mut u64,
) -> Status {
    // SAFETY: the context is the address of the clock's registers, which have no effect on memory.
    let value = unsafe { R::default().read_u32(register(context, pl031::DATA)) };
    // SAFETY: the caller passes a valid pointer.
    unsafe { seconds.write(value.into()) };
    Status::SUCCESS
}

unsafe extern "efiapi" fn set_pl031<R: Registers + Default>(context: *mut c_void, seconds: u64) -> Status {
    let Ok(seconds) = u32::try_from(seconds) else {
        return Status::UNSUPPORTED;
    };
    // SAFETY: as in `get_pl031`.
    unsafe { R::default().write_u32(register(context, pl031::LOAD), seconds) };
    Status::SUCCESS
}

unsafe extern "efiapi" fn get_goldfish<R: Registers + Default>(
    context: *mut c_void,
    seconds: *mut u64,
) -> Status {
    // SAFETY: the context is the address of the clock's registers, which have no effect on memory.
    let low = unsafe { R::default().read_u32(register(context, goldfish::LOW)) };
    // SAFETY: as above.
    let high = unsafe { R::default().read_u32(register(context, goldfish::HIGH)) };
    let nanoseconds = u64::from(high) << 32 | u64::from(low);
    // SAFETY: the caller passes a valid pointer.
    unsafe { seconds.write(nanoseconds / goldfish::NANOSECONDS) };
    Status::SUCCESS
}

unsafe extern "efiapi" fn set_goldfish<R: Registers + Default>(context: *mut c_void, seconds: u64) -> Status {
    let Some(nanoseconds) = seconds.checked_mul(goldfish::NANOSECONDS) else {
        return Status::UNSUPPORTED;
    };
    let [high, low] = [nanoseconds >> 32, nanoseconds & 0xffff_ffff];
    for (offset, half) in [(goldfish::HIGH, high), (goldfish::LOW, low)] {
        let half = u32::try_from(half).unwrap_or(u32::MAX);
        // SAFETY: as in `get_goldfish`.
        unsafe { R::default().write_u32(register(context, offset), half) };
    }
    Status::SUCCESS
}

#[cfg(test)]
mod tests {
    use boot_core::GuestRange;
    use proto_fdt::device_tree::{DeviceTree, Node};
    use proto_fdt::read::real_time_clock;

    use super::*;
    use crate::fake::OfThread;

    fn clock(kind: &str) -> RealTimeClock {
        let mut node = Node::new("rtc@9010000");
        node.push_property("compatible", format!("{kind}\0").into_bytes());
        let reg = [0, 0x901_0000, 0x1000_u32].map(u32::to_be_bytes).concat();
        node.push_property("reg", reg);
        let mut root = Node::new("");
        root.children.push(node);
        let clock = real_time_clock(&DeviceTree::new(root)).unwrap().unwrap();
        assert_eq!(clock.range, GuestRange::new(0x901_0000, 0x1000).unwrap());
        clock
    }

    /// The time that is read, the status of a change, and what that writes.
    type Outcome<'a> = (Option<u64>, Status, &'a [(u64, u32, u32)]);

    fn check(clock: Option<&RealTimeClock>, set: u64, expected: Outcome<'_>) {
        let value = |addr| match addr {
            0x901_0000 => 0x6b0a_3e29,
            0x901_0004 => 0x18ec_0c3f,
            _ => 0,
        };
        OfThread::start(value);
        let (context, get, set_time) = hooks::<OfThread>(clock);
        let mut seconds = 0;
        // SAFETY: the pointer is valid, and registers are those of the fake.
        let status = unsafe { get(context, &raw mut seconds) };
        // SAFETY: as above.
        let set = unsafe { set_time(context, set) };
        let seconds = (status == Status::SUCCESS).then_some(seconds);
        assert_eq!((seconds, set, OfThread::writes().as_slice()), expected);
    }

    #[test]
    fn a_pl031_counts_seconds() {
        let clock = clock("arm,pl031");
        let written = [(0x901_0008, 4, 0x6b0a_3e30)];
        check(
            Some(&clock),
            0x6b0a_3e30,
            (Some(0x6b0a_3e29), Status::SUCCESS, &written),
        );
        check(
            Some(&clock),
            1 << 32,
            (Some(0x6b0a_3e29), Status::UNSUPPORTED, &[]),
        );
    }

    #[test]
    fn a_goldfish_rtc_counts_nanoseconds() {
        let clock = clock("google,goldfish-rtc");
        let seconds = 0x18ec_0c3f_6b0a_3e29 / 1_000_000_000;
        let written = [(0x901_0004, 4, 2), (0x901_0000, 4, 0x540b_e400)];
        check(Some(&clock), 10, (Some(seconds), Status::SUCCESS, &written));
        check(Some(&clock), u64::MAX, (Some(seconds), Status::UNSUPPORTED, &[]));
    }

    #[test]
    fn a_machine_without_a_clock_has_no_time() {
        check(None, 10, (None, Status::UNSUPPORTED, &[]));
    }
}
