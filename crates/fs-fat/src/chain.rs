//! Chains of clusters (section 6.7).

use boot_core::{ByteSource, SourceRange};
use disk::Extents;

use crate::error::{ChainDefect, FatError};
use crate::geometry::Geometry;
use crate::limits::{MAX_DIRECTORY_LEN, MAX_PIECES};
use crate::table::{Link, Table};

/// The file or directory of a chain.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chain {
    /// Offset of its directory entry; `None` for the root directory.
    pub(crate) entry: Option<u64>,
    /// First cluster; 0 for an empty file.
    pub(crate) first: u32,
}

impl Chain {
    fn error(self, cluster: u32, defect: ChainDefect) -> FatError {
        FatError::Chain {
            entry: self.entry,
            first: self.first,
            cluster,
            defect,
        }
    }

    /// The pieces of a file of `len` bytes.
    ///
    /// # Errors
    ///
    /// [`FatError::Chain`] if the chain is broken, a cycle, or has another length.
    pub(crate) fn file(
        self,
        source: &dyn ByteSource,
        geometry: &Geometry,
        table: &Table,
        len: u64,
    ) -> Result<Extents, FatError> {
        let wanted = len.div_ceil(geometry.cluster_size.into());
        if self.first == 0 {
            return match wanted {
                0 => Ok(Extents::new()),
                _ => Err(self.error(0, ChainDefect::TooShort { clusters: 0, len })),
            };
        }
        let (mut extents, clusters) =
            self.walk(source, geometry, table, wanted, ChainDefect::TooLong { len })?;
        if clusters < wanted {
            return Err(self.error(self.first, ChainDefect::TooShort { clusters, len }));
        }
        extents.truncate(len);
        Ok(extents)
    }

    /// The pieces of a directory.
    ///
    /// # Errors
    ///
    /// [`FatError::Chain`] if the chain is broken, a cycle, or longer than [`MAX_DIRECTORY_LEN`].
    pub(crate) fn directory(
        self,
        source: &dyn ByteSource,
        geometry: &Geometry,
        table: &Table,
    ) -> Result<Extents, FatError> {
        let limit = u64::from(MAX_DIRECTORY_LEN)
            .checked_div(geometry.cluster_size.into())
            .unwrap_or(1);
        let (extents, _) = self.walk(source, geometry, table, limit, ChainDefect::DirectoryTooLong)?;
        Ok(extents)
    }

    /// The pieces and the number of the clusters. A chain of more than `limit` clusters has the defect `too_long`.
    fn walk(
        self,
        source: &dyn ByteSource,
        geometry: &Geometry,
        table: &Table,
        limit: u64,
        too_long: ChainDefect,
    ) -> Result<(Extents, u64), FatError> {
        let mut extents = Extents::new();
        let mut cluster = self.first;
        let mut count = 0_u64;
        // Brent's algorithm: a chain that comes to a cluster that was remembered is a cycle; the remembered cluster is replaced
        // after 1, 2, 4, 8, … steps.
        let mut remembered = cluster;
        let mut next_memory = 1_u64;
        loop {
            let offset = geometry.offset_of(cluster).ok_or_else(|| {
                let max = geometry.max_cluster;
                self.error(cluster, ChainDefect::NoCluster { max })
            })?;
            if count >= limit {
                return Err(self.error(cluster, too_long));
            }
            let piece = SourceRange::new(offset, geometry.cluster_size.into());
            let is_added = piece.is_some_and(|piece| extents.push(piece).is_ok());
            if !is_added || extents.pieces().len() > MAX_PIECES {
                return Err(self.error(cluster, ChainDefect::TooManyPieces));
            }
            count = count.saturating_add(1);
            let next = match table.link(source, geometry, cluster)? {
                Link::Next(next) => next,
                Link::End => return Ok((extents, count)),
                Link::Free => return Err(self.error(cluster, ChainDefect::Free)),
                Link::Bad => return Err(self.error(cluster, ChainDefect::Bad)),
            };
            if next == remembered || next == self.first {
                return Err(self.error(cluster, ChainDefect::Cycle));
            }
            if count >= next_memory {
                remembered = next;
                next_memory = next_memory.saturating_mul(2);
            }
            cluster = next;
        }
    }
}
