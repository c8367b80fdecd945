//! Signatures of functions.

use proc_macro2::TokenStream;
use quote::quote;
use syn::spanned::Spanned as _;
use syn::{FnArg, GenericArgument, PathArguments, ReturnType, Safety, Signature, Type};

/// Parameters and result of a function that can be called from the other side.
pub(crate) struct Types {
    pub(crate) parameters: Vec<Type>,
    pub(crate) result: Type,
    /// The result is a `Result`, whose error goes to the caller.
    pub(crate) is_fallible: bool,
}

/// Largest number of parameters: tuples up to this length are `serde`'s and have a `Shape`.
const MAX_PARAMETERS: usize = 12;

impl Types {
    pub(crate) fn new(signature: &Signature) -> syn::Result<Self> {
        check_qualifiers(signature)?;
        let parameters = signature
            .inputs
            .iter()
            .map(parameter)
            .collect::<syn::Result<Vec<_>>>()?;
        if let Some(first) = signature.inputs.iter().nth(MAX_PARAMETERS) {
            let message = format!("at most {MAX_PARAMETERS} parameters are possible; use a struct");
            return Err(syn::Error::new(first.span(), message));
        }
        let result: Type = match &signature.output {
            ReturnType::Default => syn::parse_quote!(()),
            ReturnType::Type(_, result) => Type::clone(result),
        };
        if let Type::ImplTrait(_) = result {
            let message = "the result needs a type that both sides know, not `impl`";
            return Err(syn::Error::new(result.span(), message));
        }
        let is_fallible = last_segment(&result).is_some_and(|segment| segment.ident == "Result");
        Ok(Self {
            parameters,
            result,
            is_fallible,
        })
    }

    /// The type of the value that is sent: for a `Result`, that of `Ok`.
    pub(crate) fn value(&self) -> TokenStream {
        let result = &self.result;
        if self.is_fallible {
            quote!(<#result as ::sandbox_guest::macros::Fallible>::Value)
        } else {
            quote!(#result)
        }
    }
}

fn check_qualifiers(signature: &Signature) -> syn::Result<()> {
    let refuse = |span, what: &str| {
        let message = format!("a function that the other side calls cannot be {what}");
        Err(syn::Error::new(span, message))
    };
    if let Some(token) = &signature.asyncness {
        return refuse(token.span(), "`async`");
    }
    if let Safety::Unsafe(token) = &signature.safety {
        return refuse(token.span(), "`unsafe`");
    }
    if let Some(token) = &signature.abi {
        return refuse(token.span(), "`extern`");
    }
    if let Some(token) = &signature.variadic {
        return refuse(token.span(), "variadic");
    }
    if let Some(parameter) = signature.generics.params.first() {
        return refuse(parameter.span(), "generic");
    }
    Ok(())
}

fn parameter(input: &FnArg) -> syn::Result<Type> {
    match input {
        FnArg::Receiver(receiver) => Err(syn::Error::new(
            receiver.span(),
            "a function that the other side calls has no `self`",
        )),
        FnArg::Typed(typed) => match &*typed.ty {
            Type::Reference(reference) if reference.mutability.is_some() => Err(syn::Error::new(
                typed.ty.span(),
                "parameters are copies: a mutable reference would not reach the caller",
            )),
            Type::ImplTrait(_) => Err(syn::Error::new(
                typed.ty.span(),
                "parameters need types that both sides know, not `impl`",
            )),
            ty => Ok(ty.clone()),
        },
    }
}

/// The last segment of a path type.
fn last_segment(ty: &Type) -> Option<&syn::PathSegment> {
    match ty {
        Type::Path(path) => path.path.segments.last(),
        Type::Group(group) => last_segment(&group.elem),
        Type::Paren(paren) => last_segment(&paren.elem),
        _ => None,
    }
}

/// Whether the type is written as `Vec<u8>`, which has an encoding that is faster than that of its elements.
pub(crate) fn is_byte_vector(ty: &Type) -> bool {
    let Some(segment) = last_segment(ty).filter(|segment| segment.ident == "Vec") else {
        return false;
    };
    let PathArguments::AngleBracketed(arguments) = &segment.arguments else {
        return false;
    };
    let mut arguments = arguments.args.iter();
    let is_byte = |ty: &Type| last_segment(ty).is_some_and(|segment| segment.ident == "u8");
    matches!((arguments.next(), arguments.next()), (Some(GenericArgument::Type(ty)), None) if is_byte(ty))
}
