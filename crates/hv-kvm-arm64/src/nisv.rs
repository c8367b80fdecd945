//! Data aborts without a valid instruction syndrome, NISV for short (`KVM_EXIT_ARM_NISV`).
//!
//! For most loads and stores to an address without RAM, the syndrome contains the register, the width and the direction.
//! For other loads and stores (two registers, vector registers, write-back, atomics) and for cache maintenance by address, there
//! is no valid syndrome, and KVM exits to user space (`KVM_CAP_ARM_NISV_TO_USER`).

use hv_core::{AccessKind, Fault};

/// `ISS.CM`: the fault comes from cache maintenance or address translation (Arm ARM, "ISS encoding for an exception from
/// a Data Abort").
pub const ISS_CM: u64 = 1 << 8;

/// `ISS.WnR`: the access is a write. Set for cache maintenance as well.
pub const ISS_WNR: u64 = 1 << 6;

/// Handling of a data abort without a valid instruction syndrome.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NisvAction {
    /// Cache maintenance on guest RAM that is temporarily not mapped on the host: run the instruction again.
    Retry,
    /// Cache maintenance at an address without RAM: skip the instruction.
    Skip,
    /// An access that cannot be emulated.
    Fault(Fault),
}

/// Classifies a data abort by the fields `esr_iss` and `fault_ipa` of the exit. `is_ram` tells whether the address is RAM.
#[must_use]
pub fn classify(esr_iss: u64, fault_ipa: u64, is_ram: bool) -> NisvAction {
    if esr_iss & ISS_CM != 0 {
        return if is_ram {
            NisvAction::Retry
        } else {
            NisvAction::Skip
        };
    }
    NisvAction::Fault(Fault::NoSyndrome {
        address: fault_ipa,
        kind: if esr_iss & ISS_WNR == 0 {
            AccessKind::Read
        } else {
            AccessKind::Write
        },
        syndrome: esr_iss,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aborts_are_classified() {
        let check =
            |iss, is_ram, expected| assert_eq!(classify(iss, 0x900_0000, is_ram), expected, "{iss:#x}");
        let fault = |kind, syndrome| {
            NisvAction::Fault(Fault::NoSyndrome {
                address: 0x900_0000,
                kind,
                syndrome,
            })
        };
        // Translation fault, level 3: 0b000111.
        check(0x07, false, fault(AccessKind::Read, 0x07));
        check(0x47, false, fault(AccessKind::Write, 0x47));
        check(0x07, true, fault(AccessKind::Read, 0x07));
        check(0x147, false, NisvAction::Skip);
        check(0x147, true, NisvAction::Retry);
        check(0x107, true, NisvAction::Retry);
    }
}
