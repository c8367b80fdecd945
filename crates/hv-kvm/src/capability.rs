//! Capabilities of KVM, as data on every host.

/// Importance of a capability for a harness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Need {
    /// The harness cannot run a guest without it.
    Required,
    /// Guests lack something without it.
    Optional,
    /// Its value is a limit of this host.
    Limit,
}

/// A capability that a harness asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Capability {
    /// Number: a `KVM_CAP_*` constant of the KVM API.
    pub number: u32,
    /// Name in the KVM API.
    pub name: &'static str,
    /// Importance.
    pub need: Need,
    /// What it is for; for [`Need::Limit`], what it limits; for [`Need::Optional`], the effect if it is missing.
    pub purpose: &'static str,
}

impl Capability {
    /// A capability of this importance.
    #[must_use]
    pub const fn new(need: Need, number: u32, name: &'static str, purpose: &'static str) -> Self {
        Self {
            number,
            name,
            need,
            purpose,
        }
    }

    /// A capability without which the harness cannot run a guest, and what it is for.
    #[must_use]
    pub const fn required(number: u32, name: &'static str, purpose: &'static str) -> Self {
        Self::new(Need::Required, number, name, purpose)
    }

    /// A capability without which guests lack something, and what they lack.
    #[must_use]
    pub const fn optional(number: u32, name: &'static str, effect: &'static str) -> Self {
        Self::new(Need::Optional, number, name, effect)
    }

    /// A capability whose value is a limit of this host, and what it limits.
    #[must_use]
    pub const fn limit(number: u32, name: &'static str, purpose: &'static str) -> Self {
        Self::new(Need::Limit, number, name, purpose)
    }
}

/// State of KVM on this host.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KvmProbe {
    /// Version of the KVM API.
    pub api_version: i32,
    /// Capabilities, each with its value: zero if the host lacks it. Most are flags with the value 1.
    pub capabilities: Vec<(Capability, i32)>,
}

impl KvmProbe {
    /// The supported version of the KVM API.
    pub const API_VERSION: i32 = 12;

    /// State of a KVM with this version of the API and these capabilities, each with its value.
    #[must_use]
    pub fn new(api_version: i32, capabilities: Vec<(Capability, i32)>) -> Self {
        Self {
            api_version,
            capabilities,
        }
    }

    /// The required capabilities that the host lacks.
    pub fn missing(&self) -> impl Iterator<Item = Capability> {
        let lacks =
            |(capability, value): &&(Capability, i32)| capability.need == Need::Required && *value <= 0;
        self.capabilities
            .iter()
            .filter(lacks)
            .map(|(capability, _)| *capability)
    }

    /// Checks the API version and the required capabilities.
    ///
    /// # Errors
    ///
    /// [`HarnessError::ApiVersion`](crate::HarnessError::ApiVersion) and
    /// [`HarnessError::MissingCapability`](crate::HarnessError::MissingCapability).
    pub fn check(&self) -> Result<(), crate::HarnessError> {
        let (found, expected) = (self.api_version, Self::API_VERSION);
        if found != expected {
            return Err(crate::HarnessError::ApiVersion { found, expected });
        }
        match self.missing().next() {
            Some(Capability { name, .. }) => Err(crate::HarnessError::MissingCapability { name }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::HarnessError;

    #[test]
    fn only_required_capabilities_must_exist() {
        let required = Capability::required(3, "KVM_CAP_USER_MEMORY", "guest RAM");
        let optional = Capability::optional(4, "KVM_CAP_PIT2", "guests have no timer");
        let limit = Capability::limit(5, "KVM_CAP_NR_VCPUS", "number of vCPUs");
        let probe = |value| KvmProbe::new(12, vec![(required, value), (optional, 0), (limit, 0)]);
        assert!(probe(1).check().is_ok());
        assert_eq!(probe(0).missing().collect::<Vec<_>>(), [required]);
        for value in [0, -1] {
            assert!(matches!(
                probe(value).check(),
                Err(HarnessError::MissingCapability {
                    name: "KVM_CAP_USER_MEMORY"
                })
            ));
        }
        let error = KvmProbe::new(11, Vec::new()).check();
        assert!(matches!(
            error,
            Err(HarnessError::ApiVersion {
                found: 11,
                expected: 12
            })
        ));
    }
}
