//! Names and meanings of KVM exit reasons and internal errors, on every host.
//!
//! Numbers and layouts: `include/uapi/linux/kvm.h` and the kernel's Documentation/virt/kvm/api.rst, section 5.

use hv_core::{Fault, VcpuExit};

/// Name of a `KVM_EXIT_*` number; `None` for unknown numbers.
#[must_use]
pub fn name(reason: u32) -> Option<&'static str> {
    const NAMES: [&str; 41] = [
        "KVM_EXIT_UNKNOWN",
        "KVM_EXIT_EXCEPTION",
        "KVM_EXIT_IO",
        "KVM_EXIT_HYPERCALL",
        "KVM_EXIT_DEBUG",
        "KVM_EXIT_HLT",
        "KVM_EXIT_MMIO",
        "KVM_EXIT_IRQ_WINDOW_OPEN",
        "KVM_EXIT_SHUTDOWN",
        "KVM_EXIT_FAIL_ENTRY",
        "KVM_EXIT_INTR",
        "KVM_EXIT_SET_TPR",
        "KVM_EXIT_TPR_ACCESS",
        "KVM_EXIT_S390_SIEIC",
        "KVM_EXIT_S390_RESET",
        "KVM_EXIT_DCR",
        "KVM_EXIT_NMI",
        "KVM_EXIT_INTERNAL_ERROR",
        "KVM_EXIT_OSI",
        "KVM_EXIT_PAPR_HCALL",
        "KVM_EXIT_S390_UCONTROL",
        "KVM_EXIT_WATCHDOG",
        "KVM_EXIT_S390_TSCH",
        "KVM_EXIT_EPR",
        "KVM_EXIT_SYSTEM_EVENT",
        "KVM_EXIT_S390_STSI",
        "KVM_EXIT_IOAPIC_EOI",
        "KVM_EXIT_HYPERV",
        "KVM_EXIT_ARM_NISV",
        "KVM_EXIT_X86_RDMSR",
        "KVM_EXIT_X86_WRMSR",
        "KVM_EXIT_DIRTY_RING_FULL",
        "KVM_EXIT_AP_RESET_HOLD",
        "KVM_EXIT_X86_BUS_LOCK",
        "KVM_EXIT_XEN",
        "KVM_EXIT_RISCV_SBI",
        "KVM_EXIT_RISCV_CSR",
        "KVM_EXIT_NOTIFY",
        "KVM_EXIT_LOONGARCH_IOCSR",
        "KVM_EXIT_MEMORY_FAULT",
        "KVM_EXIT_TDX",
    ];
    NAMES.get(usize::try_from(reason).ok()?).copied()
}

/// Whether the kernel completes the operation of an exit only at the next `KVM_RUN`, so that the registers do not have its
/// result before (api.rst, section 5, note on `KVM_EXIT_IO` and others).
#[must_use]
pub fn completes_on_entry(reason: u32) -> bool {
    const IO: u32 = 2;
    const HYPERCALL: u32 = 3;
    const MMIO: u32 = 6;
    const X86_RDMSR: u32 = 29;
    const X86_WRMSR: u32 = 30;
    const XEN: u32 = 34;
    const RISCV_SBI: u32 = 35;
    const RISCV_CSR: u32 = 36;
    matches!(
        reason,
        IO | HYPERCALL | MMIO | X86_RDMSR | X86_WRMSR | XEN | RISCV_SBI | RISCV_CSR
    )
}

/// The exit [`Fault::Unsupported`] for a reason that the harness does not handle.
#[must_use]
pub fn unsupported<'a>(reason: u32) -> VcpuExit<'a> {
    VcpuExit::Fault(Fault::Unsupported {
        reason,
        name: name(reason),
    })
}

/// `KVM_INTERNAL_ERROR_EMULATION`: KVM could not emulate an instruction.
pub const INTERNAL_ERROR_EMULATION: u32 = 1;

/// Flag in the first data word of an emulation failure: the bytes of the instruction follow
/// (`KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES`).
const HAS_INSTRUCTION: u64 = 1 << 0;

/// The longest x86 instruction, and so the size of the kernel's buffer for it.
const INSTRUCTION_MAX: usize = 15;

/// Meaning of a `KVM_INTERNAL_ERROR_*` number; `None` for unknown numbers.
#[must_use]
pub fn internal_error_meaning(suberror: u32) -> Option<&'static str> {
    Some(match suberror {
        INTERNAL_ERROR_EMULATION => "KVM could not emulate the instruction",
        2 => "exceptions occurred simultaneously",
        3 => "an event could not be delivered to the guest",
        4 => "the hardware reported an unknown exit reason",
        _ => return None,
    })
}

/// Decodes the exit `KVM_EXIT_INTERNAL_ERROR`.
///
/// `suberror` and `data` are those of `struct kvm_run`, `data` without unused words; `pc` is the vCPU's instruction pointer.
/// For an emulation failure, the first word holds flags. If the flag for instruction bytes is set, a byte with their number
/// and up to 15 instruction bytes follow in the next words.
#[must_use]
pub fn internal_error(suberror: u32, data: &[u64], pc: Option<u64>) -> Fault {
    let instruction = match data {
        [flags, rest @ ..] if suberror == INTERNAL_ERROR_EMULATION && flags & HAS_INSTRUCTION != 0 => {
            let bytes: Vec<u8> = rest.iter().flat_map(|word| word.to_le_bytes()).collect();
            match bytes.split_first() {
                Some((&len, bytes)) => bytes
                    .iter()
                    .take(usize::from(len).min(INSTRUCTION_MAX))
                    .copied()
                    .collect(),
                None => Vec::new(),
            }
        }
        _ => Vec::new(),
    };
    Fault::InternalError {
        suberror,
        meaning: internal_error_meaning(suberror),
        pc,
        instruction,
        data: data.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_belong_to_their_numbers() {
        let check = |reason, expected| assert_eq!(name(reason), expected, "{reason}");
        check(0, Some("KVM_EXIT_UNKNOWN"));
        check(6, Some("KVM_EXIT_MMIO"));
        check(17, Some("KVM_EXIT_INTERNAL_ERROR"));
        check(24, Some("KVM_EXIT_SYSTEM_EVENT"));
        check(28, Some("KVM_EXIT_ARM_NISV"));
        check(35, Some("KVM_EXIT_RISCV_SBI"));
        check(39, Some("KVM_EXIT_MEMORY_FAULT"));
        check(41, None);
        check(u32::MAX, None);
    }

    #[test]
    fn accesses_and_calls_complete_on_entry() {
        let check = |reason, expected| {
            assert_eq!(
                completes_on_entry(reason),
                expected,
                "{reason} {:?}",
                name(reason)
            );
        };
        let by_name = |wanted: &str| (0..100).find(|&reason| name(reason) == Some(wanted));
        for wanted in [
            "KVM_EXIT_IO",
            "KVM_EXIT_HYPERCALL",
            "KVM_EXIT_MMIO",
            "KVM_EXIT_X86_RDMSR",
            "KVM_EXIT_X86_WRMSR",
            "KVM_EXIT_XEN",
            "KVM_EXIT_RISCV_SBI",
            "KVM_EXIT_RISCV_CSR",
        ] {
            check(by_name(wanted).unwrap(), true);
        }
        for reason in [0, 4, 5, 8, 9, 10, 17, 24, 28, 39, 41, u32::MAX] {
            check(reason, false);
        }
    }

    #[test]
    fn instructions_are_taken_from_emulation_failures_only() {
        let check = |suberror, data: &[u64], expected: &[u8]| {
            let Fault::InternalError { instruction, pc, .. } = internal_error(suberror, data, Some(7)) else {
                panic!("not an internal error");
            };
            assert_eq!(
                (instruction.as_slice(), pc),
                (expected, Some(7)),
                "{suberror} {data:x?}"
            );
        };
        // Length 5, then c5 f8 77 90 90: vzeroupper and two nops.
        let words = [1, u64::from_le_bytes([5, 0xc5, 0xf8, 0x77, 0x90, 0x90, 0, 0]), 0];
        check(INTERNAL_ERROR_EMULATION, &words, &[0xc5, 0xf8, 0x77, 0x90, 0x90]);
        check(INTERNAL_ERROR_EMULATION, &[0, words[1], 0], &[]);
        check(3, &words, &[]);
        check(INTERNAL_ERROR_EMULATION, &[], &[]);
        check(INTERNAL_ERROR_EMULATION, &[1], &[]);
        // A length past the buffer is cut to the buffer.
        check(INTERNAL_ERROR_EMULATION, &[1, u64::MAX, u64::MAX], &[0xff; 15]);
        check(INTERNAL_ERROR_EMULATION, &[1, u64::MAX], &[0xff; 7]);
    }

    #[test]
    fn the_message_contains_all_values() {
        let words = [1, u64::from_le_bytes([2, 0xcd, 0x03, 0, 0, 0, 0, 0])];
        let text = internal_error(1, &words, Some(0x10_0034)).to_string();
        for part in ["suberror 1", "0x100034", "cd 03"] {
            assert!(text.contains(part), "{text}");
        }
    }
}
