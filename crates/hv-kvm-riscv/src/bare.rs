//! Configuration and saved states of bare machines, as plain data.

use crate::{KvmError, MpState, Register, RegisterValue, SbiExtension};

/// Configuration of a `KvmBareVm`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct BareConfig {
    /// The doorbell: function 0 of this SBI extension. Its value is `a0`. It returns 0 in `a0`; `a1` is unspecified.
    ///
    /// KVM forwards the vendor extensions 0x0900_0000 to 0x09ff_ffff and the experimental extensions 0x0800_0000 to 0x08ff_ffff.
    pub doorbell: u64,
    /// Guest physical address of the rewind code ([`rewind::CODE`](crate::rewind::CODE)), a multiple of the page size. The guest cannot
    /// write it. With its address translation, it has the same address, and supervisor mode can execute it.
    pub rewind_code: u64,
    /// Guest physical address of the register image, a multiple of the page size. The guest cannot write it. With its address translation,
    /// it has the same address, and supervisor mode can read it.
    pub rewind_image: u64,
    /// The guest has random numbers (the CSR `seed`), if the host has them.
    pub entropy: bool,
    /// The guest has the SBI extension SRST (system reset).
    pub system_reset: bool,
}

impl BareConfig {
    /// A machine with its doorbell at SBI extension `doorbell`, with rewind code and register image at these addresses, and without random
    /// numbers and system reset.
    #[must_use]
    pub const fn new(doorbell: u64, rewind_code: u64, rewind_image: u64) -> Self {
        Self {
            doorbell,
            rewind_code,
            rewind_image,
            entropy: false,
            system_reset: false,
        }
    }

    /// Sets whether the guest has random numbers, if the host has them.
    #[must_use]
    pub const fn with_entropy(mut self, entropy: bool) -> Self {
        self.entropy = entropy;
        self
    }

    /// Sets whether the guest has the SBI extension SRST.
    #[must_use]
    pub const fn with_system_reset(mut self, system_reset: bool) -> Self {
        self.system_reset = system_reset;
        self
    }

    /// The value of [`Register::SBI_DISABLE`]: all SBI extensions that KVM can disable, except that of the doorbell and, if configured,
    /// system reset.
    ///
    /// # Errors
    ///
    /// [`KvmError::Doorbell`] for a doorbell that KVM does not forward.
    pub fn disabled_extensions(&self) -> Result<u64, KvmError> {
        let forwarded = match self.doorbell {
            0x0800_0000..=0x08ff_ffff => SbiExtension::EXPERIMENTAL,
            0x0900_0000..=0x09ff_ffff => SbiExtension::VENDOR,
            extension => return Err(KvmError::Doorbell { extension }),
        };
        let bit = |extension: SbiExtension| 1 << extension.0;
        let reset = if self.system_reset {
            bit(SbiExtension::SRST)
        } else {
            0
        };
        Ok(!(bit(forwarded) | reset))
    }
}

/// Captured state of a `KvmBareVcpu`: with the register image, all that its guest can change. Clocks are not part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BareState {
    pub(crate) mp_state: MpState,
    /// [`Register::MODE`].
    pub(crate) mode: u64,
    /// The rewind code can load the image.
    pub(crate) is_loadable: bool,
    /// Registers that the image does not have, in ascending order.
    pub(crate) others: Vec<(Register, RegisterValue)>,
}

impl BareState {
    /// Whether a rewind to this state is fast: the guest was in a doorbell with interrupts disabled.
    ///
    /// A rewind to another state writes all registers one by one.
    #[must_use]
    pub fn is_fast(&self) -> bool {
        self.is_loadable
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_doorbell_stays_enabled() {
        let check = |config: BareConfig, enabled: &[SbiExtension]| {
            let disabled = config.disabled_extensions().unwrap();
            let found: Vec<_> = (0..64).filter(|bit| disabled >> bit & 1 == 0).collect();
            let enabled: Vec<_> = enabled.iter().map(|extension| extension.0).collect();
            assert_eq!(found, enabled, "{config:?}");
        };
        let config = |doorbell| BareConfig::new(doorbell, 0x1000, 0x2000);
        check(config(0x0900_0000), &[SbiExtension::VENDOR]);
        check(config(0x09ff_ffff), &[SbiExtension::VENDOR]);
        check(config(0x0800_0000), &[SbiExtension::EXPERIMENTAL]);
        check(
            config(0x0900_0000).with_system_reset(true),
            &[SbiExtension::SRST, SbiExtension::VENDOR],
        );
        for doorbell in [0x10, 0x07ff_ffff, 0x0a00_0000, u64::MAX] {
            let error = config(doorbell).disabled_extensions().unwrap_err();
            assert!(matches!(error, KvmError::Doorbell { extension } if extension == doorbell));
        }
    }
}
