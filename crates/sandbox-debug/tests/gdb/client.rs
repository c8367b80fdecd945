//! A client of gdb's remote protocol that sends what a test asks for.

use std::{
    error::Error,
    io::{Read, Write},
    os::unix::net::UnixStream,
    time::Duration,
};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// The result of a thread with a client.
pub(crate) fn joined<T>(thread: std::thread::JoinHandle<T>) -> Result<T> {
    // The panic's message is on standard error.
    thread.join().ok().ok_or("a thread panicked".into())
}

/// One end of a connection.
pub(crate) struct Client(UnixStream);

impl Client {
    pub(crate) fn new(stream: UnixStream) -> Result<Self> {
        stream.set_read_timeout(Some(Duration::from_mins(1)))?;
        Ok(Self(stream))
    }

    /// Sends a packet without waiting.
    pub(crate) fn send(&mut self, packet: &str) -> Result<()> {
        let sum = packet.bytes().fold(0_u8, u8::wrapping_add);
        self.0.write_all(format!("${packet}#{sum:02x}").as_bytes())?;
        Ok(())
    }

    /// Ctrl-C.
    pub(crate) fn interrupt(&mut self) -> Result<()> {
        self.0.write_all(&[3])?;
        Ok(())
    }

    /// The next packet, acknowledged.
    pub(crate) fn receive(&mut self) -> Result<String> {
        let mut byte = [0];
        let mut packet = Vec::new();
        while byte != *b"$" {
            self.0.read_exact(&mut byte)?;
        }
        loop {
            self.0.read_exact(&mut byte)?;
            match byte {
                [b'#'] => break,
                // Run-length encoding: the last byte, so many times more.
                [b'*'] => {
                    self.0.read_exact(&mut byte)?;
                    let last = *packet.last().ok_or("run without a byte")?;
                    let count = byte[0].checked_sub(29).ok_or("run length")?;
                    packet.extend(std::iter::repeat_n(last, count.into()));
                }
                [byte] => packet.push(byte),
            }
        }
        self.0.read_exact(&mut [0; 2])?;
        // After its last answer the stub may have closed the connection.
        let _ = self.0.write_all(b"+");
        Ok(String::from_utf8(packet)?)
    }

    /// Sends a packet and returns the answer.
    pub(crate) fn ask(&mut self, packet: &str) -> Result<String> {
        self.send(packet)?;
        self.receive()
    }

    /// Sends a packet whose answer has to start with this text.
    pub(crate) fn expect(&mut self, packet: &str, answer: &str) -> Result<()> {
        let found = self.ask(packet)?;
        if found.starts_with(answer) && found.is_empty() == answer.is_empty() {
            Ok(())
        } else {
            Err(format!("{packet}: answer {found:?}, expected {answer:?}").into())
        }
    }
}
