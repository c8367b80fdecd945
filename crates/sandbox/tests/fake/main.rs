//! Sandboxes on the fake hypervisor: the host's side without KVM.

mod calls;
mod guest;
mod snapshots;
