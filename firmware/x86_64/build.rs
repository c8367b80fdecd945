//! Sets the linker script.

fn main() {
    let directory = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    println!("cargo::rerun-if-changed=firmware.ld");
    println!("cargo::rerun-if-changed=src/entry.s");
    println!("cargo::rerun-if-changed=src/start.s");
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "none") {
        println!("cargo::rustc-link-arg-bins=-T{directory}/firmware.ld");
        // Segments are at multiples of 4 KiB in memory, as the script says, but not in the file: VMMs copy them.
        println!("cargo::rustc-link-arg-bins=--nmagic");
        // Images of EFI run on the firmware's stack, 128 KiB for each level (UEFI 2.10, section 2.3.4); page tables are in the heap.
        let (stack, heap) = match std::env::var_os("CARGO_FEATURE_EFI") {
            Some(_) => (1 << 20, 8 << 20),
            None => (64 << 10, 4 << 20),
        };
        println!("cargo::rustc-link-arg-bins=--defsym=__stack_len={stack}");
        println!("cargo::rustc-link-arg-bins=--defsym=__heap_len={heap}");
        // The image is linked at a fixed address; this overrides rustc's `-pie`.
        println!("cargo::rustc-link-arg-bins=--no-pie");
    }
}
