//! Clauses about `/cpus` and the start of secondary CPUs.

use clauses::{check, fail, report};
use contract::Expectation;

use crate::fdt::{Fdt, Node};
use crate::machine::arch::{self, EntryRecord};

/// Timeout in seconds for starting and stopping a CPU.
const TIMEOUT: u64 = 10;

/// The nodes of the CPUs.
pub(crate) fn cpus<'a>(tree: &Fdt<'a>) -> impl Iterator<Item = Node<'a>> + use<'a> {
    let cpus = tree.node("/cpus");
    cpus.into_iter()
        .flat_map(|cpus| cpus.children())
        .filter(|node| node.string("device_type") == Some("cpu"))
}

/// Id of a CPU: MPIDR affinity or hart id.
pub(crate) fn id(cpu: &Node<'_>) -> Option<u64> {
    cpu.reg()?.next().map(|(id, _)| id)
}

/// Checks the nodes and starts every secondary CPU.
pub(crate) fn check(record: &EntryRecord, tree: &Fdt<'_>, expectation: &Expectation<'_>) {
    let count = cpus(tree).count();
    check!("cpus.some", count > 0, "no CPU"; "at least one");
    if let Some(expected) = expectation.cpus {
        let wrong = (0..count.max(expected.ids().count()))
            .map(|index| {
                (
                    cpus(tree).nth(index).and_then(|cpu| id(&cpu)),
                    expected.ids().nth(index),
                )
            })
            .enumerate()
            .find(|(_, (found, expected))| found != expected);
        match wrong {
            None => report::ok("cpus"),
            Some((index, (found, expected))) => {
                fail!("cpus", "{} at index {index}", Id(found); "{}", Id(expected));
            }
        }
    }
    let own = cpus(tree).filter(|cpu| id(cpu) == Some(record.cpu())).count();
    check!("cpus.own", own == 1, "{own} nodes with id {:#x}", record.cpu(); "one");
    for (index, cpu) in cpus(tree).enumerate() {
        let Some(id_of) = id(&cpu) else {
            fail!(format_args!("cpus.{}.reg", cpu.name), "none"; "an id");
            continue;
        };
        let before = cpus(tree).take(index).any(|other| id(&other) == Some(id_of));
        check!(format_args!("cpus.{id_of:#x}.unique"), !before, "more than one node"; "one");
        arch::check_cpu_node(&cpu, id_of, count == 1);
        if id_of != record.cpu() && cpu.is_okay() && !before {
            arch::start(id_of, &mut |condition| wait_until(tree, condition));
        }
    }
}

/// Waits until `condition` holds. Returns whether it did before the timeout.
fn wait_until(tree: &Fdt<'_>, condition: &mut dyn FnMut() -> bool) -> bool {
    let timeout = arch::frequency(tree).saturating_mul(TIMEOUT);
    let start = arch::counter();
    loop {
        if condition() {
            return true;
        }
        if arch::counter().wrapping_sub(start) > timeout {
            return false;
        }
        core::hint::spin_loop();
    }
}

/// Id of a CPU, or `None` without one.
struct Id(Option<u64>);

impl core::fmt::Display for Id {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.0 {
            None => f.write_str("no CPU"),
            Some(id) => write!(f, "{id:#x}"),
        }
    }
}
