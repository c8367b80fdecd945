//! The model of machines that a device tree is for (Devicetree Specification 0.4, 2.3.1 "compatible", 5 "Flattened Devicetree
//! (DTB) Format").

use alloc::string::String;

use boot_core::{ReadError, SizedSource};

/// Maximum number of tokens before the search ends: properties of the root, and padding.
const MAX_TOKENS: u32 = 256;

/// Maximum length of the string, in bytes.
const MAX_LEN: usize = 256;

/// A device tree could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RootCompatibleError {
    /// The source could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The source does not begin with the magic number of device trees.
    #[error("the device tree begins with {found:#010x}, expected 0xd00dfeed")]
    Magic {
        /// The first four bytes.
        found: u32,
    },
    /// The structure does not begin with the root node.
    #[error("the structure of the device tree begins with the token {found:#x}, expected 1, the root node")]
    Root {
        /// The token.
        found: u32,
    },
}

/// The first string of the property `compatible` of the root node; `None` if it has none.
///
/// Reads the header and the properties of the root only.
///
/// # Errors
///
/// [`RootCompatibleError`].
pub fn root_compatible(source: &SizedSource<'_>) -> Result<Option<String>, RootCompatibleError> {
    const BEGIN_NODE: u32 = 1;
    const PROP: u32 = 3;
    const NOP: u32 = 4;
    let word = |offset: u64| -> Result<u32, ReadError> { Ok(u32::from_be_bytes(source.read(offset)?)) };
    let found = word(0)?;
    if found != 0xd00d_feed {
        return Err(RootCompatibleError::Magic { found });
    }
    let (mut at, strings) = (u64::from(word(8)?), u64::from(word(12)?));
    let found = word(at)?;
    if found != BEGIN_NODE {
        return Err(RootCompatibleError::Root { found });
    }
    // The token, and the empty name with its padding.
    at = at.saturating_add(8);
    for _ in 0..MAX_TOKENS {
        match word(at)? {
            NOP => at = at.saturating_add(4),
            PROP => {
                let (len, name) = (word(at.saturating_add(4))?, word(at.saturating_add(8))?);
                let value = at.saturating_add(12);
                let mut bytes = [0; 11];
                source.read_prefix_at(strings.saturating_add(name.into()), &mut bytes)?;
                if bytes == *b"compatible\0" {
                    return Ok(first_string(source, value, len)?);
                }
                let padded = u64::from(len).saturating_add(3) & !3;
                at = value.saturating_add(padded);
            }
            // The first child or the end of the root: properties come before both.
            _ => break,
        }
    }
    Ok(None)
}

/// The first of the strings in the `len` bytes at `offset`.
fn first_string(source: &SizedSource<'_>, offset: u64, len: u32) -> Result<Option<String>, ReadError> {
    let mut bytes = [0; MAX_LEN];
    let len = usize::try_from(len).unwrap_or(MAX_LEN).min(MAX_LEN);
    let value = bytes.get_mut(..len).unwrap_or_default();
    source.read_exact_at(offset, value)?;
    let end = value.iter().position(|byte| *byte == 0);
    let text = end.and_then(|end| core::str::from_utf8(value.get(..end)?).ok());
    Ok(text.filter(|text| !text.is_empty()).map(String::from))
}
