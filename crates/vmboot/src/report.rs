//! What `vmboot inspect` and `vmboot plan` say, as data with a stable JSON form.
//!
//! The form is described in the crate's `SCHEMA.md`. Fields are only ever added; a change of meaning changes the
//! number in `schema`.

mod hex;
mod inspect;
mod multiboot;
mod plan;

pub use hex::Hex;
pub use inspect::{
    EntryReport, InspectReport, PayloadReport, PlacementReport, ProtocolReport, SegmentReport,
    SetupHeaderReport,
};
pub use multiboot::{
    AddressesReport, InfoRequestReport, Multiboot2Report, MultibootReport, RelocatableReport,
};
pub use plan::{CpuReport, LoadReport, MemoryReport, PlanReport};
