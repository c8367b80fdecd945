//! The tiers of tests.

/// A group of tests that run the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Tier {
    /// Unit, property, integration and doc tests, on this machine.
    Host,
    /// Tests that need KVM.
    Kvm,
    /// The conformance guest under QEMU's own loader, which tests the guest's checks.
    Loader,
    /// Media that the firmware of this repository boots to userspace under QEMU, and the conformance guest as the kernel of a boot
    /// entry.
    Firmware,
    /// A system of Debian on a virtio disk, from the kernel to its own init, on KVM. Takes a minute or two for each architecture and runs
    /// only if it is named.
    System,
}

impl Tier {
    /// Every tier.
    pub(super) const ALL: [Self; 5] = [Self::Host, Self::Kvm, Self::Loader, Self::Firmware, Self::System];

    /// Whether the tier runs when the user names none.
    pub(super) fn is_default(self) -> bool {
        self != Self::System
    }

    /// The name in the summary.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Kvm => "kvm",
            Self::Loader => "loader",
            Self::Firmware => "firmware",
            Self::System => "system",
        }
    }
}
