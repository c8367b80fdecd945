pub(crate) const TESTS: &[crate::guest::Test] = &[];
