//! Faults on the way of a boot: reads that fail, files that become shorter, memory that fails, has holes or is read-only. Each fault ends in a typed error with
//! its cause, or in a right load; descriptors and mappings are the same before and after.

mod boot;
mod files;
mod loaded;
#[path = "../hostile/machine.rs"]
mod machine;
mod memory;
mod prepared;
mod reads;
mod resources;
mod samples;

use libtest_mimic::{Arguments, Failed, Trial};

/// A trial that must give back all descriptors and mappings.
fn trial(name: &'static str, run: fn() -> Result<(), Failed>) -> Trial {
    Trial::test(name, move || resources::without_leak(run))
}

fn main() {
    let trials = vec![
        trial("every operation of a source fails", reads::every_operation_fails),
        trial(
            "every operation of a source fails once",
            reads::every_operation_fails_once,
        ),
        trial(
            "a source becomes shorter at every operation",
            reads::every_operation_shrinks,
        ),
        trial(
            "a file becomes shorter between the steps",
            files::shrinks_between_steps,
        ),
        trial(
            "a file becomes shorter during the load",
            files::shrinks_during_the_load,
        ),
        trial("a descriptor that cannot be read", files::unreadable_descriptor),
        trial("every operation of memory fails", memory::every_operation_fails),
        trial("memory with a hole in each load", memory::holes),
        trial("memory that is read-only for files", memory::read_only),
        trial(
            "prepared boots of failing sources",
            prepared::every_operation_fails,
        ),
        trial("prepared boots into memory with holes", prepared::holes),
    ];
    let mut arguments = Arguments::from_args();
    // Descriptors and mappings are those of the process.
    arguments.test_threads = Some(1);
    libtest_mimic::run(&arguments, trials).exit();
}
