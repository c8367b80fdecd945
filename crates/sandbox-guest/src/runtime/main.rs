//! The life of a program: set-up, then one call after another.
#![expect(unsafe_code, reason = "the entry code calls a symbol")]

use sandbox_abi::{Header, MessageKind};

use super::boot::boot_info;
use super::entry;
use super::port::port;
use super::tables::init_functions;
use crate::window::Window;

/// Called by the entry code on the program's stack.
#[unsafe(export_name = "vmsandbox_main")]
extern "C" fn main() -> ! {
    #[cfg(feature = "allocator")]
    super::heap::init();
    #[cfg(feature = "log")]
    crate::logger::init();
    for init in init_functions() {
        init();
    }
    let port = port();
    let window = Window::new(port);
    window.flush_log();
    window.prepare(Header::new(MessageKind::READY, 0));
    // SAFETY: a message is in the outbox.
    unsafe { entry::wait_for_calls(boot_info(), serve_next) }
}

/// Called by [`entry::wait_for_calls`] when a message of the host is in the inbox. Returns when one is in the outbox.
extern "C" fn serve_next() {
    while !port().serve() {}
}
