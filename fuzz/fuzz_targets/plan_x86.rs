//! An arbitrary image, machine, command line, initrd and modules: planning a boot on x86_64 fails with an error, or the
//! plan keeps every promise, says a checker that shares no code with the planner.

#![no_main]

#[path = "../../crates/boot-core/tests/plans/case.rs"]
mod case;
#[macro_use]
#[path = "../../crates/boot-core/tests/plans/check.rs"]
mod check;
#[path = "../../crates/proto-linux-x86/tests/contract/check.rs"]
mod linux;
#[path = "../../crates/proto-pvh/tests/contract/check.rs"]
mod pvh;
#[path = "../../crates/boot-core/tests/plans/view.rs"]
mod view;

use boot_core::{BootPlan, BootProtocol, BootRequest, KernelImage, detect};
use case::{Case, Dice};
use libfuzzer_sys::fuzz_target;
use proto_linux_x86::{EntryChoice, LinuxX86};

/// How many bytes make the machine and the rest of a request whose image is a file.
const CASE_LEN: usize = 64;

type Contract = fn(&BootRequest<'_>, &BootPlan) -> Result<(), String>;

fn check_protocol(protocol: &dyn BootProtocol, request: &BootRequest<'_>, contract: Contract) {
    match protocol.plan(request) {
        Ok(plan) => {
            let kept = check::plan(request, &plan).and_then(|()| contract(request, &plan));
            assert_eq!(kept, Ok(()), "{plan}");
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn check_image(case: &Case, image: &KernelImage) {
    let request = case.request(image);
    check_protocol(&proto_pvh::PROTOCOL, &request, pvh::contract);
    let request = request.with_modules(&[]);
    for entry in [EntryChoice::Auto, EntryChoice::Only32Bit] {
        check_protocol(&LinuxX86::new().with_entry(entry), &request, linux::contract);
    }
}

// The first byte says whether the image is the rest of the input, as a file, or made up as the machine is.
fuzz_target!(|data: &[u8]| {
    let Some((kind, data)) = data.split_first() else {
        return;
    };
    if kind % 2 == 0 {
        let dice = &mut Dice(data);
        let case = Case::new(dice);
        if let Some(image) = case::image(dice, &case.machine.memory) {
            check_image(&case, &image);
        }
    } else if let Some((case, file)) = data.split_at_checked(CASE_LEN)
        && let Ok(image) = detect(&[&fmt_bzimage::FORMAT, &fmt_elf::FORMAT], &file)
    {
        check_image(&Case::new(&mut Dice(case)), &image);
    }
});
