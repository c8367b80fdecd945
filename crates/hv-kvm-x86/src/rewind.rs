//! Rewinds of a bare machine: the image of the registers, and the code in the guest that loads them.
//!
//! Of the registers that a rewind brings back, the state components of `XSAVE`, `XCR0` and `KERNEL_GS_BASE` take a system call each. Inside the
//! guest, a few instructions load them. Code and image are in memory that the guest can read and execute, but not write; the code starts with
//! the control registers of the captured state, so its page tables have to map both.

use boot_core::arith;
use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
    little_endian::{U32, U64},
};

use crate::Xsave;

/// Offset of a [`RegisterImage`](hv_core::RegisterImage) from the start of [`CODE`].
pub const IMAGE_OFFSET: u64 = 0x1000;

/// Largest length of the image: the registers, and the state components of bare machines, of which `AVX-512` ends last.
pub const IMAGE_LEN: u64 = 0x1000 + 0x40;

/// The start of an image. The XSAVE area follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct RawImage {
    /// Address of the next instruction.
    pub rip: U64,
    /// General registers that the code uses.
    pub rax: U64,
    /// As above.
    pub rcx: U64,
    /// As above.
    pub rdx: U64,
    /// The enabled state components, which are those that the code loads.
    pub xcr0: U64,
    /// The halves of `xcr0` with the opposite sign: the code compares without a change of flags.
    pub minus_xcr0: [U32; 2],
    /// The base that `SWAPGS` exchanges.
    pub kernel_gs_base: U64,
    /// Zero.
    pub reserved: U64,
}

/// Offset of a field of [`RawImage`].
macro_rules! offset {
    ($field:ident) => {
        std::mem::offset_of!(RawImage, $field)
    };
}

const _: () = {
    assert!(size_of::<RawImage>() == 64 && offset!(rip) == 0 && offset!(rax) == 8);
    assert!(offset!(rcx) == 16 && offset!(rdx) == 24 && offset!(xcr0) == 32);
    assert!(offset!(minus_xcr0) == 40 && offset!(kernel_gs_base) == 48);
};

/// The instructions. The address of the first one is a multiple of the page size, and the image starts [`IMAGE_OFFSET`] bytes later.
///
/// The entry state: that of the captured state, with this address in `RIP`. `CR4.OSXSAVE` and `CR4.FSGSBASE` are set, `CR0.TS` is not. Flags
/// stay as they are.
#[rustfmt::skip]
pub static CODE: [u8; 0x77] = [
    // mov ecx, 0; xgetbv
    0xb9, 0, 0, 0, 0, 0x0f, 0x01, 0xd0,
    // mov ecx, [minus_xcr0]; lea ecx, [rcx + rax]; jecxz 1f; jmp 2f
    0x8b, 0x0d, 0x1a, 0x10, 0, 0, 0x8d, 0x0c, 0x01, 0x67, 0xe3, 0x02, 0xeb, 0x0c,
    // 1: mov ecx, [minus_xcr0 + 4]; lea ecx, [rcx + rdx]; jecxz 3f
    0x8b, 0x0d, 0x10, 0x10, 0, 0, 0x8d, 0x0c, 0x11, 0x67, 0xe3, 0x14,
    // 2: mov ecx, 0; mov eax, [xcr0]; mov edx, [xcr0 + 4]; xsetbv
    0xb9, 0, 0, 0, 0, 0x8b, 0x05, 0xf3, 0x0f, 0, 0, 0x8b, 0x15, 0xf1, 0x0f, 0, 0, 0x0f, 0x01, 0xd1,
    // 3: mov eax, [xcr0]; mov edx, [xcr0 + 4]; xrstor64 [area]
    0x8b, 0x05, 0xe4, 0x0f, 0, 0, 0x8b, 0x15, 0xe2, 0x0f, 0, 0, 0x48, 0x0f, 0xae, 0x2d, 0xf6, 0x0f, 0, 0,
    // swapgs; mov rax, [kernel_gs_base]; wrgsbase rax; swapgs
    0x0f, 0x01, 0xf8, 0x48, 0x8b, 0x05, 0xdc, 0x0f, 0, 0, 0xf3, 0x48, 0x0f, 0xae, 0xd8, 0x0f, 0x01, 0xf8,
    // mov rax, [rax]; mov rcx, [rcx]; mov rdx, [rdx]; jmp [rip]
    0x48, 0x8b, 0x05, 0xa5, 0x0f, 0, 0, 0x48, 0x8b, 0x0d, 0xa6, 0x0f, 0, 0,
    0x48, 0x8b, 0x15, 0xa7, 0x0f, 0, 0, 0xff, 0x25, 0x89, 0x0f, 0, 0,
];

/// The registers of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageRegisters<'a> {
    /// `RIP`, `RAX`, `RCX` and `RDX`.
    pub general: [u64; 4],
    /// `XCR0`.
    pub xcr0: u64,
    /// `KERNEL_GS_BASE`.
    pub kernel_gs_base: u64,
    /// The state components in the standard format.
    pub xsave: &'a Xsave,
}

impl ImageRegisters<'_> {
    /// The image.
    #[must_use]
    pub fn image(&self) -> Vec<u8> {
        /// Offset of `XSTATE_BV` in the area (SDM 1, 13.4.2).
        const XSTATE_BV: usize = 512;
        let [rip, rax, rcx, rdx] = self.general.map(U64::new);
        let raw = RawImage {
            rip,
            rax,
            rcx,
            rdx,
            xcr0: self.xcr0.into(),
            minus_xcr0: [self.xcr0, self.xcr0 >> 32].map(|half| {
                let half = u32::try_from(half & 0xffff_ffff).unwrap_or(0);
                U32::new(half.wrapping_neg())
            }),
            kernel_gs_base: self.kernel_gs_base.into(),
            reserved: U64::ZERO,
        };
        let mut image = raw.as_bytes().to_vec();
        let area = image.len();
        let words = self.xsave.words().iter().take(Xsave::MIN_WORDS);
        image.extend(words.flat_map(|word| word.to_le_bytes()));
        // A component that is not enabled would be an exception.
        let start = area.saturating_add(XSTATE_BV);
        if let Some(bytes) = image.get_mut(start..).and_then(|rest| rest.first_chunk_mut()) {
            *bytes = (u64::from_le_bytes(*bytes) & self.xcr0).to_le_bytes();
        }
        debug_assert!(arith::to_u64(image.len()) <= IMAGE_LEN, "the area has one page");
        image
    }
}

#[cfg(test)]
#[cfg_attr(
    target_arch = "x86_64",
    expect(unsafe_code, reason = "assembles the code, and reads it")
)]
mod tests {
    use super::*;

    #[cfg(target_arch = "x86_64")]
    std::arch::global_asm!(
        ".pushsection .rodata",
        ".globl hv_kvm_x86_rewind_code",
        "hv_kvm_x86_rewind_code:",
        ".set image, hv_kvm_x86_rewind_code + 0x1000",
        "mov ecx, 0",
        "xgetbv",
        "mov ecx, dword ptr [rip + image + 40]",
        "lea ecx, [rcx + rax]",
        "jecxz 2f",
        "jmp 3f",
        "2:",
        "mov ecx, dword ptr [rip + image + 44]",
        "lea ecx, [rcx + rdx]",
        "jecxz 4f",
        "3:",
        "mov ecx, 0",
        "mov eax, dword ptr [rip + image + 32]",
        "mov edx, dword ptr [rip + image + 36]",
        "xsetbv",
        "4:",
        "mov eax, dword ptr [rip + image + 32]",
        "mov edx, dword ptr [rip + image + 36]",
        "xrstor64 [rip + image + 64]",
        "swapgs",
        "mov rax, qword ptr [rip + image + 48]",
        "wrgsbase rax",
        "swapgs",
        "mov rax, qword ptr [rip + image + 8]",
        "mov rcx, qword ptr [rip + image + 16]",
        "mov rdx, qword ptr [rip + image + 24]",
        "jmp qword ptr [rip + image]",
        ".skip 0x1100",
        ".popsection",
    );

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn the_code_is_what_the_assembler_makes_of_it() {
        unsafe extern "C" {
            #[link_name = "hv_kvm_x86_rewind_code"]
            static ASSEMBLED: [u8; CODE.len()];
        }
        // SAFETY: the assembler made as many bytes, and more, which nothing changes.
        assert_eq!(unsafe { ASSEMBLED }, CODE);
    }

    #[test]
    fn an_image_has_the_registers_at_their_places() {
        let mut words = vec![0; Xsave::MIN_WORDS];
        words[0] = 0x37f;
        words[128] = 0x207;
        words[1023] = 5;
        let image = ImageRegisters {
            general: [1, 2, 3, 4],
            xcr0: 0x1_0000_0007,
            kernel_gs_base: 6,
            xsave: &Xsave::from_words(words),
        }
        .image();
        let (raw, area) = RawImage::ref_from_prefix(&image).unwrap();
        let found = [raw.rip, raw.rax, raw.rcx, raw.rdx, raw.xcr0, raw.kernel_gs_base];
        assert_eq!(found.map(U64::get), [1, 2, 3, 4, 0x1_0000_0007, 6]);
        assert_eq!(raw.minus_xcr0.map(U32::get), [0xffff_fff9, u32::MAX]);
        assert_eq!((area.len(), &area[..2], area[4092]), (4096, &[0x7f, 3][..], 5));
        // Component 9 is not enabled.
        assert_eq!(area[512..514], [7, 0]);
    }
}
