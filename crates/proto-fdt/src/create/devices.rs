//! Serial ports, virtio-mmio slots, the PCI host and the syscon for poweroff and reset.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use boot_core::machine::{PciHost, Platform, RegisterWrite, Serial, SerialKind, Syscon, VirtioMmio};

use super::interrupts::{MsiController, Wiring};
use super::phandle;
use super::writer::{Writer, cells_of};
use crate::error::CreateFdtError;

pub(super) fn serial_name(serial: &Serial) -> String {
    format!("serial@{:x}", serial.range.start())
}

/// Writes `/aliases`, which numbers the serial ports in their order.
pub(super) fn write_aliases(tree: &mut Writer, platform: &Platform) -> Result<(), CreateFdtError> {
    if platform.serial.is_empty() {
        return Ok(());
    }
    tree.node("aliases", |tree| {
        platform
            .serial
            .iter()
            .enumerate()
            .try_for_each(|(index, serial)| {
                tree.string(&format!("serial{index}"), &format!("/{}", serial_name(serial)))
            })
    })
}

/// Writes the devices.
pub(super) fn write(
    tree: &mut Writer,
    platform: &Platform,
    wiring: &Wiring<'_>,
) -> Result<(), CreateFdtError> {
    for (serial, clock) in platform.serial.iter().zip(phandle::CLOCKS..) {
        write_serial(tree, serial, clock, wiring)?;
    }
    for slot in &platform.virtio_mmio {
        write_virtio(tree, slot, wiring)?;
    }
    if let Some(pci) = &platform.pci {
        write_pci(tree, pci, wiring)?;
    }
    match &platform.syscon {
        Some(syscon) => write_syscon(tree, syscon),
        None => Ok(()),
    }
}

fn write_serial(
    tree: &mut Writer,
    serial: &Serial,
    clock: u32,
    wiring: &Wiring<'_>,
) -> Result<(), CreateFdtError> {
    if serial.kind == SerialKind::Pl011 {
        // A PL011 refers to its clocks (baud rate and bus) by phandle.
        tree.node(&format!("clock-{:x}", serial.range.start()), |tree| {
            tree.string("compatible", "fixed-clock")?;
            tree.cells("#clock-cells", &[0])?;
            tree.cells("clock-frequency", &[serial.clock_hz])?;
            tree.phandle(clock)
        })?;
    }
    tree.node(&serial_name(serial), |tree| {
        match serial.kind {
            SerialKind::Pl011 => {
                tree.strings("compatible", ["arm,pl011", "arm,primecell"])?;
                tree.reg(&[serial.range])?;
                tree.cells("clocks", &[clock, clock])?;
                tree.strings("clock-names", ["uartclk", "apb_pclk"])?;
            }
            SerialKind::Ns16550a {
                reg_shift,
                reg_io_width,
            } => {
                tree.string("compatible", "ns16550a")?;
                tree.reg(&[serial.range])?;
                tree.cells("clock-frequency", &[serial.clock_hz])?;
                if reg_shift != 0 {
                    tree.cells("reg-shift", &[reg_shift])?;
                }
                if reg_io_width != 1 {
                    tree.cells("reg-io-width", &[reg_io_width])?;
                }
            }
            _ => {}
        }
        match serial.interrupt {
            Some(interrupt) => tree.cells("interrupts", &wiring.specifier(interrupt)),
            None => Ok(()),
        }
    })
}

fn write_virtio(tree: &mut Writer, slot: &VirtioMmio, wiring: &Wiring<'_>) -> Result<(), CreateFdtError> {
    tree.node(&format!("virtio_mmio@{:x}", slot.range.start()), |tree| {
        tree.string("compatible", "virtio,mmio")?;
        tree.reg(&[slot.range])?;
        tree.cells("interrupts", &wiring.specifier(slot.interrupt))?;
        tree.bytes("dma-coherent", &[])
    })
}

fn write_pci(tree: &mut Writer, pci: &PciHost, wiring: &Wiring<'_>) -> Result<(), CreateFdtError> {
    tree.node(&format!("pcie@{:x}", pci.ecam.start()), |tree| {
        tree.string("compatible", "pci-host-ecam-generic")?;
        tree.string("device_type", "pci")?;
        tree.reg(&[pci.ecam])?;
        tree.cells("#address-cells", &[3])?;
        tree.cells("#size-cells", &[2])?;
        // One MiB for each bus: validated.
        let last_bus = u32::try_from(pci.ecam.len() >> 20)
            .unwrap_or(u32::MAX)
            .saturating_sub(1);
        tree.cells("bus-range", &[0, last_bus])?;
        tree.cells("linux,pci-domain", &[0])?;
        let mut ranges = Vec::new();
        for window in &pci.windows {
            ranges.push(window.space.phys_hi());
            for number in [window.pci_addr, window.range.start(), window.range.len()] {
                ranges.extend(cells_of(number));
            }
        }
        tree.cells("ranges", &ranges)?;
        tree.bytes("dma-coherent", &[])?;
        if let Some(pins) = &pci.intx {
            write_intx(tree, pins, wiring)?;
        }
        match wiring.msi().filter(|_| pci.msi) {
            // All 65536 requester ids, as device ids of the ITS.
            Some(MsiController::Its) => tree.cells("msi-map", &[0, phandle::MSI_CONTROLLER, 0, 0x1_0000]),
            Some(MsiController::Plain) => tree.cells("msi-parent", &[phandle::MSI_CONTROLLER]),
            None => Ok(()),
        }
    })
}

/// The interrupt map of four slots. The mask maps each further slot to slot number modulo four.
fn write_intx(
    tree: &mut Writer,
    pins: &[boot_core::machine::Interrupt; 4],
    wiring: &Wiring<'_>,
) -> Result<(), CreateFdtError> {
    let mut map = Vec::new();
    for slot in 0..4u32 {
        let lines = pins.iter().cycle().skip(usize::try_from(slot).unwrap_or(0));
        for (pin, line) in (1..=4).zip(lines) {
            // phys.hi with the slot in bits 11 to 15, phys.mid, phys.lo, pin; then the controller and the line.
            map.extend([slot << 11, 0, 0, pin, phandle::INTERRUPT_CONTROLLER]);
            map.extend(core::iter::repeat_n(0, wiring.address_cells()));
            map.extend(wiring.specifier(*line));
        }
    }
    tree.cells("#interrupt-cells", &[1])?;
    tree.cells("interrupt-map", &map)?;
    tree.cells("interrupt-map-mask", &[3 << 11, 0, 0, 7])
}

fn write_syscon(tree: &mut Writer, syscon: &Syscon) -> Result<(), CreateFdtError> {
    tree.node(&format!("syscon@{:x}", syscon.range.start()), |tree| {
        tree.strings("compatible", ["syscon", "simple-mfd"])?;
        tree.reg(&[syscon.range])?;
        tree.phandle(phandle::SYSCON)?;
        write_register(tree, "poweroff", "syscon-poweroff", syscon.poweroff)?;
        write_register(tree, "reboot", "syscon-reboot", syscon.reset)
    })
}

fn write_register(
    tree: &mut Writer,
    name: &str,
    compatible: &str,
    write: Option<RegisterWrite>,
) -> Result<(), CreateFdtError> {
    let Some(write) = write else {
        return Ok(());
    };
    tree.node(name, |tree| {
        tree.string("compatible", compatible)?;
        // Older kernels need `regmap` although the parent is the syscon.
        tree.cells("regmap", &[phandle::SYSCON])?;
        tree.cells("offset", &[write.offset])?;
        tree.cells("value", &[write.value])
    })
}
