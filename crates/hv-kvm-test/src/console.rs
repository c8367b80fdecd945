//! A console whose output can be read.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};

/// A console whose output can be read. Clones share the output.
#[derive(Clone, Debug, Default)]
pub struct Console(Arc<Mutex<Vec<u8>>>);

impl Console {
    /// The output so far.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl io::Write for Console {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
