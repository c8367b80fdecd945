//! What a host chooses at the entry of a guest.

use boot_core::cpu::x86_64::cr4;
use boot_core::{Arch, arith};
use sandbox_abi::layout::{MMIO_DOORBELL, PAGE, REWIND_CODE, REWIND_IMAGE};
use sandbox_abi::{DoorbellKind, HVC_DOORBELL, PORT_DOORBELL, SBI_DOORBELL};

use crate::error::EntryError;

/// Space for the code that loads registers.
const MAX_CODE: u64 = REWIND_IMAGE - REWIND_CODE;

/// What a host chooses at the entry of a guest, apart from the layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// How the guest rings the doorbell.
    pub doorbell_kind: DoorbellKind,
    /// Port, function number, address or extension of the doorbell. The address of an MMIO doorbell is a multiple of 4 in the page at
    /// [`MMIO_DOORBELL`].
    pub doorbell: u64,
    /// Largest payload in bytes that the host sends and accepts.
    pub max_payload: u64,
    /// Code of the back end that loads registers inside the guest, at most one page; empty if there is none.
    pub rewind_code: &'a [u8],
    /// x86_64: bits of `CR4` besides those of the protocol, for features that the CPU has: `OSXSAVE` and `FSGSBASE`.
    pub cr4: u64,
}

impl Entry<'static> {
    /// The usual doorbell of an architecture, payloads of up to 64 MiB, and no code that loads registers.
    #[must_use]
    pub const fn new(arch: Arch) -> Self {
        #[expect(clippy::as_conversions, reason = "lossless; `u64::from` is not const")]
        let (doorbell_kind, doorbell) = match arch {
            Arch::X86_64 => (DoorbellKind::PORT, PORT_DOORBELL as u64),
            Arch::Aarch64 => (DoorbellKind::HVC, HVC_DOORBELL as u64),
            _ => (DoorbellKind::SBI, SBI_DOORBELL),
        };
        Self {
            doorbell_kind,
            doorbell,
            max_payload: 64 << 20,
            rewind_code: &[],
            cr4: 0,
        }
    }
}

impl Entry<'_> {
    /// Whether the guest needs the page of the MMIO doorbell.
    pub(crate) fn has_doorbell_page(&self) -> bool {
        self.doorbell_kind == DoorbellKind::MMIO
    }

    /// Checks the values for a guest of `arch`.
    pub(crate) fn check(&self, arch: Arch) -> Result<(), EntryError> {
        let kind = self.doorbell_kind;
        let has_kind = match arch {
            Arch::X86_64 => kind == DoorbellKind::PORT,
            Arch::Aarch64 => kind == DoorbellKind::HVC || kind == DoorbellKind::MMIO,
            _ => kind == DoorbellKind::SBI,
        };
        if !has_kind {
            return Err(EntryError::DoorbellKind { kind, arch });
        }
        let addr = self.doorbell;
        if self.has_doorbell_page() && (arith::align_down(addr, PAGE) != MMIO_DOORBELL || addr % 4 != 0) {
            return Err(EntryError::DoorbellAddress { addr });
        }
        let found = self.rewind_code.len();
        if arith::to_u64(found) > MAX_CODE {
            let max = MAX_CODE;
            return Err(EntryError::RewindCode { found, max });
        }
        let features = cr4::OSXSAVE | cr4::FSGSBASE;
        let allowed = if arch == Arch::X86_64 { features } else { 0 };
        if self.cr4 & !allowed != 0 {
            let found = self.cr4;
            return Err(EntryError::Cr4 { found, allowed });
        }
        Ok(())
    }
}
