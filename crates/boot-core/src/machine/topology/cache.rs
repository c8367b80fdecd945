//! Caches of CPUs.

use super::error::TopologyError;
use super::scope::CacheScope;

/// Caches of CPUs, as far as they are described.
///
/// Linux on arm64 takes the levels and kinds of caches from `CLIDR_EL1`, which a VMM can set: it ignores the description where the two differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Caches {
    /// The level 1 data cache of each core.
    pub l1d: Option<Cache>,
    /// The level 1 instruction cache of each core.
    pub l1i: Option<Cache>,
    /// The unified cache of level 2.
    pub l2: Option<Cache>,
    /// The unified cache of level 3.
    pub l3: Option<Cache>,
}

/// A cache. Its associativity follows from the other values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Cache {
    /// Size in bytes.
    pub size: u32,
    /// Size of a line in bytes, a power of two, at most 0x8000.
    pub line_size: u32,
    /// Number of sets.
    pub sets: u32,
    /// Which CPUs share it. That of level 1 is [`CacheScope::Core`].
    pub scope: CacheScope,
}

impl Cache {
    /// A cache of each core with these sizes in bytes and number of sets.
    #[must_use]
    pub const fn new(size: u32, line_size: u32, sets: u32) -> Self {
        Self {
            size,
            line_size,
            sets,
            scope: CacheScope::Core,
        }
    }

    /// The same for each cluster or socket.
    #[must_use]
    pub fn with_scope(self, scope: CacheScope) -> Self {
        Self { scope, ..self }
    }

    /// The associativity: the number of lines of a set. `None` where the size is not that of whole sets, or a number is zero.
    #[must_use]
    pub const fn associativity(&self) -> Option<u32> {
        let Some(way) = self.line_size.checked_mul(self.sets) else {
            return None;
        };
        match (self.size.checked_div(way), self.size.checked_rem(way)) {
            (Some(ways), Some(0)) => Some(ways),
            _ => None,
        }
    }

    fn check(&self, cache: &'static str) -> Result<(), TopologyError> {
        let error = |field, found, expected| TopologyError::Cache {
            cache,
            field,
            found,
            expected,
        };
        if !self.line_size.is_power_of_two() || self.line_size > 0x8000 {
            let expected = "a power of two, at most 32768";
            return Err(error("line size", self.line_size, expected));
        }
        if self.sets == 0 {
            return Err(error("number of sets", self.sets, "at least 1"));
        }
        // The associativity has a byte in the PPTT.
        if !matches!(self.associativity(), Some(1..=0xff)) {
            let expected = "1 to 255 times the line size times the number of sets";
            return Err(error("size", self.size, expected));
        }
        Ok(())
    }
}

impl Caches {
    /// Whether no cache is described.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn check(&self) -> Result<(), TopologyError> {
        let all = [
            ("L1 data", self.l1d),
            ("L1 instruction", self.l1i),
            ("L2", self.l2),
            ("L3", self.l3),
        ];
        for (name, cache) in all {
            cache.map_or(Ok(()), |cache| cache.check(name))?;
        }
        let level_1 = all.iter().take(2);
        for (name, cache) in level_1.filter_map(|(name, cache)| Some((*name, (*cache)?))) {
            if cache.scope != CacheScope::Core {
                return Err(TopologyError::Scope {
                    cache: name,
                    found: cache.scope,
                    expected: "must be one for each core",
                });
            }
        }
        match (self.l2, self.l3) {
            (Some(_), _) if self.l1d.or(self.l1i).is_none() => Err(TopologyError::NoLowerLevel {
                cache: "L2",
                below: "L1",
            }),
            (None, Some(_)) => Err(TopologyError::NoLowerLevel {
                cache: "L3",
                below: "L2",
            }),
            (Some(l2), Some(l3)) if l3.scope < l2.scope => Err(TopologyError::Scope {
                cache: "L3",
                found: l3.scope,
                expected: "the L2 cache is shared by more CPUs",
            }),
            _ => Ok(()),
        }
    }
}
