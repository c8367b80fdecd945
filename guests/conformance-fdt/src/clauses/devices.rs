//! The devices that every machine has: interrupt controller and serial port.

use clauses::{check, fail, report};
use contract::{Expectation, Irqchip};

use crate::fdt::{Fdt, Node};
use crate::machine::console;

/// The interrupt controllers, and the value of `compatible` that tells each: for those of one line, the more special first.
const CONTROLLERS: [(&str, Irqchip); 6] = [
    ("arm,gic-v3", Irqchip::GicV3),
    ("arm,cortex-a15-gic", Irqchip::GicV2),
    ("arm,gic-400", Irqchip::GicV2),
    ("riscv,aplic", Irqchip::Aplic),
    ("sifive,plic-1.0.0", Irqchip::Plic),
    ("riscv,plic0", Irqchip::Plic),
];

/// The controller that devices interrupt, with its node.
pub(crate) fn interrupt_controller<'a>(tree: &Fdt<'a>) -> Option<(Irqchip, Node<'a>)> {
    // An APLIC of machine level has no place in a tree for a supervisor, but firmware leaves it there, disabled or handing
    // all on to its child.
    let mut found = tree.nodes().filter_map(|node| {
        let (_, kind) = CONTROLLERS
            .iter()
            .find(|(compatible, _)| node.is_compatible(compatible))?;
        let usable = node.is_okay() && node.property("riscv,children").is_none();
        usable.then_some((*kind, node))
    });
    let (kind, node) = found.next()?;
    let kind = match kind {
        Irqchip::GicV3 if tree.nodes().any(|node| node.is_compatible("arm,gic-v3-its")) => Irqchip::GicV3Its,
        Irqchip::Aplic if node.property("msi-parent").is_some() => Irqchip::AplicImsic,
        kind => kind,
    };
    Some((kind, node))
}

pub(crate) fn check(tree: &Fdt<'_>, expectation: &Expectation<'_>) {
    match interrupt_controller(tree) {
        None => fail!("irqchip", "no node of one known"; "an interrupt controller"),
        Some((kind, node)) => {
            report::against("irqchip", &kind, expectation.irqchip.as_ref());
            check!("irqchip.controller", node.property("interrupt-controller").is_some(), "{} without it", node.name;
                "interrupt-controller");
            check!("irqchip.reg", node.range().is_some_and(|(_, len)| len > 0), "none"; "where its registers are");
        }
    }
    let serial = console::stdout(tree);
    let range = serial.and_then(|serial| serial.range());
    check!("chosen.stdout-path", serial.is_some(), "no path to a node"; "one to the serial port");
    if let (Some(serial), Some((address, len))) = (serial, range) {
        report::address_against("serial.address", address, expectation.serial);
        check!("serial.reg", len >= 8, "{len:#x} bytes"; "room for the registers");
        check!("serial.usable", serial.is_okay(), "a node whose status says it is not"; "one to use");
    } else {
        check!("serial.address", expectation.serial.is_none(), "no registers"; "{:#x}", expectation.serial.unwrap_or(0));
    }
}
