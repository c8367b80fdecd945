//! Addresses of the running kernel.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader};

/// Where the kernel is.
pub(crate) struct KernelAddresses {
    /// Virtual address of the symbol `_text`, the start of the kernel.
    text: io::Result<u64>,
    /// Virtual address of the symbol `start_kernel`, where the code begins that all architectures share.
    start_kernel: io::Result<u64>,
    /// Physical address of "Kernel code" in the memory map.
    code: io::Result<u64>,
}

impl KernelAddresses {
    /// Reads the addresses of the running kernel, which only root sees.
    pub(crate) fn read() -> Self {
        Self {
            text: first("/proc/kallsyms", |line| symbol(line, "_text")),
            start_kernel: first("/proc/kallsyms", |line| symbol(line, "start_kernel")),
            code: first("/proc/iomem", code),
        }
    }
}

/// One line for each address.
impl fmt::Display for KernelAddresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, addr) in [
            ("_text", &self.text),
            ("start_kernel", &self.start_kernel),
            ("kernel code", &self.code),
        ] {
            match addr {
                Ok(addr) => writeln!(f, "{name}: {addr:#x}")?,
                Err(error) => writeln!(f, "{name}: unknown ({error})")?,
            }
        }
        Ok(())
    }
}

/// What `parse` finds in the first line of a file in which it finds something. The file may be long: the rest of it is not read.
fn first(path: &str, parse: fn(&str) -> Option<u64>) -> io::Result<u64> {
    for line in BufReader::new(File::open(path)?).lines() {
        if let Some(addr) = parse(&line?) {
            return Ok(addr);
        }
    }
    Err(io::ErrorKind::NotFound.into())
}

/// The address of the symbol `name` in a line of `/proc/kallsyms`: address, type, name.
fn symbol(line: &str, name: &str) -> Option<u64> {
    let mut words = line.split_ascii_whitespace();
    let addr = words.next()?;
    if words.nth(1)? != name {
        return None;
    }
    u64::from_str_radix(addr, 16).ok()
}

/// The start of "Kernel code" in a line of `/proc/iomem`: range and name.
fn code(line: &str) -> Option<u64> {
    let (range, name) = line.split_once(" : ")?;
    if name != "Kernel code" {
        return None;
    }
    let (start, _) = range.trim().split_once('-')?;
    u64::from_str_radix(start, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_from_the_lines_of_the_kernel() {
        let text = |line| symbol(line, "_text");
        assert_eq!(text("ffffffff9a000000 T _text"), Some(0xffff_ffff_9a00_0000));
        assert_eq!(text("ffffffff9a000000 T _stext"), None);
        assert_eq!(text("ffffffff9a000000 T"), None);
        assert_eq!(text("address T _text"), None);
        assert_eq!(code("  0b000000-0c1fffff : Kernel code"), Some(0xb00_0000));
        assert_eq!(code("  0b000000-0c1fffff : Kernel data"), None);
        assert_eq!(code("0b000000 : Kernel code"), None);
        assert_eq!(code(""), None);
    }

    #[test]
    fn each_address_has_a_line() {
        let report = KernelAddresses {
            text: Ok(0xffff_ffff_8100_0000),
            start_kernel: Ok(0x10),
            code: Err(io::ErrorKind::NotFound.into()),
        };
        assert_eq!(
            report.to_string(),
            "_text: 0xffffffff81000000\nstart_kernel: 0x10\nkernel code: unknown (entity not found)\n"
        );
    }
}
