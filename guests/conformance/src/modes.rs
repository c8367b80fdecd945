//! Operations other than the check of the clauses.
#![expect(unsafe_code, reason = "halting the CPU needs assembly")]

use core::arch::asm;

use clauses::{fail, report};
use contract::Mode;

use crate::exit;
use crate::machine::entry;
use crate::machine::phys::Phys;
use crate::machine::serial::Serial;
use crate::machine::trap;

/// Runs `mode`; returns only for [`Mode::Exit`].
pub(crate) fn run(mode: Mode, phys: &mut Phys) {
    if mode == Mode::Exit {
        return;
    }
    report::line(format_args!("{mode}"));
    match mode {
        Mode::Exit => {}
        Mode::Hang => loop {
            core::hint::spin_loop();
        },
        Mode::Halt => loop {
            // SAFETY: with interrupts disabled the CPU halts, as intended.
            unsafe { asm!("cli", "hlt", options(nomem, nostack)) };
        },
        Mode::TripleFault => exit::triple_fault(),
        Mode::Reset => exit::reset(),
        Mode::PowerOff => {
            fail!("mode", "{mode}"; "a mode that this machine supports");
            exit::finish()
        }
        Mode::Mmio(address) => {
            mmio(address, phys);
            exit::exit(true)
        }
        Mode::Echo => {
            trap::on_serial_interrupt(echo);
            exit::exit(true)
        }
        Mode::EchoPoll => {
            while Serial::receive().is_none_or(echo) {}
            exit::exit(true)
        }
    }
}

/// Sends `byte`; returns false for `q`.
fn echo(byte: u8) -> bool {
    Serial::send(byte);
    byte != b'q'
}

fn mmio(page: u64, phys: &mut Phys) {
    phys.set_uncached();
    let base = entry::record().base;
    let own = base..base + entry::image_length();
    for (address, value) in [(page, 0x5a), (page.saturating_add(4095), 0xa5)] {
        if own.contains(&address) {
            report::line(format_args!("mmio {address:#x}: inside the program"));
            continue;
        }
        let before = phys.read_byte(address);
        let written = phys.write(address, value);
        let after = phys.read_byte(address);
        let wrote = if written {
            "wrote"
        } else {
            "outside the address space, did not write"
        };
        report::line(format_args!(
            "mmio {address:#x}: read {before:#04x}, {wrote} {value:#04x}, read {after:#04x}"
        ));
    }
}
