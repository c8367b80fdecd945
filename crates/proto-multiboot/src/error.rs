//! Requests of a kernel's header that cannot be met.

use boot_multiboot::v2::InfoTag;

/// A request of a kernel's Multiboot2 header that cannot be met, without the optional bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// Information that this protocol does not hand over.
    #[error("the kernel requires the {0} tag, which is not handed over")]
    Unsupported(InfoTag),
    /// The copy of an RSDP that the machine has, but the protocol was not given.
    #[error(
        "the kernel requires the {tag} tag, and the machine has an RSDP at {addr:#x}, but the protocol was given no copy of that \
         version"
    )]
    NoRsdpCopy {
        /// The tag.
        tag: InfoTag,
        /// The address of the machine's RSDP.
        addr: u64,
    },
}
