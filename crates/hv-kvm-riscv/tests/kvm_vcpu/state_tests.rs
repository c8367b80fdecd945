use crate::guest::Test;
pub(crate) const TESTS: &[Test] = &[];
