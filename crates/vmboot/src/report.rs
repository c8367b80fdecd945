//! Reports of `vmboot inspect` and `vmboot plan`, with a stable JSON form.
//!
//! `SCHEMA.md` of this crate describes the JSON form. New fields keep the version in `schema`; other changes increment it.

mod hex;
mod inspect;
mod multiboot;
mod plan;

pub use hex::Hex;
pub use inspect::{
    Arm64ImageReport, EntryReport, InspectReport, PayloadReport, PlacementReport, ProtocolReport,
    RiscvImageReport, SegmentReport, SetupHeaderReport,
};
pub use multiboot::{
    AddressesReport, InfoRequestReport, Multiboot2Report, MultibootReport, RelocatableReport,
};
pub use plan::{CpuReport, LoadReport, MemoryReport, PlanReport};
