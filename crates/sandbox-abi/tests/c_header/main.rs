//! The C header has the values of this crate: sizes, offsets, constants and signatures, as a C compiler computes them.
//!
//! Without a C compiler, the test is ignored with the reason.

mod compiler;
mod structures;
mod values;

use libtest_mimic::{Arguments, Completion, Trial};

fn main() {
    let tests = structures::TESTS
        .iter()
        .chain(&values::TESTS)
        .map(|&(name, test)| {
            Trial::ignorable_test(name, move || {
                if let Some(reason) = compiler::skip_reason() {
                    return Ok(Completion::ignored_with(reason));
                }
                test().map(|()| Completion::Completed).map_err(Into::into)
            })
        });
    let trials = tests.collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}
