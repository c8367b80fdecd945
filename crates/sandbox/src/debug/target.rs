//! The guest of a sandbox, as a debugger sees it while it is stopped.

use std::collections::BTreeSet;

use boot_core::{GuestRange, arith};
use hv_core::{DebugRequest, DebugVcpu, GuestRegisters, RegisterAccess};
use sandbox_abi::layout;
use sandbox_debug::{BreakpointInstruction, DebugTarget, PhysicalMemory, TargetError};

use crate::backend::Backend;
use crate::base::PAGE;
use crate::crash_registers;
use crate::debugger::Guest;
use crate::memory::PrivateText;

/// A stopped guest.
pub(super) struct Target<'a, 'g, B: Backend> {
    pub(super) guest: &'a mut Guest<'g, B>,
    pub(super) text: &'a PrivateText,
}

/// Why a debugger cannot write.
#[derive(Clone, Copy, Debug, thiserror::Error)]
enum Refused {
    #[error("{address:#x} is neither code nor data of the guest; only those can be written")]
    Address { address: u64 },
    #[error("the guest crashed, so its registers cannot be written")]
    Crashed,
}

impl<B: Backend> PhysicalMemory for Target<'_, '_, B> {
    fn ranges(&self) -> Vec<GuestRange> {
        let areas = &self.guest.image.areas;
        let host = GuestRange::from_bounds(layout::HOST, layout::INBOX);
        let inbox = GuestRange::new(layout::INBOX, areas.outbox.len());
        let mut ranges: Vec<_> = [host, inbox].into_iter().flatten().collect();
        ranges.extend([areas.image, areas.memory, areas.outbox, areas.tables]);
        ranges.extend((!areas.scratch.is_empty()).then_some(areas.scratch));
        let mappings = self.guest.memory.mappings.regions();
        ranges.extend(mappings.map(|region| region.range()));
        ranges.sort_unstable_by_key(|range| range.start());
        ranges
    }

    fn read(&self, address: u64, bytes: &mut [u8]) -> bool {
        let Guest {
            memory,
            window,
            image,
            ..
        } = &*self.guest;
        let areas = &image.areas;
        if areas.image.contains_addr(address) {
            self.text.read(address, bytes)
        } else if areas.memory.contains_addr(address) {
            memory.read_data(areas.memory.start(), address, bytes)
        } else if areas.tables.contains_addr(address) {
            memory.read_tables(image, address, bytes)
        } else if areas.scratch.contains_addr(address) {
            memory.read_scratch(areas, address, bytes)
        } else if address >= layout::REGION_TABLES {
            memory.mappings.read(address, bytes)
        } else {
            window.read(areas.outbox.start(), address, bytes) || memory.read_fixed(address, bytes)
        }
    }
}

impl<B: Backend> DebugTarget for Target<'_, '_, B>
where
    B::Vcpu: RegisterAccess + DebugVcpu,
{
    /// After a crash, the registers are those of the crash. Floating-point registers may be those of the guest's exception handler.
    fn read_registers(&mut self) -> Result<GuestRegisters, TargetError> {
        let mut registers = self.guest.vcpu.read_registers()?;
        if let Some(crash) = self.guest.crash {
            let mut state = registers.cpu_state();
            crash_registers::replace(&mut state, crash);
            registers.set_cpu_state(&state)?;
        }
        Ok(registers)
    }

    fn write_registers(&mut self, registers: &GuestRegisters) -> Result<(), TargetError> {
        if self.guest.crash.is_some() {
            return Err(Refused::Crashed.into());
        }
        Ok(self.guest.vcpu.write_registers(registers)?)
    }

    fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), TargetError> {
        let Guest {
            memory,
            image,
            written,
            ..
        } = &mut *self.guest;
        let area = image.areas.memory;
        if image.areas.image.contains_addr(address) {
            return Ok(self.text.write(address, bytes)?);
        }
        if image.areas.copies.contains_addr(address) {
            // The guest's copy of a page: part of snapshots, and gone after a restore.
            return Ok(memory.write_data(area.start(), address, bytes)?);
        }
        if !area.contains_addr(address) {
            return Err(Refused::Address { address }.into());
        }
        memory.write_data(area.start(), address, bytes)?;
        note(written, address.saturating_sub(area.start()), bytes.len());
        Ok(())
    }

    fn set_debug(&mut self, request: &DebugRequest) -> Result<(), TargetError> {
        Ok(self.guest.vcpu.set_debug(request)?)
    }

    /// Everywhere but on riscv64.
    fn can_step(&self) -> bool {
        self.guest.image.entry.arch() != boot_core::Arch::Riscv64
    }

    /// Breakpoints go into code only: it is a copy of this sandbox, which no snapshot has.
    fn is_code(&self, range: GuestRange) -> bool {
        self.text.range().contains(range)
    }

    fn breakpoint_instruction(&self) -> BreakpointInstruction {
        BreakpointInstruction::Halt
    }
}

/// Adds the pages of `len` bytes at `offset`.
fn note(pages: &mut BTreeSet<usize>, offset: u64, len: usize) {
    let last = offset.saturating_add(arith::to_u64(len.saturating_sub(1)));
    let page = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX) / PAGE;
    if len > 0 {
        pages.extend(page(offset)..=page(last));
    }
}
