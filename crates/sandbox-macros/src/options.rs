//! Options of the attributes: `bytes`, `name = "…"`.

use proc_macro2::TokenStream;
use syn::parse::{Parse, ParseStream, Parser as _};
use syn::punctuated::Punctuated;
use syn::{Ident, LitStr, Token};

/// Longest name in bytes.
const MAX_NAME: usize = 255;

/// Options of `guest_function` and `host_function`.
#[derive(Default)]
pub(crate) struct Options {
    /// Parameter and result are bytes.
    pub(crate) is_bytes: bool,
    name: Option<LitStr>,
}

enum Choice {
    Bytes(Ident),
    Name(Ident, LitStr),
}

impl Parse for Choice {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let key: Ident = input.parse()?;
        if key == "bytes" {
            return Ok(Self::Bytes(key));
        }
        if key == "name" {
            input.parse::<Token![=]>()?;
            return Ok(Self::Name(key, input.parse()?));
        }
        let message = format!("unknown option `{key}`; expected `bytes` or `name = \"…\"`");
        Err(syn::Error::new(key.span(), message))
    }
}

impl Options {
    pub(crate) fn parse(tokens: TokenStream) -> syn::Result<Self> {
        let choices = Punctuated::<Choice, Token![,]>::parse_terminated.parse2(tokens)?;
        let mut options = Self::default();
        for choice in choices {
            let (key, is_first) = match choice {
                Choice::Bytes(key) => (key, !std::mem::replace(&mut options.is_bytes, true)),
                Choice::Name(key, name) => {
                    check(&name)?;
                    (key, options.name.replace(name).is_none())
                }
            };
            if !is_first {
                return Err(syn::Error::new(key.span(), format!("`{key}` is there twice")));
            }
        }
        Ok(options)
    }

    /// The name for the other side; without the option, that of the function.
    pub(crate) fn name(&self, function: &Ident) -> LitStr {
        self.name.clone().unwrap_or_else(|| {
            let name = function.to_string();
            LitStr::new(name.trim_start_matches("r#"), function.span())
        })
    }
}

fn check(name: &LitStr) -> syn::Result<()> {
    let len = name.value().len();
    if (1..=MAX_NAME).contains(&len) {
        return Ok(());
    }
    let message = format!("the name has {len} bytes, expected 1 to {MAX_NAME}");
    Err(syn::Error::new(name.span(), message))
}
