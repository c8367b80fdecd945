//! Report of `vmboot doctor`.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Report on a host: what it can run, and why. Created by [`examine`](crate::doctor::examine).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DoctorReport {
    /// Always `vmboot.doctor/1`.
    pub schema: String,
    /// Architecture of the host, by its name in Rust: `x86_64`, `aarch64`, `riscv64` or another one.
    pub arch: String,
    /// Release of the host's kernel, such as `6.12.0`; empty if unknown.
    pub kernel: String,
    /// What was examined.
    pub checks: Vec<CheckReport>,
    /// The verdict for each architecture of guests.
    pub guests: Vec<GuestReport>,
}

/// Subject of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum CheckTopic {
    /// Virtualization: the CPU and `/dev/kvm`.
    Virtualization,
    /// A capability of KVM.
    Capability,
    /// Machines that KVM can emulate.
    Machine,
    /// Memory and limits.
    Resources,
}

/// Result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum CheckStatus {
    /// As needed.
    Ok,
    /// A fact without consequence for whether guests run.
    Info,
    /// Some guests do not run, or guests run with less.
    Warning,
    /// No guest runs.
    Problem,
}

/// One thing that was examined.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CheckReport {
    /// Subject.
    pub topic: CheckTopic,
    /// Name, such as `/dev/kvm` or `KVM_CAP_IRQCHIP`.
    pub name: String,
    /// Result.
    pub status: CheckStatus,
    /// What was found, for people.
    pub found: String,
    /// What that means and what can be done, for people.
    pub effect: Option<String>,
}

/// Which guests run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum GuestSupport {
    /// All.
    Full,
    /// Small bare-metal guests, but no stock Linux kernel.
    Limited,
    /// None.
    None,
}

/// Verdict for the guests of one architecture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct GuestReport {
    /// Name of the architecture: `x86_64`, `aarch64` or `riscv64`.
    pub arch: String,
    /// Which guests `vmboot run` can boot on this host.
    pub support: GuestSupport,
    /// Why, for people.
    pub reason: String,
    /// What can be done otherwise, for people.
    pub alternative: Option<String>,
}

impl DoctorReport {
    /// Current schema.
    pub const SCHEMA: &'static str = "vmboot.doctor/1";

    /// Whether `vmboot run` can boot all guests of the host's architecture.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.guests
            .iter()
            .any(|guest| guest.arch == self.arch && guest.support == GuestSupport::Full)
    }
}

impl CheckTopic {
    const ALL: [(Self, &'static str); 4] = [
        (Self::Virtualization, "Virtualization"),
        (Self::Capability, "Capabilities of KVM"),
        (Self::Machine, "Machines"),
        (Self::Resources, "Resources"),
    ];
}

impl fmt::Display for CheckStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Info => "info",
            Self::Warning => "WARNING",
            Self::Problem => "PROBLEM",
        })
    }
}

impl fmt::Display for GuestSupport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Full => "yes",
            Self::Limited => "LIMITED",
            Self::None => "no",
        })
    }
}

impl fmt::Display for DoctorReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kernel = if self.kernel.is_empty() {
            "of unknown release"
        } else {
            &self.kernel
        };
        writeln!(f, "Host: {}, kernel {kernel}", self.arch)?;
        let name_width = self
            .checks
            .iter()
            .map(|check| check.name.len())
            .max()
            .unwrap_or(0);
        for (topic, title) in CheckTopic::ALL {
            let mut checks = self.checks.iter().filter(|check| check.topic == topic).peekable();
            if checks.peek().is_some() {
                writeln!(f, "\n{title}")?;
            }
            for CheckReport {
                name,
                status,
                found,
                effect,
                ..
            } in checks
            {
                writeln!(f, "  {status:<7}  {name:<name_width$}  {found}")?;
                if let Some(effect) = effect {
                    writeln!(f, "           {:name_width$}  -> {effect}", "")?;
                }
            }
        }
        writeln!(f, "\nGuests that `vmboot run` boots here")?;
        for GuestReport {
            arch,
            support,
            reason,
            alternative,
        } in &self.guests
        {
            writeln!(f, "  {support:<7}  {arch:<name_width$}  {reason}")?;
            if let Some(alternative) = alternative {
                writeln!(f, "           {:name_width$}  -> {alternative}", "")?;
            }
        }
        Ok(())
    }
}
