//! What Linux has to find in a PPTT.

use std::num::NonZeroU32;

use boot_core::Machine;
use boot_core::machine::{CacheScope, Topology};

fn le32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

/// ACPI 6.5, section 5.2.30, as Linux walks the table (`drivers/acpi/pptt.c`): up from each CPU, with the caches of each node on the way.
pub(crate) fn check(machine: &Machine, topology: &Topology, pptt: &[u8]) {
    let mut leaves = Vec::new();
    let mut at = 36;
    while at < pptt.len() {
        let len = usize::from(pptt[at + 1]);
        match pptt[at] {
            0 => {
                assert_eq!(len, 20 + 4 * le32(pptt, at + 16) as usize);
                assert!((le32(pptt, at + 8) as usize) < at, "parents come first");
                // The UID is that of a CPU at leaves only.
                let flags = le32(pptt, at + 4);
                assert_eq!(flags & 0b1010 == 0b1010, flags & 0b1010 != 0);
                if flags & 0b1000 != 0 {
                    leaves.push(at);
                }
            }
            1 => assert_eq!(len, 24),
            kind => panic!("{kind}"),
        }
        at += len;
    }
    assert_eq!(at, pptt.len());
    assert_eq!(leaves.len(), machine.vcpus.get() as usize);
    let levels = [
        topology.threads,
        topology.cores,
        topology.clusters,
        topology.sockets,
    ];
    let [threads, cores, clusters, _] = levels.map(NonZeroU32::get);
    let mut before: Option<Vec<usize>> = None;
    for (uid, leaf) in (0..).zip(leaves) {
        assert_eq!(le32(pptt, leaf + 12), uid);
        let is_thread = le32(pptt, leaf + 4) & 0b100 != 0;
        assert_eq!(is_thread, threads > 1);
        let (mut path, mut caches) = (vec![leaf], Vec::new());
        while let Some(&node) = path.last() {
            let mut level = Vec::new();
            for resource in 0..le32(pptt, node + 16) as usize {
                let mut cache = le32(pptt, node + 20 + 4 * resource) as usize;
                while cache != 0 {
                    assert_eq!((pptt[cache], le32(pptt, cache + 4)), (1, 0x57));
                    level.push(cache);
                    cache = le32(pptt, cache + 8) as usize;
                }
            }
            // The caches of level 1 have the next level in common.
            level.sort_unstable();
            level.dedup();
            level.reverse();
            caches.push((node, level));
            match le32(pptt, node + 8) as usize {
                0 => break,
                parent => path.push(parent),
            }
        }
        let (expected, core) = (
            1 + usize::from(threads > 1) + usize::from(clusters > 1),
            usize::from(threads > 1),
        );
        assert_eq!(path.len(), expected + 1);
        let packages = path.iter().map(|node| le32(pptt, node + 4) & 1);
        assert!(packages.rev().eq((0..path.len()).map(|at| u32::from(at == 0))));
        // The next CPU has the nodes in common that its number tells.
        let of_core = [threads, cores, clusters];
        let mut per_node = vec![1];
        for (index, count) in of_core.iter().enumerate() {
            let last = per_node.last().copied().unwrap();
            // One thread or cluster has no node.
            if *count == 1 && index != 1 {
                continue;
            }
            per_node.push(last * count);
        }
        if let Some(before) = &before {
            for (level, per_node) in per_node.iter().enumerate() {
                let is_new = uid % per_node == 0;
                assert_eq!(before[level] != path[level], is_new, "CPU {uid}, level {level}");
            }
        }
        check_caches(topology, pptt, &caches, core);
        before = Some(path);
    }
}

/// The caches on the way up from a CPU: those of the core, of the cluster or socket, and of the socket.
fn check_caches(topology: &Topology, pptt: &[u8], found: &[(usize, Vec<usize>)], core: usize) {
    let described = &topology.caches;
    let cluster = core + 1;
    let socket = cluster + usize::from(topology.clusters.get() > 1);
    let mut expected = vec![Vec::new(); found.len()];
    let all = [
        (described.l1d, 0),
        (described.l1i, 1),
        (described.l2, 2),
        (described.l3, 2),
    ];
    for (cache, kind) in all {
        let Some(cache) = cache else { continue };
        let level = match cache.scope {
            CacheScope::Core => core,
            CacheScope::Cluster => cluster,
            _ => socket,
        };
        expected[level].push((kind, [cache.size, cache.sets, cache.line_size]));
    }
    for ((_, caches), mut expected) in found.iter().zip(expected) {
        let read = |cache: &usize| {
            let line_size = u16::from_le_bytes([pptt[cache + 22], pptt[cache + 23]]);
            let [size, sets] = [12, 16].map(|offset| le32(pptt, cache + offset));
            let line_size = u32::from(line_size);
            assert_eq!(size, u32::from(pptt[cache + 20]) * sets * line_size);
            (pptt[cache + 21] >> 2, [size, sets, line_size])
        };
        let mut caches: Vec<_> = caches.iter().map(read).collect();
        caches.sort_unstable();
        expected.sort_unstable();
        assert_eq!(caches, expected);
    }
}
