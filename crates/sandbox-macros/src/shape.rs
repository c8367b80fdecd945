//! `#[derive(Shape)]`.

use proc_macro2::{Ident, TokenStream};
use quote::quote;
use syn::spanned::Spanned as _;
use syn::{Data, DeriveInput, Fields, GenericParam};

pub(crate) fn expand(item: TokenStream) -> syn::Result<TokenStream> {
    let mut input: DeriveInput = syn::parse2(item)?;
    let hash = match &input.data {
        Data::Struct(data) => {
            let fields = fields(&data.fields);
            quote!(combine(name("struct"), #fields))
        }
        Data::Enum(data) => {
            let variants = data.variants.iter().map(|variant| {
                let (name, fields) = (text(&variant.ident), fields(&variant.fields));
                quote!(hash = combine(combine(hash, name(#name)), #fields);)
            });
            quote!({
                let mut hash = name("enum");
                #(#variants)*
                hash
            })
        }
        Data::Union(data) => {
            let message = "a union has no shape: which field it has is not known";
            return Err(syn::Error::new(data.union_token.span(), message));
        }
    };
    for parameter in &mut input.generics.params {
        if let GenericParam::Type(parameter) = parameter {
            parameter.bounds.push(syn::parse_quote!(::sandbox_guest::Shape));
        }
    }
    let ident = &input.ident;
    let (before, generics, conditions) = input.generics.split_for_impl();
    Ok(quote! {
        #[automatically_derived]
        impl #before ::sandbox_guest::Shape for #ident #generics #conditions {
            const HASH: u64 = {
                use ::sandbox_guest::shape::{combine, name};
                #hash
            };
        }
    })
}

/// Hash of fields in their order, with names where they have them.
fn fields(fields: &Fields) -> TokenStream {
    let steps = fields.iter().map(|field| {
        let ty = &field.ty;
        let shape = quote!(<#ty as ::sandbox_guest::Shape>::HASH);
        match &field.ident {
            Some(ident) => {
                let name = text(ident);
                quote!(hash = combine(combine(hash, name(#name)), #shape);)
            }
            None => quote!(hash = combine(hash, #shape);),
        }
    });
    let kind = match fields {
        Fields::Named(_) => "named",
        Fields::Unnamed(_) => "unnamed",
        Fields::Unit => "unit",
    };
    if fields.is_empty() {
        return quote!(name(#kind));
    }
    quote!({
        let mut hash = name(#kind);
        #(#steps)*
        hash
    })
}

fn text(ident: &Ident) -> String {
    ident.to_string().trim_start_matches("r#").to_owned()
}
