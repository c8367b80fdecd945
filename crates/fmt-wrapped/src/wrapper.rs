//! The plugin trait of wrappers.

use boot_core::{ByteSource, FormatError, Payload};

/// A kind of file that contains a kernel, usually compressed.
pub trait Wrapper: Sync {
    /// The name of the wrapper: lower case, unique among the wrappers in use.
    fn name(&self) -> &'static str;

    /// The kernel inside the file. `Ok(None)` for a file of another kind, and for one of this kind without a kernel inside.
    ///
    /// # Errors
    ///
    /// [`FormatError`] for a file of this kind that is malformed or not supported, or that cannot be read.
    fn payload(&self, source: &dyn ByteSource) -> Result<Option<Payload>, FormatError>;
}

/// The first wrapper that recognises the file, by its name, and what is inside. `None` for a file that is not wrapped.
///
/// # Errors
///
/// The first error of a wrapper.
pub fn find(
    wrappers: &[&dyn Wrapper],
    source: &dyn ByteSource,
) -> Result<Option<(&'static str, Payload)>, FormatError> {
    for wrapper in wrappers {
        if let Some(payload) = wrapper.payload(source)? {
            return Ok(Some((wrapper.name(), payload)));
        }
    }
    Ok(None)
}
