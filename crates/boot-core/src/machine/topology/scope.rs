//! Scopes of caches.

use core::fmt;

/// The CPUs that share a cache: there is one cache for each of these.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum CacheScope {
    /// A core.
    #[default]
    Core,
    /// A cluster.
    Cluster,
    /// A socket.
    Socket,
}

/// The name.
impl fmt::Display for CacheScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Core => "core",
            Self::Cluster => "cluster",
            Self::Socket => "socket",
        })
    }
}
