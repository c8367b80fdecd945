//! Arbitrary sequences of service calls against a model, which the fuzz target `efi_calls` shares.

// By its path, as in the fuzz target, so that its modules are found beside it from both.
#[path = "model.rs"]
mod model;
mod seeds;

use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn arbitrary_calls_keep_the_invariants(calls in prop::collection::vec(any::<u8>(), 0..600)) {
        model::run(&calls);
    }
}

#[test]
fn known_sequences_keep_the_invariants() {
    for seed in seeds::seeds() {
        model::run(&seed);
    }
}
