//! The Linux x86 boot protocol: setup header, zero page, e820 and setup data.

mod metadata;
mod relocated;
mod setup_header;
mod zero_page;

pub use metadata::{BootProtocolVersion, SetupHeaderMetadata};
pub use relocated::Relocated;
pub use setup_header::{SETUP_HEADER_OFFSET, SetupHeader, loadflags, xloadflags};
pub use zero_page::{
    BootParams, E820_MAX_ENTRIES_ZEROPAGE, E820Entry, LOADER_UNDEFINED, SETUP_E820_EXT, SETUP_RNG_SEED,
    SetupData, VID_MODE_NORMAL,
};
