//! Device paths, UEFI 2.10 chapter 10.

mod build;
mod node;
mod parse;
mod text;

pub use build::DevicePathBuf;
pub use node::{HardDrive, HardDriveSignature, Node, NodeData};
pub use parse::{DevicePath, Header, MAX_LEN, Malformed, MalformedKind, Nodes};
