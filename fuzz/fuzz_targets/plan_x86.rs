//! An arbitrary x86_64 image, machine, command line, initrd and modules: planning fails with an error, or the plan keeps
//! every promise and meets every requirement of its protocol. The checkers share no code with the planners.

#![no_main]

use boot_core::{BootPlan, BootProtocol, BootRequest, KernelImage, detect};
use boot_test::contract::{linux_x86, pvh};
use boot_test::promises;
use boot_test::x86::{self, X86Boot};
use libfuzzer_sys::arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;
use proto_linux_x86::{EntryChoice, LinuxX86};

/// Length of the bytes that generate the boot if the image is a file.
const BOOT_LEN: usize = 64;

type Contract = fn(&BootRequest<'_>, &BootPlan) -> Result<(), String>;

fn check_protocol(protocol: &dyn BootProtocol, request: &BootRequest<'_>, contract: Contract) {
    match protocol.plan(request) {
        Ok(plan) => {
            let kept = promises::plan(request, &plan).and_then(|()| contract(request, &plan));
            assert_eq!(kept, Ok(()), "{plan}");
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn check_image(boot: &X86Boot, image: &KernelImage) {
    let request = boot.request(image);
    check_protocol(&proto_pvh::PROTOCOL, &request, pvh::check);
    let request = request.with_modules(&[]);
    for entry in [EntryChoice::Auto, EntryChoice::Only32Bit] {
        check_protocol(&LinuxX86::new().with_entry(entry), &request, linux_x86::check);
    }
}

// The first byte chooses between a generated image and one that is the rest of the input, as a file.
fuzz_target!(|data: &[u8]| {
    let Some((kind, data)) = data.split_first() else {
        return;
    };
    if kind % 2 == 0 {
        let u = &mut Unstructured::new(data);
        let boot = X86Boot::arbitrary(u).unwrap();
        if let Ok(image) = x86::image(u, &boot.machine.memory) {
            check_image(&boot, &image);
        }
    } else if let Some((boot, file)) = data.split_at_checked(BOOT_LEN)
        && let Ok(image) = detect(&[&fmt_bzimage::FORMAT, &fmt_elf::FORMAT], &file)
    {
        let boot = X86Boot::arbitrary(&mut Unstructured::new(boot)).unwrap();
        check_image(&boot, &image);
    }
});
