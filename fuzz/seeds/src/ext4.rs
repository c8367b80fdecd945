//! ext4 volumes, with and without a journal to replay.

use crate::seed::Seed;

#[expect(dead_code, reason = "some fields are only for the tests")]
#[path = "../../../crates/fs-ext4/tests/ext4/image_writer.rs"]
mod image_writer;

use image_writer::{BLOCK, TAG_FEATURES, Transaction, add_journal, sample};

/// Volumes without the zeros at their end.
pub(crate) fn seeds() -> Vec<Seed> {
    let mut seeds = vec![("sample", sample().image.bytes)];
    for (name, features) in ["journal", "journal-64", "journal-csum"]
        .into_iter()
        .zip(TAG_FEATURES)
    {
        let mut image = sample().image;
        let transaction = Transaction {
            blocks: vec![(900, vec![1; BLOCK]), (901, vec![2; BLOCK])],
            revoked: vec![901, 902],
            is_committed: true,
        };
        add_journal(&mut image, features, 10, &[transaction.clone(), transaction]);
        seeds.push((name, image.bytes));
    }
    for (_, bytes) in &mut seeds {
        let used = bytes
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |last| last + 1);
        bytes.truncate(used);
    }
    seeds
}
