//! Clauses about the device tree: address, size, root node, phandles.

use clauses::{check, note, report};

use crate::fdt::{Fdt, Node};
use crate::machine::arch::EntryRecord;

/// Maximum size in bytes: the limit of arm64 booting.rst; riscv64 kernels map no more.
pub(crate) const MAX_LEN: usize = 2 << 20;

pub(crate) fn check(record: &EntryRecord, tree: &Fdt<'_>) {
    let address = record.tree();
    report::check_equal("tree.aligned", address % 8, 0);
    let len = u64::from(tree.total);
    check!("tree.size", len <= MAX_LEN as u64, "{len} bytes"; "at most {MAX_LEN}");
    note!(
        "tree",
        "{len} bytes at {address:#x}, boot cpu {:#x}",
        tree.boot_cpu
    );
    let Some(root) = tree.nodes().next() else { return };
    for name in ["#address-cells", "#size-cells"] {
        let cells = root.u32(name);
        check!(format_args!("tree.root.{name}"), matches!(cells, Some(1 | 2)), "{}", cells.unwrap_or(0); "1 or 2");
    }
    check!("tree.root.compatible", root.property("compatible").is_some_and(|it| it.len() > 1), "none"; "one");
    let duplicate = tree.nodes().find(|node| has_duplicate_phandle(tree, node));
    check!("tree.phandles", duplicate.is_none(), "a duplicate phandle in {}", duplicate.map_or("", |it| it.name);
        "unique phandles");
}

/// Whether an earlier node has the same phandle as `node`.
fn has_duplicate_phandle(tree: &Fdt<'_>, node: &Node<'_>) -> bool {
    let first = node.u32("phandle").and_then(|phandle| tree.by_phandle(phandle));
    first.is_some_and(|first| !first.is_same_node(node))
}
