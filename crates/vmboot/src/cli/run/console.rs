//! Console output of the guest: forwarded, and searched for the text of the milestone.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hv_core::ConsoleOutput;

use super::timeline::Timeline;

/// Forwards output and records when a text appears in it.
#[derive(Debug)]
pub(crate) struct Console<W> {
    out: W,
    text: Option<String>,
    /// The last bytes of the output, fewer than the text has: the text may begin in them.
    tail: Vec<u8>,
    seen: Seen,
    timeline: Timeline,
}

/// Whether the text has appeared.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen(Arc<AtomicBool>);

impl Seen {
    pub(crate) fn get(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl<W: ConsoleOutput> Console<W> {
    pub(crate) fn new(out: W, text: Option<String>, timeline: Timeline) -> Self {
        Self {
            out,
            text,
            tail: Vec::new(),
            seen: Seen::default(),
            timeline,
        }
    }

    pub(crate) fn seen(&self) -> Seen {
        self.seen.clone()
    }

    fn search(&mut self, bytes: &[u8]) {
        let Some(text) = self.text.as_deref().filter(|_| !self.seen.get()) else {
            return;
        };
        self.tail.extend_from_slice(bytes);
        if self
            .tail
            .windows(text.len())
            .any(|window| window == text.as_bytes())
        {
            self.seen.0.store(true, Ordering::Release);
            self.timeline.reached(text);
        }
        let keep = text.len().saturating_sub(1).min(self.tail.len());
        self.tail.drain(..self.tail.len() - keep);
    }
}

impl<W: ConsoleOutput> ConsoleOutput for Console<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.search(bytes);
        self.out.write(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_found_in_any_division_of_the_output() {
        let check = |output: &[&str], expected: bool| {
            let mut console = Console::new(Vec::new(), Some("reached: Linux".to_owned()), Timeline::new());
            for part in output {
                console.write(part.as_bytes()).unwrap();
            }
            assert_eq!(console.seen().get(), expected, "{output:?}");
            assert_eq!(console.out, output.concat().as_bytes());
        };
        check(&["userspace reached: Linux 6.12"], true);
        check(&["userspace rea", "ched: Lin", "ux 6.12"], true);
        check(&["reached: ", "reached: Linux"], true);
        check(&["reached: Linu", "s"], false);
        check(&[], false);
        let bytes: Vec<_> = "userspace reached: Linux".split_inclusive(|_| true).collect();
        check(&bytes, true);
    }
}
