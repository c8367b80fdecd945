//! The paths that a module's code names.

use std::collections::BTreeSet;

use proc_macro2::{TokenStream, TokenTree};
use syn::spanned::Spanned as _;
use syn::visit::{self, Visit};
use syn::{Attribute, ImplItem, Item, ItemMod, ItemUse, Macro, PatIdent, Path, Stmt, TraitItem, Visibility};

use super::items::{self, Leaf, is_test};

/// A path in code and its line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CodePath {
    pub(super) path: Vec<String>,
    pub(super) line: usize,
}

/// What the items of one module name, not counting what is for tests, nor its inner modules.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) paths: Vec<CodePath>,
    pub(super) macros: Vec<CodePath>,
    /// Imports within functions.
    pub(super) local_imports: Vec<Leaf>,
    /// Names of variables, which hide functions and constants.
    variables: BTreeSet<String>,
    /// How many blocks the visitor is in.
    depth: usize,
}

/// Finds the paths in these items.
pub(super) fn paths_in(items: &[Item]) -> Found {
    let mut found = Found::default();
    for item in items {
        found.visit_item(item);
    }
    let Found { paths, variables, .. } = &mut found;
    paths.retain(|found| found.path.len() > 1 || found.path.iter().all(|name| !variables.contains(name)));
    found
}

impl Found {
    /// Adds the paths among a macro's tokens.
    fn add_tokens(&mut self, stream: TokenStream) {
        let tokens: Vec<TokenTree> = stream.into_iter().collect();
        let mut index = 0;
        while let Some(token) = tokens.get(index) {
            match token {
                TokenTree::Group(group) => self.add_tokens(group.stream()),
                TokenTree::Ident(_) => {
                    let before = index.checked_sub(1).and_then(|before| tokens.get(before));
                    let (path, line, end) = path_at(&tokens, index);
                    self.add_token_path(path, line, before, tokens.get(end));
                    index = end;
                    continue;
                }
                _ => {}
            }
            index += 1;
        }
    }

    fn add_token_path(
        &mut self,
        path: Vec<String>,
        line: usize,
        before: Option<&TokenTree>,
        after: Option<&TokenTree>,
    ) {
        // A field, a method, or what follows `<T>::`.
        if before.is_some_and(|token| is_punct(token, '.') || is_punct(token, ':') && path.len() == 1) {
            return;
        }
        let is_called =
            after.is_some_and(|token| matches!(token, TokenTree::Group(_)) || is_punct(token, '!'));
        let is_type = path
            .first()
            .is_some_and(|name| name.starts_with(char::is_uppercase));
        if path.len() > 1 || is_type || is_called {
            self.paths.push(CodePath { path, line });
        }
    }
}

/// The path that begins with the identifier at `index`, its line, and the index behind it.
fn path_at(tokens: &[TokenTree], index: usize) -> (Vec<String>, usize, usize) {
    let mut path = Vec::new();
    let mut end = index;
    let mut line = 0;
    while let Some(TokenTree::Ident(ident)) = tokens.get(end) {
        if path.is_empty() {
            line = ident.span().start().line;
        }
        path.push(ident.to_string());
        end += 1;
        let is_separator = tokens.get(end).is_some_and(|token| is_punct(token, ':'))
            && tokens.get(end + 1).is_some_and(|token| is_punct(token, ':'))
            && matches!(tokens.get(end + 2), Some(TokenTree::Ident(_)));
        if !is_separator {
            break;
        }
        end += 2;
    }
    (path, line, end)
}

fn is_punct(token: &TokenTree, wanted: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == wanted)
}

fn segments(path: &Path) -> CodePath {
    let root = path.leading_colon.map(|_| String::new());
    let names = path.segments.iter().map(|segment| segment.ident.to_string());
    CodePath {
        path: root.into_iter().chain(names).collect(),
        line: path.span().start().line,
    }
}

impl<'ast> Visit<'ast> for Found {
    fn visit_item(&mut self, item: &'ast Item) {
        if !is_test(items::attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item(&mut self, item: &'ast ImplItem) {
        let attributes: &[Attribute] = match item {
            ImplItem::Const(item) => &item.attrs,
            ImplItem::Fn(item) => &item.attrs,
            ImplItem::Type(item) => &item.attrs,
            _ => &[],
        };
        if !is_test(attributes) {
            visit::visit_impl_item(self, item);
        }
    }

    fn visit_trait_item(&mut self, item: &'ast TraitItem) {
        let attributes: &[Attribute] = match item {
            TraitItem::Const(item) => &item.attrs,
            TraitItem::Fn(item) => &item.attrs,
            TraitItem::Type(item) => &item.attrs,
            _ => &[],
        };
        if !is_test(attributes) {
            visit::visit_trait_item(self, item);
        }
    }

    fn visit_stmt(&mut self, statement: &'ast Stmt) {
        self.depth += 1;
        visit::visit_stmt(self, statement);
        self.depth -= 1;
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        // Those of the module itself are read with its names.
        if self.depth > 0 {
            self.local_imports.extend(items::leaves(item));
        }
    }

    fn visit_item_mod(&mut self, _: &'ast ItemMod) {}

    fn visit_attribute(&mut self, _: &'ast Attribute) {}

    fn visit_visibility(&mut self, _: &'ast Visibility) {}

    fn visit_pat_ident(&mut self, pattern: &'ast PatIdent) {
        self.variables.insert(pattern.ident.to_string());
        visit::visit_pat_ident(self, pattern);
    }

    fn visit_macro(&mut self, call: &'ast Macro) {
        if !call.path.is_ident("macro_rules") {
            self.macros.push(segments(&call.path));
        }
        self.add_tokens(call.tokens.clone());
    }

    fn visit_path(&mut self, path: &'ast Path) {
        self.paths.push(segments(path));
        visit::visit_path(self, path);
    }
}
