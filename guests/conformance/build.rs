//! Sets the linker script of the programs in this package.

fn main() {
    let directory = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    println!("cargo::rerun-if-changed=kernel.ld");
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "none") {
        println!("cargo::rustc-link-arg-bins=-T{directory}/kernel.ld");
        println!("cargo::rustc-link-arg-bins=--build-id=sha1");
        println!("cargo::rustc-link-arg-bins=-zmax-page-size=4096");
        // The image is linked at a fixed address; this overrides rustc's `-pie`.
        println!("cargo::rustc-link-arg-bins=--no-pie");
    }
}
