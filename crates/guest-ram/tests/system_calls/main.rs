//! The system calls of loading are those of the table in the README: plans are loaded under a seccomp filter that kills the
//! process at any other call.

#[cfg(target_os = "linux")]
mod boot;
#[cfg(target_os = "linux")]
mod filter;

#[cfg(target_os = "linux")]
fn main() {
    match std::env::var(filter::CASE) {
        // The process of one case.
        Ok(case) => filter::child(&case),
        Err(_) => filter::run_all(),
    }
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("skipped: this host has no seccomp filters");
}
