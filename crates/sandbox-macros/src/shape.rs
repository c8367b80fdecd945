//! `#[derive(Shape)]`.

use proc_macro2::{Ident, TokenStream};
use quote::quote;
use syn::spanned::Spanned as _;
use syn::{Data, DeriveInput, Fields, GenericParam, Path};

pub(crate) fn expand(item: TokenStream) -> syn::Result<TokenStream> {
    let mut input: DeriveInput = syn::parse2(item)?;
    let path = crate_path(&input)?;
    let hash = match &input.data {
        Data::Struct(data) => {
            let fields = fields(&data.fields, &path);
            quote!(combine(name("struct"), #fields))
        }
        Data::Enum(data) => {
            let variants = data.variants.iter().map(|variant| {
                let (name, fields) = (text(&variant.ident), fields(&variant.fields, &path));
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
            parameter.bounds.push(syn::parse_quote!(#path::Shape));
        }
    }
    let ident = &input.ident;
    let (before, generics, conditions) = input.generics.split_for_impl();
    Ok(quote! {
        #[automatically_derived]
        impl #before #path::Shape for #ident #generics #conditions {
            const HASH: u64 = {
                use #path::shape::{combine, name};
                #hash
            };
        }
    })
}

/// The crate that exports `Shape`: that of the attribute `shape(crate = …)`, or `sandbox_guest`.
fn crate_path(input: &DeriveInput) -> syn::Result<Path> {
    let mut path: Path = syn::parse_quote!(::sandbox_guest);
    for attribute in &input.attrs {
        if !attribute.path().is_ident("shape") {
            continue;
        }
        attribute.parse_nested_meta(|meta| {
            if meta.path.is_ident("crate") {
                path = meta.value()?.call(Path::parse_mod_style)?;
                return Ok(());
            }
            Err(meta.error("unknown option; expected `crate = …`"))
        })?;
    }
    Ok(path)
}

/// Hash of fields in their order, with names where they have them.
fn fields(fields: &Fields, path: &Path) -> TokenStream {
    let steps = fields.iter().map(|field| {
        let ty = &field.ty;
        let shape = quote!(<#ty as #path::Shape>::HASH);
        if let Some(ident) = &field.ident {
            let name = text(ident);
            quote!(hash = combine(combine(hash, name(#name)), #shape);)
        } else {
            quote!(hash = combine(hash, #shape);)
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
