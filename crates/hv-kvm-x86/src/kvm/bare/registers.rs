//! Registers for debuggers.

use hv_core::{GuestRegisters, RegisterAccess, X86Registers};
use hv_kvm::HarnessError;

use super::vcpu::KvmBareVcpu;
use crate::{
    KvmError, Xsave,
    kvm::{groups, xsave},
};

impl RegisterAccess for KvmBareVcpu {
    fn read_registers(&mut self) -> Result<GuestRegisters, KvmError> {
        self.settle()?;
        let mut registers = X86Registers::new(self.entry.state()?);
        let fd = self.entry.fd();
        registers.xcr0 = groups::read_xcr0(fd)?;
        let area = xsave::read(fd, self.registers().extra_xsave_words)?;
        registers.xsave = area.words().iter().flat_map(|word| word.to_le_bytes()).collect();
        Ok(GuestRegisters::X86_64(Box::new(registers)))
    }

    fn write_registers(&mut self, registers: &GuestRegisters) -> Result<(), KvmError> {
        let GuestRegisters::X86_64(registers) = registers else {
            let (expected, found) = (boot_core::Arch::X86_64, registers.arch());
            return Err(HarnessError::ArchMismatch { expected, found }.into());
        };
        self.settle()?;
        self.entry.complete_io()?;
        if self.entry.is_unreported() {
            return Err(KvmError::IoIncomplete);
        }
        self.entry.set_state(&registers.cpu.into())?;
        let fd = self.entry.fd();
        // The components that an XSAVE area may have depend on XCR0.
        groups::write_xcr0(fd, registers.xcr0)?;
        let words = registers.xsave.chunks(4).map(|bytes| {
            let mut word = [0; 4];
            word.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
            u32::from_le_bytes(word)
        });
        let area = Xsave::from_words(words.collect());
        xsave::write(fd, self.registers().extra_xsave_words, &area)
    }
}
