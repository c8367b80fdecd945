//! Optional features of vCPUs, and capabilities of a host.

/// Optional features of the vCPUs of a machine, the same for all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct VcpuFeatures {
    /// Performance monitors (PMUv3) with interrupt [`gic::PMU_INTID`](crate::gic::PMU_INTID).
    pub pmu: bool,
    /// Scalable vectors (SVE), with every vector length of the host.
    pub sve: bool,
    /// Pointer authentication, address and generic.
    pub pointer_auth: bool,
}

impl VcpuFeatures {
    /// Enables or disables performance monitors.
    #[must_use]
    pub const fn with_pmu(mut self, pmu: bool) -> Self {
        self.pmu = pmu;
        self
    }

    /// Enables or disables scalable vectors.
    #[must_use]
    pub const fn with_sve(mut self, sve: bool) -> Self {
        self.sve = sve;
        self
    }

    /// Enables or disables pointer authentication.
    #[must_use]
    pub const fn with_pointer_auth(mut self, pointer_auth: bool) -> Self {
        self.pointer_auth = pointer_auth;
        self
    }
}

/// Capabilities of a host's KVM: the result of [`host_capabilities`](crate::host_capabilities).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct HostCapabilities {
    /// Number of bits of guest physical addresses.
    pub address_bits: u32,
    /// Supported features of vCPUs.
    pub features: VcpuFeatures,
    /// GICv2 support.
    pub gic_v2: bool,
    /// GICv3 support.
    pub gic_v3: bool,
    /// ITS support.
    pub its: bool,
}
