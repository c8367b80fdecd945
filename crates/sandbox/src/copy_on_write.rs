//! Who keeps the pages that a guest writes apart from those that sandboxes share.

use boot_core::{GuestRange, arith};
use hv_core::BareAbilities;
use sandbox_abi::layout;

/// Who keeps the pages that a guest writes apart from those that sandboxes share, and knows which they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CopyOnWrite {
    /// The host, where the hypervisor has dirty logs, and otherwise the guest.
    #[default]
    Auto,
    /// The host, with the dirty log of the hypervisor. It sees writes to physical memory, so page tables of the guest do not matter.
    Host,
    /// Exception handlers of the guest, which copy a page at its first write to a [scratch area](crate::SandboxBuilder::scratch). The memory
    /// that sandboxes share is in a slot that the guest cannot write, whatever it does to its page tables.
    Guest,
}

/// Who tracks the writes of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tracking {
    DirtyLog,
    /// The guest, with this number of bytes for copies, or with the default.
    Copies {
        scratch: Option<u64>,
    },
}

impl CopyOnWrite {
    /// What it is on a machine with `abilities`; or what the machine lacks.
    pub(crate) fn tracking(
        self,
        abilities: &BareAbilities,
        scratch: Option<u64>,
    ) -> Result<Tracking, &'static str> {
        match (self, abilities.dirty_log) {
            (Self::Auto | Self::Host, true) => Ok(Tracking::DirtyLog),
            (Self::Host, false) => Err("dirty logs"),
            (Self::Auto, false) | (Self::Guest, _) => Ok(Tracking::Copies { scratch }),
        }
    }
}

/// Largest default of the scratch area, without page tables.
const MAX_DEFAULT: u64 = 64 << 20;

/// Bytes for copies of `memory` by default: all of its pages, up to a limit, and a page table for each 2 MiB.
pub(crate) fn default_scratch(memory: GuestRange) -> u64 {
    let pages = arith::align_up(memory.len(), layout::PAGE).unwrap_or(memory.len());
    let tables = pages / layout::HEAP_ALIGN + 2;
    pages.min(MAX_DEFAULT) + tables * layout::PAGE
}
