//! ELF core dumps of crashed guests.

use std::io::{self, Write};

use boot_core::GuestRange;
use hv_core::GuestRegisters;
use sandbox_abi::layout;
use sandbox_debug::{CoreDump, CoreLimits, CoreSummary, PhysicalMemory};

use crate::backend::Backend;
use crate::crash::{Crash, Registers};
use crate::crash_registers;
use crate::image::Image;
use crate::memory::Memory;
use crate::sandbox::Sandbox;
use crate::status::Status;

/// Why no core dump is written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CoreDumpError {
    /// The memory is no longer that of the crash.
    #[error("a core dump needs a poisoned sandbox, but this one is {0}")]
    NotPoisoned(Status),
    /// The architecture of the guest has no format for core dumps.
    #[error("core dumps of this architecture are not supported")]
    Unsupported,
    /// The file cannot be written.
    #[error("the core dump cannot be written")]
    Write(#[from] io::Error),
}

impl<B: Backend> Sandbox<B> {
    /// Writes an ELF core dump of a crash to `to`: the registers of `crash`, and the guest's memory by the page tables with which it was
    /// entered. `gdb-multiarch GUEST CORE` opens it. The window, through which messages pass, is left out.
    ///
    /// `crash` is that of the last call; the sandbox has not been restored since.
    ///
    /// # Errors
    ///
    /// [`CoreDumpError`].
    pub fn core_dump(
        &self,
        crash: &Crash,
        limits: CoreLimits,
        to: &mut dyn Write,
    ) -> Result<CoreSummary, CoreDumpError> {
        let status = self.engine.status;
        if !matches!(status, Status::Poisoned(_)) {
            return Err(CoreDumpError::NotPoisoned(status));
        }
        let image = &*self.engine.image;
        let registers = guest_registers(&crash.registers, image).ok_or(CoreDumpError::Unsupported)?;
        let memory = DumpMemory {
            image,
            memory: &self.engine.memory,
        };
        let dump = CoreDump::new(&registers, &memory)
            .with_signal(crash_registers::signal(&crash.kind).into())
            .with_note(crash.message.as_bytes())
            .with_limits(limits);
        Ok(dump.write(to)?)
    }
}

/// The registers of a crash, with those that select the page tables of the entry.
fn guest_registers(crash: &Registers, image: &Image) -> Option<GuestRegisters> {
    let mut state = image.entry.clone();
    crash_registers::replace(&mut state, crash);
    let mut registers = GuestRegisters::new(&state)?;
    let [first, tcr, ttbr0, sctlr] = image.mmu;
    match &mut registers {
        GuestRegisters::Aarch64(registers) => {
            registers.tcr_el1 = tcr;
            registers.ttbr0_el1 = ttbr0;
            registers.sctlr_el1 = sctlr;
        }
        GuestRegisters::Riscv64(registers) => registers.satp = first,
        _ => {}
    }
    Some(registers)
}

/// Memory of a guest without the window.
struct DumpMemory<'a> {
    image: &'a Image,
    memory: &'a Memory,
}

impl PhysicalMemory for DumpMemory<'_> {
    fn ranges(&self) -> Vec<GuestRange> {
        let areas = &self.image.areas;
        let host = GuestRange::from_bounds(layout::HOST, layout::INBOX);
        let mut ranges: Vec<_> = host.into_iter().collect();
        ranges.extend([areas.tables, areas.image, areas.memory]);
        ranges.sort_unstable_by_key(|range| range.start());
        ranges
    }

    fn read(&self, address: u64, bytes: &mut [u8]) -> bool {
        let areas = &self.image.areas;
        if areas.tables.contains_addr(address) {
            let at = usize::try_from(address.saturating_sub(areas.tables.start())).ok();
            let from = at.and_then(|at| self.image.exchange.tables.get(at..)?.get(..bytes.len()));
            return from.is_some_and(|from| {
                bytes.copy_from_slice(from);
                true
            });
        }
        if areas.memory.contains_addr(address) {
            self.memory.read_as_guest(self.image, address, bytes)
        } else {
            self.memory.read_fixed(address, bytes)
        }
    }
}
