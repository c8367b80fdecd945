//! What the rule needs of syn's items: attributes, names, `use` trees.

use proc_macro2::{TokenStream, TokenTree};
use syn::punctuated::Punctuated;
use syn::{Attribute, Expr, ExprLit, Item, Lit, Meta, Token, UseTree};

/// True when these attributes make something part of the tests alone.
pub(super) fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("test")
            || (attribute.path().is_ident("cfg")
                && attribute
                    .parse_args::<Meta>()
                    .is_ok_and(|condition| needs_test(&condition)))
    })
}

/// True when a condition of `cfg` never holds outside of tests.
fn needs_test(condition: &Meta) -> bool {
    let Meta::List(list) = condition else {
        return condition.path().is_ident("test");
    };
    let Ok(inner) = list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated) else {
        return false;
    };
    match list.path.get_ident().map(ToString::to_string).as_deref() {
        Some("all") => inner.iter().any(needs_test),
        Some("any") => !inner.is_empty() && inner.iter().all(needs_test),
        _ => false,
    }
}

/// The file that `#[path = "…"]` names.
pub(super) fn path_attribute(attributes: &[Attribute]) -> Option<String> {
    attributes.iter().find_map(|attribute| match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("path") => match &pair.value {
            Expr::Lit(ExprLit {
                lit: Lit::Str(text), ..
            }) => Some(text.value()),
            _ => None,
        },
        _ => None,
    })
}

/// True for `#[macro_export]`.
pub(super) fn is_exported(attributes: &[Attribute]) -> bool {
    attributes
        .iter()
        .any(|attribute| attribute.path().is_ident("macro_export"))
}

/// The attributes of an item.
pub(super) fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::ExternCrate(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::ForeignMod(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::TraitAlias(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// The name that an item defines, and whether only its own module sees it. Modules, imports and macros are apart.
pub(super) fn defined_name(item: &Item) -> Option<(String, bool)> {
    let (name, visibility) = match item {
        Item::Const(item) => (&item.ident, &item.vis),
        Item::Enum(item) => (&item.ident, &item.vis),
        Item::Fn(item) => (&item.sig.ident, &item.vis),
        Item::Static(item) => (&item.ident, &item.vis),
        Item::Struct(item) => (&item.ident, &item.vis),
        Item::Trait(item) => (&item.ident, &item.vis),
        Item::TraitAlias(item) => (&item.ident, &item.vis),
        Item::Type(item) => (&item.ident, &item.vis),
        Item::Union(item) => (&item.ident, &item.vis),
        _ => return None,
    };
    Some((name.to_string(), is_private(visibility)))
}

/// True when nothing is written before the item.
pub(super) fn is_private(visibility: &syn::Visibility) -> bool {
    matches!(visibility, syn::Visibility::Inherited)
}

/// The names of items within a macro call: what follows `struct`, `fn` and so on.
pub(super) fn names_in_macro(tokens: TokenStream, names: &mut Vec<String>) {
    let mut is_after_keyword = false;
    for token in tokens {
        match token {
            TokenTree::Group(group) => names_in_macro(group.stream(), names),
            TokenTree::Ident(ident) => {
                let text = ident.to_string();
                if is_after_keyword {
                    names.push(text.clone());
                }
                is_after_keyword = [
                    "const", "enum", "fn", "static", "struct", "trait", "type", "union",
                ]
                .contains(&text.as_str());
                continue;
            }
            _ => {}
        }
        is_after_keyword = false;
    }
}

/// One name that a `use` brings in.
#[derive(Clone, Debug)]
pub(super) struct Leaf {
    pub(super) path: Vec<String>,
    /// The name it has afterwards; none for a glob or `_`.
    pub(super) name: Option<String>,
    pub(super) is_glob: bool,
    pub(super) line: usize,
}

/// The names that a `use` brings in. A path from the root of all crates begins with an empty segment.
pub(super) fn leaves(item: &syn::ItemUse) -> Vec<Leaf> {
    let mut found = Vec::new();
    let start = if item.leading_colon.is_some() {
        vec![String::new()]
    } else {
        Vec::new()
    };
    add_leaves(&item.tree, start, &mut found);
    found
}

fn add_leaves(tree: &UseTree, mut path: Vec<String>, found: &mut Vec<Leaf>) {
    let (ident, name) = match tree {
        UseTree::Path(inner) => {
            path.push(inner.ident.to_string());
            return add_leaves(&inner.tree, path, found);
        }
        UseTree::Group(group) => {
            for tree in &group.items {
                add_leaves(tree, path.clone(), found);
            }
            return;
        }
        UseTree::Glob(glob) => {
            found.push(Leaf {
                path,
                name: None,
                is_glob: true,
                line: glob.star_token.spans[0].start().line,
            });
            return;
        }
        UseTree::Name(name) => (&name.ident, None),
        UseTree::Rename(rename) => (&rename.ident, Some(rename.rename.to_string())),
    };
    if ident != "self" || path.is_empty() {
        path.push(ident.to_string());
    }
    let name = name.or_else(|| path.last().cloned()).filter(|name| name != "_");
    found.push(Leaf {
        path,
        name,
        is_glob: false,
        line: ident.span().start().line,
    });
}
