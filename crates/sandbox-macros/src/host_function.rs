//! `#[host_function]`.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote};
use syn::spanned::Spanned as _;
use syn::{Attribute, FnArg, Ident, Pat, Signature, Token, Visibility};

use crate::options::Options;
use crate::types::{Types, is_byte_vector};

/// A function without a body.
struct Declaration {
    attributes: Vec<Attribute>,
    visibility: Visibility,
    signature: Signature,
}

impl syn::parse::Parse for Declaration {
    fn parse(input: syn::parse::ParseStream<'_>) -> syn::Result<Self> {
        let declaration = Self {
            attributes: input.call(Attribute::parse_outer)?,
            visibility: input.parse()?,
            signature: input.parse()?,
        };
        if input.peek(syn::token::Brace) {
            return Err(input.error("the host has the body: end the declaration with `;`"));
        }
        input.parse::<Token![;]>()?;
        Ok(declaration)
    }
}

pub(crate) fn expand(options: TokenStream, item: TokenStream) -> syn::Result<TokenStream> {
    let options = Options::parse(options)?;
    let Declaration {
        attributes,
        visibility,
        mut signature,
    } = syn::parse2(item)?;
    let types = Types::new(&signature)?;
    let name = options.name(&signature.ident);
    let value = types.value();
    let parameters = name_parameters(&mut signature)?;
    let call = if options.is_bytes {
        let [parameter] = &parameters[..] else {
            let message = "a function with the option `bytes` has one parameter, `&[u8]` or `Vec<u8>`";
            return Err(syn::Error::new(signature.inputs.span(), message));
        };
        quote!(::sandbox_guest::macros::call_bytes(&RECORD, ::core::convert::AsRef::<[u8]>::as_ref(&#parameter)))
    } else {
        let sent = parameters.iter().zip(&types.parameters).map(|(parameter, ty)| {
            if is_byte_vector(ty) {
                quote!(::sandbox_guest::Bytes(#parameter))
            } else {
                quote!(#parameter)
            }
        });
        let received = if is_byte_vector(&types.result) {
            quote!(::sandbox_guest::Bytes)
        } else {
            value.clone()
        };
        let take = is_byte_vector(&types.result).then(|| quote!(.map(|bytes| bytes.0)));
        quote!(::sandbox_guest::macros::call::<#received>(&RECORD, &(#(#sent,)*)) #take)
    };
    let record = if options.is_bytes {
        quote!(::sandbox_guest::Import::bytes(#name))
    } else {
        let parameters = &types.parameters;
        quote!(::sandbox_guest::Import::typed(#name, ::sandbox_guest::signature::<(#(#parameters,)*), #value>()))
    };
    let ending = if types.is_fallible {
        quote!(result.map_err(::core::convert::From::from))
    } else {
        quote!(::sandbox_guest::macros::unwrap(#name, result))
    };
    Ok(quote! {
        #(#attributes)*
        #visibility #signature {
            ::sandbox_guest::macros::import!(RECORD, #record);
            let result = #call;
            #ending
        }
    })
}

/// The names of the parameters. Those that are no plain names get one.
fn name_parameters(signature: &mut Signature) -> syn::Result<Vec<Ident>> {
    let mut names = Vec::new();
    for (at, input) in signature.inputs.iter_mut().enumerate() {
        let FnArg::Typed(typed) = input else {
            continue;
        };
        match &*typed.pat {
            Pat::Ident(pattern) if pattern.subpat.is_none() && pattern.mutability.is_none() => {
                names.push(pattern.ident.clone());
            }
            Pat::Wild(_) => {
                let name = format_ident!("parameter_{at}", span = Span::mixed_site());
                *typed.pat = syn::parse_quote!(#name);
                names.push(name);
            }
            pattern => {
                let message = "the declaration of a host function needs plain names of parameters";
                return Err(syn::Error::new(pattern.span(), message));
            }
        }
    }
    Ok(names)
}
