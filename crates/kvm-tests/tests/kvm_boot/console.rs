//! Guest console that collects output and replies with input.

use std::collections::VecDeque;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use hv_core::{SerialInput, StopHandle};

/// A text to wait for, and the input to send after it.
pub(crate) type Answer = (&'static str, &'static [u8]);

/// Collects output and replies with input.
#[derive(Clone, Default)]
pub(crate) struct Console(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    output: Vec<u8>,
    /// Offset in the output from which the next text is searched.
    unanswered: usize,
    answers: VecDeque<Answer>,
    input: Option<SerialInput>,
    stop: Option<(&'static str, StopHandle)>,
}

impl Console {
    /// Sends each of `answers` to `input` when the guest has printed its text after the text of the previous one.
    pub(crate) fn converse(&self, answers: &[Answer], input: SerialInput) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.answers = answers.iter().copied().collect();
        state.input = Some(input);
    }

    /// Stops the run as soon as the guest has printed `text`.
    pub(crate) fn stop_at(&self, text: &'static str, stop: StopHandle) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.stop = Some((text, stop));
    }

    /// The output so far.
    pub(crate) fn text(&self) -> String {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&state.output).into_owned()
    }
}

impl State {
    /// The run to stop, once its text is there. The text may have come in pieces.
    fn stop(&mut self) -> Option<StopHandle> {
        let (text, _) = self.stop.as_ref()?;
        let is_there = self
            .output
            .windows(text.len())
            .any(|window| window == text.as_bytes());
        if is_there {
            self.stop.take().map(|(_, stop)| stop)
        } else {
            None
        }
    }

    /// The input to send now.
    fn due(&mut self) -> Vec<u8> {
        let mut due = Vec::new();
        while let Some((text, bytes)) = self.answers.front() {
            let rest = self.output.get(self.unanswered..).unwrap_or_default();
            let Some(at) = rest
                .windows(text.len())
                .position(|window| window == text.as_bytes())
            else {
                break;
            };
            self.unanswered += at + text.len();
            due.extend_from_slice(bytes);
            self.answers.pop_front();
        }
        due
    }
}

impl Write for Console {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.output.extend_from_slice(bytes);
        let due = state.due();
        if let (false, Some(input)) = (due.is_empty(), state.input.clone()) {
            // The serial port is locked here, so another thread sends the input. If that fails, the guest does not echo it and
            // the case fails.
            std::thread::spawn(move || input.push(&due).is_ok());
        }
        if let Some(stop) = state.stop() {
            // From a thread of its own, for the same reason.
            std::thread::spawn(move || stop.stop());
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
