//! Generated files of each format: consistent ones, and ones with several changes at once.

use arbitrary::Unstructured;
use boot_test::files::kernel_file;

use crate::change::Sink;

/// Number of pseudo-random inputs.
const INPUTS: u64 = 4000;

/// Consistent files.
pub(crate) fn make(sink: &mut Sink<'_>) {
    make_files(false, sink);
}

/// Files with one to four changes.
pub(crate) fn make_changed(sink: &mut Sink<'_>) {
    make_files(true, sink);
}

fn make_files(with_changes: bool, sink: &mut Sink<'_>) {
    for number in 0..INPUTS {
        let bytes = fmt_test::pseudo_random(number, 400);
        let file = kernel_file(&mut Unstructured::new(&bytes)).unwrap();
        if (file.changes > 0) == with_changes {
            sink(
                &format!("{} {number} with {} changes", file.format, file.changes),
                file.bytes,
            );
        }
    }
}
