//! Scripts of hostile guests: the first byte chooses whether another thread changes messages, the others what the guest does at each exit.

use crate::seed::Seed;

/// A correct message of a guest, by its kind, with a body of 16 bytes.
fn message(kind: u8, function: u8) -> Vec<u8> {
    let mut bytes = vec![4, kind, function, 0, 0, 1, 1, 0];
    bytes.extend([1; 24]);
    bytes
}

pub(crate) fn seeds() -> Vec<Seed> {
    let script = |messages: &[Vec<u8>]| [vec![0], messages.concat()].concat();
    vec![
        ("empty", vec![0]),
        ("results", script(&[message(2, 0), message(2, 0)])),
        (
            "host-calls",
            script(&[message(3, 0), message(3, 1), message(2, 0)]),
        ),
        ("log", script(&[message(9, 0), message(2, 0)])),
        ("crash", script(&[message(8, 0)])),
        (
            "parts",
            script(&[vec![4, 2, 0, 0, 0, 255, 3, 0], vec![1; 24], message(5, 0)]),
        ),
        ("exits", vec![0, 2, 3, 3, 0]),
        ("raced", [vec![1], message(3, 0), message(2, 0)].concat()),
    ]
}
