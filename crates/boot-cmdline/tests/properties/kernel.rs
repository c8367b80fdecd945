//! A model of the kernel's tokenizer (`next_arg` and `parse_args`), byte by byte.
//!
//! The fuzz target `cmdline_parse` uses it, too.

/// Key and value of each parameter, in order.
pub(crate) type Params = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// A command line as the kernel reads it.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct View {
    /// The kernel's own parameters.
    pub(crate) params: Params,
    /// The arguments of init, in order.
    pub(crate) init_args: Vec<Vec<u8>>,
    /// The words with their quotes.
    pub(crate) words: Vec<Vec<u8>>,
}

fn is_space(byte: u8) -> bool {
    byte == b' ' || (9..=13).contains(&byte) || byte == 0xa0
}

fn words(line: &[u8]) -> Vec<Vec<u8>> {
    let mut words = vec![Vec::new()];
    let mut quotes = 0;
    for &byte in line {
        if is_space(byte) && quotes % 2 == 0 {
            words.push(Vec::new());
        } else {
            quotes += usize::from(byte == b'"');
            words.last_mut().unwrap().push(byte);
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

fn key_and_value(word: &[u8]) -> (Vec<u8>, Option<Vec<u8>>) {
    let outer = word[0] == b'"';
    let body = &word[usize::from(outer)..];
    let ends_quoted = word.len() > 1 && word.ends_with(b"\"");
    let Some(equals) = (1..body.len()).find(|&at| body[at] == b'=') else {
        let end = body.len() - usize::from(outer && ends_quoted);
        return (body[..end].to_vec(), None);
    };
    let mut from = equals + 1;
    let inner = body.get(from) == Some(&b'"');
    from += usize::from(inner);
    let strip = (inner || outer) && ends_quoted;
    let end = (body.len() - usize::from(strip)).max(from);
    (body[..equals].to_vec(), Some(body[from..end].to_vec()))
}

/// Reads a line.
pub(crate) fn read(line: &[u8]) -> View {
    let mut view = View {
        words: words(line),
        ..View::default()
    };
    let mut dashes = 0;
    for word in &view.words {
        let (key, value) = key_and_value(word);
        if value.is_none() && key == b"--" {
            dashes += 1;
            continue;
        }
        match (dashes, value) {
            (0, value) => view.params.push((key, value)),
            (1, None) => view.init_args.push(key),
            (1, Some(value)) => view.init_args.push([key, b"=".to_vec(), value].concat()),
            // The kernel drops what follows a second `--`.
            _ => {}
        }
    }
    view
}
