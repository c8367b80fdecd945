//! `#[guest_function]`.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned as _;
use syn::{Ident, ItemFn};

use crate::options::Options;
use crate::types::{Types, is_byte_vector};

pub(crate) fn expand(options: TokenStream, item: TokenStream) -> syn::Result<TokenStream> {
    let options = Options::parse(options)?;
    let function: ItemFn = syn::parse2(item)?;
    let types = Types::new(&function.sig)?;
    let name = options.name(&function.sig.ident);
    let (entry, record) = if options.is_bytes {
        let entry = bytes_entry(&function, &types)?;
        (entry, quote!(::sandbox_guest::Export::bytes(#name, entry)))
    } else {
        let parameters = &types.parameters;
        let value = types.value();
        let signature = quote!(::sandbox_guest::signature::<(#(#parameters,)*), #value>());
        let entry = typed_entry(&function, &types);
        (
            entry,
            quote!(::sandbox_guest::Export::typed(#name, #signature, entry)),
        )
    };
    Ok(quote! {
        #function
        const _: () = {
            fn entry(call: &mut ::sandbox_guest::Call<'_>) -> ::sandbox_guest::Reply {
                #entry
            }
            ::sandbox_guest::macros::export!(#record);
        };
    })
}

/// Turns the value of an expression into a reply.
fn reply(types: &Types, call: &TokenStream, reply: &TokenStream) -> TokenStream {
    if types.is_fallible {
        quote! {
            match #call {
                ::core::result::Result::Ok(value) => #reply,
                ::core::result::Result::Err(error) => call.error(error),
            }
        }
    } else {
        quote! {
            let value = #call;
            #reply
        }
    }
}

fn typed_entry(function: &ItemFn, types: &Types) -> TokenStream {
    let name = &function.sig.ident;
    let variables: Vec<Ident> = (0..types.parameters.len())
        .map(|at| format_ident!("parameter_{at}", span = Span::mixed_site()))
        .collect();
    let decoded = types.parameters.iter().map(|ty| {
        if is_byte_vector(ty) {
            quote_spanned!(ty.span()=> ::sandbox_guest::Bytes)
        } else {
            quote!(#ty)
        }
    });
    let passed = variables.iter().zip(&types.parameters).map(|(variable, ty)| {
        if is_byte_vector(ty) {
            quote!(#variable.0)
        } else {
            quote!(#variable)
        }
    });
    let call = quote!(#name(#(#passed),*));
    let encode = if is_byte_vector(&types.result) {
        quote!(call.reply(&::sandbox_guest::Bytes(value)))
    } else {
        quote!(call.reply(&value))
    };
    let reply = reply(types, &call, &encode);
    quote! {
        match call.parameters::<(#(#decoded,)*)>() {
            ::core::result::Result::Ok((#(#variables,)*)) => { #reply }
            ::core::result::Result::Err(reply) => reply,
        }
    }
}

fn bytes_entry(function: &ItemFn, types: &Types) -> syn::Result<TokenStream> {
    let [parameter] = &types.parameters[..] else {
        let message = "a function with the option `bytes` has one parameter, `&[u8]` or `Vec<u8>`";
        return Err(syn::Error::new(function.sig.inputs.span(), message));
    };
    let name = &function.sig.ident;
    let argument = if is_byte_vector(parameter) {
        quote!(call.take_bytes())
    } else {
        quote_spanned!(parameter.span()=> call.bytes())
    };
    Ok(reply(
        types,
        &quote!(#name(#argument)),
        &quote!(call.reply_bytes(value)),
    ))
}
