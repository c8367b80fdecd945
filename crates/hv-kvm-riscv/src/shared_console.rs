//! One console output for several devices.

use std::{
    fmt, io,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use hv_core::{ConsoleOutput, Milestone, Observer};

/// Console output with several writers: the serial port and the SBI consoles share one output and one
/// [`Milestone::FirstConsoleByte`].
#[derive(Clone)]
pub struct SharedConsole(Arc<Mutex<Shared>>);

struct Shared {
    output: Box<dyn ConsoleOutput>,
    observer: Arc<dyn Observer>,
    first: bool,
}

impl fmt::Debug for SharedConsole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedConsole").finish_non_exhaustive()
    }
}

impl SharedConsole {
    /// A console that writes to `output`, or discards the bytes if that is `None`. `observer` receives
    /// [`Milestone::FirstConsoleByte`].
    #[must_use]
    pub fn new(output: Option<Box<dyn ConsoleOutput>>, observer: Arc<dyn Observer>) -> Self {
        Self(Arc::new(Mutex::new(Shared {
            output: output.unwrap_or_else(|| Box::new(io::sink())),
            observer,
            first: true,
        })))
    }
}

impl io::Write for SharedConsole {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A poisoned lock means that a vCPU's thread panicked; the run reports that panic.
        let mut shared = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !bytes.is_empty() && std::mem::take(&mut shared.first) {
            shared
                .observer
                .milestone(Milestone::FirstConsoleByte, Instant::now());
        }
        shared.output.write(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write as _,
        sync::mpsc::{self, Sender},
    };

    use hv_core::Timeline;

    use super::*;

    struct Sent(Sender<Vec<u8>>);

    impl io::Write for Sent {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(bytes.to_vec()).map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn writers_share_the_output() {
        let (sender, receiver) = mpsc::channel();
        let timeline = Arc::new(Timeline::new());
        let mut first = SharedConsole::new(Some(Box::new(Sent(sender))), timeline.clone());
        let mut second = first.clone();
        assert_eq!(timeline.entries(), []);
        first.write_all(b"a").unwrap();
        second.write_all(b"b").unwrap();
        let milestones: Vec<_> = timeline
            .entries()
            .into_iter()
            .map(|(milestone, _)| milestone)
            .collect();
        assert_eq!(milestones, [Milestone::FirstConsoleByte]);
        assert_eq!(receiver.try_iter().collect::<Vec<_>>(), [b"a", b"b"]);
        drop(receiver);
        assert!(first.write_all(b"c").is_err());
        SharedConsole::new(None, timeline).write_all(b"d").unwrap();
    }
}
