//! Errors of information requests.

use boot_multiboot::v2::InfoTag;

/// The Multiboot2 header of a kernel requires an information tag that the plan cannot have (Multiboot2 2.0, 3.1.4). It is
/// the source of a [`PlanError::Protocol`](boot_core::PlanError::Protocol).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum InfoRequestError {
    /// A tag that this crate does not support.
    #[error("the Multiboot2 header requires the {0} information tag, which is not supported")]
    Unsupported(
        /// The tag.
        InfoTag,
    ),
    /// A copy of the RSDP, which the machine has but the protocol does not.
    #[error(
        "the Multiboot2 header requires the {tag} information tag: the protocol needs a copy of the RSDP at {addr:#x} in that \
         version (`Multiboot2::with_rsdp`)"
    )]
    NoRsdpCopy {
        /// The tag.
        tag: InfoTag,
        /// Address of the RSDP of the machine.
        addr: u64,
    },
}
