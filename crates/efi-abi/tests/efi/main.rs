//! All services through the function pointers of the tables, as an image calls them.

mod boot_tests;
mod image_tests;
mod images;
mod machine;
mod memory_file_system;
mod protocol_tests;
mod runtime_tests;
mod storage_tests;
