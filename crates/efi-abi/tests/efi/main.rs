//! All services through the function pointers of the tables, as an image calls them.
#![expect(
    clippy::multiple_unsafe_ops_per_block,
    clippy::undocumented_unsafe_blocks,
    reason = "a call reads the function from its table in the same block, and its comment is above the assertion"
)]

mod attributes_tests;
mod boot_tests;
mod driver_tests;
mod foreign_tests;
mod image_tests;
mod images;
mod machine;
mod memory_file_system;
mod protocol_tests;
mod runtime_tests;
mod status_tests;
mod storage_tests;
mod variable_file_tests;
