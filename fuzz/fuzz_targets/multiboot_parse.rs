//! Arbitrary bytes through the Multiboot parser and both protocols: nothing may panic, what is accepted must keep its promises,
//! and an ELF file must not lose an entry point without a warning.

#![no_main]

use boot_core::{Arch, BootProtocol, BootRequest, Cmdline, Machine, MemoryMap};
use boot_multiboot::{MULTIBOOT, MULTIBOOT2, Multiboot2Metadata, MultibootMetadata};
use fmt_multiboot::Warning;
use libfuzzer_sys::fuzz_target;
use proto_multiboot::{PROTOCOL_MULTIBOOT, PROTOCOL_MULTIBOOT2};

fuzz_target!(|data: &[u8]| {
    let image = match fmt_multiboot::parse(&data) {
        Ok(None) => return,
        Ok(Some(image)) => image,
        Err(error) => return fmt_test::assert_has_text(&error),
    };
    fmt_test::assert_valid_image(&image, data.len());
    assert!(image.entry(MULTIBOOT).is_none() || image.metadata::<MultibootMetadata>().is_some());
    assert!(image.entry(MULTIBOOT2).is_none() || image.metadata::<Multiboot2Metadata>().is_some());
    if let Ok(Some(elf)) = fmt_elf::parse(&data) {
        for entry in elf.entries() {
            let left_out = Warning::EntryLeftOut { abi: entry.abi };
            let mut warnings = image.warnings().iter();
            let is_warned = warnings.any(|warning| warning.downcast_ref() == Some(&left_out));
            assert!(is_warned || image.entry(entry.abi) == Some(*entry));
        }
    }

    let machine = Machine::new(Arch::X86_64, MemoryMap::pc(1 << 30).unwrap());
    let cmdline: Cmdline = "kernel".parse().unwrap();
    let request = BootRequest::new(&image, &machine, &cmdline).with_initrd(0x1001);
    let protocols: [&dyn BootProtocol; 2] = [&PROTOCOL_MULTIBOOT, &PROTOCOL_MULTIBOOT2];
    for protocol in protocols {
        match protocol.plan(&request) {
            Ok(plan) => assert_eq!(plan.cpus().len(), 1),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
});
