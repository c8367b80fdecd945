//! A Rust file, as tokens and as a syntax tree.

use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use crate::error::Error;

/// A Rust file.
pub(super) struct Source {
    /// Relative to the root of the repository.
    pub(super) path: PathBuf,
    pub(super) text: String,
    pub(super) syntax: syn::File,
    /// All tokens, those within groups and macro calls too. Comments and text within literals are not among them.
    pub(super) tokens: Vec<Token>,
}

/// A token and the number of its line.
#[derive(Clone, Debug)]
pub(super) struct Token {
    /// What is written there; a group is its opening and its closing delimiter.
    pub(super) text: String,
    pub(super) line: usize,
}

impl Source {
    /// Parses the text of a file.
    pub(super) fn parse(path: &Path, text: String) -> Result<Self, Error> {
        let syntax_error = |source: syn::Error| Error::Syntax {
            path: path.to_path_buf(),
            source,
        };
        let stream: TokenStream = text.parse().map_err(syn::Error::from).map_err(syntax_error)?;
        let syntax = syn::parse2(stream.clone()).map_err(syntax_error)?;
        Ok(Self {
            path: path.to_path_buf(),
            text,
            syntax,
            tokens: flatten(stream),
        })
    }

    /// The lines where these tokens follow each other.
    pub(super) fn lines_with(&self, sequence: &[&str]) -> Vec<usize> {
        let mut lines = Vec::new();
        for (index, token) in self.tokens.iter().enumerate() {
            // Most tokens are told apart by the first, and this is the innermost loop of the task.
            if sequence.first().is_some_and(|first| token.text == *first) {
                let texts = self.tokens.iter().skip(index).map(|token| token.text.as_str());
                if texts.take(sequence.len()).eq(sequence.iter().copied()) {
                    lines.push(token.line);
                }
            }
        }
        lines
    }
}

/// The tokens of a stream, in the order of the text.
pub(super) fn flatten(stream: TokenStream) -> Vec<Token> {
    let mut tokens = Vec::new();
    add(stream, &mut tokens);
    tokens
}

fn add(stream: TokenStream, tokens: &mut Vec<Token>) {
    for tree in stream {
        let line = tree.span().start().line;
        match tree {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::None => ("", ""),
                };
                tokens.push(Token {
                    text: open.to_owned(),
                    line,
                });
                add(group.stream(), tokens);
                tokens.push(Token {
                    text: close.to_owned(),
                    line: group.span_close().start().line,
                });
            }
            other => tokens.push(Token {
                text: other.to_string(),
                line,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_in_comments_and_literals_do_not_count() {
        let text = "fn f() {\n    // dbg!(1)\n    let _ = \"dbg!(2)\";\n    g!(dbg!(3));\n}\n";
        let source = Source::parse(Path::new("a.rs"), text.to_owned()).unwrap();
        assert_eq!(source.lines_with(&["dbg", "!"]), [4]);
    }

    #[test]
    fn an_error_has_the_path_and_the_line() {
        let error = Source::parse(Path::new("a.rs"), "fn f() {}\nfn {}\n".to_owned()).err();
        let text = error.unwrap().to_string();
        assert!(text.starts_with("a.rs:2: "), "{text}");
    }
}
