//! The part of gdb's remote protocol that the comparison needs (GDB manual, "Overview of Remote Protocol").

use std::fmt::Write as _;
use std::io::{BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;

/// Longest time until QEMU listens, and until it answers: until the guest is at its entry, too.
const TIMEOUT: Duration = Duration::from_mins(2);

/// A connection to QEMU's stub.
pub(crate) struct Gdb(BufReader<UnixStream>);

impl Gdb {
    pub(crate) fn connect(socket: &Path) -> Result<Self, Failed> {
        let start = Instant::now();
        let stream = loop {
            match UnixStream::connect(socket) {
                Ok(stream) => break stream,
                Err(error) if start.elapsed() > TIMEOUT => return Err(error.into()),
                Err(_) => thread::sleep(Duration::from_millis(20)),
            }
        };
        stream.set_read_timeout(Some(TIMEOUT))?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Sends a packet and returns the reply.
    fn call(&mut self, packet: &str) -> Result<String, Failed> {
        let sum = packet.bytes().fold(0_u8, u8::wrapping_add);
        write!(self.0.get_mut(), "${packet}#{sum:02x}")?;
        self.reply()
    }

    fn byte(&mut self) -> Result<u8, Failed> {
        let mut byte = [0];
        self.0.read_exact(&mut byte)?;
        Ok(byte[0])
    }

    /// The next packet.
    fn reply(&mut self) -> Result<String, Failed> {
        while self.byte()? != b'$' {}
        let mut text = String::new();
        loop {
            match self.byte()? {
                b'#' => break,
                byte => text.push(byte.into()),
            }
        }
        // The checksum of a socket is right.
        self.byte()?;
        self.byte()?;
        self.0.get_mut().write_all(b"+")?;
        Ok(text)
    }

    /// Runs the guest until it executes the instruction at `addr` for the first time.
    pub(crate) fn run_to(&mut self, addr: u64) -> Result<(), Failed> {
        let set = self.call(&format!("Z1,{addr:x},4"))?;
        let stopped = self.call("c")?;
        if set != "OK" || !stopped.starts_with("T05") {
            return Err(format!("breakpoint: {set}, stop: {stopped}").into());
        }
        Ok(())
    }

    /// The 64-bit register with this index in the packet of all registers.
    pub(crate) fn register(&mut self, index: usize) -> Result<u64, Failed> {
        let all = self.call("g")?;
        let hex = all.get(index * 16..index * 16 + 16).ok_or("too few registers")?;
        Ok(u64::from_str_radix(hex, 16)?.swap_bytes())
    }

    /// Writes guest memory to a file, by a command of QEMU's monitor, and returns it.
    pub(crate) fn memory(&mut self, addr: u64, len: u64, dir: &Path) -> Result<Vec<u8>, Failed> {
        let path = dir.join("memory");
        // Without quotes, the slash of the path is a division.
        let command = format!("pmemsave {addr:#x} {len:#x} \"{}\"", path.display());
        let mut packet = "qRcmd,".to_owned();
        for byte in command.bytes() {
            write!(packet, "{byte:02x}")?;
        }
        // Output of the command comes before the result.
        let mut reply = self.call(&packet)?;
        while reply.starts_with('O') && reply != "OK" {
            reply = self.reply()?;
        }
        if reply != "OK" {
            return Err(format!("{command}: {reply}").into());
        }
        let bytes = std::fs::read(path)?;
        assert_eq!(bytes.len() as u64, len, "{command}");
        Ok(bytes)
    }
}
