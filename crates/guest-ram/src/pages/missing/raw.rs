//! Structures and requests of `linux/userfaultfd.h`.

/// `userfaultfd` needs no privilege if faults in the kernel are not handled: `UFFD_USER_MODE_ONLY`, since Linux 5.11.
pub(super) const USER_MODE_ONLY: libc::c_int = 1;

/// `UFFD_API`: the version of the interface.
pub(super) const API_VERSION: u64 = 0xaa;

/// `UFFDIO_REGISTER_MODE_MISSING`: pages that are not there.
pub(super) const MODE_MISSING: u64 = 1;

/// Bit of [`UffdioRegister::ioctls`] for [`COPY`].
pub(super) const HAS_COPY: u64 = 1 << 3;

/// `struct uffdio_api`.
#[repr(C)]
#[derive(Debug, Default)]
pub(super) struct UffdioApi {
    pub(super) api: u64,
    pub(super) features: u64,
    pub(super) ioctls: u64,
}

/// `struct uffdio_range`: addresses of this process.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct UffdioRange {
    pub(super) start: u64,
    pub(super) len: u64,
}

/// `struct uffdio_register`.
#[repr(C)]
#[derive(Debug, Default)]
pub(super) struct UffdioRegister {
    pub(super) range: UffdioRange,
    pub(super) mode: u64,
    pub(super) ioctls: u64,
}

/// `struct uffdio_copy`.
#[repr(C)]
#[derive(Debug, Default)]
pub(super) struct UffdioCopy {
    pub(super) dst: u64,
    pub(super) src: u64,
    pub(super) len: u64,
    pub(super) mode: u64,
    /// The number of bytes that were copied, or a negative error.
    pub(super) copy: i64,
}

const _: () = assert!(size_of::<UffdioApi>() == 24 && size_of::<UffdioRange>() == 16);
const _: () = assert!(size_of::<UffdioRegister>() == 32 && size_of::<UffdioCopy>() == 40);

/// `_IOWR(0xaa, NUMBER, T)` (`asm-generic/ioctl.h`, which x86, arm64 and riscv64 use).
const fn read_write<T>(number: u32) -> u32 {
    3 << 30 | request::<T>(number)
}

/// The type, the size and the number of a request, without its direction.
#[expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    reason = "sizes of at most 40 bytes, in a constant"
)]
const fn request<T>(number: u32) -> u32 {
    (size_of::<T>() as u32) << 16 | 0xaa << 8 | number
}

pub(super) const API: u32 = read_write::<UffdioApi>(0x3f);
pub(super) const REGISTER: u32 = read_write::<UffdioRegister>(0);
pub(super) const COPY: u32 = read_write::<UffdioCopy>(3);
/// `_IOR`.
pub(super) const UNREGISTER: u32 = 2 << 30 | request::<UffdioRange>(1);
