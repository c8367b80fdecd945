//! Runs and how they end.

use hv_core::Outcome;

use crate::{
    asm,
    guest::{self, Test, expect_outcome},
};

pub(crate) const TESTS: &[Test] = &[
    ("run::exit_page", || {
        expect_outcome(
            &guest::run(asm::exit(), guest::entry())?,
            &Outcome::DebugExit(0x1234_5664),
        )
    }),
    ("run::psci_off", || {
        expect_outcome(
            &guest::run(asm::system_off(), guest::entry())?,
            &Outcome::PowerOff,
        )
    }),
    ("run::psci_reset", || {
        expect_outcome(&guest::run(asm::system_reset(), guest::entry())?, &Outcome::Reset)
    }),
];
