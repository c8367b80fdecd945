//! Format-specific metadata of an image, found by its type.
//!
//! A format attaches values for particular boot protocols: a Linux setup header, the flags of an arm64 `Image`. Their
//! types are defined in crates that the format and the protocol share, not here.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::any::Any;
use core::fmt;
use core::hash::{Hash, Hasher};

use crate::value::{self, Value};

/// A type that can be attached to an image with [`ImageBuilder::metadata`](crate::ImageBuilder::metadata): plain,
/// comparable data. Implemented for every type that meets the bounds.
pub trait Metadata: Any + Clone + fmt::Debug + Eq + Hash + Send + Sync {}

impl<T: Any + Clone + fmt::Debug + Eq + Hash + Send + Sync> Metadata for T {}

/// At most one value of each type.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct MetadataMap(Vec<Item>);

impl MetadataMap {
    /// Attaches `value`, in place of an earlier one of the same type.
    pub(crate) fn insert<T: Metadata>(&mut self, value: T) {
        self.0.retain(|item| item.get::<T>().is_none());
        self.0.push(Item(Box::new(value)));
    }

    /// The value of one type.
    pub(crate) fn get<T: Metadata>(&self) -> Option<&T> {
        self.0.iter().find_map(Item::get)
    }
}

struct Item(Box<dyn Value>);

impl Item {
    fn get<T: Metadata>(&self) -> Option<&T> {
        self.0.as_any().downcast_ref()
    }
}

impl Clone for Item {
    fn clone(&self) -> Self {
        Self(self.0.clone_boxed())
    }
}

impl fmt::Debug for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl PartialEq for Item {
    fn eq(&self, other: &Self) -> bool {
        self.0.is_equal(other.0.as_any())
    }
}

impl Eq for Item {}

impl Hash for Item {
    fn hash<H: Hasher>(&self, state: &mut H) {
        value::hash(&*self.0, state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Debug, PartialEq, Eq, Hash)]
    struct Flags(u32);

    #[derive(Clone, Debug, PartialEq, Eq, Hash)]
    struct Other(u32);

    fn map(flags: u32) -> MetadataMap {
        let mut map = MetadataMap::default();
        map.insert(Flags(flags));
        map
    }

    #[test]
    fn values_are_found_by_type() {
        let mut map = map(1);
        map.insert(Other(2));
        assert_eq!(map.get::<Flags>(), Some(&Flags(1)));
        assert_eq!(map.get::<Other>(), Some(&Other(2)));
        assert_eq!(map.get::<u32>(), None);
        map.insert(Flags(3));
        assert_eq!(map.get::<Flags>(), Some(&Flags(3)));
        assert_eq!(map.0.len(), 2);
    }

    #[test]
    fn maps_compare_and_hash_by_value() {
        assert_eq!(map(1), map(1));
        assert_eq!(map(1), map(1).clone());
        assert_ne!(map(1), map(2));
        assert_ne!(map(1), MetadataMap::default());
        let hash = |map: &MetadataMap| {
            let mut hasher = std::hash::DefaultHasher::new();
            map.hash(&mut hasher);
            hasher.finish()
        };
        assert_eq!(hash(&map(1)), hash(&map(1)));
        assert_ne!(hash(&map(1)), hash(&map(2)));
        assert_eq!(std::format!("{:?}", map(7)), "MetadataMap([Flags(7)])");
    }
}
