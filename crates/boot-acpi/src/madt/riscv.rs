//! The MADT of a riscv64 machine: harts, and IMSICs, APLIC or PLIC.

use alloc::vec::Vec;

use acpi_tables::madt::{APLIC, HartStatus, IMSIC, PLIC, RINTC};
use boot_core::machine::{Aplic, Imsic, InterruptController, Plic, RiscvHart};

use super::without_apics;
use crate::error::{AcpiError, field};
use crate::gsi::RISCV_GSI_BASE;
use crate::oem::bytes;

/// The priorities of a PLIC are 0 to 7, as in those of SiFive. Its device tree binding leaves them open.
const PLIC_MAX_PRIORITY: u16 = 7;

/// The size of an interrupt file (RISC-V AIA, section 3.5).
const IMSIC_FILE_LEN: u64 = 0x1000;

/// The default of the device tree binding for the lowest bit of the number of a group. There is one group, which needs no bits, but Linux does
/// not take a 0.
const IMSIC_GROUP_SHIFT: u8 = 24;

/// No identification of the hardware.
const HARDWARE_ID: [u8; 8] = [0; 8];

/// The MADT of these harts, whose UIDs are their indices, and their interrupt controllers (ACPI 6.6, sections 5.2.12.24 to 5.2.12.27, as the RISC-V
/// ECRs to ACPI 6.5 define them).
pub(crate) fn madt(harts: &[RiscvHart], controller: &InterruptController) -> Result<Vec<u8>, AcpiError> {
    let count = u32::try_from(harts.len()).unwrap_or(u32::MAX);
    let (imsic, others) = match controller {
        InterruptController::Plic(plic) => (None, of_plic(plic)?),
        InterruptController::Aplic(aplic) => {
            let mut others = Vec::new();
            if let Some(imsic) = &aplic.imsic {
                others.extend(of_imsic(imsic, count)?);
            }
            others.extend(of_aplic(aplic, count)?);
            (aplic.imsic.as_ref(), others)
        }
        _ => {
            return Err(AcpiError::NoController {
                expected: "a PLIC or an APLIC",
            });
        }
    };
    let mut structures = Vec::new();
    for (uid, hart) in (0..).zip(harts) {
        // The controller has the identifier 0, and a context for each hart in their order. IMSICs need neither.
        let context = if imsic.is_some() { 0 } else { uid };
        let (files, len) = match imsic {
            Some(imsic) => files(imsic, uid)?,
            None => (0, 0),
        };
        let rintc = RINTC::new(HartStatus::Enabled, hart.hart_id, uid, context, files, len);
        structures.extend(bytes(&rintc));
    }
    structures.extend(others);
    Ok(without_apics(&structures))
}

/// Address and length of the interrupt files of a hart.
fn files(imsic: &Imsic, hart: u32) -> Result<(u64, u32), AcpiError> {
    let len = IMSIC_FILE_LEN
        .checked_shl(imsic.guest_index_bits)
        .unwrap_or(u64::MAX);
    let of_hart = field("length of the interrupt files of a hart", len)?;
    let offset = len.saturating_mul(hart.into());
    let (start, end) = (
        imsic.range.start().saturating_add(offset),
        offset.saturating_add(len),
    );
    if end > imsic.range.len() {
        return Err(AcpiError::ImsicRange {
            range: imsic.range,
            hart,
        });
    }
    Ok((start, of_hart))
}

/// Without guest files, their identities are as many as those of the supervisor: the field cannot be 0.
fn of_imsic(imsic: &Imsic, harts: u32) -> Result<Vec<u8>, AcpiError> {
    let ids = field("highest interrupt identity of the IMSICs", imsic.ids.into())?;
    let fewest = u32::BITS.saturating_sub(harts.saturating_sub(1).leading_zeros());
    let hart_index_bits = imsic.hart_index_bits.unwrap_or(fewest);
    let imsic = IMSIC::new(
        ids,
        ids,
        field(
            "number of guest index bits of the IMSICs",
            imsic.guest_index_bits.into(),
        )?,
        field("number of hart index bits of the IMSICs", hart_index_bits.into())?,
        0,
        IMSIC_GROUP_SHIFT,
    );
    Ok(bytes(&imsic))
}

fn of_aplic(aplic: &Aplic, harts: u32) -> Result<Vec<u8>, AcpiError> {
    // Interrupt delivery control structures are of use without IMSICs only.
    let idcs = if aplic.imsic.is_some() { 0 } else { harts };
    let aplic = APLIC::new(
        0,
        HARDWARE_ID,
        field("number of harts of the APLIC", idcs.into())?,
        RISCV_GSI_BASE,
        aplic.range.start(),
        field("length of the registers of the APLIC", aplic.range.len())?,
        field("number of sources of the APLIC", aplic.sources.into())?,
    );
    Ok(bytes(&aplic))
}

fn of_plic(plic: &Plic) -> Result<Vec<u8>, AcpiError> {
    let plic = PLIC::new(
        0,
        HARDWARE_ID,
        field("number of sources of the PLIC", plic.sources.into())?,
        PLIC_MAX_PRIORITY,
        field("length of the registers of the PLIC", plic.range.len())?,
        plic.range.start(),
        RISCV_GSI_BASE,
    );
    Ok(bytes(&plic))
}
