//! Console output in larger pieces.

use std::{
    fmt,
    io::{self, Write},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::ConsoleOutput;

/// Console output that is written in lines, instead of byte by byte as a serial port transmits it.
///
/// Bytes are written to the output when a line ends, when [`CAPACITY`](Self::CAPACITY) bytes are waiting, and
/// [`DELAY`](Self::DELAY) after the first byte that waits, so that a prompt without a newline appears, too. The rest is written
/// when the value is dropped, or by [`OutputFlusher::flush`].
///
/// An error of the output is returned by the write that causes it. An error after the delay is returned by the next write or
/// flush, and reported by [`on_error`](Self::on_error): the guest may write nothing more, as at a prompt.
pub struct BufferedOutput<W> {
    shared: Arc<Shared<W>>,
    /// Writes what waits for longer than the delay.
    flusher: Option<JoinHandle<()>>,
}

/// Handle of a [`BufferedOutput`] that writes what waits, for the end of a run: the output itself belongs to a device.
pub struct OutputFlusher<W>(Arc<Shared<W>>);

impl<W: Write> OutputFlusher<W> {
    /// Writes the waiting bytes to the output.
    ///
    /// # Errors
    ///
    /// An error of the output, also of an earlier write that no one was told of.
    pub fn flush(&self) -> io::Result<()> {
        let mut state = self.0.lock();
        match state.error.take() {
            Some(error) => Err(error),
            None => state.flush(),
        }
    }
}

impl<W> fmt::Debug for OutputFlusher<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutputFlusher").finish_non_exhaustive()
    }
}

struct Shared<W> {
    state: Mutex<State<W>>,
    changed: Condvar,
}

struct State<W> {
    out: W,
    waiting: Vec<u8>,
    error: Option<io::Error>,
    /// Called at the first error after a delay.
    on_error: Option<Box<dyn FnOnce() + Send>>,
    /// The flusher waits until there are bytes.
    is_idle: bool,
    is_closed: bool,
}

impl BufferedOutput<io::Sink> {
    /// Largest number of bytes that wait.
    pub const CAPACITY: usize = 4096;

    /// Longest time for which bytes wait.
    pub const DELAY: Duration = Duration::from_millis(10);
}

const CAPACITY: usize = BufferedOutput::CAPACITY;
const DELAY: Duration = BufferedOutput::DELAY;

impl<W: Write + Send + 'static> BufferedOutput<W> {
    /// Buffers the output to `out`.
    ///
    /// # Errors
    ///
    /// The error of the start of the thread that writes after the delay.
    pub fn new(out: W) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                out,
                waiting: Vec::with_capacity(CAPACITY),
                error: None,
                on_error: None,
                is_idle: false,
                is_closed: false,
            }),
            changed: Condvar::new(),
        });
        let of_flusher = Arc::clone(&shared);
        let flusher = thread::Builder::new()
            .name("console".to_owned())
            .spawn(move || of_flusher.flush_after_delays())?;
        Ok(Self {
            shared,
            flusher: Some(flusher),
        })
    }

    /// Sets a function that is called once, at the first error of a write after the delay, on a thread of its own. It can stop
    /// the run ([`StopHandle`](crate::StopHandle)), whose guest may otherwise wait for ever; the error stays for
    /// [`OutputFlusher::flush`].
    #[must_use]
    pub fn on_error(self, report: impl FnOnce() + Send + 'static) -> Self {
        self.shared.lock().on_error = Some(Box::new(report));
        self
    }

    /// A handle that writes the waiting bytes.
    #[must_use]
    pub fn flusher(&self) -> OutputFlusher<W> {
        OutputFlusher(Arc::clone(&self.shared))
    }
}

impl<W: Write> Shared<W> {
    fn lock(&self) -> MutexGuard<'_, State<W>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn flush_after_delays(&self) {
        let mut state = self.lock();
        while !state.is_closed {
            if state.waiting.is_empty() {
                state.is_idle = true;
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            state.is_idle = false;
            state = self
                .changed
                .wait_timeout_while(state, DELAY, |state| !state.is_closed)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
            if let Err(error) = state.flush() {
                state.error = Some(error);
                if let Some(report) = state.on_error.take() {
                    // The function may use the output.
                    drop(state);
                    report();
                    state = self.lock();
                }
            }
        }
        // For a flusher.
        if let Err(error) = state.flush() {
            state.error.get_or_insert(error);
        }
    }
}

impl<W: Write> State<W> {
    fn flush(&mut self) -> io::Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let result = self.out.write_all(&self.waiting).and_then(|()| self.out.flush());
        self.waiting.clear();
        result
    }
}

impl<W: Write + Send> ConsoleOutput for BufferedOutput<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.shared.lock();
        if let Some(error) = state.error.take() {
            return Err(error);
        }
        state.waiting.extend_from_slice(bytes);
        if bytes.contains(&b'\n') || state.waiting.len() >= CAPACITY {
            return state.flush();
        }
        if std::mem::take(&mut state.is_idle) {
            self.shared.changed.notify_one();
        }
        Ok(())
    }
}

impl<W> Drop for BufferedOutput<W> {
    fn drop(&mut self) {
        self.shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_closed = true;
        self.shared.changed.notify_one();
        if let Some(flusher) = self.flusher.take() {
            // A panic of the output is not propagated: a panic while unwinding would abort the process.
            let _ = flusher.join();
        }
    }
}

impl<W> fmt::Debug for BufferedOutput<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BufferedOutput").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// Sends each piece that is written.
    struct Pieces(Sender<String>);

    impl Write for Pieces {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.send(String::from_utf8(bytes.to_vec()).unwrap());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Fails.
    struct Broken;

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn output() -> (BufferedOutput<Pieces>, Receiver<String>) {
        let (sender, receiver) = channel();
        (BufferedOutput::new(Pieces(sender)).unwrap(), receiver)
    }

    fn write(output: &mut BufferedOutput<Pieces>, text: &str) {
        for byte in text.bytes() {
            output.write(&[byte]).unwrap();
        }
    }

    #[test]
    fn lines_are_written_at_their_ends_and_in_order() {
        let (mut output, pieces) = output();
        write(&mut output, "one\ntwo\nthree");
        drop(output);
        let all: Vec<_> = pieces.iter().collect();
        assert_eq!(all.concat(), "one\ntwo\nthree");
        assert!(all.len() < "one\ntwo\nthree".len(), "{all:?}");
    }

    #[test]
    fn a_prompt_appears_without_a_newline() {
        let (mut output, pieces) = output();
        for prompt in ["login: ", "password: "] {
            write(&mut output, prompt);
            let mut found = String::new();
            while found != prompt {
                found += &pieces.recv_timeout(Duration::from_secs(20)).unwrap();
            }
        }
    }

    #[test]
    fn a_long_line_is_written_in_pieces() {
        let (mut output, pieces) = output();
        output.write(&[b'x'; CAPACITY]).unwrap();
        assert_eq!(pieces.try_recv().unwrap().len(), CAPACITY);
    }

    #[test]
    fn an_error_after_the_delay_is_returned_by_a_later_write() {
        let mut output = BufferedOutput::new(Broken).unwrap();
        assert!(output.write(b"line\n").is_err());
        // Far fewer bytes than the capacity, each long after the delay of the one before.
        let error = (0..400).find_map(|_| {
            let result = output.write(b"x");
            thread::sleep(5 * DELAY);
            result.err()
        });
        assert_eq!(error.map(|error| error.kind()), Some(io::ErrorKind::BrokenPipe));
        let flusher = output.flusher();
        output.write(b"x").unwrap();
        assert_eq!(flusher.flush().unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn an_error_after_the_delay_is_reported_without_a_further_write() {
        let (sender, receiver) = channel();
        let output = BufferedOutput::new(Broken).unwrap();
        let flusher = output.flusher();
        // The report takes the error.
        let mut output = output.on_error(move || sender.send(flusher.flush()).unwrap());
        output.write(b"login: ").unwrap();
        let error = receiver
            .recv_timeout(Duration::from_secs(20))
            .unwrap()
            .unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn an_error_at_the_end_is_returned_by_the_flusher() {
        let mut output = BufferedOutput::new(Broken).unwrap();
        let flusher = output.flusher();
        output.write(b"x").unwrap();
        drop(output);
        assert_eq!(flusher.flush().unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn a_handle_writes_what_waits() {
        let (mut output, pieces) = output();
        let flusher = output.flusher();
        flusher.flush().unwrap();
        write(&mut output, "P");
        flusher.flush().unwrap();
        assert_eq!(pieces.try_iter().collect::<String>(), "P");
    }
}
