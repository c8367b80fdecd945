//! A map in a sorted vector.
//!
//! Each instance of `BTreeMap` has about 5 KB of code, which counts in a firmware. The maps here have at most some thousand entries, and most
//! new keys are the highest.

use alloc::vec::Vec;

/// A map with keys in order.
#[derive(Clone, Debug)]
pub struct SortedMap<K, V> {
    entries: Vec<(K, V)>,
}

impl<K: Ord, V> SortedMap<K, V> {
    /// An empty map.
    #[must_use]
    pub const fn new() -> Self {
        Self { entries: Vec::new() }
    }

    /// Position of a key: where it is, or where it would be.
    fn find(&self, key: &K) -> Result<usize, usize> {
        self.entries.binary_search_by(|(other, _)| other.cmp(key))
    }

    /// Number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are no entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether the key has a value.
    #[must_use]
    pub fn contains_key(&self, key: &K) -> bool {
        self.find(key).is_ok()
    }

    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &K) -> Option<&V> {
        let index = self.find(key).ok()?;
        self.entries.get(index).map(|(_, value)| value)
    }

    /// The value of a key.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let index = self.find(key).ok()?;
        self.entries.get_mut(index).map(|(_, value)| value)
    }

    /// Sets the value of a key, and returns the one before.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self.find(&key) {
            Ok(index) => self
                .entries
                .get_mut(index)
                .map(|(_, old)| core::mem::replace(old, value)),
            Err(index) => {
                self.entries.insert(index, (key, value));
                None
            }
        }
    }

    /// Removes a key, and returns its value.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let index = self.find(key).ok()?;
        Some(self.entries.remove(index).1)
    }

    /// The entry with the lowest key that is not below `key`.
    #[must_use]
    pub fn first_from(&self, key: &K) -> Option<(&K, &V)> {
        let index = self.entries.partition_point(|(other, _)| other < key);
        self.entries.get(index).map(|(key, value)| (key, value))
    }

    /// The entry with the highest key that is not above `key`.
    #[must_use]
    pub fn last_to(&self, key: &K) -> Option<(&K, &V)> {
        let behind = self.entries.partition_point(|(other, _)| other <= key);
        let (key, value) = self.entries.get(behind.checked_sub(1)?)?;
        Some((key, value))
    }

    /// The entry with the highest key.
    #[must_use]
    pub fn last_mut(&mut self) -> Option<(&K, &mut V)> {
        self.entries.last_mut().map(|(key, value)| (&*key, value))
    }

    /// Removes the entry with the highest key.
    pub fn pop_last(&mut self) -> Option<(K, V)> {
        self.entries.pop()
    }

    /// The entries by their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.entries.iter().map(|(key, value)| (key, value))
    }

    /// The entries by their keys.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&K, &mut V)> {
        self.entries.iter_mut().map(|(key, value)| (&*key, value))
    }

    /// The keys in order.
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.entries.iter().map(|(key, _)| key)
    }

    /// The values by their keys.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.entries.iter().map(|(_, value)| value)
    }

    /// The values by their keys.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.entries.iter_mut().map(|(_, value)| value)
    }
}

impl<K: Ord, V> Default for SortedMap<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_map(calls in prop::collection::vec((0..4_u8, 0..12_u16, any::<u8>()), 0..60)) {
            let (mut map, mut model) = (SortedMap::new(), BTreeMap::new());
            for (call, key, value) in calls {
                match call {
                    0 | 1 => prop_assert_eq!(map.insert(key, value), model.insert(key, value)),
                    2 => prop_assert_eq!(map.remove(&key), model.remove(&key)),
                    _ => prop_assert_eq!(map.pop_last(), model.pop_last()),
                }
                prop_assert_eq!((map.len(), map.is_empty()), (model.len(), model.is_empty()));
                prop_assert_eq!(map.get(&key), model.get(&key));
                prop_assert_eq!(map.get_mut(&key), model.get_mut(&key));
                prop_assert_eq!(map.contains_key(&key), model.contains_key(&key));
                prop_assert!(map.iter().eq(model.iter()) && map.keys().eq(model.keys()));
                prop_assert!(map.values().eq(model.values()));
                let last = map.last_mut().map(|(key, value)| (*key, *value));
                prop_assert_eq!(last, model.last_key_value().map(|(key, value)| (*key, *value)));
            }
            map.iter_mut().for_each(|(key, value)| *value ^= key.to_le_bytes()[0]);
            map.values_mut().for_each(|value| *value = value.wrapping_add(1));
            for (key, value) in &mut model {
                *value = (*value ^ key.to_le_bytes()[0]).wrapping_add(1);
            }
            prop_assert!(map.iter().eq(model.iter()));
        }
    }
}
