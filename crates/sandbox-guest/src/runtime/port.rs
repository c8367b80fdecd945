//! The window of the sandbox.
#![expect(unsafe_code, reason = "the window is at fixed addresses")]

use core::{ptr, slice};

use sandbox_abi::{CrashReason, CrashRecord, Header};

use super::boot::{STATE_LEN, address, boot_info};
use super::entry;
use super::tables::exports;
use crate::crash::report_crash;
use crate::port::{Area, Port, ProtocolError, State};
use crate::serve::serve;

const _: () = assert!(size_of::<State>() <= STATE_LEN && align_of::<State>() <= 16);

/// The window of the sandbox.
struct SandboxPort;

/// The port of the program.
#[must_use]
pub(crate) fn port() -> &'static dyn Port {
    &SandboxPort
}

impl Port for SandboxPort {
    #[inline]
    fn inbox(&self) -> Area<'_> {
        let info = boot_info();
        // SAFETY: the window is mapped at this address with this length. It changes only in `ring`, which is opaque to the compiler.
        unsafe { area(info.inbox.get(), info.window_len.get()) }
    }

    #[inline]
    fn outbox(&self) -> Area<'_> {
        let info = boot_info();
        // SAFETY: as above.
        unsafe { area(info.outbox.get(), info.window_len.get()) }
    }

    #[inline]
    fn ring(&self) {
        entry::ring(boot_info());
    }

    fn flush_translations(&self) {
        entry::flush_translations();
    }

    fn max_payload(&self) -> u64 {
        boot_info().max_payload.get()
    }

    fn serve(&self) -> bool {
        serve(self, exports())
    }

    #[inline]
    fn state(&self) -> &State {
        let end = address(boot_info().stack_top.get());
        // SAFETY: the entry leaves these bytes of the stack free. They are zero at the start, which is a valid state, and only cells of this
        // type are there.
        unsafe { &*ptr::with_exposed_provenance(end - STATE_LEN) }
    }

    fn stop(&self, error: ProtocolError) -> ! {
        let record = entry::registers(CrashReason::PROTOCOL);
        stop_with(&record, format_args!("{error}"))
    }
}

/// Reports a crash without a place in the source, and stops.
pub(super) fn stop_with(record: &CrashRecord, text: core::fmt::Arguments<'_>) -> ! {
    report_crash(port(), *record, text, None);
    entry::halt()
}

/// One half of the window.
///
/// # Safety
///
/// `len` bytes at `start`, at least a header, are mapped for the life of the program, and no reference to them exists except to cells.
#[inline]
unsafe fn area<'a>(start: u64, len: u32) -> Area<'a> {
    let start = address(start);
    let body_len = address(u64::from(len)).saturating_sub(Header::LEN);
    let body = ptr::with_exposed_provenance(start + Header::LEN);
    Area {
        // SAFETY: the caller guarantees it.
        header: unsafe { &*ptr::with_exposed_provenance(start) },
        // SAFETY: as above.
        body: unsafe { slice::from_raw_parts(body, body_len) },
    }
}
