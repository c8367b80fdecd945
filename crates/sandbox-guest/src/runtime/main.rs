//! The life of a program: set-up, then one call after another.
#![expect(unsafe_code, reason = "the entry code calls a symbol")]

use sandbox_abi::{Header, MessageKind};

use super::port::port;
use super::tables::init_functions;
use crate::reply::Body;
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
    window.send(Header::new(MessageKind::READY, 0), Body::Window(0));
    loop {
        port.serve();
    }
}
