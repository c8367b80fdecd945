//! A client of gdb's remote protocol ("GDB Remote Serial Protocol" in gdb's manual).

use std::{
    error::Error,
    io::{Read, Write},
    os::unix::net::UnixStream,
    time::Duration,
};

/// Result of a client, which runs on a thread of its own.
pub type ClientResult<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// The result of a thread with a client.
///
/// # Errors
///
/// The thread panicked.
pub fn joined<T>(thread: std::thread::JoinHandle<T>) -> ClientResult<T> {
    // The panic's message is on standard error.
    thread.join().ok().ok_or("a thread panicked".into())
}

/// One end of a connection to a stub: it sends what a test asks for.
#[derive(Debug)]
pub struct Client(UnixStream);

impl Client {
    /// A client that waits a minute for each answer.
    ///
    /// # Errors
    ///
    /// Errors of the connection.
    pub fn new(stream: UnixStream) -> ClientResult<Self> {
        stream.set_read_timeout(Some(Duration::from_mins(1)))?;
        Ok(Self(stream))
    }

    /// Sends a packet without waiting.
    ///
    /// # Errors
    ///
    /// Errors of the connection, and answers that are not packets.
    pub fn send(&mut self, packet: &str) -> ClientResult {
        let sum = packet.bytes().fold(0_u8, u8::wrapping_add);
        self.0.write_all(format!("${packet}#{sum:02x}").as_bytes())?;
        Ok(())
    }

    /// Ctrl-C.
    ///
    /// # Errors
    ///
    /// Errors of the connection, and answers that are not packets.
    pub fn interrupt(&mut self) -> ClientResult {
        self.0.write_all(&[3])?;
        Ok(())
    }

    /// The next packet, acknowledged.
    ///
    /// # Errors
    ///
    /// Errors of the connection, and answers that are not packets.
    pub fn receive(&mut self) -> ClientResult<String> {
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
    ///
    /// # Errors
    ///
    /// Errors of the connection, and answers that are not packets.
    pub fn ask(&mut self, packet: &str) -> ClientResult<String> {
        self.send(packet)?;
        self.receive()
    }

    /// Sends a packet whose answer has to start with this text.
    ///
    /// # Errors
    ///
    /// As [`ask`](Self::ask), and for another answer.
    pub fn expect(&mut self, packet: &str, answer: &str) -> ClientResult {
        let found = self.ask(packet)?;
        if found.starts_with(answer) && found.is_empty() == answer.is_empty() {
            Ok(())
        } else {
            Err(format!("{packet}: answer {found:?}, expected {answer:?}").into())
        }
    }
}
