//! Configuration of bare machines.

/// Configuration of a [`KvmBareVm`](super::KvmBareVm).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct BareConfig {
    /// The doorbell: a write of `EAX` to this I/O port.
    pub doorbell_port: u16,
    /// The guest has `RDRAND` and `RDSEED`, if the host has them.
    pub entropy: bool,
    /// What `RDMSR` and `WRMSR` do.
    pub msrs: MsrAccess,
    /// Guest physical and virtual address of the rewind code ([`rewind::CODE`](crate::rewind::CODE)), a multiple of the page size; the
    /// register image follows one page later. The guest cannot write either of them.
    pub rewind_code: Option<u64>,
}

/// What the instructions `RDMSR` and `WRMSR` of a bare guest do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum MsrAccess {
    /// They are general protection faults. A rewind then writes only the registers that a guest can change by other instructions. On kernels
    /// before 5.10, which have no filter of MSRs, as [`Allowed`](Self::Allowed).
    #[default]
    Denied,
    /// They access the registers that KVM has, and a rewind writes all of them.
    Allowed,
}

impl BareConfig {
    /// A machine with its doorbell at I/O port `doorbell_port`, without random numbers, access to MSRs and rewind code.
    #[must_use]
    pub const fn new(doorbell_port: u16) -> Self {
        Self {
            doorbell_port,
            entropy: false,
            msrs: MsrAccess::Denied,
            rewind_code: None,
        }
    }

    /// Sets the address of the rewind code, which makes rewinds faster.
    #[must_use]
    pub const fn with_rewind(mut self, code: u64) -> Self {
        self.rewind_code = Some(code);
        self
    }

    /// Sets what `RDMSR` and `WRMSR` do.
    #[must_use]
    pub const fn with_msrs(mut self, msrs: MsrAccess) -> Self {
        self.msrs = msrs;
        self
    }

    /// Sets whether the guest has `RDRAND` and `RDSEED`, if the host has them.
    #[must_use]
    pub const fn with_entropy(mut self, entropy: bool) -> Self {
        self.entropy = entropy;
        self
    }
}
