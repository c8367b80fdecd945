//! KVM's exit reasons and internal errors, decoded from plain numbers.
//!
//! Numbers and layouts: `include/uapi/linux/kvm.h` and the kernel's Documentation/virt/kvm/api.rst, section 5.

use hv_core::Fault;
pub use hv_kvm::exit_reason::name;

/// `KVM_INTERNAL_ERROR_EMULATION`: the instruction emulator could not go on.
pub const EMULATION: u32 = 1;

/// Set in the first data word of an emulation failure when the instruction's bytes follow
/// (`KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES`).
const HAS_INSTRUCTION: u64 = 1 << 0;

/// The longest x86 instruction, and so the size of the kernel's buffer for it.
const INSTRUCTION_MAX: usize = 15;

/// What a `KVM_INTERNAL_ERROR_*` number means.
#[must_use]
pub fn internal_error_meaning(suberror: u32) -> Option<&'static str> {
    Some(match suberror {
        EMULATION => "KVM could not emulate the instruction",
        2 => "exceptions were raised at the same time",
        3 => "an event could not be delivered to the guest",
        4 => "the hardware left the guest for a reason KVM does not know",
        _ => return None,
    })
}

/// Decodes `KVM_EXIT_INTERNAL_ERROR`.
///
/// `data` are the words that the kernel declared valid; `pc` is the vCPU's instruction pointer. For an emulation
/// failure the kernel puts a flag word first and then, if a flag says so, one byte of length and up to 15 bytes of
/// the instruction, which are part of the words as well.
#[must_use]
pub fn internal_error(suberror: u32, data: &[u64], pc: Option<u64>) -> Fault {
    let instruction = match data {
        [flags, rest @ ..] if suberror == EMULATION && flags & HAS_INSTRUCTION != 0 => {
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
        check(EMULATION, &words, &[0xc5, 0xf8, 0x77, 0x90, 0x90]);
        check(EMULATION, &[0, words[1], 0], &[]);
        check(3, &words, &[]);
        check(EMULATION, &[], &[]);
        check(EMULATION, &[1], &[]);
        // A length past the buffer is cut to the buffer.
        check(EMULATION, &[1, u64::MAX, u64::MAX], &[0xff; 15]);
        check(EMULATION, &[1, u64::MAX], &[0xff; 7]);
    }

    #[test]
    fn a_report_has_everything_in_it() {
        let words = [1, u64::from_le_bytes([2, 0xcd, 0x03, 0, 0, 0, 0, 0])];
        let text = internal_error(1, &words, Some(0x10_0034)).to_string();
        for part in ["suberror 1", "0x100034", "cd 03"] {
            assert!(text.contains(part), "{text}");
        }
    }
}
