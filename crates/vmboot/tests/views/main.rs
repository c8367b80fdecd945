//! Views of plans on generated files, the dump and the picture; and the view of the host.

mod boot;
mod doctor;
mod dump;
#[allow(dead_code, reason = "the tests of the hints use the other files")]
#[path = "../hints/files.rs"]
mod files;
mod measure;
mod svg;
