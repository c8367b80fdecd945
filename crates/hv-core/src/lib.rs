#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod board;
mod boot;
mod bus;
mod device;
mod exit;
pub mod fake;
mod observe;
mod outcome;
mod run;
pub mod virt;
mod vm;

pub use board::{Board, BoardDevices, DeviceLayout, SerialPort};
pub use boot::{VmIrq, assemble, boot, reset};
pub use bus::{Bus, BusError, Device, DeviceError, IrqError, Verdict};
pub use device::{
    ConsoleSink, ExitPort, I8042, InputError, IrqLine, Rtc, Serial, SerialConfig, SerialInput, SysconDevice,
};
pub use exit::{Access, Direction, Exit, Fault, Space, SystemEvent};
pub use observe::{Ignore, Milestone, Observer, Timeline};
pub use outcome::{CrashReport, Outcome, RunError};
pub use run::{OnShutdown, OnUnclaimed, Policy, StopHandle, run};
pub use vm::{Interrupter, Operation, Vcpu, Vm};
