//! Words of command lines that may not follow the rules of Linux.

use boot_core::{CmdlineError, RawCmdline};

/// Whether a command line has a word.
pub(crate) fn has(line: &RawCmdline, word: &str) -> bool {
    line.as_bytes()
        .split(u8::is_ascii_whitespace)
        .any(|found| found == word.as_bytes())
}

/// The command line with `words` before it: Linux passes words after `--` to init.
pub(crate) fn prepend(
    words: impl IntoIterator<Item = String>,
    line: &RawCmdline,
) -> Result<RawCmdline, CmdlineError> {
    let mut words: Vec<Vec<u8>> = words.into_iter().map(String::into_bytes).collect();
    if !line.is_empty() {
        words.push(line.as_bytes().to_vec());
    }
    RawCmdline::from_bytes(words.join(&b' '))
}
