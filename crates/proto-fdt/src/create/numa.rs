//! NUMA nodes (Linux binding `numa.txt`).

use alloc::vec::Vec;

use boot_core::machine::Numa;

use super::writer::Writer;
use crate::error::CreateFdtError;

/// Writes the node of a CPU or of memory, if it has one.
pub(super) fn write_id(tree: &mut Writer, node: Option<u32>) -> Result<(), CreateFdtError> {
    match node {
        Some(node) => tree.cells("numa-node-id", &[node]),
        None => Ok(()),
    }
}

/// Writes the distance of each pair of nodes, and of each node to itself. It is that of both directions.
pub(super) fn write_distances(tree: &mut Writer, numa: &Numa) -> Result<(), CreateFdtError> {
    let pairs = numa
        .numbered()
        .flat_map(|(a, _)| numa.numbered().map(move |(b, _)| (a, b)))
        .filter(|(a, b)| a <= b);
    let matrix: Vec<u32> = pairs
        .flat_map(|(a, b)| [a, b, numa.distance(a, b).into()])
        .collect();
    tree.node("distance-map", |tree| {
        tree.string("compatible", "numa-distance-map-v1")?;
        tree.cells("distance-matrix", &matrix)
    })
}
