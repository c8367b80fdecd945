//! The file of non-volatile variables.

use core::result::Result;

use disk::{BlockDevice, BlockError};
use efi_core::Status;
use efi_core::variables::{OsIndications, SlotFile, SlotFileError};

use super::{BuildError, Firmware};
use crate::runtime::with_variables;
use crate::state::{FileDevice, with};

/// Reason why a file of variables is not used. The firmware goes on without it.
#[derive(Debug)]
#[non_exhaustive]
pub enum VariableFileError {
    /// The file is refused, or cannot be read.
    File(SlotFileError<BlockError>),
    /// The variables of the firmware itself do not fit beside those of the file.
    Firmware(BuildError),
}

impl core::fmt::Display for VariableFileError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::File(error) => error.fmt(f),
            Self::Firmware(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for VariableFileError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::File(error) => error.source(),
            Self::Firmware(error) => error.source(),
        }
    }
}

impl Firmware {
    /// Loads the non-volatile variables of a file and keeps them there: each `SetVariable` of a non-volatile variable before
    /// `ExitBootServices` returns after its sectors are on stable storage, or fails and changes nothing. Nothing is written
    /// until such a variable changes, nor on a read-only device, where all variables are volatile.
    ///
    /// `file` has the whole blocks of a file, see [`disk::FileBlocks`]; and the format of [`SlotFile`]. A file of at least 16 KiB
    /// of zeros has no variables. `indications` is that of [`Config`](super::Config).
    ///
    /// Call it before images are started. Variables that an operating system writes after `ExitBootServices` are volatile: it has
    /// the disk then.
    ///
    /// # Errors
    ///
    /// [`VariableFileError`]; the variables are then as they were, the file is left as it is and is not used.
    pub fn use_variable_file(
        &self,
        file: &'static dyn BlockDevice,
        indications: OsIndications,
    ) -> Result<(), VariableFileError> {
        let unusable = |status| {
            VariableFileError::Firmware(BuildError {
                part: "file of variables",
                status,
            })
        };
        let opened = with_variables(|variables| Ok(SlotFile::open(FileDevice(file), variables)));
        let opened = opened.map_err(unusable)?.map_err(VariableFileError::File)?;
        if file.is_read_only() {
            return with_variables(|variables| variables.set_firmware_variables(indications))
                .map_err(unusable);
        }
        with_variables(|variables| {
            variables.limit_non_volatile(opened.capacity());
            variables.set_firmware_variables(indications)
        })
        .map_err(unusable)?;
        with(|state| {
            if state.variable_file.is_some() {
                return Err(Status::ALREADY_STARTED);
            }
            state.variable_file = Some(opened);
            Ok(())
        })
        .map_err(unusable)
    }
}
