#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod guest_function;
mod guest_init;
mod host_function;
mod options;
mod shape;
mod types;

#[cfg(test)]
mod tests;

use proc_macro::TokenStream;

/// Offers a function to the host. The crate `sandbox_guest` documents it.
#[proc_macro_attribute]
pub fn guest_function(options: TokenStream, item: TokenStream) -> TokenStream {
    expand(guest_function::expand(options.into(), item.into()))
}

/// Declares a function of the host. The crate `sandbox_guest` documents it.
#[proc_macro_attribute]
pub fn host_function(options: TokenStream, item: TokenStream) -> TokenStream {
    expand(host_function::expand(options.into(), item.into()))
}

/// Runs a function before the first call. The crate `sandbox_guest` documents it.
#[proc_macro_attribute]
pub fn guest_init(options: TokenStream, item: TokenStream) -> TokenStream {
    expand(guest_init::expand(&options.into(), item.into()))
}

/// Derives the hash of a type's encoding. The crate `sandbox_guest` documents it.
#[proc_macro_derive(Shape, attributes(shape))]
pub fn shape(item: TokenStream) -> TokenStream {
    expand(shape::expand(item.into()))
}

fn expand(result: syn::Result<proc_macro2::TokenStream>) -> TokenStream {
    result.unwrap_or_else(syn::Error::into_compile_error).into()
}
