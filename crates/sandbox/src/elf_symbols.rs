//! Names for the backtraces of crashed guests.

use std::sync::Arc;

use sandbox_debug::{SourceFrame, SymbolLimits, Symbols};

use crate::crash::{Frame, Location, Symbolizer};

/// Names of functions and source lines for the backtraces of a sandbox, from the ELF file of its guest.
///
/// The file is parsed when a guest crashes. One that is malformed leaves the backtrace without names.
#[derive(Clone, Debug)]
pub struct ElfSymbols {
    elf: Arc<[u8]>,
    limits: SymbolLimits,
}

impl ElfSymbols {
    /// The symbols of the ELF file `elf`.
    #[must_use]
    pub fn new(elf: impl Into<Arc<[u8]>>) -> Self {
        Self {
            elf: elf.into(),
            limits: SymbolLimits::default(),
        }
    }

    /// Sets the limits of the work for one backtrace.
    #[must_use]
    pub fn with_limits(mut self, limits: SymbolLimits) -> Self {
        self.limits = limits;
        self
    }
}

impl Symbolizer for ElfSymbols {
    fn symbolize(&self, frames: &mut Vec<Frame>) {
        // The call of a caller ends before its return address, and the next function may start there.
        let is_return = |at: usize| at > 0;
        let addresses: Vec<u64> = frames
            .iter()
            .enumerate()
            .map(|(at, frame)| frame.address.wrapping_sub(is_return(at).into()))
            .collect();
        let symbols = Symbols::new(&self.elf).with_limits(self.limits);
        let Ok(found) = symbols.resolve(&addresses) else {
            return;
        };
        let named = frames.iter().zip(found).flat_map(|(frame, sources)| {
            if sources.is_empty() {
                vec![frame.clone()]
            } else {
                let named = sources.iter().map(|source| with_source(frame.address, source));
                named.collect()
            }
        });
        *frames = named.collect();
    }
}

fn with_source(address: u64, source: &SourceFrame) -> Frame {
    let mut frame = Frame::new(address);
    frame.function.clone_from(&source.function);
    frame.location = source
        .file
        .as_ref()
        .map(|file| Location::new(file.as_str(), source.line.unwrap_or(0), 0));
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_without_symbols_leave_frames_as_they_are() {
        let mut frames = vec![Frame::new(0x4000_1000), Frame::new(0)];
        let before = frames.clone();
        for elf in [&b""[..], b"\x7fELF\x02\x01\x01"] {
            ElfSymbols::new(elf).symbolize(&mut frames);
            assert_eq!(frames, before);
        }
    }

    #[test]
    fn frames_of_this_program_have_names() {
        // A static function of this program that is not position-independent would do; its file has offsets, which are as good as addresses.
        let file = std::fs::read("/proc/self/exe").unwrap();
        let symbols = Symbols::new(&file);
        let elf = ElfSymbols::new(file.clone());
        let object = object::File::parse(&*file).unwrap();
        let name = "files_without_symbols_leave_frames_as_they_are";
        let address = object::Object::symbols(&object)
            .find(|symbol| object::ObjectSymbol::name(symbol).is_ok_and(|found| found.contains(name)))
            .map(|symbol| object::ObjectSymbol::address(&symbol))
            .expect("this program has its symbols");
        let expected = symbols.resolve(&[address]).unwrap().remove(0);
        // The second frame's address is one of a return: its call is before it.
        let mut frames = vec![Frame::new(address), Frame::new(address + 1)];
        elf.symbolize(&mut frames);
        assert!(frames.len() >= 2 * expected.len());
        for frame in [&frames[expected.len() - 1], &frames[frames.len() - 1]] {
            let function = frame.function.as_deref().unwrap_or_default();
            assert!(function.contains(name), "{function}");
        }
    }
}
