//! Report of `vmboot measure`.

use std::fmt;

use boot_measure::Digest;
use boot_measure::pcr::Pcr;
use boot_measure::snp::{LaunchDigest, SevFeatures};
use serde::{Deserialize, Serialize};

use super::Hex;

/// Digests of a boot. Digests are lower-case hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MeasureReport {
    /// Always `vmboot.measure/1`.
    pub schema: String,
    /// The digest of the plan; `None` for TPM registers and launches with firmware, for which nothing is planned.
    pub plan: Option<DigestReport>,
    /// The launch of SEV-SNP, if it was asked for.
    pub snp: Option<SnpReport>,
    /// The build-time measurement of TDX, if it was asked for.
    #[serde(default)]
    pub mrtd: Option<String>,
    /// The TPM registers, if they were asked for.
    pub pcrs: Option<Vec<PcrReport>>,
}

/// Value of a TPM register.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PcrReport {
    /// Number of the register.
    pub pcr: u8,
    /// `sha256`, `sha384` or `sha512`.
    pub bank: String,
    /// For register 11, the last phase of the boot that is part of the value; `None` before the first.
    pub phase: Option<String>,
    /// The value.
    pub value: String,
}

impl PcrReport {
    /// The report on a register, after a phase of the boot.
    #[must_use]
    pub fn new(number: u8, pcr: &Pcr, phase: Option<&str>) -> Self {
        Self {
            pcr: number,
            bank: pcr.value().algorithm().name().to_owned(),
            phase: phase.map(ToOwned::to_owned),
            value: pcr.value().to_string(),
        }
    }
}

/// A digest and its algorithm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DigestReport {
    /// `sha256`, `sha384` or `sha512`.
    pub algorithm: String,
    /// The digest.
    pub digest: String,
}

/// A launch of SEV-SNP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SnpReport {
    /// The launch digest, which attestation reports have as `MEASUREMENT`.
    pub launch_digest: String,
    /// Number of vCPUs.
    pub vcpus: u32,
    /// `SEV_FEATURES` of each vCPU.
    pub guest_features: Hex,
}

impl MeasureReport {
    /// Current schema.
    pub const SCHEMA: &'static str = "vmboot.measure/1";

    /// The digest of a plan, and no other.
    #[must_use]
    pub fn new(plan: &Digest) -> Self {
        Self {
            schema: Self::SCHEMA.to_owned(),
            plan: Some(DigestReport::from(plan)),
            snp: None,
            mrtd: None,
            pcrs: None,
        }
    }

    /// A launch of SEV-SNP without a plan.
    #[must_use]
    pub fn of_snp(snp: SnpReport) -> Self {
        Self {
            schema: Self::SCHEMA.to_owned(),
            plan: None,
            snp: Some(snp),
            mrtd: None,
            pcrs: None,
        }
    }

    /// TPM registers.
    #[must_use]
    pub fn of_pcrs(pcrs: Vec<PcrReport>) -> Self {
        Self {
            schema: Self::SCHEMA.to_owned(),
            plan: None,
            snp: None,
            mrtd: None,
            pcrs: Some(pcrs),
        }
    }
}

impl From<&Digest> for DigestReport {
    fn from(digest: &Digest) -> Self {
        Self {
            algorithm: digest.algorithm().name().to_owned(),
            digest: digest.to_string(),
        }
    }
}

impl SnpReport {
    /// The report on a launch and its digest.
    #[must_use]
    pub fn new(vcpus: u32, features: SevFeatures, digest: &LaunchDigest) -> Self {
        Self {
            launch_digest: digest.to_string(),
            vcpus,
            guest_features: Hex(features.0),
        }
    }
}

/// One digest a line, after its name.
impl fmt::Display for MeasureReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(plan) = &self.plan {
            writeln!(f, "plan {}: {}", plan.algorithm, plan.digest)?;
        }
        if let Some(snp) = &self.snp {
            writeln!(f, "SEV-SNP launch digest: {}", snp.launch_digest)?;
        }
        if let Some(mrtd) = &self.mrtd {
            writeln!(f, "TDX MRTD: {mrtd}")?;
        }
        for PcrReport {
            pcr,
            bank,
            phase,
            value,
        } in self.pcrs.iter().flatten()
        {
            match phase {
                Some(phase) => writeln!(f, "PCR {pcr} {bank} after {phase}: {value}")?,
                None => writeln!(f, "PCR {pcr} {bank}: {value}")?,
            }
        }
        Ok(())
    }
}
