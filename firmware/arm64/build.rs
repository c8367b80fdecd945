//! Sets the linker script.

fn main() {
    let directory = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    println!("cargo::rerun-if-changed=../device_tree/image.ld");
    println!("cargo::rerun-if-changed=src/entry.s");
    println!("cargo::rerun-if-changed=src/start.s");
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "none") {
        println!("cargo::rustc-link-arg-bins=-T{directory}/../device_tree/image.ld");
        println!("cargo::rustc-link-arg-bins=-zmax-page-size=4096");
        // The firmware relocates itself, including constants, so that it runs at any address.
        println!("cargo::rustc-link-arg-bins=--pie");
        println!("cargo::rustc-link-arg-bins=--no-dynamic-linker");
        println!("cargo::rustc-link-arg-bins=-znotext");
        println!("cargo::rustc-link-arg-bins=-zpack-relative-relocs");
        println!("cargo::rustc-link-arg-bins=--no-eh-frame-hdr");
    }
}
