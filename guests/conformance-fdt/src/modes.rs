//! What the program does instead of checking.

use clauses::{fail, report};
use contract::Mode;

use crate::fdt::Fdt;
use crate::machine::irqchip::{self, Controller};
use crate::machine::{arch, console};
use crate::run;

/// Says that the run went well, or that it did not, and leaves.
pub(crate) fn leave(good: bool) -> ! {
    if good { arch::power_off() } else { arch::reset() }
}

/// Does what `mode` asks; comes back if that is to check.
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
            leave(true)
        }
        Mode::EchoPoll => {
            while console::receive().is_none_or(echo) {}
            leave(true)
        }
        Mode::Echo => {
            let Some(controller) = irqchip::enable_serial(tree) else {
                fail!("mode", "{mode}"; "a serial port with an interrupt");
                run::finish()
            };
            echo_on_interrupt(&controller);
            leave(true)
        }
        Mode::Triple => {
            fail!("mode", "{mode}"; "a mode that this machine has");
            run::finish()
        }
    }
}

/// Echoes what each interrupt announces until there is nothing more to do. Interrupts stay masked: the CPU waits for one to be
/// pending and asks the controller, which answers only if the port's line rose.
fn echo_on_interrupt(controller: &Controller) {
    // What came before raised no interrupt, and on some devices never will.
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

/// Echoes all that came in; answers whether to go on.
fn echo_all() -> bool {
    while let Some(byte) = console::receive() {
        if !echo(byte) {
            return false;
        }
    }
    true
}

/// Sends `byte` back; answers whether to go on.
fn echo(byte: u8) -> bool {
    console::send(byte);
    byte != b'q'
}

fn mmio(page: u64) {
    let base = arch::record().base;
    let own = base..base + crate::machine::phys::image_length();
    for (address, value) in [(page, 0x5a), (page.saturating_add(4095), 0xa5)] {
        if own.contains(&address) {
            report::line(format_args!("mmio {address:#x}: the program's own memory"));
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
