//! The program; the library is the virtual machine monitor.

#![forbid(unsafe_code)]

use std::process::ExitCode;

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn main() -> ExitCode {
    minimal_vmm::command_line::run("firecracker-layout", |config, console| {
        firecracker_layout::boot_kernel(config, None, console)
    })
}

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
fn main() -> ExitCode {
    eprintln!("this example needs Linux on x86_64");
    ExitCode::FAILURE
}
