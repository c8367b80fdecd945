//! Data aborts without instruction syndrome: what `KVM_EXIT_ARM_NISV` says.
//!
//! On most loads and stores to an address without RAM the CPU tells the hypervisor the register, the width and the
//! direction. On others (two registers, vector registers, write-back, atomics) its syndrome says no more than that there
//! was an access, and KVM hands the fault on (`KVM_CAP_ARM_NISV_TO_USER`). Cache maintenance by address also ends up
//! here: it never has an instruction syndrome.

use hv_core::{Direction, Fault};

/// `ISS.CM`: the fault comes from cache maintenance or address translation (Arm ARM, "ISS encoding for an exception from
/// a Data Abort").
pub const ISS_CM: u64 = 1 << 8;

/// `ISS.WnR`: the access is a write. Set for cache maintenance as well.
pub const ISS_WNR: u64 = 1 << 6;

/// What is to be done about a data abort without instruction syndrome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// Cache maintenance on guest RAM that the host does not have in memory at this moment: the instruction runs again.
    Retry,
    /// Cache maintenance where there is no RAM and so no cache: the instruction is stepped over.
    Skip,
    /// An access that nobody can take apart.
    Fault(Fault),
}

/// Decides from the sanitized syndrome and the address of `KVM_EXIT_ARM_NISV`, and whether RAM is there.
#[must_use]
pub fn respond(esr_iss: u64, fault_ipa: u64, is_ram: bool) -> Response {
    if esr_iss & ISS_CM != 0 {
        return if is_ram { Response::Retry } else { Response::Skip };
    }
    Response::Fault(Fault::Undecoded {
        address: fault_ipa,
        direction: if esr_iss & ISS_WNR == 0 {
            Direction::Read
        } else {
            Direction::Write
        },
        syndrome: esr_iss,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn responses() {
        let check =
            |iss, is_ram, expected| assert_eq!(respond(iss, 0x900_0000, is_ram), expected, "{iss:#x}");
        let fault = |direction, syndrome| {
            Response::Fault(Fault::Undecoded {
                address: 0x900_0000,
                direction,
                syndrome,
            })
        };
        // Translation fault, level 3: 0b000111.
        check(0x07, false, fault(Direction::Read, 0x07));
        check(0x47, false, fault(Direction::Write, 0x47));
        check(0x07, true, fault(Direction::Read, 0x07));
        check(0x147, false, Response::Skip);
        check(0x147, true, Response::Retry);
        check(0x107, true, Response::Retry);
    }
}
