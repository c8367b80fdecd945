//! What the program does instead of checking.
#![expect(unsafe_code, reason = "the ways to stop a CPU are instructions")]

use core::arch::asm;

use clauses::{fail, report};
use contract::Mode;

use crate::machine::entry;
use crate::machine::phys::Phys;
use crate::machine::port::Port;
use crate::machine::serial::Serial;
use crate::machine::trap;
use crate::run;

const DEBUG_EXIT: Port = Port::at(0xf4);
const I8042_COMMAND: Port = Port::at(0x64);
/// Times that the reset line is pulsed before the CPU brings itself down.
const RESET_TRIES: u32 = 1_000;

/// Says that the run went well, or that it did not, and leaves.
pub(crate) fn leave(good: bool) -> ! {
    DEBUG_EXIT.write(if good { 0x10 } else { 0x11 });
    // Still here: there is no such port.
    reset()
}

/// Resets the machine: by the keyboard controller, else by a triple fault.
pub(crate) fn reset() -> ! {
    for _ in 0..RESET_TRIES {
        I8042_COMMAND.write(0xfe);
    }
    triple_fault()
}

/// Does what `mode` asks; comes back if that is to check.
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
            // SAFETY: with interrupts off the CPU stops for good, which is what is asked.
            unsafe { asm!("cli", "hlt", options(nomem, nostack)) };
        },
        Mode::Triple => triple_fault(),
        Mode::Reset => reset(),
        Mode::PowerOff => {
            fail!("mode", "{mode}"; "a mode that this machine has");
            run::finish()
        }
        Mode::Mmio(address) => {
            mmio(address, phys);
            leave(true)
        }
        Mode::Echo => {
            trap::on_serial_interrupt(echo);
            leave(true)
        }
        Mode::EchoPoll => {
            while Serial::receive().is_none_or(echo) {}
            leave(true)
        }
    }
}

/// Sends `byte` back; answers whether to go on.
fn echo(byte: u8) -> bool {
    Serial::send(byte);
    byte != b'q'
}

fn mmio(page: u64, phys: &mut Phys) {
    phys.uncached();
    let base = entry::record().base;
    let own = base..base + entry::image_length();
    for (address, value) in [(page, 0x5a), (page.saturating_add(4095), 0xa5)] {
        if own.contains(&address) {
            report::line(format_args!("mmio {address:#x}: the program's own memory"));
            continue;
        }
        let before = phys.read_byte(address);
        let written = phys.write(address, value);
        let after = phys.read_byte(address);
        let wrote = if written {
            "wrote"
        } else {
            "cannot address, so did not write"
        };
        report::line(format_args!(
            "mmio {address:#x}: read {before:#04x}, {wrote} {value:#04x}, read {after:#04x}"
        ));
    }
}

fn triple_fault() -> ! {
    let empty = [0_u8; 10];
    // SAFETY: with an empty IDT the exception cannot be delivered, nor the one for that: the CPU shuts down, which is
    // what is asked.
    unsafe { asm!("lidt [{}]", "ud2", in(reg) &raw const empty, options(noreturn)) }
}
