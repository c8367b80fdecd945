//! `/init` of the lab's KVM host machine: mounts the system, loads the modules, runs the programs of the manifest,
//! reports, and powers off.
#![forbid(unsafe_code)]

#[cfg(target_os = "linux")]
mod init;

#[cfg(target_os = "linux")]
fn main() {
    init::run();
}

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("lab-init runs as the first program of a Linux machine only");
}
