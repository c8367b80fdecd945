//! The calls to the supervisor binary interface that KVM leaves to user space: consoles and the end of the machine.
//!
//! Numbers and behaviour: RISC-V Supervisor Binary Interface Specification 2.0, chapters 5 ("Legacy Extensions"), 10 ("System
//! Reset Extension") and 12 ("Debug Console Extension"). KVM answers everything else itself.

use std::{
    collections::VecDeque,
    fmt, io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use hv_core::{ConsoleSink, InputError, Milestone, Observer, SerialInput, SystemEvent};

/// Extension numbers.
const LEGACY_PUTCHAR: u64 = 1;
const LEGACY_GETCHAR: u64 = 2;
const LEGACY_SHUTDOWN: u64 = 8;
const DBCN: u64 = 0x4442_434e;
const SRST: u64 = 0x5352_5354;

/// The longest piece of console output or input that one call moves. A call may always move less than it was asked for.
const PIECE: u64 = 4096;

/// A call: `a7`, `a6` and `a0` to `a5`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// Which extension.
    pub extension: u64,
    /// Which of its functions.
    pub function: u64,
    /// The arguments.
    pub args: [u64; 6],
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The guest goes on with these values in `a0` and `a1`.
    Return([u64; 2]),
    /// The machine ends; the call does not return.
    System(SystemEvent),
}

/// An error code, in `a0` (section 3, "Binary Encoding").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Code(i64);

impl Code {
    const SUCCESS: Self = Self(0);
    const NOT_SUPPORTED: Self = Self(-2);
    const INVALID_PARAM: Self = Self(-3);
}

fn answer(code: Code, value: u64) -> Answer {
    Answer::Return([code.0.cast_unsigned(), value])
}

/// Guest memory, as the debug console reaches it. The guest may change it at any time.
pub trait GuestBytes {
    /// Copies `data.len()` bytes from guest physical `address`; false, with `data` in any state, where not all of it is
    /// RAM.
    #[must_use]
    fn read(&self, address: u64, data: &mut [u8]) -> bool;

    /// Copies `data` to guest physical `address`; false, with nothing written, where not all of it is RAM.
    #[must_use]
    fn write(&self, address: u64, data: &[u8]) -> bool;
}

/// The console behind the calls. Clones are the same console.
#[derive(Clone)]
pub struct SbiConsole(Arc<Mutex<Console>>);

struct Console {
    sink: Box<dyn ConsoleSink>,
    observer: Arc<dyn Observer>,
    first: bool,
    input: VecDeque<u8>,
}

impl fmt::Debug for SbiConsole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SbiConsole").finish_non_exhaustive()
    }
}

impl SbiConsole {
    /// A console whose output goes to `sink`; `observer` is told about the first byte.
    pub fn new(sink: Box<dyn ConsoleSink>, observer: Arc<dyn Observer>) -> Self {
        Self(Arc::new(Mutex::new(Console {
            sink,
            observer,
            first: true,
            input: VecDeque::new(),
        })))
    }

    fn lock(&self) -> MutexGuard<'_, Console> {
        // A poisoned console belongs to a vCPU thread that panicked, which the run reports by itself.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues all of `bytes` for the guest to ask for, or nothing.
    ///
    /// # Errors
    ///
    /// [`InputError::Full`] when more than [`SerialInput::CAPACITY`] bytes would wait.
    pub fn push(&self, bytes: &[u8]) -> Result<(), InputError> {
        let mut console = self.lock();
        let room = SerialInput::CAPACITY.saturating_sub(console.input.len());
        if bytes.len() > room {
            return Err(InputError::Full {
                len: bytes.len(),
                room,
            });
        }
        console.input.extend(bytes);
        Ok(())
    }

    /// Answers a call.
    ///
    /// # Errors
    ///
    /// The sink's own: the host cannot take the guest's output.
    pub fn call(&self, call: &Call, memory: &dyn GuestBytes) -> io::Result<Answer> {
        let [first, second, third, ..] = call.args;
        Ok(match (call.extension, call.function) {
            // The legacy functions have no number of their own, and change `a0` alone.
            (LEGACY_PUTCHAR, _) => {
                self.lock().write(&[low_byte(first)])?;
                Answer::Return([0, second])
            }
            (LEGACY_GETCHAR, _) => {
                let byte = self.lock().input.pop_front();
                Answer::Return([byte.map_or(u64::MAX, u64::from), second])
            }
            (LEGACY_SHUTDOWN, _) => Answer::System(SystemEvent::PowerOff),
            (DBCN, 0) => self.debug_write(first, second, third, memory)?,
            (DBCN, 1) => self.debug_read(first, second, third, memory),
            (DBCN, 2) => {
                self.lock().write(&[low_byte(first)])?;
                answer(Code::SUCCESS, 0)
            }
            (SRST, 0) => match first {
                0 => Answer::System(SystemEvent::PowerOff),
                1 | 2 => Answer::System(SystemEvent::Reset),
                _ => answer(Code::INVALID_PARAM, 0),
            },
            _ => answer(Code::NOT_SUPPORTED, 0),
        })
    }

    /// "Write bytes to the debug console from input memory" (12.1).
    fn debug_write(&self, len: u64, low: u64, high: u64, memory: &dyn GuestBytes) -> io::Result<Answer> {
        let mut data = buffer(len);
        if high != 0 || !memory.read(low, &mut data) {
            return Ok(answer(Code::INVALID_PARAM, 0));
        }
        if !data.is_empty() {
            self.lock().write(&data)?;
        }
        Ok(answer(Code::SUCCESS, count(data.len())))
    }

    /// "Read bytes from the debug console into an output memory" (12.2).
    fn debug_read(&self, len: u64, low: u64, high: u64, memory: &dyn GuestBytes) -> Answer {
        let mut data = buffer(len);
        // The whole of what the guest offers has to be its memory, even where less is waiting.
        if high != 0 || !memory.read(low, &mut data) {
            return answer(Code::INVALID_PARAM, 0);
        }
        let mut console = self.lock();
        let waiting = data.len().min(console.input.len());
        data.truncate(waiting);
        for (byte, input) in data.iter_mut().zip(&console.input) {
            *byte = *input;
        }
        if !memory.write(low, &data) {
            return answer(Code::INVALID_PARAM, 0);
        }
        console.input.drain(..waiting);
        answer(Code::SUCCESS, count(waiting))
    }
}

impl Console {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if std::mem::take(&mut self.first) {
            self.observer
                .milestone(Milestone::FirstConsoleByte, Instant::now());
        }
        self.sink.write(bytes)
    }
}

/// Room for one piece of at most `len` bytes.
fn buffer(len: u64) -> Vec<u8> {
    vec![0; usize::try_from(len.min(PIECE)).unwrap_or(0)]
}

fn count(len: usize) -> u64 {
    boot_core::arith::to_u64(len)
}

fn low_byte(word: u64) -> u8 {
    let [byte, ..] = word.to_le_bytes();
    byte
}

#[cfg(test)]
mod tests;
