//! Scripts for `virtio_block`: the first byte selects the mode of the disk, and each step begins with its number.

use crate::seed::Seed;

/// Reads, writes, an indirect table, and broken chains.
pub(crate) fn seeds() -> Vec<Seed> {
    /// A request: type by index (0 reads, 1 writes), sector, direction, address and length by index.
    const READ: [u8; 6] = [8, 0, 3, 1, 2, 5];
    const WRITE: [u8; 6] = [8, 1, 3, 0, 2, 6];
    /// A descriptor: table by index (2 is the indirect one), number, next, address and length by index, flags.
    const HEADER: [u8; 7] = [4, 0, 0, 1, 0, 2, 1];
    const DATA: [u8; 7] = [4, 0, 1, 2, 2, 5, 3];
    const STATUS: [u8; 7] = [4, 0, 2, 0, 1, 1, 2];
    const CYCLE: [u8; 7] = [4, 0, 1, 1, 2, 5, 3];
    const INDIRECT: [u8; 7] = [4, 0, 0, 0, 4, 4, 4];
    let in_table = |mut step: [u8; 7]| {
        step[1] = 2;
        step
    };
    // Type and sector, the head, a notification.
    let submit: [u8; 7] = [5, 0, 1, 0, 6, 0, 7];
    let script = |mode: u8, steps: &[&[u8]]| [&[mode], steps.concat().as_slice()].concat();
    vec![
        ("read", script(1, &[&READ])),
        ("write", script(0, &[&WRITE, &READ, &WRITE])),
        ("chain", script(1, &[&HEADER, &DATA, &STATUS, &submit])),
        ("cycle", script(0, &[&HEADER, &CYCLE, &submit])),
        (
            "indirect",
            script(
                0,
                &[
                    &in_table(HEADER),
                    &in_table(DATA),
                    &in_table(STATUS),
                    &INDIRECT,
                    &submit,
                ],
            ),
        ),
        (
            "registers",
            script(1, &[&[0, 0, 1, 2], &[1, 0x70, 0, 0, 0, 0, 0, 2], &[2, 17, 1]]),
        ),
    ]
}
