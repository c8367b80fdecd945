//! Exception handler, called by the assembly of each architecture.
#![expect(unsafe_code, reason = "the assembly calls the handler by its symbol")]

use clauses::fail;

use crate::exit;

#[cfg(target_arch = "aarch64")]
#[unsafe(no_mangle)]
extern "C" fn exception_entry(vector: u64, syndrome: u64, address: u64, fault_address: u64) -> ! {
    fail!(
        "exception",
        "vector {vector}, syndrome {syndrome:#x} at pc {address:#x}, far {fault_address:#x}";
        "none"
    );
    exit::finish()
}

#[cfg(target_arch = "riscv64")]
#[unsafe(no_mangle)]
extern "C" fn exception_entry(cause: u64, address: u64, value: u64) -> ! {
    fail!(
        "exception",
        "cause {cause:#x} at pc {address:#x}, stval {value:#x}";
        "none"
    );
    exit::finish()
}
