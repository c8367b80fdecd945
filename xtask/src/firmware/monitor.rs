//! QEMU's monitor (QEMU Machine Protocol): why the machine stopped, and where its processor is.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

/// Time that QEMU needs at most to open its socket.
const CONNECT: Duration = Duration::from_secs(10);
/// Pause between attempts.
const PAUSE: Duration = Duration::from_millis(5);

/// How the guest ended the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It powered the machine off.
    PoweredOff,
    /// It reset the machine.
    Reset,
}

impl Ending {
    /// Name in messages.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::PoweredOff => "power-off",
            Self::Reset => "reset",
        }
    }
}

/// An event of the monitor.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Event {
    Ended(Ending),
    /// The answer of the human monitor.
    Registers(String),
    Other,
}

/// A connection to the monitor.
#[derive(Debug)]
pub(super) struct Monitor {
    stream: UnixStream,
    events: Receiver<Event>,
    ending: Option<Ending>,
}

impl Monitor {
    /// The value of QEMU's option `-qmp` for a socket at `path`.
    pub(super) fn option(path: &Path) -> String {
        format!("unix:{},server=on,wait=off", path.display())
    }

    /// Connects to the socket, which QEMU creates after its start. `None` if it does not.
    pub(super) fn connect(path: &Path) -> Option<Self> {
        let start = Instant::now();
        let mut stream = loop {
            match UnixStream::connect(path) {
                Ok(stream) => break stream,
                Err(_) if start.elapsed() < CONNECT => thread::sleep(PAUSE),
                Err(_) => return None,
            }
        };
        let reader = BufReader::new(stream.try_clone().ok()?);
        stream.write_all(b"{\"execute\":\"qmp_capabilities\"}\n").ok()?;
        let (sender, events) = mpsc::channel();
        thread::spawn(move || {
            for line in reader.lines() {
                let Ok(line) = line else { break };
                if sender.send(parse(&line)).is_err() {
                    break;
                }
            }
        });
        Some(Self {
            stream,
            events,
            ending: None,
        })
    }

    /// True if the processor executes the kernel at its virtual addresses, which are the upper half of the address space.
    pub(super) fn is_in_kernel(&mut self) -> bool {
        let request =
            b"{\"execute\":\"human-monitor-command\",\"arguments\":{\"command-line\":\"info registers\"}}\n";
        if self.stream.write_all(request).is_err() {
            return false;
        }
        let deadline = Instant::now() + Duration::from_secs(1);
        while let Ok(event) = self
            .events
            .recv_timeout(deadline.saturating_duration_since(Instant::now()))
        {
            match event {
                Event::Registers(text) => {
                    return program_counter(&text).is_some_and(|address| address >> 63 == 1);
                }
                Event::Ended(ending) => self.ending = Some(ending),
                Event::Other => {}
            }
        }
        false
    }

    /// Waits until QEMU has closed the connection, and gives the reason.
    pub(super) fn ending(mut self) -> Option<Ending> {
        while let Ok(event) = self.events.recv_timeout(CONNECT) {
            if let Event::Ended(ending) = event {
                self.ending = Some(ending);
            }
        }
        self.ending
    }
}

fn parse(line: &str) -> Event {
    let message: Value = serde_json::from_str(line).unwrap_or_default();
    if let Some(text) = message["return"].as_str() {
        return Event::Registers(text.to_owned());
    }
    if message["event"] == "SHUTDOWN" {
        match message["data"]["reason"].as_str() {
            Some("guest-shutdown") => return Event::Ended(Ending::PoweredOff),
            Some("guest-reset") => return Event::Ended(Ending::Reset),
            _ => {}
        }
    }
    Event::Other
}

/// The program counter in the output of `info registers`: `RIP=ffffffff81000000`, ` PC=ffff800080000000` or
/// ` pc       ffffffff80000000`.
fn program_counter(registers: &str) -> Option<u64> {
    let words: Vec<&str> = registers
        .split([' ', '=', '\n', '\r'])
        .filter(|word| !word.is_empty())
        .collect();
    words.windows(2).find_map(|window| match window {
        ["RIP" | "PC" | "pc", value] => u64::from_str_radix(value, 16).ok(),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_understood() {
        for (line, expected) in [
            (
                r#"{"timestamp": {}, "event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-reset"}}"#,
                Event::Ended(Ending::Reset),
            ),
            (
                r#"{"event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-shutdown"}}"#,
                Event::Ended(Ending::PoweredOff),
            ),
            (
                r#"{"event": "SHUTDOWN", "data": {"reason": "host-signal"}}"#,
                Event::Other,
            ),
            (r#"{"return": {}}"#, Event::Other),
            (
                r#"{"return": "RIP=0\r\n"}"#,
                Event::Registers("RIP=0\r\n".to_owned()),
            ),
            ("no JSON", Event::Other),
        ] {
            assert_eq!(parse(line), expected, "{line}");
        }
    }

    #[test]
    fn every_architecture_has_a_program_counter() {
        for (registers, expected) in [
            (
                "CPU#0\r\nRAX=0 RBX=1\r\nRIP=ffffffff81000000 RFL=2",
                Some(0xffff_ffff_8100_0000),
            ),
            (
                "\r\nCPU#0\r\n PC=ffff800080000000 X00=1",
                Some(0xffff_8000_8000_0000),
            ),
            (
                " V      =   0\r\n pc       0000000080200000\r\n",
                Some(0x8020_0000),
            ),
            ("", None),
        ] {
            assert_eq!(program_counter(registers), expected, "{registers}");
        }
    }
}
