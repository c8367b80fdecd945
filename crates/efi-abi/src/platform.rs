//! What the firmware of a platform provides.

use efi_core::Status;
use efi_core::memory::Attributes;

/// The devices and the CPU behind the boot services. Services call it while they hold the firmware's state: a method must not
/// call a service, and returns soon.
pub trait Platform {
    /// Writes text to the console: UTF-8 with the escape sequences of ECMA-48 (ANSI).
    fn write_console(&mut self, text: &[u8]);

    /// The next byte of the console's input, if there is one. Special keys are escape sequences.
    fn read_console(&mut self) -> Option<u8>;

    /// Time since an arbitrary start in units of 100 ns; it never goes back.
    fn monotonic(&mut self) -> u64;

    /// Waits. The default polls [`monotonic`](Self::monotonic).
    fn stall(&mut self, microseconds: u64) {
        let end = self.monotonic().saturating_add(microseconds.saturating_mul(10));
        while self.monotonic() < end {
            core::hint::spin_loop();
        }
    }

    /// Called while a service waits for an event or a key; it may let the CPU pause for up to a millisecond.
    fn idle(&mut self) {
        core::hint::spin_loop();
    }

    /// Fills the buffer with random bytes of full entropy; false if there is no such source. An empty buffer asks for that.
    fn random(&mut self, buffer: &mut [u8]) -> bool {
        let _ = buffer;
        false
    }

    /// Sets the access rights of whole pages, in the page tables: `RP` not readable, `RO` not writable, `XP` not executable.
    /// Bits that are not set give the right back.
    ///
    /// # Errors
    ///
    /// `UNSUPPORTED` if the platform has no page tables for it; images then run with all rights, and
    /// `EFI_MEMORY_ATTRIBUTE_PROTOCOL` is not installed.
    fn protect(&mut self, start: u64, len: u64, attributes: Attributes) -> Result<(), Status> {
        let _ = (start, len, attributes);
        Err(Status::UNSUPPORTED)
    }

    /// Makes written code visible to instruction fetches: cleans the data cache and invalidates the instruction cache of the
    /// range where the architecture needs it.
    fn sync_code(&mut self, start: u64, len: u64) {
        let _ = (start, len);
    }

    /// The hart that runs the firmware, on riscv64; `RISCV_EFI_BOOT_PROTOCOL` is installed then.
    fn boot_hart(&self) -> Option<u64> {
        None
    }

    /// Restarts the watchdog, or stops it for 0 seconds. The watchdog resets the machine.
    ///
    /// # Errors
    ///
    /// `UNSUPPORTED` if there is none.
    fn set_watchdog(&mut self, seconds: u64) -> Result<(), Status> {
        let _ = seconds;
        Err(Status::UNSUPPORTED)
    }

    /// Stops all devices before `ExitBootServices` returns. No other method is called after it.
    fn exit_boot_services(&mut self) {}
}
