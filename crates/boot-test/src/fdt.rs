//! Boots by device tree: generated machines and images, and the requirements of the boot documents.

mod boot;
mod machine;

pub use boot::FdtBoot;
pub use machine::machine;
