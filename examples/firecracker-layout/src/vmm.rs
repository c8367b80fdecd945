//! The machine on KVM.

#![expect(
    unsafe_code,
    reason = "KVM uses the guest memory by its address in this process"
)]

use std::error::Error;
use std::fs::File;
use std::io::Write;

use boot_core::{ByteSource, Cmdline, Sources, detect};
use kvm_bindings::kvm_userspace_memory_region;
use kvm_ioctls::Kvm;
use minimal_vmm::{Config, Outcome, create_vcpu, create_vm, run, set_registers};

use crate::boot::{Boot, Protocol};
use crate::memory::Ram;

/// Boots an ELF kernel and runs it until the guest resets the machine. `console` gets the output of the serial port. Without a
/// `protocol`, the kernel decides ([`Protocol::of`]).
///
/// # Errors
///
/// Errors of files, of planning and loading, and of KVM.
pub fn boot(
    config: &Config<'_>,
    protocol: Option<Protocol>,
    console: impl Write,
) -> Result<Outcome, Box<dyn Error>> {
    let kernel = File::open(config.kernel)?;
    let initrd = config.initrd.map(File::open).transpose()?;
    let initrd_len = initrd.as_ref().map(ByteSource::len).transpose()?;
    let image = detect(&[&fmt_elf::FORMAT], &kernel)?;
    let protocol = protocol.unwrap_or_else(|| Protocol::of(&image));
    let cmdline = Cmdline::parse(config.cmdline)?;
    let boot = Boot::plan(&image, protocol, config.memory, &cmdline, initrd_len.unwrap_or(0))?;

    let mut ram = Ram::new(config.memory)?;
    let mut sources = Sources::kernel(&kernel);
    sources.initrd = initrd.as_ref().map(|file| file as &dyn ByteSource);
    boot.load(&sources, ram.memory())?;

    let kvm = Kvm::new()?;
    let vm = create_vm(&kvm)?;
    for (slot, region) in (0..).zip(ram.regions()) {
        let region = kvm_userspace_memory_region {
            slot,
            guest_phys_addr: region.range.start(),
            memory_size: region.range.len(),
            userspace_addr: u64::try_from(region.host.as_ptr().expose_provenance())?,
            flags: 0,
        };
        // SAFETY: the region is mapped until `ram` is dropped, at the end of this function, when no vCPU is running any more. There
        // are no Rust references to its bytes.
        unsafe { vm.set_user_memory_region(region) }?;
    }
    let mut vcpu = create_vcpu(&kvm, &vm)?;
    set_registers(&vcpu, &boot.state)?;
    Ok(run(&vm, &mut vcpu, console)?)
}
