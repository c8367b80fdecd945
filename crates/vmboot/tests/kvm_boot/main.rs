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

use libtest_mimic::Arguments;

use self::case::Case;

fn main() {
    let mut arguments = Arguments::from_args();
    // The guests share few CPUs: in parallel they would exceed their deadlines.
    arguments.test_threads = arguments.test_threads.or(Some(1));
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
    libtest_mimic::run(&arguments, cases.map(Case::into_trial).collect()).exit();
}
