//! Typed warnings of formats and protocols.

use alloc::sync::Arc;
use core::any::Any;
use core::fmt;
use core::hash::{Hash, Hasher};

use crate::value::Value;

/// A warning type of a format or a protocol: plain, comparable data whose `Display` is one sentence.
/// Implemented for every type that meets the bounds.
pub trait WarningDetail: Any + Clone + fmt::Debug + fmt::Display + Eq + Hash + Send + Sync {}

impl<T: Any + Clone + fmt::Debug + fmt::Display + Eq + Hash + Send + Sync> WarningDetail for T {}

/// A warning of a format or a protocol. `Display` is one sentence; [`downcast_ref`](Self::downcast_ref) gives the typed
/// value of the crate that issued it.
///
/// ```
/// use boot_core::Warning;
///
/// #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
/// struct OldKernel {
///     version: u32,
/// }
///
/// impl std::fmt::Display for OldKernel {
///     fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
///         write!(f, "version {} is no longer maintained", self.version)
///     }
/// }
///
/// let warning = Warning::new(OldKernel { version: 2 });
/// assert_eq!(warning.to_string(), "version 2 is no longer maintained");
/// assert_eq!(warning.downcast_ref(), Some(&OldKernel { version: 2 }));
/// ```
#[derive(Clone)]
pub struct Warning(Arc<dyn Detail>);

/// A [`Value`] with `Display`.
trait Detail: Value + fmt::Display {}

impl<T: Value + fmt::Display> Detail for T {}

impl Warning {
    /// A warning with this typed value.
    #[must_use]
    pub fn new<W: WarningDetail>(detail: W) -> Self {
        Self(Arc::new(detail))
    }

    /// The typed value, if it is a `W`.
    #[must_use]
    pub fn downcast_ref<W: WarningDetail>(&self) -> Option<&W> {
        self.0.as_any().downcast_ref()
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&*self.0, f)
    }
}

/// A warning is serialized as its text.
#[cfg(feature = "serde")]
impl serde::Serialize for Warning {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Debug for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl PartialEq for Warning {
    fn eq(&self, other: &Self) -> bool {
        self.0.is_equal(other.0.as_any())
    }
}

impl Eq for Warning {}

impl Hash for Warning {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash_into(state);
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    #[test]
    fn warnings_keep_type_and_value() {
        let warning = Warning::new(7u32);
        assert_eq!(warning.to_string(), "7");
        assert_eq!(std::format!("{warning:?}"), "7");
        assert_eq!(warning.downcast_ref::<u32>(), Some(&7));
        assert_eq!(warning.downcast_ref::<u64>(), None);
        assert_eq!(warning, warning.clone());
        assert_eq!(warning, Warning::new(7u32));
        assert_ne!(warning, Warning::new(8u32));
        assert_ne!(warning, Warning::new(7u64));
    }

    #[test]
    fn warnings_hash_by_type_and_value() {
        let hash = |warning: &Warning| {
            let mut hasher = std::hash::DefaultHasher::new();
            warning.hash(&mut hasher);
            hasher.finish()
        };
        assert_eq!(hash(&Warning::new(7u32)), hash(&Warning::new(7u32)));
        assert_ne!(hash(&Warning::new(7u32)), hash(&Warning::new(8u32)));
        assert_ne!(hash(&Warning::new(7u32)), hash(&Warning::new(7u64)));
    }
}
