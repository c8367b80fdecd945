//! Console, clock and page protection of boot services.

use alloc::boxed::Box;

use boot_paging::{Access, MapError};
use efi_abi::{Platform, Status};
use efi_core::memory::Attributes;
use fw_runtime::Console;
use fw_virtio::EntropySource;

use super::clock::Clock;
use super::random;
use crate::acpi::Tables;
use crate::console::CONSOLE;
use crate::mmu::Mmu;

/// The machine.
pub(super) struct Pc {
    mmu: Mmu,
    clock: Clock,
    has_random: bool,
    /// A source of random bytes for CPUs without one.
    entropy: Option<Box<dyn EntropySource>>,
}

impl Pc {
    pub(super) fn new(mmu: Mmu, acpi: Option<&Tables>, entropy: Option<Box<dyn EntropySource>>) -> Self {
        Self {
            mmu,
            clock: Clock::start(acpi.and_then(|acpi| acpi.fadt.pm_timer)),
            has_random: random::is_present(),
            entropy,
        }
    }
}

impl Platform for Pc {
    fn write_console(&mut self, text: &[u8]) {
        CONSOLE.send_all(text);
    }

    fn read_console(&mut self) -> Option<u8> {
        CONSOLE.receive()
    }

    fn monotonic(&mut self) -> u64 {
        self.clock.now()
    }

    fn exit_boot_services(&mut self) {
        self.entropy = None;
        CONSOLE.detach();
    }

    fn random(&mut self, buffer: &mut [u8]) -> bool {
        self.has_random && random::fill(buffer)
            || self.entropy.as_ref().is_some_and(|entropy| entropy.fill(buffer))
    }

    fn protect(&mut self, start: u64, len: u64, attributes: Attributes) -> Result<(), Status> {
        // Pages of x86_64 that are present can be read.
        if attributes.contains(Attributes::RP) {
            return Err(Status::UNSUPPORTED);
        }
        let mut access = Access::empty();
        access.set(Access::WRITE, !attributes.contains(Attributes::RO));
        access.set(Access::EXECUTE, !attributes.contains(Attributes::XP));
        self.mmu.protect(start, len, access).map_err(|error| match error {
            MapError::TooManyTables { .. } => Status::OUT_OF_RESOURCES,
            MapError::NotMapped { .. } => Status::UNSUPPORTED,
            _ => Status::INVALID_PARAMETER,
        })
    }
}
