//! Sets the linker script.

fn main() {
    let directory = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    println!("cargo::rerun-if-changed=firmware.ld");
    println!("cargo::rerun-if-changed=src/entry.s");
    println!("cargo::rerun-if-changed=src/start.s");
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "none") {
        println!("cargo::rustc-link-arg-bins=-T{directory}/firmware.ld");
        println!("cargo::rustc-link-arg-bins=-zmax-page-size=4096");
        // The image is linked at a fixed address; this overrides rustc's `-pie`.
        println!("cargo::rustc-link-arg-bins=--no-pie");
    }
}
