//! Guest memory by physical and by virtual address.

use boot_core::{GuestRange, arith};
use boot_paging::{Scheme, TranslateError, translate};
use hv_core::{AarchRegisters, GuestRegisters, RiscvRegisters, X86Registers};

use crate::error::AccessError;

/// Guest memory by guest physical address.
///
/// The guest can have changed all of it, and everything in it is data only.
pub trait PhysicalMemory {
    /// The ranges with memory, in ascending order and without overlaps. Addresses outside are never accessed.
    fn ranges(&self) -> Vec<GuestRange>;

    /// Copies the bytes at `address`. Returns false, and leaves `bytes` in any state, if some are not in memory.
    fn read(&self, address: u64, bytes: &mut [u8]) -> bool;
}

/// How the guest translates virtual addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AddressSpace {
    /// Virtual addresses are physical addresses.
    Physical,
    /// By page tables.
    Paged {
        /// Their format.
        scheme: Scheme,
        /// Physical address of the root table.
        root: u64,
    },
    /// By page tables of a format that is not supported: x86_64 outside of 64-bit mode or with 5 levels, arm64 with another granule or width
    /// than 4 KiB and 48 bits, riscv64 with another mode than Sv39 and Sv48.
    Unsupported,
}

/// Page size of all architectures.
const PAGE: u64 = 0x1000;

impl AddressSpace {
    /// The translation that the registers select at this moment.
    #[must_use]
    pub fn of(registers: &GuestRegisters) -> Self {
        match registers {
            GuestRegisters::X86_64(registers) => Self::of_x86_64(registers),
            GuestRegisters::Aarch64(registers) => Self::of_aarch64(registers),
            GuestRegisters::Riscv64(registers) => Self::of_riscv64(registers),
            _ => Self::Unsupported,
        }
    }

    fn of_x86_64(registers: &X86Registers) -> Self {
        use boot_core::cpu::x86_64::{cr0, cr4, efer};
        let cpu = &registers.cpu;
        if cpu.cr0 & cr0::PG == 0 {
            Self::Physical
        } else if cpu.efer & efer::LMA == 0 || cpu.cr4 & cr4::LA57 != 0 {
            Self::Unsupported
        } else {
            Self::paged(Scheme::X86_64, cpu.cr3)
        }
    }

    fn of_aarch64(registers: &AarchRegisters) -> Self {
        /// `SCTLR_EL1.M`: the MMU is on.
        const MMU: u64 = 1;
        /// `TCR_EL1.T0SZ` of addresses of 48 bits.
        const T0SZ_48: u64 = 16;
        let tcr = registers.tcr_el1;
        let (t0sz, tg0) = (tcr & 0x3f, tcr >> 14 & 3);
        if registers.sctlr_el1 & MMU == 0 {
            Self::Physical
        } else if (t0sz, tg0) == (T0SZ_48, 0) {
            Self::paged(Scheme::Arm64, registers.ttbr0_el1)
        } else {
            Self::Unsupported
        }
    }

    fn of_riscv64(registers: &RiscvRegisters) -> Self {
        match registers.satp >> 60 {
            0 => Self::Physical,
            8 => Self::paged(Scheme::Sv39, registers.satp),
            9 => Self::paged(Scheme::Sv48, registers.satp),
            _ => Self::Unsupported,
        }
    }

    fn paged(scheme: Scheme, register: u64) -> Self {
        match scheme.root(register) {
            Some(root) => Self::Paged { scheme, root },
            None => Self::Unsupported,
        }
    }

    /// The physical address of `address`, and the number of bytes from there to the end of its page.
    ///
    /// # Errors
    ///
    /// The address is not mapped, or the translation is not supported.
    pub fn translate(self, memory: &dyn PhysicalMemory, address: u64) -> Result<(u64, u64), AccessError> {
        match self {
            Self::Physical => Ok((address, PAGE.saturating_sub(address % PAGE))),
            Self::Unsupported => Err(AccessError::Translation),
            Self::Paged { scheme, root } => {
                let page = translate(scheme, root, address, |at| entry(memory, at))?;
                // The page contains the address.
                let physical = page
                    .translate(address)
                    .ok_or(TranslateError::NotCanonical { virt: address })?;
                let end = page.virt.wrapping_add(page.size.bytes());
                Ok((physical, end.wrapping_sub(address)))
            }
        }
    }

    /// Fills `bytes` with the memory at `address`.
    ///
    /// # Errors
    ///
    /// [`AccessError`] if some bytes cannot be read; those before them have been.
    pub fn read(
        self,
        memory: &dyn PhysicalMemory,
        address: u64,
        bytes: &mut [u8],
    ) -> Result<(), AccessError> {
        let mut address = address;
        let mut rest = bytes;
        while !rest.is_empty() {
            let (physical, len) = self.translate(memory, address)?;
            let len = usize::try_from(len).unwrap_or(usize::MAX).min(rest.len());
            let (part, after) = rest.split_at_mut(len);
            if !memory.read(physical, part) {
                return Err(AccessError::NoMemory { address, physical });
            }
            address = address.wrapping_add(arith::to_u64(len));
            rest = after;
        }
        Ok(())
    }

    /// The 64-bit word at `address`, little-endian.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn read_u64(self, memory: &dyn PhysicalMemory, address: u64) -> Result<u64, AccessError> {
        let mut bytes = [0; 8];
        self.read(memory, address, &mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }
}

/// The entry of a page table at a physical address.
pub(crate) fn entry(memory: &dyn PhysicalMemory, address: u64) -> Option<u64> {
    let mut bytes = [0; 8];
    memory
        .read(address, &mut bytes)
        .then(|| u64::from_le_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use boot_core::{
        CpuState,
        cpu::{aarch64, riscv64, x86_64},
    };
    use boot_paging::Access;

    use super::*;
    use crate::testing::Machine;

    #[test]
    fn registers_select_the_translation() {
        let space = |change: &dyn Fn(&mut X86Registers)| {
            let state = x86_64::State::long_mode(0, 0x1234_5000, 8, 16);
            let mut registers = X86Registers::new(state);
            change(&mut registers);
            AddressSpace::of(&GuestRegisters::X86_64(Box::new(registers)))
        };
        let paged = |scheme, root| AddressSpace::Paged { scheme, root };
        assert_eq!(space(&|_| {}), paged(Scheme::X86_64, 0x1234_5000));
        assert_eq!(space(&|registers| registers.cpu.cr0 = 1), AddressSpace::Physical);
        assert_eq!(
            space(&|registers| registers.cpu.efer = 0),
            AddressSpace::Unsupported
        );
        assert_eq!(
            space(&|registers| registers.cpu.cr4 |= 1 << 12),
            AddressSpace::Unsupported
        );
        let mut arm = AarchRegisters::new(&aarch64::State::new(0));
        let arm_space = |registers: &AarchRegisters| {
            AddressSpace::of(&GuestRegisters::Aarch64(Box::new(registers.clone())))
        };
        assert_eq!(arm_space(&arm), AddressSpace::Physical);
        arm.sctlr_el1 = 1;
        arm.tcr_el1 = 16;
        arm.ttbr0_el1 = 0x0012_0000_4000_1001;
        assert_eq!(arm_space(&arm), paged(Scheme::Arm64, 0x4000_1000));
        for tcr in [25, 16 | 1 << 14] {
            arm.tcr_el1 = tcr;
            assert_eq!(arm_space(&arm), AddressSpace::Unsupported, "{tcr:#x}");
        }
        for (satp, expected) in [
            (0, AddressSpace::Physical),
            (8 << 60 | 0x80201, paged(Scheme::Sv39, 0x8020_1000)),
            (9 << 60 | 0x80201, paged(Scheme::Sv48, 0x8020_1000)),
            (10 << 60, AddressSpace::Unsupported),
        ] {
            let mut state = riscv64::State::new(0);
            state.satp = satp;
            let registers = GuestRegisters::new(&CpuState::from(state)).unwrap();
            assert_eq!(AddressSpace::of(&registers), expected, "{satp:#x}");
        }
    }

    #[test]
    fn accesses_follow_the_page_tables() {
        for scheme in Scheme::ALL {
            // Two pages that are adjacent by their virtual, but not by their physical addresses.
            let mut machine = Machine::paged(
                scheme,
                &[
                    (0x4000_0000, 0x3000, 0x1000, Access::empty()),
                    (0x4000_1000, 0x1000, 0x1000, Access::WRITE),
                ],
            );
            machine.write(0x3ffc, &[1, 2, 3, 4]);
            machine.write(0x1000, &[5, 6, 7, 8]);
            let space = machine.space;
            assert_eq!(
                space.read_u64(&machine, 0x4000_0ffc),
                Ok(u64::from_le_bytes([1, 2, 3, 4, 5, 6, 7, 8]))
            );
            assert_eq!(space.translate(&machine, 0x4000_0ffc), Ok((0x3ffc, 4)));
            assert!(matches!(
                space.read_u64(&machine, 0x4000_1ffc),
                Err(AccessError::Page(TranslateError::NotMapped {
                    virt: 0x4000_2000,
                    ..
                }))
            ));
        }
        let mut machine = Machine::flat(0x1000, 0x1000);
        machine.write(0x1ff8, &7_u64.to_le_bytes());
        assert_eq!(AddressSpace::Physical.read_u64(&machine, 0x1ff8), Ok(7));
        assert_eq!(
            AddressSpace::Physical.read_u64(&machine, 0x1ffc),
            Err(AccessError::NoMemory {
                address: 0x2000,
                physical: 0x2000
            })
        );
        assert_eq!(
            AddressSpace::Physical.read_u64(&machine, u64::MAX - 1),
            Err(AccessError::NoMemory {
                address: u64::MAX - 1,
                physical: u64::MAX - 1
            })
        );
        assert_eq!(
            AddressSpace::Unsupported.read_u64(&machine, 0x1ff8),
            Err(AccessError::Translation)
        );
    }
}
