//! CPU topology and caches (Linux binding `cpu/cpu-topology.txt`; Devicetree Specification v0.4, sections 3.8.3 and 3.9).

use alloc::format;

use boot_core::machine::{Cache, CacheScope, Topology};

use super::phandle;
use super::writer::Writer;
use crate::error::CreateFdtError;

/// Writes the properties of the CPU with this index: its phandle and its caches.
pub(super) fn write_cpu(tree: &mut Writer, topology: &Topology, index: u32) -> Result<(), CreateFdtError> {
    tree.phandle(numbered(phandle::CPUS, index))?;
    let caches = &topology.caches;
    for (prefix, cache) in [("d-cache", caches.l1d), ("i-cache", caches.l1i)] {
        if let Some(cache) = cache {
            write_sizes(tree, prefix, &cache)?;
        }
    }
    match &caches.l2 {
        Some(l2) => {
            let number = topology.cache_number(l2.scope, topology.position(index));
            tree.cells("next-level-cache", &[numbered(phandle::L2_CACHES, number)])
        }
        None => Ok(()),
    }
}

/// Writes the children of `/cpus`: `cpu-map`, and the caches of level 2 and 3.
pub(super) fn write(tree: &mut Writer, topology: &Topology) -> Result<(), CreateFdtError> {
    let mut cpus = phandle::CPUS..;
    let [sockets, clusters, cores, threads] = [
        topology.sockets,
        topology.clusters,
        topology.cores,
        topology.threads,
    ]
    .map(core::num::NonZeroU32::get);
    tree.node("cpu-map", |tree| {
        children(tree, "socket", sockets, |tree| {
            children(tree, "cluster", clusters, |tree| {
                children(tree, "core", cores, |tree| {
                    if threads == 1 {
                        return write_leaf(tree, &mut cpus);
                    }
                    children(tree, "thread", threads, |tree| write_leaf(tree, &mut cpus))
                })
            })
        })
    })?;
    let caches = &topology.caches;
    let Some(l2) = &caches.l2 else {
        return Ok(());
    };
    for number in 0..count(topology, l2.scope) {
        tree.node(&format!("l2-cache{number}"), |tree| {
            write_cache(tree, 2, l2, numbered(phandle::L2_CACHES, number))?;
            match &caches.l3 {
                Some(l3) => {
                    let cpu = topology.position(first_cpu(topology, l2.scope, number));
                    let above = topology.cache_number(l3.scope, cpu);
                    tree.cells("next-level-cache", &[numbered(phandle::L3_CACHES, above)])
                }
                None => Ok(()),
            }
        })?;
    }
    let Some(l3) = &caches.l3 else {
        return Ok(());
    };
    (0..count(topology, l3.scope)).try_for_each(|number| {
        tree.node(&format!("l3-cache{number}"), |tree| {
            write_cache(tree, 3, l3, numbered(phandle::L3_CACHES, number))
        })
    })
}

/// Nodes with this name and a number.
fn children(
    tree: &mut Writer,
    name: &str,
    count: u32,
    mut body: impl FnMut(&mut Writer) -> Result<(), CreateFdtError>,
) -> Result<(), CreateFdtError> {
    (0..count).try_for_each(|number| tree.node(&format!("{name}{number}"), &mut body))
}

/// The next CPU.
fn write_leaf(tree: &mut Writer, cpus: &mut impl Iterator<Item = u32>) -> Result<(), CreateFdtError> {
    cpus.next()
        .map_or(Ok(()), |phandle| tree.cells("cpu", &[phandle]))
}

fn write_cache(tree: &mut Writer, level: u32, cache: &Cache, phandle: u32) -> Result<(), CreateFdtError> {
    tree.string("compatible", "cache")?;
    tree.cells("cache-level", &[level])?;
    tree.bytes("cache-unified", &[])?;
    write_sizes(tree, "cache", cache)?;
    tree.phandle(phandle)
}

fn write_sizes(tree: &mut Writer, prefix: &str, cache: &Cache) -> Result<(), CreateFdtError> {
    for (name, value) in [
        ("size", cache.size),
        ("line-size", cache.line_size),
        ("sets", cache.sets),
    ] {
        tree.cells(&format!("{prefix}-{name}"), &[value])?;
    }
    Ok(())
}

/// Number of caches of this scope.
fn count(topology: &Topology, scope: CacheScope) -> u32 {
    cpus(topology)
        .checked_div(per_cache(topology, scope))
        .unwrap_or(0)
}

/// Index of the first CPU that uses the cache with this number.
fn first_cpu(topology: &Topology, scope: CacheScope, number: u32) -> u32 {
    number.saturating_mul(per_cache(topology, scope))
}

/// Number of CPUs of the machine.
fn cpus(topology: &Topology) -> u32 {
    per_cache(topology, CacheScope::Socket).saturating_mul(topology.sockets.get())
}

/// Number of CPUs that share a cache of this scope. The product has been checked.
fn per_cache(topology: &Topology, scope: CacheScope) -> u32 {
    let threads = topology.threads.get();
    let cluster = threads.saturating_mul(topology.cores.get());
    match scope {
        CacheScope::Cluster => cluster,
        CacheScope::Socket => cluster.saturating_mul(topology.clusters.get()),
        _ => threads,
    }
}

/// The phandle with this number behind the first.
const fn numbered(first: u32, number: u32) -> u32 {
    first.saturating_add(number)
}
