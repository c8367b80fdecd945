//! Optional parts of vCPUs, and what a host's KVM can do.

/// Optional parts of a machine's vCPUs. All of its vCPUs have the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct VcpuFeatures {
    /// Performance monitors (PMUv3), with [`gic::PMU_INTID`](crate::gic::PMU_INTID) as their interrupt.
    pub pmu: bool,
    /// Scalable vectors (SVE), with every vector length of the host.
    pub sve: bool,
    /// Pointer authentication, of addresses and generic.
    pub pointer_auth: bool,
}

/// What a host's KVM can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HostSupport {
    /// How many bits guest physical addresses can have.
    pub address_bits: u32,
    /// The optional parts of vCPUs that it has.
    pub features: VcpuFeatures,
    /// Whether machines can have a GICv2.
    pub gic_v2: bool,
    /// Whether machines can have a GICv3.
    pub gic_v3: bool,
    /// Whether a GICv3 can have an ITS.
    pub its: bool,
}
