//! Guests that send arbitrary messages.

use proptest::prelude::*;

use crate::hostile::run;

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn no_message_of_a_guest_harms_the_host(script in prop::collection::vec(any::<u8>(), 0..400)) {
        run(&script, false);
    }

    /// Choices are small numbers, so most messages are nearly correct.
    #[test]
    fn no_nearly_correct_message_harms_the_host(script in prop::collection::vec(0u8..12, 0..400)) {
        run(&script, false);
    }
}

#[test]
fn changes_of_a_message_while_it_is_read_do_not_harm_the_host() {
    for seed in 0..100u32 {
        let script: Vec<u8> = (0..300u32)
            .map(|at| {
                let mixed = (seed * 1000 + at).wrapping_mul(0x9e37_79b9) >> 24;
                (mixed % if seed % 2 == 0 { 12 } else { 256 }) as u8
            })
            .collect();
        run(&script, true);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn no_page_tables_of_a_guest_harm_the_host(script in prop::collection::vec(any::<u8>(), 0..400)) {
        crate::hostile_tables::run(&script);
    }

    /// Words of the first tables.
    #[test]
    fn no_nearly_correct_page_tables_harm_the_host(changes in prop::collection::vec((0u8..2, 0u16..3000, any::<u8>(), 0u16..40), 0..60)) {
        let bytes = |(area, word, kind, value): (u8, u16, u8, u16)| {
            let ([a, b], [c, d]) = (word.to_le_bytes(), value.to_le_bytes());
            [area, a, b, kind, c, d]
        };
        crate::hostile_tables::run(&changes.into_iter().flat_map(bytes).collect::<Vec<u8>>());
    }
}
