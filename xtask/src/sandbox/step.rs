//! Times of the steps of the demo.

use serde::Deserialize;

/// Time of a step, as the demo prints it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(crate) struct StepTime {
    pub(crate) step: String,
    pub(crate) microseconds: f64,
}
