//! Sandboxes on the fake hypervisor: the host's side without KVM.

mod calls;
mod copies;
#[cfg(feature = "debug")]
mod debugging;
mod endings;
mod files;
mod guest;
mod hostile;
mod hostile_guests;
mod hostile_tables;
mod mappings;
mod mmu;
mod pools;
mod snapshot_file;
mod snapshots;
