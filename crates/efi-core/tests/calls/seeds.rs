//! Inputs that make each kind of call.

/// Inputs with each kind of call.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let all = |first: u8, services: u8| -> Vec<u8> {
        let calls = (0..services).flat_map(|call| [first, call, call.wrapping_mul(37), 1, 2, call, 3]);
        std::iter::once(first).chain(calls).collect()
    };
    let mut mixed = vec![1];
    for round in 0..40_u8 {
        mixed.extend([
            round,
            round.wrapping_mul(91),
            round / 3,
            round.wrapping_mul(7),
            255 - round,
        ]);
    }
    vec![all(0, 60), all(1, 60), all(2, 60), mixed]
}
