//! Capabilities of a host, and machines that it can run.

use std::num::NonZeroU32;

use boot_core::{
    Machine,
    machine::{Cpus, InterruptController, Isa, MmuType},
};
use hv_core::virt::{self, RiscvIrqchip, VirtError};

/// Capabilities of a host's KVM, from [`host_capabilities`](crate::host_capabilities).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HostCapabilities {
    /// The frequency of the `time` counter in Hz.
    pub timebase_frequency: u32,
    /// Instruction set of vCPUs, without the hypervisor extension.
    pub isa: Isa,
    /// Largest address translation mode.
    pub mmu: MmuType,
    /// Block size of Zicbom in bytes, on hosts with that extension.
    pub cbom_block_size: Option<u32>,
    /// Block size of Zicboz in bytes, on hosts with that extension.
    pub cboz_block_size: Option<u32>,
    /// Block size of Zicbop in bytes, on hosts with that extension.
    pub cbop_block_size: Option<u32>,
    /// Highest interrupt identity of the AIA in the kernel; `None` on hosts without an AIA.
    pub aia_ids: Option<u32>,
}

impl HostCapabilities {
    /// The preferred interrupt controller: the AIA in the kernel, otherwise the PLIC in user space.
    #[must_use]
    pub fn irqchip(&self) -> RiscvIrqchip {
        match self.aia_ids {
            Some(_) => RiscvIrqchip::AplicImsic,
            None => RiscvIrqchip::Plic,
        }
    }

    /// The reference machine ([`virt::riscv64_machine`]) with `ram` bytes of RAM and all capabilities of the host. Without
    /// IMSICs, harts do not have the extension Ssaia.
    ///
    /// # Errors
    ///
    /// As [`virt::riscv64_machine`].
    pub fn machine(&self, ram: u64, vcpus: NonZeroU32, irqchip: RiscvIrqchip) -> Result<Machine, VirtError> {
        let isa = match irqchip {
            RiscvIrqchip::AplicImsic => self.isa.clone(),
            RiscvIrqchip::Plic | RiscvIrqchip::Aplic => without(&self.isa, "ssaia"),
        };
        let mut machine = virt::riscv64_machine(ram, vcpus, &isa, self.timebase_frequency, irqchip)?;
        if let Cpus::Riscv64(cpus) = &mut machine.platform.cpus {
            for hart in &mut cpus.harts {
                hart.mmu = self.mmu;
                hart.cbom_block_size = self.cbom_block_size;
                hart.cboz_block_size = self.cboz_block_size;
                hart.cbop_block_size = self.cbop_block_size;
            }
        }
        if let (InterruptController::Aplic(aplic), Some(ids)) =
            (&mut machine.platform.interrupt_controller, self.aia_ids)
            && let Some(imsic) = &mut aplic.imsic
        {
            imsic.ids = virt::IMSIC_IDS.min(ids);
            aplic.sources = virt::RISCV64_SOURCES.min(imsic.ids);
        }
        Ok(machine)
    }
}

/// `isa` without `extension`.
fn without(isa: &Isa, extension: &str) -> Isa {
    let others = isa.extensions().filter(|name| *name != extension);
    // The rest still contains the base, so this does not fail.
    Isa::new(others.map(ToOwned::to_owned)).unwrap_or_else(|_| isa.clone())
}

#[cfg(test)]
mod tests {
    use boot_core::machine::RiscvHart;

    use super::*;

    fn host(aia_ids: Option<u32>) -> HostCapabilities {
        HostCapabilities {
            timebase_frequency: 10_000_000,
            isa: Isa::new(["i", "ssaia", "zicbom"]).unwrap(),
            mmu: MmuType::Sv57,
            cbom_block_size: Some(64),
            cboz_block_size: None,
            cbop_block_size: None,
            aia_ids,
        }
    }

    #[test]
    fn a_machine_has_the_capabilities_of_the_host() {
        let host = host(None);
        assert_eq!(host.irqchip(), RiscvIrqchip::Plic);
        let vcpus = NonZeroU32::new(3).unwrap();
        let machine = host.machine(1 << 30, vcpus, host.irqchip()).unwrap();
        let Cpus::Riscv64(cpus) = &machine.platform.cpus else {
            panic!("the machine does not describe harts");
        };
        assert_eq!(cpus.timebase_frequency, 10_000_000);
        assert_eq!(cpus.harts.len(), 3);
        let isa = Isa::new(["i", "zicbom"]).unwrap();
        for (id, hart) in (0..).zip(&cpus.harts) {
            let expected = RiscvHart::new(id, isa.clone())
                .with_mmu(MmuType::Sv57)
                .with_cbom_block_size(64);
            assert_eq!(*hart, expected);
        }
    }

    #[test]
    fn identities_and_sources_are_limited_by_the_host() {
        let check = |ids, expected: (u32, u32)| {
            let host = host(Some(ids));
            assert_eq!(host.irqchip(), RiscvIrqchip::AplicImsic);
            let machine = host.machine(1 << 30, NonZeroU32::MIN, host.irqchip()).unwrap();
            let Cpus::Riscv64(cpus) = &machine.platform.cpus else {
                panic!("the machine does not describe harts");
            };
            assert!(cpus.harts.iter().all(|hart| hart.isa == host.isa));
            let InterruptController::Aplic(aplic) = machine.platform.interrupt_controller else {
                panic!("no APLIC");
            };
            assert_eq!((aplic.imsic.unwrap().ids, aplic.sources), expected, "{ids}");
        };
        check(2047, (255, 95));
        check(255, (255, 95));
        check(63, (63, 63));
    }
}
