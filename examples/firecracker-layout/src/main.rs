//! The command line of the example; the library is the program.

#![forbid(unsafe_code)]

use std::process::ExitCode;

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn main() -> ExitCode {
    use std::path::Path;

    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let [kernel, rest @ ..] = arguments.as_slice() else {
        eprintln!("usage: firecracker-layout KERNEL [INITRD]");
        return ExitCode::FAILURE;
    };
    let config = minimal_vmm::Config {
        kernel: Path::new(kernel),
        initrd: rest.first().map(Path::new),
        cmdline: "console=ttyS0 reboot=k panic=-1",
        memory: 512 << 20,
    };
    match firecracker_layout::boot_kernel(&config, None, std::io::stdout()) {
        Ok(outcome) => {
            println!("the machine ended: {outcome:?}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
fn main() -> ExitCode {
    eprintln!("this example needs Linux on x86_64");
    ExitCode::FAILURE
}
