//! The devices that a small machine needs.

mod exit_port;
mod i8042;
mod rtc;
mod serial;
mod syscon;

pub use exit_port::ExitPort;
pub use i8042::I8042;
pub use rtc::Rtc;
pub use serial::{ConsoleSink, InputError, IrqLine, Serial, SerialConfig, SerialInput};
pub use syscon::SysconDevice;
