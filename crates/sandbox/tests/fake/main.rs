//! Sandboxes on the fake hypervisor: the host's side without KVM.

mod calls;
#[cfg(feature = "debug")]
mod debugging;
mod endings;
mod files;
mod guest;
mod hostile;
mod hostile_guests;
mod mappings;
mod pools;
mod snapshot_file;
mod snapshots;
