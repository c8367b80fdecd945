//! Builds of the guest, and values that the cases share.

use boot_core::GuestRange;
use contract::{Entry, Image};

use crate::board::Board;
use crate::case::{Case, TestResult};
use crate::fixtures::Needs;

/// A build of the guest and a protocol that starts it.
#[derive(Clone, Copy)]
pub(crate) struct Build {
    pub(super) name: &'static str,
    pub(super) file: &'static str,
    pub(super) protocol: &'static str,
    pub(super) entry: Entry,
    pub(super) image: Image,
}

/// A case that needs the file of `build` and a machine of kind `board`.
pub(super) fn case(
    name: &str,
    build: Build,
    board: Board,
    run: impl FnOnce() -> TestResult + Send + 'static,
) -> Case {
    Case {
        name: format!("conformance::{}::{name}", build.name),
        needs: Needs {
            files: vec![build.file.into()],
            board,
            hardware: false,
        },
        run: Box::new(run),
    }
}

pub(super) fn range(start: u64, end: u64) -> GuestRange {
    GuestRange::from_bounds(start, end).expect("a range in a table")
}

/// Bytes without a period, to detect shifted and repeated pages.
pub(super) fn bytes(len: u32) -> Vec<u8> {
    (0..len)
        .map(|i| i.wrapping_mul(0x9e37_79b1).to_be_bytes()[0])
        .collect()
}
