//! One console for several devices.

use std::{
    fmt, io,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use hv_core::{ConsoleSink, Milestone, Observer};

/// A sink with several writers. The serial port and the consoles of SBI are the same console to the caller, so that there
/// is one first byte.
#[derive(Clone)]
pub struct SharedSink(Arc<Mutex<Shared>>);

struct Shared {
    sink: Box<dyn ConsoleSink>,
    observer: Arc<dyn Observer>,
    first: bool,
}

impl fmt::Debug for SharedSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedSink").finish_non_exhaustive()
    }
}

impl SharedSink {
    /// What is written to any clone of it goes to `sink`, or is thrown away where there is none; `observer` is told about
    /// the first byte.
    #[must_use]
    pub fn new(sink: Option<Box<dyn ConsoleSink>>, observer: Arc<dyn Observer>) -> Self {
        Self(Arc::new(Mutex::new(Shared {
            sink: sink.unwrap_or_else(|| Box::new(io::sink())),
            observer,
            first: true,
        })))
    }
}

impl io::Write for SharedSink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A poisoned sink panicked in a vCPU's thread, which the run reports by itself.
        let mut shared = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !bytes.is_empty() && std::mem::take(&mut shared.first) {
            shared
                .observer
                .milestone(Milestone::FirstConsoleByte, Instant::now());
        }
        shared.sink.write(bytes)?;
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
    fn writers_share_a_sink() {
        let (sender, receiver) = mpsc::channel();
        let timeline = Arc::new(Timeline::new());
        let mut first = SharedSink::new(Some(Box::new(Sent(sender))), timeline.clone());
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
        SharedSink::new(None, timeline).write_all(b"d").unwrap();
    }
}
