//! Messages of the firmware.

use core::fmt::{self, Write as _};

use fw_runtime::{Console, Writer};

/// Prints a line of the firmware.
pub(crate) fn print(console: &dyn Console, text: fmt::Arguments<'_>) {
    // The console cannot fail.
    let _ = writeln!(Writer(console), "firmware: {text}");
}
