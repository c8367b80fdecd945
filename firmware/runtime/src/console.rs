//! Text to a console.

use core::fmt;

/// A console: a serial port, or what takes its place.
pub trait Console {
    /// Sends one byte.
    fn send(&self, byte: u8);

    /// The next byte that was received, if there is one.
    fn receive(&self) -> Option<u8>;
}

/// A [`Console`] for `write!`. Lines end with carriage return and line feed.
pub struct Writer<'a>(pub &'a dyn Console);

impl fmt::Write for Writer<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if byte == b'\n' {
                self.0.send(b'\r');
            }
            self.0.send(byte);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use core::cell::RefCell;
    use core::fmt::Write as _;

    use super::*;

    struct Recorder(RefCell<Vec<u8>>);

    impl Console for Recorder {
        fn send(&self, byte: u8) {
            self.0.borrow_mut().push(byte);
        }

        fn receive(&self) -> Option<u8> {
            None
        }
    }

    #[test]
    fn lines_end_as_terminals_need_it() {
        let recorder = Recorder(RefCell::default());
        writeln!(Writer(&recorder), "{} a\nb", 1).unwrap();
        assert_eq!(*recorder.0.borrow(), b"1 a\r\nb\r\n");
        assert_eq!(recorder.receive(), None);
    }
}
