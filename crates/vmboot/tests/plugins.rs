//! The exact list of plugins: the linker drops plugin crates without a reference to them.

#[test]
fn every_plugin_is_linked_in_the_documented_order() {
    let formats = vmboot::formats().unwrap();
    let formats: Vec<_> = formats.iter().map(|format| format.name()).collect();
    assert_eq!(
        formats,
        [
            "bzimage",
            "arm64-image",
            "efi-zboot",
            "riscv-image",
            "multiboot",
            "elf",
            "pe"
        ]
    );
    let protocols = vmboot::protocols().unwrap();
    let protocols: Vec<_> = protocols.iter().map(|protocol| protocol.name()).collect();
    assert_eq!(
        protocols,
        [
            "pvh",
            "multiboot2",
            "multiboot",
            "linux",
            "fdt-arm64",
            "fdt-riscv64"
        ]
    );
}
