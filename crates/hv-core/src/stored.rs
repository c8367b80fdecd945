//! Captured states of a bare machine as values with numbers, for files.

mod values;
mod x86_64;

use std::fmt;

use boot_core::{Arch, cpu::x86_64::State};

pub use self::{
    values::StoredValues,
    x86_64::{X86_STATE_LEN, decode_x86_state, encode_x86_state},
};
use crate::{BareVcpu, BareVm, RegisterImage};

/// The type of captured states of the vCPU of `V`.
pub type SavedOf<V> = <<V as crate::Vm>::Vcpu as BareVcpu>::Saved;

/// A captured state as values with numbers: those of the back end, each once.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StoredState {
    /// The architecture.
    pub arch: Arch,
    /// Properties of the CPU that the guest can see, and on which it may depend.
    pub features: Vec<StoredFeature>,
    /// The registers.
    pub registers: Vec<StoredRegister>,
}

/// A property of the CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StoredFeature {
    /// Number of the property in the back end: of a register, or of a word of `CPUID`.
    pub id: u64,
    /// Its value.
    pub value: u64,
}

/// A register, or a group of registers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StoredRegister {
    /// Number of the register in the back end.
    pub id: u64,
    /// Its value, least significant byte first.
    pub value: Vec<u8>,
}

impl StoredRegister {
    /// A register of 64 bits.
    #[must_use]
    pub fn number(id: u64, value: u64) -> Self {
        let value = value.to_le_bytes().to_vec();
        Self { id, value }
    }
}

/// Why a captured state cannot be stored, or a stored one not be loaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// The state has a part that a file cannot bring back.
    #[error("the state cannot be stored: {reason}")]
    NotStorable {
        /// What it has.
        reason: &'static str,
    },
    /// The state is one of another architecture.
    #[error("the state is one of {found}, the machine is {expected}")]
    Arch {
        /// The machine's architecture.
        expected: Arch,
        /// The state's architecture.
        found: Arch,
    },
    /// The guest may depend on something that the CPU here does not have.
    #[error("the state needs a CPU whose {feature} has the bits of {stored:#x}; here it is {found:#x}")]
    Feature {
        /// The property.
        feature: String,
        /// The value of the CPU where the state was captured.
        stored: u64,
        /// The value here.
        found: u64,
    },
    /// The state does not have a register of the machine.
    #[error("the state has no {register}")]
    Missing {
        /// The register.
        register: String,
    },
    /// The state has a register twice.
    #[error("the state has {register} twice")]
    Duplicate {
        /// The register.
        register: String,
    },
    /// The state has a register that the machine does not have, or that no guest can change.
    #[error("the state has {register}, which is no part of a state of this machine")]
    Unknown {
        /// The register.
        register: String,
    },
    /// A value has another length than its register.
    #[error("the state has {found} bytes for {register}, which has {expected}")]
    Length {
        /// The register.
        register: String,
        /// Length of the register in bytes.
        expected: usize,
        /// Length of the value in bytes.
        found: usize,
    },
    /// A register cannot have its value.
    #[error("the state has {value:#x} for {register}, which cannot have it")]
    Value {
        /// The register.
        register: String,
        /// The value.
        value: u64,
    },
}

/// Registers that decide how a guest translates addresses, and where its exceptions go.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ControlRegisters {
    /// x86_64: control registers, segments and descriptor tables of this state.
    X86_64(Box<State>),
    /// Those of arm64.
    Aarch64(AarchControl),
    /// Those of riscv64.
    Riscv64(RiscvControl),
}

/// Registers of arm64 that decide how a guest translates addresses, and where its exceptions go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "registers, named as in the Arm ARM")]
pub struct AarchControl {
    pub mair_el1: u64,
    pub tcr_el1: u64,
    pub ttbr0_el1: u64,
    pub sctlr_el1: u64,
    pub vbar_el1: u64,
    /// Zero on CPUs without it.
    pub tcr2_el1: u64,
}

/// Registers of riscv64 that decide how a guest translates addresses, and where its exceptions go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "registers, named as in the RISC-V specifications")]
pub struct RiscvControl {
    pub satp: u64,
    pub stvec: u64,
}

/// A bare machine whose captured states can be stored, and loaded by another process on a similar host.
///
/// A stored state is hostile input: [`load`](Self::load) accepts only the registers that a guest can change, with values that it could have
/// written itself, so a loaded state can do no more than a guest.
pub trait StateStore: BareVm {
    /// The state as values.
    ///
    /// # Errors
    ///
    /// [`StateError::NotStorable`] unless the vCPU was at its doorbell, without pending events, or if the host lets the guest change more
    /// registers than a file may bring back.
    fn store(&self, saved: &SavedOf<Self>, image: &RegisterImage) -> Result<StoredState, StateError>;

    /// The state of these values.
    ///
    /// # Errors
    ///
    /// [`StateError`] if the CPU here lacks something that the stored one had, and unless the values are exactly those of the registers of a
    /// state of this machine. Values that only the hypervisor can judge are errors of the [`rewind`](BareVcpu::rewind) or of the next run.
    fn load(&self, stored: &StoredState) -> Result<(SavedOf<Self>, RegisterImage), StateError>;

    /// The registers of a state that decide how the guest translates addresses.
    fn control(&self, saved: &SavedOf<Self>, image: &RegisterImage) -> ControlRegisters;
}

/// Checks that `stored` is a state of `arch`.
///
/// # Errors
///
/// [`StateError::Arch`].
pub fn check_state_arch(stored: &StoredState, arch: Arch) -> Result<(), StateError> {
    if stored.arch == arch {
        Ok(())
    } else {
        let (expected, found) = (arch, stored.arch);
        Err(StateError::Arch { expected, found })
    }
}

/// Checks that the CPU here has all that a stored one had: `fits` compares its value and the one here, which is zero if it is missing. `name`
/// is the name of a property.
///
/// # Errors
///
/// [`StateError::Feature`].
pub fn check_features<N: fmt::Display>(
    stored: &[StoredFeature],
    here: &[StoredFeature],
    name: impl Fn(u64) -> N,
    fits: impl Fn(u64, u64, u64) -> bool,
) -> Result<(), StateError> {
    for &StoredFeature { id, value } in stored {
        let found = here.iter().find(|feature| feature.id == id);
        let found = found.map_or(0, |feature| feature.value);
        if !fits(id, value, found) {
            return Err(StateError::Feature {
                feature: name(id).to_string(),
                stored: value,
                found,
            });
        }
    }
    Ok(())
}
