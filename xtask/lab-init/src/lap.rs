//! What the program `stopwatch` measures.

use serde::{Deserialize, Serialize};

/// One run of a program.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lap {
    /// The number of the program on the command line, from 0 on.
    pub program: usize,
    /// Milliseconds from just before `exec` until the text was read.
    pub milestone_ms: f64,
    /// Milliseconds from just before `exec` until the program had ended.
    pub end_ms: f64,
}
