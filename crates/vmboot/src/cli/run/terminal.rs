//! Terminal input for the guest console.

use std::io::{self, IsTerminal, Read};
use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;

use hv_core::{InputError, SerialInput, StopHandle};
use rustix::termios::{self, OptionalActions, Termios};

/// Control-], which ends the run, as in telnet.
const ESCAPE: u8 = 0x1d;

/// Time before a retry when the input queue of the guest is full.
const RETRY: Duration = Duration::from_millis(5);

/// Restores the settings of the terminal when dropped.
pub(crate) struct Terminal {
    before: Termios,
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Fails only if the terminal was closed.
        let _ = termios::tcsetattr(io::stdin().as_fd(), OptionalActions::Now, &self.before);
    }
}

/// Forwards standard input to the guest console. A terminal is in raw mode until the result is dropped; Control-] ends the
/// run.
pub(crate) fn connect(input: SerialInput, stop: StopHandle) -> Option<Terminal> {
    let terminal = raw_terminal();
    let raw = terminal.is_some();
    // The thread is not joined: it may block on input until the program ends.
    thread::spawn(move || {
        let mut buf = [0; 256];
        let mut stdin = io::stdin().lock();
        while let Ok(len @ 1..) = stdin.read(&mut buf) {
            let bytes = &buf[..len];
            if raw && bytes.contains(&ESCAPE) {
                stop.stop();
                return;
            }
            for byte in bytes {
                loop {
                    match input.push(&[*byte]) {
                        Ok(()) => break,
                        Err(InputError::Full { .. }) => thread::sleep(RETRY),
                        // The serial port failed; the next access of the guest to it ends the run.
                        Err(_) => return,
                    }
                }
            }
        }
    });
    terminal
}

fn raw_terminal() -> Option<Terminal> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return None;
    }
    let before = termios::tcgetattr(stdin.as_fd()).ok()?;
    let mut raw = before.clone();
    raw.make_raw();
    termios::tcsetattr(stdin.as_fd(), OptionalActions::Now, &raw).ok()?;
    Some(Terminal { before })
}
