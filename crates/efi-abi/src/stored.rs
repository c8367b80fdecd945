//! Variables that are kept in a file, during boot services.

use alloc::format;

use disk::{BlockError, BlockErrorKind};
use efi_core::variables::{SlotFileError, VariableAttributes};
use efi_core::{Guid, Result, Status};

use crate::runtime::with_variables;
use crate::state::with;

/// Writes the non-volatile variables to the file, if there is one and they have changed.
fn save() -> Result<core::result::Result<bool, SlotFileError<BlockError>>> {
    with(|state| match &mut state.variable_file {
        Some(file) => with_variables(|variables| Ok(file.save(variables))),
        None => Ok(Ok(false)),
    })
}

/// [`save`] after a change by the platform, which goes on without the file: the reason is written to the console.
pub(crate) fn save_or_report() {
    // After ExitBootServices nothing is saved.
    if let Ok(Err(error)) = save() {
        let text = format!("variables are not saved: {error}\r\n");
        let _ = with(|state| {
            state.platform.write_console(text.as_bytes());
            Ok(())
        });
    }
}

/// `SetVariable` before `ExitBootServices`: a variable that cannot be saved is as it was before.
pub(crate) fn set(name: &[u16], vendor: Guid, attributes: u32, data: &[u8]) -> Result<()> {
    let old = with_variables(|variables| {
        let entry = variables.get(name, vendor).ok();
        Ok(entry.map(|entry| (entry.attributes, entry.data.to_vec())))
    })?;
    with_variables(|variables| variables.set(name, vendor, attributes, data))?;
    let is_stored = |attributes: u32| attributes & VariableAttributes::NON_VOLATILE.bits() != 0;
    let was_stored = old.as_ref().is_some_and(|(old, _)| is_stored(old.bits()));
    if !is_stored(attributes) && !was_stored {
        return Ok(());
    }
    let status = match save()? {
        Ok(_) => return Ok(()),
        Err(SlotFileError::Full { .. }) => Status::OUT_OF_RESOURCES,
        Err(SlotFileError::Storage(error)) if matches!(error.kind, BlockErrorKind::ReadOnly) => {
            Status::WRITE_PROTECTED
        }
        Err(_) => Status::DEVICE_ERROR,
    };
    with_variables(|variables| match &old {
        Some((attributes, data)) => variables.set(name, vendor, attributes.bits(), data),
        None => variables.set(name, vendor, 0, &[]),
    })?;
    Err(status)
}
