//! The device tree as a whole: its place, its form, its root.

use clauses::{check, note, report};

use crate::fdt::{Fdt, Node};
use crate::machine::arch::Record;

/// The longest tree in bytes: booting.rst says so for arm64, and riscv64 kernels map no more.
pub(crate) const MAX_LEN: usize = 2 << 20;

pub(crate) fn check(record: &Record, tree: &Fdt<'_>) {
    let address = record.tree();
    report::equal("tree.aligned", address % 8, 0);
    let len = u64::from(tree.total);
    check!("tree.size", len <= MAX_LEN as u64, "{len} bytes"; "{MAX_LEN} at the most");
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
    let shared = tree.nodes().find(|node| clashes(tree, node));
    check!("tree.phandles", shared.is_none(), "the phandle of {} once more", shared.map_or("", |it| it.name);
        "each phandle once");
}

/// Whether an earlier node has the phandle of `node`.
fn clashes(tree: &Fdt<'_>, node: &Node<'_>) -> bool {
    let first = node.u32("phandle").and_then(|phandle| tree.by_phandle(phandle));
    first.is_some_and(|first| !first.is(node))
}
