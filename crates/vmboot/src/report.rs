//! Reports of `vmboot inspect`, `vmboot plan`, `vmboot measure` and `vmboot doctor`. [`InspectReport`], [`PlanReport`], [`DumpReport`],
//! [`MeasureReport`] and [`DoctorReport`] are the roots.
//!
//! Their `serde` form is the stable JSON output of the command:
//!
#![doc = include_str!("../SCHEMA.md")]

mod doctor;
mod dump;
mod hex;
mod inspect;
mod layer;
mod measure;
mod multiboot;
mod picture;
mod plan;
mod section;

pub use doctor::{CheckReport, CheckStatus, CheckTopic, DoctorReport, GuestReport, GuestSupport};
pub use dump::{DumpReport, PieceReport};
pub use hex::Hex;
pub use inspect::{
    Arm64ImageReport, EntryReport, InspectReport, PayloadReport, PlacementReport, ProtocolReport,
    RiscvImageReport, SegmentReport, SetupHeaderReport,
};
pub use layer::LayerReport;
pub use measure::{DigestReport, MeasureReport, PcrReport, SnpReport};
pub use multiboot::{
    AddressesReport, InfoRequestReport, Multiboot2Report, MultibootReport, RelocatableReport,
};
pub use picture::MemoryPicture;
pub use plan::{CpuReport, LoadReport, MemoryReport, PlanReport};
pub use section::SectionReport;
