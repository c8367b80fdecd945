//! All layers of a file.

use alloc::vec::Vec;

use boot_core::{ByteSource, Payload};

use crate::error::{OpenError, OpenProblem};
use crate::unpack::unpack;
use crate::wrapper::{Wrapper, find};

/// Limits of [`open`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest number of layers.
    pub layers: usize,
    /// Largest length of the content of each layer, in bytes.
    pub len: usize,
}

impl Default for Limits {
    /// 4 layers of 512 MiB: more than a uImage with a compressed bzImage, and more than kernels have with all debug information.
    fn default() -> Self {
        Self {
            layers: 4,
            len: 512 << 20,
        }
    }
}

/// An opened layer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Layer {
    /// Name of the wrapper.
    pub wrapper: &'static str,
    /// Where the content was in the layer before, and its codec.
    pub payload: Payload,
    /// The content, unpacked.
    pub content: Vec<u8>,
}

/// Opens the wrappers of a file, the outermost first. Empty for a file that is not wrapped.
///
/// # Errors
///
/// [`OpenError`] with the number of the layer.
pub fn open(
    source: &dyn ByteSource,
    wrappers: &[&dyn Wrapper],
    limits: &Limits,
) -> Result<Vec<Layer>, OpenError> {
    let mut layers: Vec<Layer> = Vec::new();
    loop {
        let content = layers.last().map(|layer| &*layer.content);
        let current: &dyn ByteSource = match &content {
            Some(content) => content,
            None => &source,
        };
        let number = layers.len().saturating_add(1);
        let error = |wrapper, problem| OpenError {
            layer: number,
            wrapper,
            problem,
        };
        let found = find(wrappers, current).map_err(|source| error(None, OpenProblem::Wrapper(source)))?;
        let Some((wrapper, payload)) = found else {
            return Ok(layers);
        };
        if layers.len() >= limits.layers {
            let limit = limits.layers;
            return Err(error(Some(wrapper), OpenProblem::TooDeep { limit }));
        }
        let content = unpack(current, &payload, limits.len)
            .map_err(|source| error(Some(wrapper), OpenProblem::Unpack(source)))?;
        layers.push(Layer {
            wrapper,
            payload,
            content,
        });
    }
}
