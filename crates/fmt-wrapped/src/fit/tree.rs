//! The structure block of a device tree blob, read from a source piece by piece (Devicetree Specification 0.4, 5 "Flattened Devicetree (DTB)
//! Format"). Values of properties are ranges of the source: a FIT image has its kernel in one.

use alloc::string::String;

use boot_core::{ReadError, SizedSource, SourceRange};

/// Length of the header in bytes, from version 17 on.
const HEADER_LEN: u64 = 40;

/// Length that a name or a text has at most, in bytes.
pub(super) const MAX_TEXT: usize = 255;

/// Number of tokens before the search ends.
const MAX_TOKENS: u32 = 1 << 16;

/// Error in the structure of a device tree.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FitTreeError {
    /// The file cannot be read, or ends inside the structure.
    #[error("cannot read the device tree")]
    Read(#[from] ReadError),
    /// The header declares a length that is shorter than itself, or longer than the file.
    #[error(
        "totalsize at 0x4 is {found:#x}, expected at least 0x28 and at most {len:#x}, the length of the file"
    )]
    TotalSize {
        /// The value in the header.
        found: u32,
        /// Length of the file in bytes.
        len: u64,
    },
    /// The structure or a value in it ends after the device tree.
    #[error("the structure of the device tree at {offset:#x} ends after {end:#x}, the end of the tree")]
    PastEnd {
        /// Offset in the file.
        offset: u64,
        /// End of the device tree.
        end: u64,
    },
    /// The token is none of the five that are defined.
    #[error("the device tree has the token {found:#x} at {offset:#x}, expected 1, 2, 3, 4 or 9")]
    Token {
        /// Offset in the file.
        offset: u64,
        /// The token.
        found: u32,
    },
    /// A name or a text is not of UTF-8, or has no NUL in time.
    #[error("the device tree has no text of at most {MAX_TEXT} bytes at {offset:#x}")]
    Text {
        /// Offset in the file.
        offset: u64,
    },
    /// There are more tokens than the limit.
    #[error("the device tree has more than {MAX_TOKENS} nodes and properties")]
    TooManyTokens,
}

/// Part of the structure.
#[derive(Debug)]
pub(super) enum Token {
    /// Start of a node with this name.
    Begin(String),
    /// End of a node.
    End,
    /// A property with its value.
    Property(String, SourceRange),
}

/// The tokens of a device tree.
pub(super) struct Tokens<'a> {
    source: SizedSource<'a>,
    /// Offset of the next token.
    at: u64,
    strings: u64,
    /// End of the device tree.
    end: u64,
    left: u32,
}

impl<'a> Tokens<'a> {
    /// `None` if the source does not begin with the magic number of device trees.
    pub(super) fn new(source: SizedSource<'a>) -> Result<Option<Self>, FitTreeError> {
        let mut magic = [0; 4];
        source.read_prefix_at(0, &mut magic)?;
        if magic != 0xd00d_feed_u32.to_be_bytes() {
            return Ok(None);
        }
        let word = |offset| -> Result<u32, ReadError> { Ok(u32::from_be_bytes(source.read(offset)?)) };
        let total = word(4)?;
        let (end, len) = (u64::from(total), source.len());
        if end < HEADER_LEN || end > len {
            return Err(FitTreeError::TotalSize { found: total, len });
        }
        Ok(Some(Self {
            source,
            at: word(8)?.into(),
            strings: word(12)?.into(),
            end,
            left: MAX_TOKENS,
        }))
    }

    /// End of the device tree in the file.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// The next token; `None` at the end of the structure.
    pub(super) fn next(&mut self) -> Result<Option<Token>, FitTreeError> {
        loop {
            self.left = self.left.checked_sub(1).ok_or(FitTreeError::TooManyTokens)?;
            let offset = self.at;
            match self.word()? {
                1 => {
                    let name = self.text(self.at)?;
                    let len = boot_core::arith::to_u64(name.len()).saturating_add(1);
                    self.skip(len)?;
                    return Ok(Some(Token::Begin(name)));
                }
                2 => return Ok(Some(Token::End)),
                3 => {
                    let (len, name) = (self.word()?, self.word()?);
                    let name = self.text(self.strings.saturating_add(name.into()))?;
                    let value = self.source.range(self.at, len.into())?;
                    self.skip(len.into())?;
                    return Ok(Some(Token::Property(name, value)));
                }
                4 => {}
                9 => return Ok(None),
                found => return Err(FitTreeError::Token { offset, found }),
            }
        }
    }

    /// Skips `len` bytes and the padding behind them.
    fn skip(&mut self, len: u64) -> Result<(), FitTreeError> {
        let offset = self.at;
        let end = offset.saturating_add(len).checked_next_multiple_of(4);
        let past_end = FitTreeError::PastEnd {
            offset,
            end: self.end,
        };
        self.at = end.filter(|end| *end <= self.end).ok_or(past_end)?;
        Ok(())
    }

    fn word(&mut self) -> Result<u32, FitTreeError> {
        let offset = self.at;
        self.skip(4)?;
        Ok(u32::from_be_bytes(self.source.read(offset)?))
    }

    /// The text with a NUL at its end at an offset.
    fn text(&self, offset: u64) -> Result<String, FitTreeError> {
        let mut bytes = [0xff; MAX_TEXT.saturating_add(1)];
        let read = self.source.read_prefix_at(offset, &mut bytes)?;
        first_text(bytes.get(..read).unwrap_or_default()).ok_or(FitTreeError::Text { offset })
    }
}

/// The text before the first NUL.
pub(super) fn first_text(bytes: &[u8]) -> Option<String> {
    let len = bytes.iter().position(|byte| *byte == 0)?;
    let text = core::str::from_utf8(bytes.get(..len)?);
    text.ok().map(String::from)
}
