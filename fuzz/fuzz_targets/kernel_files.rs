//! A generated kernel file of any format, consistent or with a few changes, on an arbitrary machine: it is refused with an error, or each plan has every property
//! of its protocol and is loaded as it says. The checkers share no code with the parsers and planners.

#![no_main]

use std::error::Error;

use bls::uki::Uki;
use boot_core::{
    Arch, BootFile, BootPlan, BootProtocol, BootRequest, ByteSource, Cmdline, KernelFormat, KernelImage,
    LoadContent, SizedSource, Sources, detect,
};
use boot_test::contract::{linux_x86, multiboot, pvh};
use boot_test::files::kernel_file;
use boot_test::loaded::Loaded;
use boot_test::x86::X86Boot;
use boot_test::{fdt, promises};
use fmt_test::{CountingSource, assert_valid_image};
use libfuzzer_sys::arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;
use proto_multiboot::{PROTOCOL_MULTIBOOT, PROTOCOL_MULTIBOOT2};

const FORMATS: [&dyn KernelFormat; 7] = [
    &fmt_bzimage::FORMAT,
    &fmt_elf::FORMAT,
    &fmt_multiboot::FORMAT,
    &fmt_pe::ARM64_IMAGE,
    &fmt_pe::RISCV_IMAGE,
    &fmt_pe::ZBOOT,
    &fmt_pe::PE,
];

/// Largest sum of the loads of a plan that is loaded, in bytes.
const MAX_LOADED: u64 = 4 << 20;

type Contract = fn(&BootRequest<'_>, &BootPlan) -> Result<(), String>;

/// Reads the texts of an error and of its causes.
fn check_error(error: &dyn Error) {
    let mut cause = Some(error);
    while let Some(error) = cause {
        assert!(!error.to_string().is_empty());
        cause = error.source();
    }
}

/// Plans, checks the plan, and loads it.
fn boot(protocol: &dyn BootProtocol, request: &BootRequest<'_>, kernel: &[u8], contract: Contract) {
    let plan = match protocol.plan(request) {
        Ok(plan) => plan,
        Err(error) => return check_error(&error),
    };
    assert_eq!(contract(request, &plan), Ok(()), "{plan}");
    let len = plan
        .loads()
        .iter()
        .map(|load| load.range.len())
        .fold(0, u64::saturating_add);
    if len > MAX_LOADED {
        return;
    }
    let initrd = CountingSource::sparse(&[], request.initrd_len.map_or(0, u64::from));
    let modules: Vec<_> = request
        .modules
        .iter()
        .map(|module| CountingSource::sparse(&[], module.len))
        .collect();
    let modules: Vec<_> = modules.iter().map(|module| module as &dyn ByteSource).collect();
    let sources = Sources::kernel(&kernel)
        .with_initrd(&initrd)
        .with_modules(&modules);
    let loaded = Loaded::new(&plan, &sources);
    for load in plan.loads() {
        let found = &loaded.at(load.range.start())[..load.range.len() as usize];
        match &load.content {
            LoadContent::File {
                id: BootFile::Kernel,
                range,
            } => {
                assert!(
                    found == &kernel[range.offset() as usize..range.end() as usize],
                    "{load:?}"
                );
            }
            LoadContent::Bytes(bytes) => assert!(found == &**bytes, "{load:?}"),
            // The other files have zeros.
            _ => assert!(found.iter().all(|byte| *byte == 0), "{load:?}"),
        }
    }
}

fn with_promises(request: &BootRequest<'_>, plan: &BootPlan, contract: Contract) -> Result<(), String> {
    promises::plan(request, plan).and_then(|()| contract(request, plan))
}

fn boot_by_all(u: &mut Unstructured<'_>, image: &KernelImage, kernel: &[u8]) {
    if image.arch() == Arch::X86_64 {
        let x86 = X86Boot::arbitrary(u).unwrap();
        let request = x86.request(image);
        boot(&proto_pvh::PROTOCOL, &request, kernel, |request, plan| {
            with_promises(request, plan, pvh::check)
        });
        for protocol in [&PROTOCOL_MULTIBOOT as &dyn BootProtocol, &PROTOCOL_MULTIBOOT2] {
            boot(protocol, &request, kernel, multiboot::check);
        }
        let request = request.with_modules(&[]);
        boot(&proto_linux_x86::PROTOCOL, &request, kernel, |request, plan| {
            with_promises(request, plan, linux_x86::check)
        });
    } else {
        let machine = fdt::machine(u, image.arch()).unwrap();
        let cmdline: Cmdline = "console=ttyS0".parse().unwrap();
        let request = BootRequest::new(image, &machine, &cmdline).with_initrd(0x2345);
        for protocol in [
            &proto_fdt::PROTOCOL_ARM64 as &dyn BootProtocol,
            &proto_fdt::PROTOCOL_RISCV64,
        ] {
            boot(protocol, &request, kernel, |request, plan| {
                promises::loads(request, plan.loads(), plan.kernel())
            });
        }
    }
}

/// The kernel in a unified kernel image, or the file.
fn kernel_of(file: &[u8]) -> &[u8] {
    let uki = Uki::parse(SizedSource::new(&file).unwrap());
    let profile = match &uki {
        Ok(Some(uki)) => uki.profile(None),
        Ok(None) => return file,
        Err(error) => {
            check_error(error);
            return file;
        }
    };
    match profile {
        Ok(profile) => &file[profile.linux.offset() as usize..profile.linux.end() as usize],
        Err(error) => {
            check_error(&error);
            file
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let u = &mut Unstructured::new(data);
    let Ok(file) = kernel_file(u) else {
        return;
    };
    let kernel = kernel_of(&file.bytes);
    match detect(&FORMATS, &kernel) {
        Ok(image) => {
            assert_valid_image(&image, kernel.len());
            boot_by_all(u, &image, kernel);
        }
        Err(error) => check_error(&error),
    }
});
