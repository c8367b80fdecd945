//! The processor properties topology table, PPTT.

use alloc::vec::Vec;

use boot_core::machine::{Cache, CacheScope, Topology};
use zerocopy::little_endian::{U16, U32};
use zerocopy::{Immutable, IntoBytes};

use crate::oem::{HEADER_LEN, table};

/// Revision of the PPTT of ACPI 6.3 and 6.4, which has the flags of threads and leaves, and no identifiers of caches.
const REVISION: u8 = 2;

/// The PPTT of this topology, whose CPUs have their indices as UIDs in the MADT (ACPI 6.5, section 5.2.30).
///
/// The nodes are sockets, clusters where a socket has several, cores, and threads where a core has several. A cache is a private resource of the node
/// whose CPUs share it; a node refers to its first level only, which refers to the next of the same node.
pub(crate) fn pptt(topology: &Topology) -> Vec<u8> {
    let mut writer = Writer {
        topology,
        structures: Vec::new(),
    };
    let (clusters, threads) = (topology.clusters.get(), topology.threads.get());
    let mut uids = 0_u32..;
    let mut uid = || uids.next().unwrap_or(u32::MAX);
    for _ in 0..topology.sockets.get() {
        let socket = writer.node(0, flags::PACKAGE, 0, &[CacheScope::Socket]);
        for _ in 0..clusters {
            let cluster = if clusters > 1 {
                writer.node(socket, 0, 0, &[CacheScope::Cluster])
            } else {
                socket
            };
            for _ in 0..topology.cores.get() {
                let core = &[CacheScope::Core];
                if threads == 1 {
                    writer.node(cluster, flags::LEAF, uid(), core);
                    continue;
                }
                let core = writer.node(cluster, 0, 0, core);
                for _ in 0..threads {
                    writer.node(core, flags::LEAF | flags::THREAD, uid(), &[]);
                }
            }
        }
    }
    table(*b"PPTT", REVISION, &writer.structures)
}

/// Flags of a node (ACPI 6.5, section 5.2.30.1).
mod flags {
    /// The node is a physical package.
    pub(super) const PACKAGE: u32 = 1;
    /// The node has the UID of a CPU.
    const UID_VALID: u32 = 1 << 1;
    /// The CPU shares a core with its siblings.
    pub(super) const THREAD: u32 = 1 << 2;
    /// The node is a CPU.
    pub(super) const LEAF: u32 = (1 << 3) | UID_VALID;
}

/// Structures one after the other.
struct Writer<'a> {
    topology: &'a Topology,
    structures: Vec<u8>,
}

impl Writer<'_> {
    /// Offset of the next structure in the table, by which others refer to it.
    fn offset(&self) -> u32 {
        // Each of at most 0x4000 CPUs has a few structures of less than 100 bytes.
        let len = u32::try_from(self.structures.len()).unwrap_or(u32::MAX);
        len.saturating_add(HEADER_LEN)
    }

    /// Adds a node with the caches of these scopes; returns its offset. The parent of a socket is 0.
    fn node(&mut self, parent: u32, flags: u32, uid: u32, scopes: &[CacheScope]) -> u32 {
        let resources: Vec<u32> = scopes.iter().flat_map(|scope| self.caches(*scope)).collect();
        let offset = self.offset();
        let references = resources.len().saturating_mul(size_of::<u32>());
        let length = size_of::<Node>().saturating_add(references);
        let node = Node {
            kind: 0,
            length: u8::try_from(length).unwrap_or(u8::MAX),
            reserved: U16::ZERO,
            flags: flags.into(),
            parent: parent.into(),
            uid: uid.into(),
            resources: u32::try_from(resources.len()).unwrap_or(u32::MAX).into(),
        };
        self.structures.extend_from_slice(node.as_bytes());
        for resource in resources {
            self.structures.extend_from_slice(&resource.to_le_bytes());
        }
        offset
    }

    /// Adds the caches of a scope, the highest level first; returns the offsets of the lowest level.
    fn caches(&mut self, scope: CacheScope) -> Vec<u32> {
        let caches = &self.topology.caches;
        // A socket without clusters has the caches of its cluster.
        let is_one = self.topology.clusters.get() == 1;
        let of_scope = |cache: &Cache| match cache.scope {
            CacheScope::Cluster if is_one => scope == CacheScope::Socket,
            own => own == scope,
        };
        let mut next = 0;
        for cache in [caches.l3, caches.l2]
            .iter()
            .flatten()
            .filter(|cache| of_scope(cache))
        {
            next = self.cache(cache, CacheKind::Unified, next);
        }
        let level_1 = [
            (caches.l1d, CacheKind::Data),
            (caches.l1i, CacheKind::Instruction),
        ];
        let mut lowest = Vec::new();
        for (cache, kind) in level_1 {
            if let Some(cache) = cache.as_ref().filter(|cache| of_scope(cache)) {
                lowest.push(self.cache(cache, kind, next));
            }
        }
        if lowest.is_empty() && next != 0 {
            lowest.push(next);
        }
        lowest
    }

    fn cache(&mut self, cache: &Cache, kind: CacheKind, next: u32) -> u32 {
        let offset = self.offset();
        let cache = CacheStructure {
            kind: 1,
            length: 24,
            reserved: U16::ZERO,
            flags: CacheStructure::VALID.into(),
            next_level: next.into(),
            size: cache.size.into(),
            sets: cache.sets.into(),
            // Validated to fit.
            associativity: cache
                .associativity()
                .and_then(|ways| u8::try_from(ways).ok())
                .unwrap_or(0),
            attributes: kind.attributes(),
            line_size: u16::try_from(cache.line_size).unwrap_or(0).into(),
        };
        self.structures.extend_from_slice(cache.as_bytes());
        offset
    }
}

/// Kind of a cache.
#[derive(Clone, Copy)]
enum CacheKind {
    Data,
    Instruction,
    Unified,
}

impl CacheKind {
    /// The attributes: the cache type in bits 2 and 3 (ACPI 6.5, section 5.2.30.2).
    const fn attributes(self) -> u8 {
        match self {
            Self::Data => 0,
            Self::Instruction => 1 << 2,
            Self::Unified => 2 << 2,
        }
    }
}

/// Processor hierarchy node structure (ACPI 6.5, section 5.2.30.1), without the private resources behind it.
#[derive(Clone, Copy, Debug, Immutable, IntoBytes)]
#[repr(C)]
struct Node {
    kind: u8,
    length: u8,
    reserved: U16,
    flags: U32,
    parent: U32,
    uid: U32,
    resources: U32,
}

const _: () = assert!(size_of::<Node>() == 20);

/// Cache type structure of ACPI 6.3 (ACPI 6.5, section 5.2.30.2, without the identifier of the cache).
#[derive(Clone, Copy, Debug, Immutable, IntoBytes)]
#[repr(C)]
struct CacheStructure {
    kind: u8,
    length: u8,
    reserved: U16,
    flags: U32,
    next_level: U32,
    size: U32,
    sets: U32,
    associativity: u8,
    attributes: u8,
    line_size: U16,
}

const _: () = assert!(size_of::<CacheStructure>() == 24);

impl CacheStructure {
    /// Size, number of sets, associativity, cache type and line size are valid; allocation type and write policy are left open.
    const VALID: u32 = 0b101_0111;
}
