#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod bare;
mod board;
mod boot;
mod bus;
mod device;
mod error;
mod exit;
mod exit_counts;
mod exit_reason;
pub mod fake;
mod inline;
mod observer;
mod outcome;
mod registers;
mod run;
mod slot;
mod stack;
mod stored;
pub mod virt;
mod vm;

pub use bare::{
    BareAbilities, BareVcpu, BareVm, BreakOn, DebugRequest, DebugVcpu, Doorbell, HardwareBreakpoint,
    RegisterImage, RewindCode,
};
pub use board::{Board, BoardDevices, DeviceLayout, MmioDevice, SerialPort};
pub use boot::{VmIrqLine, boot, init_vm, reset_vcpus};
pub use bus::{Bus, BusError, Device, DeviceAction, DeviceError, IrqError};
pub use device::{
    BufferedOutput, ConsoleOutput, DebugExitDevice, I8042, InputError, IrqLine, OutputFlusher, Rtc, Serial,
    SerialConfig, SerialInput, SleepControl, SysconDevice,
};
pub use error::RunError;
pub use exit::{
    Access, AccessKind, AddressSpace, BackEndCall, DebugCause, DebugStop, Fault, SystemEvent, VcpuExit,
};
pub use exit_counts::ExitCounts;
pub use exit_reason::ExitReason;
pub use inline::run_inline;
pub use observer::{Milestone, NullObserver, Observer, Timeline};
pub use outcome::{CrashReport, Outcome};
pub use registers::{AarchRegisters, GuestRegisters, RegisterAccess, RiscvRegisters, X86Registers};
pub use run::{RunConfig, ShutdownPolicy, StopHandle, UnhandledAccessPolicy, run};
pub use slot::{DirtyPages, SlotAttributes};
pub use stack::return_addresses;
pub use stored::{
    AarchControl, ControlRegisters, RiscvControl, SavedOf, StateError, StateStore, StoredFeature,
    StoredRegister, StoredState, StoredValues, X86_STATE_LEN, check_features, check_state_arch,
    decode_x86_state, encode_x86_state,
};
pub use vm::{Operation, Vcpu, VcpuKicker, Vm};
