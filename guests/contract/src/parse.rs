//! Parser of guest command lines.

use core::fmt;

use crate::cpus;
use crate::digest::Digest;
use crate::expectation::{Blob, CmdlineDigest, Entry, Expectation, Image, Irqchip, Module};
use crate::memory;
use crate::mode::Mode;
use crate::number::number;

/// A parsed guest command line.
#[derive(Clone, Copy, Debug, Default)]
pub struct Request<'a> {
    /// Operation of the guest program.
    pub mode: Mode,
    /// Values that the guest must find.
    pub expectation: Expectation<'a>,
    /// Expected and actual digest of the command line, if it ends with a [`CmdlineDigest`].
    pub cmdline: Option<CmdlineCheck>,
}

/// Expected and actual digest of a command line; equal if the command line arrived unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CmdlineCheck {
    /// The digest in the token.
    pub expected: Digest,
    /// The digest of the bytes before the token.
    pub found: Digest,
}

impl<'a> Request<'a> {
    /// Parses the tokens of `cmdline` that start with `expect` or `mode=`. Other tokens are ignored.
    ///
    /// # Errors
    ///
    /// A token is unknown, malformed or a duplicate, or bytes follow the [`CmdlineDigest`]. An expectation that the guest
    /// cannot parse must fail the test.
    pub fn parse(cmdline: &'a [u8]) -> Result<Self, ParseError> {
        let mut request = Request::default();
        let mut mode_seen = false;
        let mut offset = 0_usize;
        for token in cmdline.split(|&byte| byte == b' ') {
            let at = offset;
            let end = at.saturating_add(token.len());
            offset = end.saturating_add(1);
            let fail = |kind| ParseError { offset: at, kind };
            if !(token.starts_with(b"expect") || token.starts_with(b"mode=")) {
                continue;
            }
            let token = str::from_utf8(token).map_err(|source| {
                fail(ParseErrorKind::NotText {
                    valid: source.valid_up_to(),
                })
            })?;
            if let Some(mode) = token.strip_prefix("mode=") {
                if core::mem::replace(&mut mode_seen, true) {
                    return Err(fail(ParseErrorKind::Duplicate));
                }
                request.mode = Mode::parse(mode).ok_or(fail(ParseErrorKind::Malformed))?;
            } else if let Some(value) = token.strip_prefix(CmdlineDigest::KEY) {
                let expected = digest(value).ok_or(fail(ParseErrorKind::Malformed))?;
                if end != cmdline.len() {
                    return Err(fail(ParseErrorKind::CmdlineDigestNotLast {
                        trailing: cmdline.len().saturating_sub(end),
                    }));
                }
                let prefix = cmdline.get(..at).unwrap_or_default();
                request.cmdline = Some(CmdlineCheck {
                    expected,
                    found: Digest::of(prefix),
                });
            } else {
                request.expectation.parse_token(token).map_err(fail)?;
            }
        }
        Ok(request)
    }
}

impl<'a> Expectation<'a> {
    fn parse_token(&mut self, token: &'a str) -> Result<(), ParseErrorKind> {
        let Some((key, value)) = token.split_once('=') else {
            return match token {
                "expect.gdt" if self.gdt => Err(ParseErrorKind::Duplicate),
                "expect.gdt" => {
                    self.gdt = true;
                    Ok(())
                }
                _ => Err(ParseErrorKind::Unknown),
            };
        };
        match key {
            "expect.entry" => set(&mut self.entry, Entry::parse(value)),
            "expect.image" => set(&mut self.image, Image::parse(value)),
            "expect.base" => set(&mut self.base, number(value)),
            "expect.mem" => set(&mut self.memory, memory::memory(value)),
            "expect.initrd" => set(&mut self.initrd, blob(value)),
            "expect.modules" => set(&mut self.module_count, number(value)),
            "expect.cpus" => set(&mut self.cpus, cpus::cpus(value)),
            "expect.irqchip" => set(&mut self.irqchip, Irqchip::parse(value)),
            "expect.serial" => set(&mut self.serial, number(value)),
            "expect.rsdp" => set(&mut self.rsdp, number(value)),
            "expect.rng-seed" => set(&mut self.rng_seed, blob(value)),
            _ => {
                let index = key
                    .strip_prefix("expect.module.")
                    .ok_or(ParseErrorKind::Unknown)?;
                let slot = number(index).and_then(|index| self.modules.get_mut(usize::try_from(index).ok()?));
                set(slot.ok_or(ParseErrorKind::ModuleIndex)?, module(value))
            }
        }
    }
}

fn set<T>(slot: &mut Option<T>, value: Option<T>) -> Result<(), ParseErrorKind> {
    match (&slot, value) {
        (_, None) => Err(ParseErrorKind::Malformed),
        (Some(_), _) => Err(ParseErrorKind::Duplicate),
        (None, value) => {
            *slot = value;
            Ok(())
        }
    }
}

fn digest(text: &str) -> Option<Digest> {
    let (len, hash) = text.split_once(':')?;
    Some(Digest {
        len: number(len)?,
        hash: number(hash)?,
    })
}

fn blob(text: &str) -> Option<Blob> {
    if text == "none" {
        Some(Blob::Absent)
    } else {
        digest(text).map(Blob::Present)
    }
}

fn module(text: &str) -> Option<Module> {
    let second_colon = text.match_indices(':').nth(1).map(|(at, _)| at);
    match second_colon.and_then(|at| text.split_at_checked(at)) {
        None => Some(Module {
            content: digest(text)?,
            cmdline: None,
        }),
        Some((content, cmdline)) => Some(Module {
            content: digest(content)?,
            cmdline: Some(digest(cmdline.strip_prefix(':')?)?),
        }),
    }
}

/// A token that is not valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ParseError {
    /// Offset of the token's first byte in the command line.
    pub offset: usize,
    /// What is wrong with it.
    pub kind: ParseErrorKind,
}

/// What is wrong with a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParseErrorKind {
    /// The key is unknown.
    Unknown,
    /// The value is malformed.
    Malformed,
    /// The key occurred before.
    Duplicate,
    /// The module number is not below [`MAX_MODULES`](crate::MAX_MODULES).
    ModuleIndex,
    /// Bytes follow the [`CmdlineDigest`].
    CmdlineDigestNotLast {
        /// Number of bytes after the token.
        trailing: usize,
    },
    /// The token is not UTF-8.
    NotText {
        /// Number of valid bytes at its start.
        valid: usize,
    },
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the token at byte {} of the command line ", self.offset)?;
        match self.kind {
            ParseErrorKind::Unknown => f.write_str("has an unknown key"),
            ParseErrorKind::Malformed => f.write_str("has a malformed value"),
            ParseErrorKind::Duplicate => f.write_str("is a duplicate"),
            ParseErrorKind::ModuleIndex => {
                write!(
                    f,
                    "has a module number above {}",
                    crate::MAX_MODULES.saturating_sub(1)
                )
            }
            ParseErrorKind::CmdlineDigestNotLast { trailing } => {
                write!(f, "must be the last one, but {trailing} bytes follow")
            }
            ParseErrorKind::NotText { valid } => write!(f, "is not UTF-8 after its first {valid} bytes"),
        }
    }
}

impl core::error::Error for ParseError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Cpus, Memory, MemoryRange};
    use std::format;
    use std::string::ToString as _;

    /// Parses `cmdline` and compares the displayed request, or the error.
    fn check(cmdline: &str, expected: Result<&str, (usize, ParseErrorKind)>) {
        let found = Request::parse(cmdline.as_bytes())
            .map(|request| format!("{} {}", request.mode, request.expectation))
            .map_err(|error| (error.offset, error.kind));
        assert_eq!(
            found.as_ref().map(|text| text.trim_end()).map_err(|error| *error),
            expected,
            "{cmdline:?}"
        );
    }

    #[test]
    fn tokens_are_parsed_or_rejected() {
        use ParseErrorKind as Kind;
        check("", Ok("mode=exit"));
        check("console=ttyS0  quiet expectation", Err((21, Kind::Unknown)));
        check("console=ttyS0  quiet", Ok("mode=exit"));
        check("mode=hlt a expect.base=16 b", Ok("mode=hlt expect.base=0x10"));
        check(
            "expect.module.3=1:0x2",
            Ok("mode=exit expect.module.3=1:0x0000000000000002"),
        );
        check(
            "expect.module.0=1:2:3:4",
            Ok("mode=exit expect.module.0=1:0x0000000000000002:3:0x0000000000000004"),
        );
        check(
            "expect.initrd=none expect.gdt",
            Ok("mode=exit expect.initrd=none expect.gdt"),
        );
        check("x expect.gdt expect.gdt", Err((13, Kind::Duplicate)));
        check("expect.gdt=1", Err((0, Kind::Unknown)));
        check("mode=exit mode=exit", Err((10, Kind::Duplicate)));
        check("expect.base=1 expect.base=1", Err((14, Kind::Duplicate)));
        check("expect.colour=red", Err((0, Kind::Unknown)));
        check("expect.base=+1", Err((0, Kind::Malformed)));
        check("expect.base=0x", Err((0, Kind::Malformed)));
        check("expect.base=0x10000000000000000", Err((0, Kind::Malformed)));
        check("expect.module.16=1:2", Err((0, Kind::ModuleIndex)));
        check("expect.module.0=1:2:3", Err((0, Kind::Malformed)));
        check("expect.entry=multiboot3", Err((0, Kind::Malformed)));
        check(
            "expect.cmdline=0:0 ",
            Err((0, Kind::CmdlineDigestNotLast { trailing: 1 })),
        );
        check("expect.cmdline=0", Err((0, Kind::Malformed)));
        check(
            "expect.cpus=0,256 expect.irqchip=gicv3-its expect.serial=0x9000000",
            Ok("mode=exit expect.cpus=0x0,0x100 expect.irqchip=gicv3-its expect.serial=0x9000000"),
        );
        check("expect.cpus=", Err((0, Kind::Malformed)));
        check("expect.irqchip=8259", Err((0, Kind::Malformed)));
    }

    #[test]
    fn every_keyword_round_trips() {
        for entry in ["pvh", "linux64", "linux32", "arm64", "riscv64", "arm64-qemu-elf"] {
            check(
                &format!("expect.entry={entry}"),
                Ok(&format!("mode=exit expect.entry={entry}")),
            );
        }
        for image in ["elf", "bzimage", "image"] {
            check(
                &format!("expect.image={image}"),
                Ok(&format!("mode=exit expect.image={image}")),
            );
        }
        for irqchip in ["gicv2", "gicv3", "gicv3-its", "plic", "aplic", "aplic-imsic"] {
            check(
                &format!("expect.irqchip={irqchip}"),
                Ok(&format!("mode=exit expect.irqchip={irqchip}")),
            );
        }
    }

    #[test]
    fn a_token_that_is_not_utf8_is_rejected() {
        let error = Request::parse(b"\xff expect\xff").unwrap_err();
        assert_eq!(
            (error.offset, error.kind),
            (2, ParseErrorKind::NotText { valid: 6 })
        );
        assert!(error.to_string().contains("byte 2"));
    }

    #[test]
    fn all_expectations_round_trip() {
        let ranges = [
            MemoryRange {
                start: 0,
                end: 0x1000,
                kind: 1,
            },
            MemoryRange {
                start: 1 << 32,
                end: 1 << 33,
                kind: 2,
            },
        ];
        let mut full = Expectation {
            entry: Some(Entry::Pvh),
            image: Some(Image::BzImage),
            base: Some(0x10_0000),
            memory: Some(Memory::Ranges(&ranges)),
            initrd: Some(Blob::Present(Digest::of(b"initrd"))),
            module_count: Some(2),
            rsdp: Some(0xe_0000),
            rng_seed: Some(Blob::Present(Digest::of(b"seed"))),
            gdt: true,
            cpus: Some(Cpus::Ids(&[0, 0x100])),
            irqchip: Some(Irqchip::AplicImsic),
            serial: Some(0x900_0000),
            ..Expectation::default()
        };
        full.modules[0] = Some(Module {
            content: Digest::of(b"one"),
            cmdline: None,
        });
        full.modules[15] = Some(Module {
            content: Digest::of(b"two"),
            cmdline: Some(Digest::of(b"a b")),
        });
        let text = full.to_string();
        let parsed = Request::parse(text.as_bytes()).unwrap().expectation;
        assert_eq!(parsed.to_string(), text);
        assert_eq!(parsed.modules, full.modules);
        assert_eq!(parsed.rng_seed, full.rng_seed);
        assert!(parsed.memory.unwrap().ranges().unwrap().eq(ranges));
    }

    #[test]
    fn the_cmdline_digest_detects_every_change() {
        let prefix = "a  b=\"c d\" ";
        let line = format!("{prefix}{}", CmdlineDigest::of(prefix.as_bytes()));
        let whole = Request::parse(line.as_bytes()).unwrap().cmdline.unwrap();
        assert_eq!(whole.expected, whole.found);
        for at in 0..prefix.len() - 1 {
            let mut changed = line.clone().into_bytes();
            changed[at] ^= 1;
            let check = Request::parse(&changed).unwrap().cmdline.unwrap();
            assert_ne!(check.expected, check.found, "a change of byte {at} passes");
            let mut shorter = line.clone().into_bytes();
            shorter.remove(at);
            let check = Request::parse(&shorter).unwrap().cmdline.unwrap();
            assert_ne!(check.expected, check.found, "a missing byte {at} passes");
        }
    }
}
