//! The `vmboot` command.
fn main() {}
