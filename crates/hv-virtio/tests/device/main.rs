//! The block device, with a driver in guest memory.

mod driver;
mod hostile;
mod properties;
mod registers;
mod requests;
mod script;
