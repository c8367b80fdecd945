//! Sandboxes on the fake hypervisor: the host's side without KVM.

mod calls;
mod endings;
mod guest;
mod pools;
mod snapshots;
