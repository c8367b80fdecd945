use proc_macro2::TokenStream;
use quote::quote;

use crate::{guest_function, guest_init, host_function, shape};

#[track_caller]
fn check_error(result: syn::Result<TokenStream>, expected: &str) {
    match result {
        Ok(tokens) => panic!("no error, but {tokens}"),
        Err(error) => assert_eq!(error.to_string(), expected),
    }
}

#[track_caller]
fn guest(options: TokenStream, item: TokenStream, expected: &str) {
    check_error(guest_function::expand(options, item), expected);
}

#[track_caller]
fn host(options: TokenStream, item: TokenStream, expected: &str) {
    check_error(host_function::expand(options, item), expected);
}

#[test]
fn options_are_checked() {
    let function = || {
        quote!(
            fn f() {}
        )
    };
    guest(
        quote!(leaf),
        function(),
        "unknown option `leaf`; expected `bytes` or `name = \"…\"`",
    );
    guest(quote!(bytes, bytes), function(), "`bytes` is there twice");
    guest(
        quote!(name = "a", name = "b"),
        function(),
        "`name` is there twice",
    );
    guest(
        quote!(name = ""),
        function(),
        "the name has 0 bytes, expected 1 to 255",
    );
    let long = "x".repeat(256);
    guest(
        quote!(name = #long),
        function(),
        "the name has 256 bytes, expected 1 to 255",
    );
    guest(quote!(name = 3), function(), "expected string literal");
}

#[test]
fn signatures_are_checked() {
    for (function, expected) in [
        (
            quote!(
                async fn f() {}
            ),
            "`async`",
        ),
        ("unsafe fn f() {}".parse().unwrap(), "`unsafe`"),
        (
            quote!(
                extern "C" fn f() {}
            ),
            "`extern`",
        ),
        (
            quote!(
                fn f<T>() {}
            ),
            "generic",
        ),
    ] {
        let expected = format!("a function that the other side calls cannot be {expected}");
        guest(quote!(), function, &expected);
    }
    guest(
        quote!(),
        quote!(
            fn f(&self) {}
        ),
        "a function that the other side calls has no `self`",
    );
    guest(
        quote!(),
        quote!(
            fn f(x: &mut u32) {}
        ),
        "parameters are copies: a mutable reference would not reach the caller",
    );
    guest(
        quote!(),
        quote!(
            fn f(x: impl Copy) {}
        ),
        "parameters need types that both sides know, not `impl`",
    );
    guest(
        quote!(),
        quote!(
            fn f() -> impl Copy {}
        ),
        "the result needs a type that both sides know, not `impl`",
    );
    let parameters = (0..13).map(|at| quote::format_ident!("p{at}"));
    guest(
        quote!(),
        quote!(fn f(#(#parameters: u8),*) {}),
        "at most 12 parameters are possible; use a struct",
    );
    let bytes = "a function with the option `bytes` has one parameter, `&[u8]` or `Vec<u8>`";
    guest(
        quote!(bytes),
        quote!(
            fn f() {}
        ),
        bytes,
    );
    guest(
        quote!(bytes),
        quote!(
            fn f(a: &[u8], b: &[u8]) {}
        ),
        bytes,
    );
    host(
        quote!(bytes),
        quote!(
            fn f();
        ),
        bytes,
    );
}

#[test]
fn host_functions_are_declarations() {
    host(
        quote!(),
        quote!(
            fn f() {}
        ),
        "the host has the body: end the declaration with `;`",
    );
    host(
        quote!(),
        quote!(
            fn f((a, b): (u8, u8));
        ),
        "the declaration of a host function needs plain names of parameters",
    );
}

#[test]
fn init_functions_have_no_parameters() {
    check_error(
        guest_init::expand(
            &quote!(now),
            quote!(
                fn f() {}
            ),
        ),
        "`guest_init` has no options",
    );
    for function in [
        quote!(
            fn f(x: u8) {}
        ),
        quote!(
            fn f() -> u8 {}
        ),
    ] {
        check_error(
            guest_init::expand(&quote!(), function),
            "a function with `guest_init` has neither parameters nor a result",
        );
    }
}

#[test]
fn unions_have_no_shape() {
    check_error(
        shape::expand(quote!(union U { a: u8 })),
        "a union has no shape: which field it has is not known",
    );
    check_error(
        shape::expand(quote!(
            #[shape(krate = x)]
            struct S;
        )),
        "unknown option; expected `crate = …`",
    );
}

/// The names in records; raw identifiers are without their prefix.
#[test]
fn functions_have_names() {
    for (options, item, expected) in [
        (
            quote!(),
            quote!(
                fn add() {}
            ),
            "\"add\"",
        ),
        (
            quote!(),
            quote!(
                fn r#match() {}
            ),
            "\"match\"",
        ),
        (
            quote!(name = "a-b"),
            quote!(
                fn add() {}
            ),
            "\"a-b\"",
        ),
    ] {
        let tokens = guest_function::expand(options, item).unwrap().to_string();
        assert!(tokens.contains(expected), "{tokens}");
    }
}
