//! The terminal's input, typed into the guest.

use std::io::{self, IsTerminal, Read};
use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;

use hv_core::{InputError, SerialInput, StopHandle};
use rustix::termios::{self, OptionalActions, Termios};

/// Control-], which ends the run as it ends a telnet session.
const ESCAPE: u8 = 0x1d;

/// How long to wait before offering the guest input again for which it had no room.
const RETRY: Duration = Duration::from_millis(5);

/// Gives the terminal its settings back when dropped.
pub(crate) struct Terminal {
    before: Termios,
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Nothing is left to be done where the terminal is gone.
        let _ = termios::tcsetattr(io::stdin().as_fd(), OptionalActions::Now, &self.before);
    }
}

/// Types what standard input brings into the guest. A terminal is switched to raw mode until the result is dropped:
/// every key goes to the guest, and Control-] ends the run.
pub(crate) fn connect(input: SerialInput, stop: StopHandle) -> Option<Terminal> {
    let terminal = raw_terminal();
    let raw = terminal.is_some();
    // The thread is not joined: it may wait for a key for ever, and the program ends without it.
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
                        // A port that is broken stays so, and the guest's next access to it ends the run.
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
