//! Functions and source lines of addresses, from the guest's ELF file.

mod budget;

use std::{
    fmt::{self, Write},
    rc::Rc,
};

use addr2line::{Context, LookupResult};
use gimli::{Dwarf, SectionId};
use object::{Object, ObjectSection, ObjectSymbol, SymbolKind, read::elf::ElfFile64};

use self::budget::{Budget, Limited};

/// Limits of one [`Symbols::resolve`] call. The ELF file is as little trusted as the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct SymbolLimits {
    /// Number of read operations on debug information. An operation takes a few nanoseconds, and can make the lookup allocate some tens of
    /// bytes, which it frees at its end. Default: 4 million.
    pub operations: u64,
    /// Length of each name in bytes. Default: 1024.
    pub name_len: usize,
    /// Number of frames of one address: a function and those inlined into it. Default: 32.
    pub inlined: usize,
}

impl Default for SymbolLimits {
    fn default() -> Self {
        Self {
            operations: 4_000_000,
            name_len: 1024,
            inlined: 32,
        }
    }
}

/// A function, and a place in its source. All strings come from the ELF file, so they can contain anything but are limited in length.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct SourceFrame {
    /// Demangled name of the function.
    pub function: Option<String>,
    /// The source file.
    pub file: Option<String>,
    /// The line, from 1 up.
    pub line: Option<u32>,
    /// The function was inlined into that of the next frame.
    pub is_inlined: bool,
}

/// Such as `guest::parse at src/main.rs:17`.
impl fmt::Display for SourceFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Control characters would let the guest write to the terminal of the reader.
        let clean = |text: &str| text.replace(char::is_control, "\u{fffd}");
        match &self.function {
            Some(function) => f.write_str(&clean(function))?,
            None => f.write_str("<unknown function>")?,
        }
        if let Some(file) = &self.file {
            write!(f, " at {}", clean(file))?;
            if let Some(line) = self.line {
                write!(f, ":{line}")?;
            }
        }
        Ok(())
    }
}

/// Error of an ELF file without usable symbols.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SymbolError {
    /// The file is no 64-bit little-endian ELF file, or its headers are malformed.
    #[error("the file is not a valid 64-bit little-endian ELF file")]
    Elf(#[source] object::read::Error),
    /// The budget was spent before the lookup ended.
    #[error("the debug information takes more than {operations} read operations")]
    Budget {
        /// [`SymbolLimits::operations`].
        operations: u64,
    },
}

/// Symbols of an ELF file whose addresses are those of the guest.
#[derive(Clone, Copy, Debug)]
pub struct Symbols<'a> {
    elf: &'a [u8],
    limits: SymbolLimits,
}

type Elf<'a> = ElfFile64<'a, object::LittleEndian>;

impl<'a> Symbols<'a> {
    /// The symbols of the ELF file `elf`, which is parsed by each [`resolve`](Self::resolve).
    #[must_use]
    pub fn new(elf: &'a [u8]) -> Self {
        let limits = SymbolLimits::default();
        Self { elf, limits }
    }

    /// Sets the limits.
    #[must_use]
    pub fn with_limits(mut self, limits: SymbolLimits) -> Self {
        self.limits = limits;
        self
    }

    /// The frames of each address, innermost first: the function at the address, or the chain of functions that are inlined there. Empty for
    /// an address without a symbol.
    ///
    /// Debug information that is malformed is ignored; the symbol table is used where it has none. Give the addresses of
    /// [`Frame::lookup_address`](crate::Frame::lookup_address).
    ///
    /// # Errors
    ///
    /// [`SymbolError::Elf`]; [`SymbolError::Budget`] if not even the headers of the debug information are within the budget. If the budget is
    /// spent later, the remaining addresses have the names of the symbol table only.
    pub fn resolve(&self, addresses: &[u64]) -> Result<Vec<Vec<SourceFrame>>, SymbolError> {
        let elf = Elf::parse(self.elf).map_err(SymbolError::Elf)?;
        let budget = Budget::new(self.limits.operations);
        let context = context(&elf, &budget);
        if budget.is_spent() {
            let operations = self.limits.operations;
            return Err(SymbolError::Budget { operations });
        }
        let mut found = Vec::with_capacity(addresses.len());
        for &address in addresses {
            let mut frames = match &context {
                // addr2line adds 1 to the address. No function is there.
                Some(context) if address < u64::MAX => self.lookup(context, address),
                _ => Vec::new(),
            };
            let needs_name = frames.last().is_none_or(|frame| frame.function.is_none());
            if needs_name && let Some(name) = self.symbol(&elf, address) {
                if frames.is_empty() {
                    frames.push(SourceFrame::default());
                }
                if let Some(frame) = frames.last_mut() {
                    frame.function = Some(name);
                }
            }
            found.push(frames);
        }
        Ok(found)
    }

    fn lookup(&self, context: &Context<Limited<'_>>, address: u64) -> Vec<SourceFrame> {
        let mut frames: Vec<SourceFrame> = Vec::new();
        // Debug information in other files is not loaded.
        let mut result = context.find_frames(address);
        let found = loop {
            result = match result {
                LookupResult::Output(found) => break found,
                LookupResult::Load { continuation, .. } => {
                    addr2line::LookupContinuation::resume(continuation, None)
                }
            };
        };
        let Ok(mut iterator) = found else {
            return frames;
        };
        while frames.len() < self.limits.inlined
            && let Ok(Some(frame)) = iterator.next()
        {
            if let Some(last) = frames.last_mut() {
                last.is_inlined = true;
            }
            let name = frame.function.as_ref().and_then(|name| name.raw_name().ok());
            let (file, line) = match &frame.location {
                Some(location) => (location.file, location.line),
                None => (None, None),
            };
            frames.push(SourceFrame {
                function: name.map(|name| self.demangle(&name)),
                file: file.map(|file| self.shorten(file).to_owned()),
                line,
                is_inlined: false,
            });
        }
        frames
    }

    /// The name of the function of the symbol table that contains the address.
    fn symbol(&self, elf: &Elf<'_>, address: u64) -> Option<String> {
        let function = elf.symbols().find(|symbol| {
            let offset = address.checked_sub(symbol.address());
            symbol.kind() == SymbolKind::Text
                && symbol.is_definition()
                && offset.is_some_and(|offset| offset < symbol.size().max(1))
        })?;
        let name = String::from_utf8_lossy(function.name_bytes().ok()?);
        Some(self.demangle(&name))
    }

    fn demangle(&self, name: &str) -> String {
        let mut short = Short {
            text: String::new(),
            left: self.limits.name_len,
        };
        // Mangled names are longer. An error says that the text is longer than the limit.
        let mangled = prefix(name, self.limits.name_len.saturating_mul(8));
        let _ = write!(short, "{:#}", rustc_demangle::demangle(mangled));
        short.text
    }

    fn shorten<'n>(&self, name: &'n str) -> &'n str {
        prefix(name, self.limits.name_len)
    }
}

/// The debug information of a file; `None` if it is malformed.
fn context<'e>(elf: &Elf<'e>, budget: &Rc<Budget>) -> Option<Context<Limited<'e>>> {
    let load = |id: SectionId| -> Result<Limited<'e>, gimli::Error> {
        let section = elf.section_by_name(id.name());
        let bytes = section.and_then(|section| section.data().ok());
        Ok(Limited::new(bytes.unwrap_or_default(), budget))
    };
    let dwarf = Dwarf::load(load).ok()?;
    Context::from_dwarf(dwarf).ok()
}

/// The start of a text, up to `len` bytes.
fn prefix(text: &str, len: usize) -> &str {
    text.get(..text.floor_char_boundary(len)).unwrap_or_default()
}

/// Text up to a length in bytes.
struct Short {
    text: String,
    left: usize,
}

impl Write for Short {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let start = prefix(text, self.left);
        self.left = self.left.saturating_sub(start.len());
        self.text.push_str(start);
        if start.len() == text.len() {
            Ok(())
        } else {
            Err(fmt::Error)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{error::Error, fs};

    use object::{
        Architecture, BinaryFormat, Endianness, SectionKind,
        write::{self, StandardSegment},
    };

    use super::*;

    type TestResult = Result<(), Box<dyn Error>>;

    const LINE: u32 = line!() + 2;
    #[inline(never)]
    fn function_to_be_found(value: u32) -> u32 {
        std::hint::black_box(value)
    }

    /// The frames of an address in this program.
    fn own(name: &str, limits: SymbolLimits) -> Result<Vec<SourceFrame>, Box<dyn Error>> {
        let bytes = fs::read(std::env::current_exe()?)?;
        let elf = Elf::parse(&*bytes)?;
        let symbol = elf.symbols().find(|symbol| {
            let found = symbol.name().unwrap_or_default();
            found.contains(name) && symbol.kind() == SymbolKind::Text
        });
        let address = symbol.ok_or("no symbol")?.address();
        let symbols = Symbols::new(&bytes).with_limits(limits);
        let mut found = symbols.resolve(&[address])?;
        Ok(found.pop().ok_or("no result")?)
    }

    #[test]
    fn functions_have_names_files_and_lines() -> TestResult {
        assert_eq!(function_to_be_found(7), 7);
        let mut limits = SymbolLimits::default();
        limits.operations *= 10;
        let found = own("function_to_be_found", limits)?;
        let [frame] = &*found else {
            return Err(format!("{found:?}").into());
        };
        let name = "sandbox_debug::symbols::tests::function_to_be_found";
        assert_eq!(frame.function.as_deref(), Some(name));
        assert!(frame.file.as_deref().unwrap().ends_with("src/symbols.rs"));
        assert_eq!((frame.line, frame.is_inlined), (Some(LINE), false));
        let text = frame.to_string();
        assert!(
            text.starts_with(name) && text.ends_with(&format!("src/symbols.rs:{LINE}")),
            "{text}"
        );
        limits.name_len = 20;
        let short = own("function_to_be_found", limits)?;
        assert_eq!(short[0].function.as_deref(), Some(&name[..20]));
        assert_eq!(short[0].file.as_ref().unwrap().len(), 20);
        Ok(())
    }

    #[test]
    fn the_budget_is_kept() {
        let limits = SymbolLimits {
            operations: 100,
            ..SymbolLimits::default()
        };
        let error = own("function_to_be_found", limits).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the debug information takes more than 100 read operations"
        );
    }

    /// An ELF file with a function symbol at 0x1000 and these sections.
    fn elf(sections: &[(&str, Vec<u8>)]) -> Vec<u8> {
        let mut file = write::Object::new(BinaryFormat::Elf, Architecture::X86_64, Endianness::Little);
        let text = file.add_section(Vec::new(), b".text".to_vec(), SectionKind::Text);
        file.append_section_data(text, &[0; 0x2000], 16);
        file.add_symbol(write::Symbol {
            name: b"_ZN5guest4main17h0123456789abcdefE".to_vec(),
            value: 0x1000,
            size: 0x10,
            kind: SymbolKind::Text,
            scope: object::SymbolScope::Linkage,
            weak: false,
            section: write::SymbolSection::Section(text),
            flags: object::SymbolFlags::None,
        });
        for (name, data) in sections {
            let segment = file.segment_name(StandardSegment::Debug).to_vec();
            let id = file.add_section(segment, name.as_bytes().to_vec(), SectionKind::Debug);
            file.append_section_data(id, data, 1);
        }
        file.write().unwrap()
    }

    #[test]
    fn the_symbol_table_is_used_without_debug_information() -> TestResult {
        let bytes = elf(&[]);
        let found = Symbols::new(&bytes).resolve(&[0x0fff, 0x1000, 0x100f, 0x1010])?;
        let frame = SourceFrame {
            function: Some("guest::main".into()),
            ..SourceFrame::default()
        };
        assert_eq!(found, [vec![], vec![frame.clone()], vec![frame.clone()], vec![]]);
        assert_eq!(frame.to_string(), "guest::main");
        Ok(())
    }

    #[test]
    fn the_last_address_has_no_function() -> TestResult {
        let bytes = elf(&nested(3));
        assert_eq!(Symbols::new(&bytes).resolve(&[u64::MAX])?, [vec![]]);
        Ok(())
    }

    /// A unit with `levels` nested subroutines that are inlined into a function at 0x1000, without names.
    fn nested(levels: usize) -> Vec<(&'static str, Vec<u8>)> {
        // Abbreviations with children, low and high address (DW_AT_low_pc, DW_FORM_addr; DW_AT_high_pc, DW_FORM_data8).
        let abbreviation = |code, tag| [code, tag, 1, 0x11, 0x01, 0x12, 0x07, 0, 0];
        let mut abbreviations = Vec::new();
        for (code, tag) in [(1, 0x11), (2, 0x2e), (3, 0x1d)] {
            abbreviations.extend_from_slice(&abbreviation(code, tag));
        }
        abbreviations.push(0);
        // The rest of the unit's header: version 4, abbreviations at 0, addresses of 8 bytes.
        let mut unit = vec![4, 0, 0, 0, 0, 0, 8];
        let mut entry = |code: u8| {
            unit.push(code);
            unit.extend_from_slice(&0x1000_u64.to_le_bytes());
            unit.extend_from_slice(&0x10_u64.to_le_bytes());
        };
        entry(1);
        entry(2);
        for _ in 0..levels {
            entry(3);
        }
        unit.resize(unit.len() + levels + 2, 0);
        let mut info = u32::try_from(unit.len()).unwrap().to_le_bytes().to_vec();
        info.append(&mut unit);
        vec![(".debug_abbrev", abbreviations), (".debug_info", info)]
    }

    #[test]
    fn nested_functions_do_not_overflow_the_stack() -> TestResult {
        let bytes = elf(&nested(3));
        let found = Symbols::new(&bytes).resolve(&[0x1008])?;
        assert_eq!(found[0].len(), 4);
        assert!(found[0][0].is_inlined && !found[0][3].is_inlined);
        assert_eq!(found[0][3].function.as_deref(), Some("guest::main"));
        let limits = SymbolLimits {
            operations: u64::MAX,
            ..SymbolLimits::default()
        };
        let bytes = elf(&nested(200_000));
        let found = Symbols::new(&bytes).with_limits(limits).resolve(&[0x1008])?;
        // The nested functions are refused, the symbol table is not.
        assert_eq!(found[0].len(), 1);
        assert_eq!(found[0][0].function.as_deref(), Some("guest::main"));
        Ok(())
    }

    #[test]
    fn malformed_files_are_errors_or_have_no_symbols() {
        let valid = elf(&nested(3));
        assert!(matches!(
            Symbols::new(b"\x7fELF").resolve(&[0]),
            Err(SymbolError::Elf(_))
        ));
        // Every byte in turn: nothing panics, and the time is limited.
        let limits = SymbolLimits {
            operations: 10_000,
            ..SymbolLimits::default()
        };
        let interesting = (0..0x40).chain(0x2000..valid.len());
        for at in interesting {
            for value in [0, 1, 0x7f, 0xff] {
                let mut bytes = valid.clone();
                bytes[at] = value;
                let _ = Symbols::new(&bytes)
                    .with_limits(limits)
                    .resolve(&[0x1000, 0x1008]);
            }
        }
    }

    #[test]
    fn names_cannot_control_a_terminal() {
        let frame = SourceFrame {
            function: Some("\u{1b}[2J".into()),
            file: Some("a\nb".into()),
            ..SourceFrame::default()
        };
        assert_eq!(frame.to_string(), "\u{fffd}[2J at a\u{fffd}b");
    }
}
