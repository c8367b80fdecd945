//! Whole boots on KVM: the conformance guest in every build through every protocol it supports, on machines of several
//! shapes, and stock Linux kernels to userspace.
//!
//! A case that cannot run on this host is ignored with the reason.

mod board;
mod boot;
mod case;
mod conformance;
mod console;
mod disks;
mod doctor;
mod firmware;
mod fixtures;
mod huge_pages;
mod kaslr;
mod kernels;
mod linux;
mod machine;
mod setup;
mod uki;
mod xen;

use self::case::Case;

fn main() {
    let cases = conformance::cases()
        .into_iter()
        .chain(kernels::cases())
        .chain(linux::cases())
        .chain(kaslr::cases())
        .chain(disks::cases())
        .chain(firmware::cases())
        .chain(uki::cases())
        .chain(doctor::cases())
        .chain(xen::cases());
    hv_kvm_test::run(cases.map(Case::into_trial).collect())
}
