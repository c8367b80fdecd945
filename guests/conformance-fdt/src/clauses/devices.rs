//! Clauses about the interrupt controller and the serial port.

use clauses::{check, fail, report};
use contract::{Expectation, Irqchip};

use crate::fdt::{Fdt, Node};
use crate::machine::console;

/// Values of `compatible` and their interrupt controllers.
const CONTROLLERS: [(&str, Irqchip); 6] = [
    ("arm,gic-v3", Irqchip::GicV3),
    ("arm,cortex-a15-gic", Irqchip::GicV2),
    ("arm,gic-400", Irqchip::GicV2),
    ("riscv,aplic", Irqchip::Aplic),
    ("sifive,plic-1.0.0", Irqchip::Plic),
    ("riscv,plic0", Irqchip::Plic),
];

/// The interrupt controller of the devices, with its node.
pub(crate) fn interrupt_controller<'a>(tree: &Fdt<'a>) -> Option<(Irqchip, Node<'a>)> {
    // Firmware may leave the machine-level APLIC in the tree, disabled or with a child that it delegates to.
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
        None => fail!("irqchip", "no known interrupt controller"; "an interrupt controller"),
        Some((kind, node)) => {
            report::check_expected("irqchip", &kind, expectation.irqchip.as_ref());
            check!("irqchip.controller", node.property("interrupt-controller").is_some(), "no such property in {}", node.name;
                "interrupt-controller");
            check!("irqchip.reg", node.range().is_some_and(|(_, len)| len > 0), "none"; "the address of its registers");
        }
    }
    let serial = console::stdout(tree);
    let range = serial.and_then(|serial| serial.range());
    check!("chosen.stdout-path", serial.is_some(), "no path of a node"; "the path of the serial port");
    if let (Some(serial), Some((address, len))) = (serial, range) {
        report::check_expected_address("serial.address", address, expectation.serial);
        check!("serial.reg", len >= 8, "{len:#x} bytes"; "at least 8 bytes of registers");
        check!("serial.usable", serial.is_okay(), "a status other than okay"; "okay");
    } else {
        check!("serial.address", expectation.serial.is_none(), "no registers"; "{:#x}", expectation.serial.unwrap_or(0));
    }
}
