//! Return addresses on the stack of a guest.

use std::iter;

use boot_core::Arch;

/// Return addresses, the innermost first, by frame pointers from `frame_pointer` on. `read` reads a 64-bit word of the stack, and decides
/// which addresses belong to it.
///
/// All values come from the guest, so they are numbers only. Frames ascend, and the iterator ends at one that does not, is not aligned to 8
/// bytes, or cannot be read: System V ABI of x86_64, 3.2.2; AAPCS64, "The Frame Pointer"; RISC-V ELF psABI, "Frame Pointer Convention".
pub fn return_addresses(
    arch: Arch,
    frame_pointer: u64,
    read: impl Fn(u64) -> Option<u64>,
) -> impl Iterator<Item = u64> {
    // Distances of the caller's frame pointer and of the return address from the frame pointer.
    let (saved, returns) = match arch {
        Arch::Riscv64 => (-16, -8),
        _ => (0, 8),
    };
    let mut pointer = Some(frame_pointer);
    iter::from_fn(move || {
        let frame = pointer.take().filter(|pointer| pointer.is_multiple_of(8))?;
        let word = |distance: i64| read(frame.checked_add_signed(distance)?);
        let (next, address) = (word(saved)?, word(returns)?);
        // Stacks grow down, so the frame of a caller has a higher address. This also ends at a circle.
        pointer = Some(next).filter(|next| *next > frame);
        Some(address)
    })
}
