//! Kernel command lines.

use alloc::vec::Vec;
use core::fmt;
use core::mem;
use core::str::{self, FromStr};

use crate::error::check_len;
use crate::scan::{self, Tokens};
use crate::{CmdlineError, InitArg, Param};

/// A Linux kernel command line: parameters of the kernel, and after `--` arguments of init.
///
/// ```
/// use boot_cmdline::{Cmdline, Param};
///
/// let mut cmdline: Cmdline = "console=ttyS0 quiet".parse()?;
/// cmdline.insert("root", "/dev/vda1")?.insert("dyndbg", "file virtio.c +p")?;
/// cmdline.replace(Param::with_value("console", "hvc0")?);
/// cmdline.insert_init_arg("single")?;
/// assert_eq!(
///     cmdline.to_string(),
///     r#"console=hvc0 quiet root=/dev/vda1 dyndbg="file virtio.c +p" -- single"#
/// );
/// assert_eq!(cmdline.get("root").and_then(Param::value), Some("/dev/vda1"));
/// // A value cannot add another parameter.
/// assert!(cmdline.insert("label", "x\" init=/bin/sh \"").is_err());
/// # Ok::<(), boot_cmdline::CmdlineError>(())
/// ```
///
/// # Syntax
///
/// The syntax is that of `next_arg` (`lib/cmdline.c`), `parse_args` (`kernel/params.c`) and `init/main.c`:
/// - White space separates words. A `"` anywhere in a word starts or ends a quotation, in which white space does not
///   separate. The kernel removes quotes around a value (`a="b c"`) or around a whole parameter (`"a=b c"`), and keeps
///   others. There is no escape character.
/// - The first `=`, unless it is the first character of the word, ends the key. A word without one is a flag.
/// - In keys, `-` and `_` are equal.
/// - A key may occur several times. Most parameters take the last value ([`get`](Self::get)); some, such as `console`, take
///   all ([`get_all`](Self::get_all)).
/// - The first word `--` ends the kernel's parameters. The words after it are arguments of init, up to a second `--`: the
///   kernel ignores the rest. Inside the quotes of a longer word, `--` is text.
///
/// # Refused lines
///
/// Lines that some parser in the kernel may read differently are refused. They have unbalanced quotes, control
/// characters other than white space between words, a second `--`, or a quoted word `"--"`. The text must be UTF-8.
/// The kernel reads bytes and treats 0xA0 as a space, so a character with that byte in its encoding (such as `à`) is
/// accepted in quotes only. [`RawCmdline`](crate::RawCmdline) accepts all these lines, for callers that must pass them on.
///
/// # Spelling and equality
///
/// A parsed line keeps the order and the exact spelling of its words, and prints them separated by one space. Lines are
/// equal if their printed texts are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Cmdline {
    params: Vec<Param>,
    /// `None` without a `--`; a `--` without arguments is kept.
    init_args: Option<Vec<InitArg>>,
}

impl Cmdline {
    /// An empty command line.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            params: Vec::new(),
            init_args: None,
        }
    }

    /// Parses a command line. White space at the start and the end, such as a final newline, is removed.
    ///
    /// # Errors
    ///
    /// [`CmdlineError`] with the offset; see [refused lines](Self#refused-lines).
    pub fn parse(line: &str) -> Result<Self, CmdlineError> {
        let mut cmdline = Self::new();
        for token in Tokens::new(line) {
            let token = token?;
            let is_separator = token.text == scan::SEPARATOR;
            match &mut cmdline.init_args {
                Some(_) if is_separator => {
                    return Err(CmdlineError::SecondSeparator { offset: token.offset });
                }
                Some(args) => args.push(InitArg::from_token(token)?),
                None if is_separator => cmdline.init_args = Some(Vec::new()),
                None => cmdline.params.push(Param::from_token(token)?),
            }
        }
        Ok(cmdline)
    }

    /// Parses a command line from bytes, without a terminating NUL.
    ///
    /// # Errors
    ///
    /// [`CmdlineError::NotUtf8`], and those of [`parse`](Self::parse). A NUL is a control character.
    pub fn from_bytes(line: &[u8]) -> Result<Self, CmdlineError> {
        match str::from_utf8(line) {
            Ok(line) => Self::parse(line),
            Err(source) => Err(CmdlineError::NotUtf8 {
                offset: source.valid_up_to(),
                source,
            }),
        }
    }

    /// Whether the line has no word. A line that is only `--` is not empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.params.is_empty() && self.init_args.is_none()
    }

    /// The kernel's parameters, in order.
    #[must_use]
    pub fn params(&self) -> &[Param] {
        &self.params
    }

    /// The arguments of init, in order: the words after `--`.
    #[must_use]
    pub fn init_args(&self) -> &[InitArg] {
        self.init_args.as_deref().unwrap_or_default()
    }

    /// The last parameter with this key, which is the effective one for most keys. `-` and `_` are equal.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Param> {
        self.params.iter().rfind(|param| param.has_key(key))
    }

    /// Every parameter with this key, in order. `-` and `_` are equal.
    #[must_use]
    pub fn get_all<'a>(&'a self, key: &'a str) -> impl DoubleEndedIterator<Item = &'a Param> {
        self.params.iter().filter(move |param| param.has_key(key))
    }

    /// Adds `key=value` after the other parameters, before any `--`, and with quotes where they are needed.
    ///
    /// Other parameters with this key are kept; [`replace`](Self::replace) removes them.
    ///
    /// # Errors
    ///
    /// Those of [`Param::with_value`]; the line is then unchanged.
    pub fn insert(&mut self, key: &str, value: &str) -> Result<&mut Self, CmdlineError> {
        self.push(Param::with_value(key, value)?);
        Ok(self)
    }

    /// Adds a flag after the other parameters, before any `--`.
    ///
    /// # Errors
    ///
    /// Those of [`Param::flag`]; the line is then unchanged.
    pub fn insert_flag(&mut self, key: &str) -> Result<&mut Self, CmdlineError> {
        self.push(Param::flag(key)?);
        Ok(self)
    }

    /// Adds an argument of init after the others, and a `--` before the first one.
    ///
    /// # Errors
    ///
    /// Those of [`InitArg::new`]; the line is then unchanged.
    pub fn insert_init_arg(&mut self, text: &str) -> Result<&mut Self, CmdlineError> {
        let arg = InitArg::new(text)?;
        self.init_args.get_or_insert_default().push(arg);
        Ok(self)
    }

    /// Adds a parameter after the others, before any `--`.
    pub fn push(&mut self, param: Param) {
        self.params.push(param);
    }

    /// Adds a parameter before all others, so that a later one with the same key overrides it.
    pub fn push_front(&mut self, param: Param) {
        self.params.insert(0, param);
    }

    /// Removes every parameter with this key and returns them in order.
    pub fn remove(&mut self, key: &str) -> Vec<Param> {
        let (removed, kept) = mem::take(&mut self.params)
            .into_iter()
            .partition(|param| param.has_key(key));
        self.params = kept;
        removed
    }

    /// Removes every parameter with the key of `param`, and adds `param` in the place of the last one, or after the
    /// others if there was none.
    ///
    /// Returns the removed parameters in order.
    pub fn replace(&mut self, param: Param) -> Vec<Param> {
        let last = self.params.iter().rposition(|other| other.has_key(param.key()));
        let removed = self.remove(param.key());
        match last {
            Some(last) => {
                // The removed parameters before the last one lower its index.
                let place = last.saturating_add(1).saturating_sub(removed.len());
                self.params.insert(place, param);
            }
            None => self.params.push(param),
        }
        removed
    }

    /// Removes the `--` and every argument of init, and returns the arguments in order.
    pub fn remove_init_args(&mut self) -> Vec<InitArg> {
        self.init_args.take().unwrap_or_default()
    }

    /// Adds the parameters of `other` after the parameters, and the arguments of init after the arguments of init.
    ///
    /// For a key in both lines, the parameter of `other` is the last and usually effective one.
    pub fn merge(&mut self, other: Self) {
        self.params.extend(other.params);
        if let Some(args) = other.init_args {
            self.init_args.get_or_insert_default().extend(args);
        }
    }

    /// The length of the printed line in bytes, without a terminating NUL.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        // All words are in memory and not empty, so the sum with a space each does not overflow.
        self.words().fold(0, |len, word| {
            let space = usize::from(len != 0);
            len.saturating_add(space).saturating_add(word.len())
        })
    }

    /// Checks that the line has at most `max_len` bytes, without a terminating NUL.
    ///
    /// `cmdline_size` of the x86 setup header does not count the NUL, either. The kernel's `COMMAND_LINE_SIZE` does:
    /// subtract one.
    ///
    /// # Errors
    ///
    /// [`CmdlineError::TooLong`] for a longer line.
    pub fn check_len(&self, max_len: usize) -> Result<(), CmdlineError> {
        check_len(self.encoded_len(), max_len)
    }

    /// The bytes for guest memory: the printed line and a terminating NUL.
    ///
    /// `max_len` is the limit in bytes without the NUL, as for [`check_len`](Self::check_len).
    ///
    /// # Errors
    ///
    /// [`CmdlineError::TooLong`] for a longer line.
    pub fn to_bytes(&self, max_len: usize) -> Result<Vec<u8>, CmdlineError> {
        self.check_len(max_len)?;
        let mut bytes = Vec::with_capacity(self.encoded_len().saturating_add(1));
        for word in self.words() {
            if !bytes.is_empty() {
                bytes.push(b' ');
            }
            bytes.extend_from_slice(word.as_bytes());
        }
        bytes.push(0);
        Ok(bytes)
    }

    /// All words in their exact spelling, with the `--`.
    fn words(&self) -> impl Iterator<Item = &str> {
        let separator = self.init_args.is_some().then_some(scan::SEPARATOR);
        let params = self.params.iter().map(Param::as_str);
        params
            .chain(separator)
            .chain(self.init_args().iter().map(InitArg::as_str))
    }
}

impl fmt::Display for Cmdline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, word) in self.words().enumerate() {
            if index != 0 {
                f.write_str(" ")?;
            }
            f.write_str(word)?;
        }
        Ok(())
    }
}

impl FromStr for Cmdline {
    type Err = CmdlineError;

    fn from_str(line: &str) -> Result<Self, CmdlineError> {
        Self::parse(line)
    }
}

impl TryFrom<&str> for Cmdline {
    type Error = CmdlineError;

    fn try_from(line: &str) -> Result<Self, CmdlineError> {
        Self::parse(line)
    }
}

impl TryFrom<&[u8]> for Cmdline {
    type Error = CmdlineError;

    fn try_from(line: &[u8]) -> Result<Self, CmdlineError> {
        Self::from_bytes(line)
    }
}

impl Extend<Param> for Cmdline {
    fn extend<T: IntoIterator<Item = Param>>(&mut self, params: T) {
        self.params.extend(params);
    }
}

impl FromIterator<Param> for Cmdline {
    fn from_iter<T: IntoIterator<Item = Param>>(params: T) -> Self {
        Self {
            params: params.into_iter().collect(),
            init_args: None,
        }
    }
}
