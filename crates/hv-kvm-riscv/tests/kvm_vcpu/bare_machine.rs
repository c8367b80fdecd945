//! A bare machine for a handful of instructions.

use std::{error::Error, sync::Arc};

use boot_core::{CpuState, GuestRange, cpu::riscv64::State};
use guest_ram::{HostMapping, HugePages, RamRegion};
use hv_core::{
    BareVcpu as _, BareVm as _, DirtyPages, RegisterImage, SlotAttributes, Vcpu as _, VcpuExit, Vm as _,
};
use hv_kvm_riscv::{BareConfig, BareState, KvmBareVcpu, KvmBareVm, KvmError, rewind::RawImage};
use zerocopy::FromBytes as _;

use crate::{
    guest::{CheckResult, expect},
    guest_code::{A0, Code},
};

/// The doorbell of the guests: a vendor extension.
pub(crate) const DOORBELL: u64 = 0x0900_0000;

// ```text
// 0x8000_0000  slot 0: the root page table, a page of parameters
// 0x8010_0000  slot 1: code, and 2 KiB after it a trap handler; read-only
// 0x8020_0000  slot 2: rewind code and register image, read-only
// 0x8030_0000  slot 3: 130 pages of memory with a dirty log
// ```
pub(crate) const ROOT: u64 = 0x8000_0000;
pub(crate) const PARAMETERS: u64 = ROOT + 0x1000;
pub(crate) const CODE: u64 = 0x8010_0000;
pub(crate) const HANDLER: u64 = CODE + 0x800;
pub(crate) const REWIND_CODE: u64 = 0x8020_0000;
pub(crate) const REWIND_IMAGE: u64 = REWIND_CODE + 0x1000;
pub(crate) const MEMORY: u64 = 0x8030_0000;
pub(crate) const PAGES: usize = 130;
pub(crate) const LOGGED: u32 = 3;

/// `satp` for the table at [`ROOT`]: Sv39.
pub(crate) const SATP: u64 = 8 << 60 | ROOT >> 12;
/// A page table entry of 1 GiB at 0x8000_0000 with all rights: V, R, W, X, A and D.
pub(crate) const IDENTITY: u64 = 0x8000_0000 >> 2 | 0xcf;

pub(crate) struct Bare {
    pub(crate) vm: KvmBareVm,
    pub(crate) vcpu: KvmBareVcpu,
    pub(crate) tables: Arc<HostMapping>,
    pub(crate) host: Arc<HostMapping>,
    pub(crate) memory: Arc<HostMapping>,
}

pub(crate) fn config() -> BareConfig {
    BareConfig::new(DOORBELL, REWIND_CODE, REWIND_IMAGE)
}

pub(crate) fn region(start: u64, mapping: &Arc<HostMapping>) -> Result<RamRegion, Box<dyn Error>> {
    let range = GuestRange::new(start, mapping.len().try_into()?).ok_or("range")?;
    RamRegion::from_mapping(range, Arc::clone(mapping), 0).ok_or("region".into())
}

/// Rings with `value`. Changes `a0`, `a6` and `a7`.
pub(crate) fn ring(code: Code, value: u64) -> Code {
    code.set(A0, value).call(DOORBELL, 0)
}

impl Bare {
    /// A machine with `code`, ready to run it without address translation.
    pub(crate) fn new(code: &Code) -> Result<Self, Box<dyn Error>> {
        Self::with(config(), code, &ring(Code::new(), 0xbad))
    }

    /// The same with `config` and a trap handler.
    pub(crate) fn with(config: BareConfig, code: &Code, handler: &Code) -> Result<Self, Box<dyn Error>> {
        let vm = KvmBareVm::new(config)?;
        let tables = Arc::new(HostMapping::anonymous(0x2000)?);
        tables.write(2 * 8, &IDENTITY.to_le_bytes())?;
        let text = Arc::new(HostMapping::anonymous(0x1000)?);
        let code = code.bytes();
        assert!(code.len() <= 0x800, "the code does not reach the handler");
        text.write(0, &code)?;
        text.write(0x800, &handler.bytes())?;
        let rewind = vm.abilities().rewind_code.ok_or("no rewind code")?;
        let host = Arc::new(HostMapping::anonymous(
            0x1000 + usize::try_from(rewind.image_len.next_multiple_of(0x1000))?,
        )?);
        host.write(0, rewind.code)?;
        let memory = Arc::new(HostMapping::anonymous(PAGES * 0x1000)?);
        memory.advise_huge_pages(HugePages::Avoid);
        let plain = SlotAttributes::default();
        vm.map_slot(0, region(ROOT, &tables)?, plain)?;
        vm.map_slot(1, region(CODE, &text)?, plain.with_read_only(true))?;
        vm.map_slot(2, region(REWIND_CODE, &host)?, plain.with_read_only(true))?;
        vm.map_slot(LOGGED, region(MEMORY, &memory)?, plain.with_log_dirty(true))?;
        let mut vcpu = vm.create_vcpu(0)?;
        vcpu.set_state(&CpuState::from(State::new(CODE)))?;
        Ok(Self {
            vm,
            vcpu,
            tables,
            host,
            memory,
        })
    }

    /// Runs to the next doorbell.
    pub(crate) fn ring(&mut self) -> Result<u64, Box<dyn Error>> {
        match self.vcpu.run()? {
            VcpuExit::Doorbell(value) => Ok(value),
            exit => Err(format!("no doorbell: {exit:x?}").into()),
        }
    }

    pub(crate) fn capture(&mut self) -> Result<Captured, KvmError> {
        let mut image = RegisterImage(vec![1]);
        let state = self.vcpu.capture(&mut image)?;
        Ok(Captured { state, image })
    }

    /// Rewinds as the owner of a machine does: the image first.
    pub(crate) fn rewind(&mut self, to: &Captured, flush: bool) -> CheckResult {
        self.host.write(0x1000, &to.image.0)?;
        Ok(self.vcpu.rewind(&to.state, flush)?)
    }

    pub(crate) fn dirty(&self) -> Result<Vec<usize>, KvmError> {
        let mut dirty = DirtyPages::default();
        self.vm.take_dirty(LOGGED, &mut dirty)?;
        assert_eq!(dirty.pages(), PAGES);
        Ok(dirty.iter().collect())
    }

    /// Writes a word of the page of parameters.
    pub(crate) fn parameter(&self, value: u64) -> CheckResult {
        Ok(self.tables.write(0x1000, &value.to_le_bytes())?)
    }
}

/// A saved state with its image.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Captured {
    pub(crate) state: BareState,
    pub(crate) image: RegisterImage,
}

impl Captured {
    pub(crate) fn raw(&self) -> RawImage {
        RawImage::read_from_prefix(&self.image.0)
            .expect("an image is long enough")
            .0
    }
}

/// Checks that both are equal. The message has the first bytes of the image that differ.
pub(crate) fn expect_state(what: &str, found: &Captured, expected: &Captured) -> CheckResult {
    expect(what, &found.state, &expected.state)?;
    expect(
        &format!("{what}: length"),
        &found.image.0.len(),
        &expected.image.0.len(),
    )?;
    let words = found.image.0.chunks(8).zip(expected.image.0.chunks(8));
    for (offset, (found, expected)) in (0..).step_by(8).zip(words) {
        expect(&format!("{what}: image at offset {offset}"), &found, &expected)?;
    }
    Ok(())
}
