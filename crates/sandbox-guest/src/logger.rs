//! A logger for the crate `log`.

use log::{Level, LevelFilter, Log, Metadata, Record};
use sandbox_abi::LogLevel;

use crate::records;
use crate::runtime::port;

/// Sends records to the host.
struct Logger;

static LOGGER: Logger = Logger;

/// Makes this the logger of the program, for the levels up to `Info`.
pub(crate) fn init() {
    if log::set_logger(&LOGGER).is_ok() {
        log::set_max_level(LevelFilter::Info);
    }
}

impl Log for Logger {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let level = match record.level() {
            Level::Error => LogLevel::ERROR,
            Level::Warn => LogLevel::WARN,
            Level::Info => LogLevel::INFO,
            Level::Debug => LogLevel::DEBUG,
            Level::Trace => LogLevel::TRACE,
        };
        let line = record.line().unwrap_or(0);
        records::log(port(), level, record.target(), line, *record.args());
    }

    /// Records reach the host before the next message.
    fn flush(&self) {}
}
