//! The build-time measurement (MRTD) of Intel TDX guests (Intel TDX Module ABI specification, `TDH.MEM.PAGE.ADD`, `TDH.MR.EXTEND`,
//! `TDH.MR.FINALIZE`).
//!
//! It has the pages that a VMM adds before the guest starts, in their order, and no registers: a vCPU starts at its reset vector, in a state
//! that the TDX module sets.

use boot_core::{Arch, BootPlan, PageKind, Sources, arith};

use crate::pages::{PageContent, Pages, for_each_page};
use crate::pieces::PAGE_LEN;
use crate::{Digest, HashAlgorithm, Hasher, MeasureError};

/// Length of what one `TDH.MR.EXTEND` measures, in bytes.
const CHUNK_LEN: usize = 256;

/// Length of a record in bytes: the name of the operation, and the address.
const RECORD_LEN: usize = 128;

/// MRTD while pages are added.
#[derive(Clone)]
pub struct Mrtd(Hasher);

impl Mrtd {
    /// The measurement of a guest without pages.
    #[must_use]
    pub fn new() -> Self {
        Self(Hasher::new(HashAlgorithm::Sha384))
    }

    /// Adds a page whose content is not measured, at the guest physical address `gpa`: `TDH.MEM.PAGE.ADD`.
    pub fn add_page(&mut self, gpa: u64) {
        self.record(b"MEM.PAGE.ADD", gpa);
    }

    /// Measures the content of a page that was added: `TDH.MR.EXTEND` for each 256 bytes.
    pub fn extend(&mut self, gpa: u64, content: &[u8; PAGE_LEN]) {
        for (index, chunk) in content.chunks(CHUNK_LEN).enumerate() {
            let offset = arith::to_u64(index.saturating_mul(CHUNK_LEN));
            self.record(b"MR.EXTEND", gpa.saturating_add(offset));
            self.0.update(chunk);
        }
    }

    /// Adds a page and measures its content.
    pub fn add_measured_page(&mut self, gpa: u64, content: &[u8; PAGE_LEN]) {
        self.add_page(gpa);
        self.extend(gpa, content);
    }

    /// The final value, which reports have as `MRTD`: `TDH.MR.FINALIZE`.
    #[must_use]
    pub fn finish(self) -> Digest {
        self.0.finish()
    }

    /// A record: the operation in the first 16 bytes, the address in the next eight, zeros.
    fn record(&mut self, operation: &[u8], gpa: u64) {
        let mut record = [0; RECORD_LEN];
        let fields = [(0, operation), (16, &gpa.to_le_bytes())];
        for (offset, field) in fields {
            for (to, from) in record.iter_mut().skip(offset).zip(field) {
                *to = *from;
            }
        }
        self.0.update(&record);
    }
}

impl Default for Mrtd {
    fn default() -> Self {
        Self::new()
    }
}

/// MRTD of a guest to which a VMM adds the pages of a plan, in the order of their addresses, each measured right after it was added.
///
/// Bytes of a page that no load writes are zero. Pages of the kind [`PageKind::UNMEASURED`] are added without their content, those of the kind
/// [`PageKind::SHARED`] are no part of the measurement. The registers of the plan are not measured.
///
/// # Errors
///
/// [`MeasureError`] where the plan is not for x86_64, a page has loads of two kinds or of one that TDX does not have, a measured page keeps what the memory contains, or
/// a file cannot be read.
pub fn plan_mrtd(plan: &BootPlan, sources: &Sources<'_>) -> Result<Digest, MeasureError> {
    let (expected, found) = (Arch::X86_64, plan.arch());
    if found != expected {
        return Err(MeasureError::Arch { expected, found });
    }
    let mut mrtd = Mrtd::new();
    for_each_page(plan, sources, &mut |pages| add_pages(&mut mrtd, pages))?;
    Ok(mrtd.finish())
}

fn add_pages(mrtd: &mut Mrtd, pages: &Pages<'_>) -> Result<(), MeasureError> {
    match (pages.kind, pages.content) {
        (PageKind::SHARED, _) => {}
        (PageKind::UNMEASURED, _) => pages.addresses().for_each(|gpa| mrtd.add_page(gpa)),
        (PageKind::MEASURED, PageContent::Data(bytes)) => mrtd.add_measured_page(pages.start, bytes),
        (PageKind::MEASURED, PageContent::Zeros) => {
            let zeros = [0; PAGE_LEN];
            pages
                .addresses()
                .for_each(|gpa| mrtd.add_measured_page(gpa, &zeros));
        }
        (PageKind::MEASURED, PageContent::Present) => {
            return Err(MeasureError::Present {
                label: pages.label.clone(),
                range: pages.range(),
            });
        }
        (kind, _) => {
            return Err(MeasureError::UnknownKind {
                label: pages.label.clone(),
                range: pages.range(),
                kind,
            });
        }
    }
    Ok(())
}
