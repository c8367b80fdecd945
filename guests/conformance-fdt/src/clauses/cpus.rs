//! `/cpus`: who is there, and whether they start.

use clauses::{check, fail, report};
use contract::Expectation;

use crate::fdt::{Fdt, Node};
use crate::machine::arch::{self, Record};

/// How long a CPU may take to come up or go off.
const SECONDS: u64 = 10;

/// The nodes of all CPUs.
pub(crate) fn cpus<'a>(tree: &Fdt<'a>) -> impl Iterator<Item = Node<'a>> + use<'a> {
    let cpus = tree.node("/cpus");
    cpus.into_iter()
        .flat_map(|cpus| cpus.children())
        .filter(|node| node.text("device_type") == Some("cpu"))
}

/// A CPU's id: MPIDR affinity or hart id.
pub(crate) fn id(cpu: &Node<'_>) -> Option<u64> {
    cpu.reg()?.next().map(|(id, _)| id)
}

/// Checks the nodes and starts every CPU but this one.
pub(crate) fn check(record: &Record, tree: &Fdt<'_>, expectation: &Expectation<'_>) {
    let count = cpus(tree).count();
    check!("cpus.some", count > 0, "no CPU"; "at least one");
    if let Some(asked) = expectation.cpus {
        let wrong = (0..count.max(asked.ids().count()))
            .map(|index| {
                (
                    cpus(tree).nth(index).and_then(|cpu| id(&cpu)),
                    asked.ids().nth(index),
                )
            })
            .enumerate()
            .find(|(_, (found, asked))| found != asked);
        match wrong {
            None => report::ok("cpus"),
            Some((index, (found, asked))) => {
                fail!("cpus", "{} as number {index}", Id(found); "{}", Id(asked));
            }
        }
    }
    let own = cpus(tree).filter(|cpu| id(cpu) == Some(record.cpu())).count();
    check!("cpus.own", own == 1, "{own} nodes of {:#x}", record.cpu(); "one");
    for (index, cpu) in cpus(tree).enumerate() {
        let Some(id_of) = id(&cpu) else {
            fail!(format_args!("cpus.{}.reg", cpu.name), "none"; "an id");
            continue;
        };
        let before = cpus(tree).take(index).any(|other| id(&other) == Some(id_of));
        check!(format_args!("cpus.{id_of:#x}.unique"), !before, "one more"; "one");
        arch::check_cpu_node(&cpu, id_of, count == 1);
        if id_of != record.cpu() && cpu.is_okay() && !before {
            arch::start(id_of, &mut |condition| in_time(tree, condition));
        }
    }
}

/// Waits until `condition` holds; answers whether it did in time.
fn in_time(tree: &Fdt<'_>, condition: &mut dyn FnMut() -> bool) -> bool {
    let patience = arch::frequency(tree).saturating_mul(SECONDS);
    let start = arch::counter();
    loop {
        if condition() {
            return true;
        }
        if arch::counter().wrapping_sub(start) > patience {
            return false;
        }
        core::hint::spin_loop();
    }
}

/// A CPU's id, or that there is none.
struct Id(Option<u64>);

impl core::fmt::Display for Id {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.0 {
            None => f.write_str("no CPU"),
            Some(id) => write!(f, "{id:#x}"),
        }
    }
}
