//! Hands the linker script to every program of this package.

fn main() {
    let directory = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    println!("cargo::rerun-if-changed=kernel.ld");
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "none") {
        println!("cargo::rustc-link-arg-bins=-T{directory}/kernel.ld");
        println!("cargo::rustc-link-arg-bins=--build-id=sha1");
        println!("cargo::rustc-link-arg-bins=-zmax-page-size=4096");
        // One image at one address: the last word on whether to link a position-independent executable, whatever rustc asks.
        println!("cargo::rustc-link-arg-bins=--no-pie");
    }
}
