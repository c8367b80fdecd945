//! `#[guest_init]`.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned as _;
use syn::{ItemFn, ReturnType};

pub(crate) fn expand(options: &TokenStream, item: TokenStream) -> syn::Result<TokenStream> {
    if !options.is_empty() {
        return Err(syn::Error::new(options.span(), "`guest_init` has no options"));
    }
    let function: ItemFn = syn::parse2(item)?;
    let signature = &function.sig;
    let name = &signature.ident;
    if !signature.inputs.is_empty() || !matches!(signature.output, ReturnType::Default) {
        let message = "a function with `guest_init` has neither parameters nor a result";
        return Err(syn::Error::new(signature.span(), message));
    }
    let assignment = quote_spanned!(name.span()=> let init: fn() = #name;);
    Ok(quote! {
        #function
        const _: () = {
            fn init() {
                #assignment
                init();
            }
            ::sandbox_guest::macros::init!(init);
        };
    })
}
