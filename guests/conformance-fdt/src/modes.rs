//! Operations other than the check of the clauses.

use clauses::{fail, report};
use contract::Mode;

use crate::exit;
use crate::fdt::Fdt;
use crate::machine::irqchip::{self, Controller};
use crate::machine::{arch, console};

/// Runs `mode`; returns only for [`Mode::Exit`].
pub(crate) fn run(mode: Mode, tree: &Fdt<'_>) {
    if mode == Mode::Exit {
        return;
    }
    report::line(format_args!("{mode}"));
    match mode {
        Mode::Exit => {}
        Mode::Hang => loop {
            core::hint::spin_loop();
        },
        Mode::Halt => arch::stop(),
        Mode::Reset => arch::reset(),
        Mode::PowerOff => arch::power_off(),
        Mode::Mmio(address) => {
            mmio(address);
            exit::exit(true)
        }
        Mode::EchoPoll => {
            while console::receive().is_none_or(echo) {}
            exit::exit(true)
        }
        Mode::Echo => {
            let Some(controller) = irqchip::enable_serial(tree) else {
                fail!("mode", "{mode}"; "a serial port with an interrupt");
                exit::finish()
            };
            echo_on_interrupt(&controller);
            exit::exit(true)
        }
        Mode::TripleFault => {
            fail!("mode", "{mode}"; "a mode that this machine supports");
            exit::finish()
        }
    }
}

/// Echoes received bytes at each interrupt until a `q`. Interrupts remain masked: the CPU waits for a pending interrupt and
/// claims it at the controller.
fn echo_on_interrupt(controller: &Controller) {
    // Bytes received before raised no interrupt, and on some devices never do.
    if !echo_all() {
        return;
    }
    loop {
        arch::wait();
        while let Some(claim) = controller.claim() {
            let go_on = echo_all();
            controller.complete(claim);
            if !go_on {
                return;
            }
        }
    }
}

/// Echoes all received bytes; returns false after a `q`.
fn echo_all() -> bool {
    while let Some(byte) = console::receive() {
        if !echo(byte) {
            return false;
        }
    }
    true
}

/// Sends `byte`; returns false for `q`.
fn echo(byte: u8) -> bool {
    console::send(byte);
    byte != b'q'
}

fn mmio(page: u64) {
    let base = arch::record().base;
    let own = base..base + crate::machine::phys::image_length();
    for (address, value) in [(page, 0x5a), (page.saturating_add(4095), 0xa5)] {
        if own.contains(&address) {
            report::line(format_args!("mmio {address:#x}: inside the program"));
            continue;
        }
        let before = arch::read_u8(address);
        arch::write_u8(address, value);
        let after = arch::read_u8(address);
        report::line(format_args!(
            "mmio {address:#x}: read {before:#04x}, wrote {value:#04x}, read {after:#04x}"
        ));
    }
}
