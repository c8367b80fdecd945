//! Variables, UEFI 2.10 section 8.2, and those of the boot manager, chapter 3.
//!
//! [`Variables`] is one structure without pointers. A firmware puts it in runtime memory, where it is usable at every virtual
//! address and without a heap.

mod attributes;
mod boot;
mod file;
mod record;
mod slots;
mod store;

pub use attributes::VariableAttributes;
pub use boot::{LoadOption, LoadOptionAttributes, LoadOptionError, OsIndications, option_name};
pub use file::FileError;
pub use record::Entry;
pub use slots::{FILE_BLOCK, MIN_FILE, SlotError, SlotFile, SlotFileError, Storage};
pub use store::{Info, MAX_NAME, MAX_VARIABLE, Variables, name};
