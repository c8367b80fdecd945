//! SBI calls that KVM forwards to user space: consoles, shutdown and reset.
//!
//! Numbers and behaviour: RISC-V Supervisor Binary Interface Specification 2.0, chapters 5 ("Legacy Extensions"), 10 ("System
//! Reset Extension") and 12 ("Debug Console Extension"). KVM handles all other calls.

use std::{
    collections::VecDeque,
    fmt, io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use hv_core::{ConsoleOutput, InputError, Milestone, Observer, SerialInput, SystemEvent};

/// Extension numbers.
const LEGACY_PUTCHAR: u64 = 1;
const LEGACY_GETCHAR: u64 = 2;
const LEGACY_SHUTDOWN: u64 = 8;
const DBCN: u64 = 0x4442_434e;
const SRST: u64 = 0x5352_5354;

/// Largest number of console bytes that one call transfers. A call may transfer fewer bytes than requested.
const MAX_TRANSFER: u64 = 4096;

/// An SBI call: `a7`, `a6` and `a0` to `a5`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SbiCall {
    /// Extension id.
    pub extension: u64,
    /// Function id.
    pub function: u64,
    /// Arguments.
    pub args: [u64; 6],
}

/// Outcome of an SBI call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SbiOutcome {
    /// The call returns these values in `a0` and `a1`.
    Return([u64; 2]),
    /// The machine is shut down or reset; the call does not return.
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

fn sbiret(code: Code, value: u64) -> SbiOutcome {
    SbiOutcome::Return([code.0.cast_unsigned(), value])
}

/// Access to guest memory for the debug console. The guest may change the memory at any time.
pub trait GuestMemoryAccess {
    /// Copies `data.len()` bytes from guest physical address `address` to `data`. Returns false, with any contents of `data`,
    /// if not all of the range is RAM.
    #[must_use]
    fn read(&self, address: u64, data: &mut [u8]) -> bool;

    /// Copies `data` to guest physical address `address`. Returns false, without a write, if not all of the range is RAM.
    #[must_use]
    fn write(&self, address: u64, data: &[u8]) -> bool;
}

/// Debug console and legacy console of SBI, with one output and one input queue. Clones share them.
#[derive(Clone)]
pub struct SbiConsole(Arc<Mutex<Console>>);

struct Console {
    output: Box<dyn ConsoleOutput>,
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
    /// A console with this output. `observer` receives [`Milestone::FirstConsoleByte`].
    pub fn new(output: Box<dyn ConsoleOutput>, observer: Arc<dyn Observer>) -> Self {
        Self(Arc::new(Mutex::new(Console {
            output,
            observer,
            first: true,
            input: VecDeque::new(),
        })))
    }

    fn lock(&self) -> MutexGuard<'_, Console> {
        // A poisoned lock means that a vCPU's thread panicked; the run reports that panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues all of `bytes` as input for the guest, or none of them.
    ///
    /// # Errors
    ///
    /// [`InputError::Full`] when the queue would exceed [`SerialInput::CAPACITY`] bytes.
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

    /// Handles an SBI call that KVM forwards to user space. Calls other than console, shutdown and system reset return
    /// `SBI_ERR_NOT_SUPPORTED`.
    ///
    /// # Errors
    ///
    /// Errors of the output.
    pub fn handle(&self, call: &SbiCall, memory: &dyn GuestMemoryAccess) -> io::Result<SbiOutcome> {
        let [first, second, third, ..] = call.args;
        Ok(match (call.extension, call.function) {
            // Legacy extensions have no function id and change only `a0`.
            (LEGACY_PUTCHAR, _) => {
                self.lock().write(&[low_byte(first)])?;
                SbiOutcome::Return([0, second])
            }
            (LEGACY_GETCHAR, _) => {
                let byte = self.lock().input.pop_front();
                SbiOutcome::Return([byte.map_or(u64::MAX, u64::from), second])
            }
            (LEGACY_SHUTDOWN, _) => SbiOutcome::System(SystemEvent::PowerOff),
            (DBCN, 0) => self.debug_write(first, second, third, memory)?,
            (DBCN, 1) => self.debug_read(first, second, third, memory),
            (DBCN, 2) => {
                self.lock().write(&[low_byte(first)])?;
                sbiret(Code::SUCCESS, 0)
            }
            (SRST, 0) => match first {
                0 => SbiOutcome::System(SystemEvent::PowerOff),
                1 | 2 => SbiOutcome::System(SystemEvent::Reset),
                _ => sbiret(Code::INVALID_PARAM, 0),
            },
            _ => sbiret(Code::NOT_SUPPORTED, 0),
        })
    }

    /// "Write bytes to the debug console from input memory" (12.1).
    fn debug_write(
        &self,
        len: u64,
        low: u64,
        high: u64,
        memory: &dyn GuestMemoryAccess,
    ) -> io::Result<SbiOutcome> {
        let mut data = buffer(len);
        if high != 0 || !memory.read(low, &mut data) {
            return Ok(sbiret(Code::INVALID_PARAM, 0));
        }
        if !data.is_empty() {
            self.lock().write(&data)?;
        }
        Ok(sbiret(Code::SUCCESS, count(data.len())))
    }

    /// "Read bytes from the debug console into an output memory" (12.2).
    fn debug_read(&self, len: u64, low: u64, high: u64, memory: &dyn GuestMemoryAccess) -> SbiOutcome {
        let mut data = buffer(len);
        // The whole buffer must be RAM, even if less input is queued.
        if high != 0 || !memory.read(low, &mut data) {
            return sbiret(Code::INVALID_PARAM, 0);
        }
        let mut console = self.lock();
        let waiting = data.len().min(console.input.len());
        data.truncate(waiting);
        for (byte, input) in data.iter_mut().zip(&console.input) {
            *byte = *input;
        }
        if !memory.write(low, &data) {
            return sbiret(Code::INVALID_PARAM, 0);
        }
        console.input.drain(..waiting);
        sbiret(Code::SUCCESS, count(waiting))
    }
}

impl Console {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if std::mem::take(&mut self.first) {
            self.observer
                .milestone(Milestone::FirstConsoleByte, Instant::now());
        }
        self.output.write(bytes)
    }
}

/// Buffer for one transfer of at most `len` bytes.
fn buffer(len: u64) -> Vec<u8> {
    vec![0; usize::try_from(len.min(MAX_TRANSFER)).unwrap_or(0)]
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
