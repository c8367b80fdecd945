//! Device models.

mod buffered_output;
mod debug_exit;
mod i8042;
mod rtc;
mod serial;
mod sleep_control;
mod syscon;

pub use buffered_output::{BufferedOutput, OutputFlusher};
pub use debug_exit::DebugExitDevice;
pub use i8042::I8042;
pub use rtc::Rtc;
pub use serial::{ConsoleOutput, InputError, IrqLine, Serial, SerialConfig, SerialInput};
pub use sleep_control::SleepControl;
pub use syscon::SysconDevice;
