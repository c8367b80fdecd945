//! The manifest of L1, and the events that L1 reports.

use serde::{Deserialize, Serialize};

/// Path of the manifest in the initramfs.
pub const MANIFEST_PATH: &str = "/lab/manifest.json";

/// The tasks of L1's init program, in this order: load the modules, run the programs, power off.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The character device that frames are written to.
    pub report: String,
    /// Kernel modules by their path in the initramfs, dependencies first.
    pub modules: Vec<String>,
    /// Programs, run one after the other.
    pub programs: Vec<Program>,
}

/// One program that L1 runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// Path of the executable in the initramfs.
    pub path: String,
    /// Arguments, without the name of the program itself.
    pub args: Vec<String>,
    /// The whole environment of the program.
    pub env: Vec<(String, String)>,
    /// Seconds after which the program and all its children are killed.
    pub deadline_secs: u64,
}

/// An event in L1, sent as JSON in a [`Frame::Event`](crate::Frame::Event).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// The system is mounted, the modules are loaded and `/dev/kvm` is there.
    Ready {
        /// Milliseconds since the L1 kernel started.
        uptime_ms: u64,
    },
    /// The program with this index in [`Manifest::programs`] runs now.
    Started {
        /// Index in [`Manifest::programs`].
        index: usize,
    },
    /// The program ended; all of its output was reported before this.
    Ended {
        /// Index in [`Manifest::programs`].
        index: usize,
        /// How it ended.
        ending: Ending,
    },
    /// An error in L1; no further program is run.
    Failed {
        /// What went wrong, as a sentence.
        message: String,
    },
    /// All programs have ended; L1 powers off.
    Finished,
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ending {
    /// It exited with this code.
    Exited(i32),
    /// This signal killed it.
    Signalled(i32),
    /// It was killed because its deadline passed.
    DeadlinePassed,
}

impl Ending {
    /// True when the program exited with code 0.
    #[must_use]
    pub fn is_success(self) -> bool {
        self == Self::Exited(0)
    }
}

impl core::fmt::Display for Ending {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "exited with code {code}"),
            Self::Signalled(signal) => write!(f, "was killed by signal {signal}"),
            Self::DeadlinePassed => write!(f, "ran past its deadline and was killed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_survives_its_json_form() {
        let manifest = Manifest {
            report: "/dev/vport0p1".into(),
            modules: vec!["/lab/modules/kvm.ko.xz".into()],
            programs: vec![Program {
                path: "/lab/bin/vmboot".into(),
                args: vec!["run".into(), "--cmdline".into(), "console=ttyS0 \"a b\"".into()],
                env: vec![("RUST_BACKTRACE".into(), "1".into())],
                deadline_secs: 5,
            }],
        };
        let json = serde_json::to_vec(&manifest).unwrap();
        assert_eq!(serde_json::from_slice::<Manifest>(&json).unwrap(), manifest);
    }

    #[test]
    fn only_exit_code_zero_is_success() {
        assert!(Ending::Exited(0).is_success());
        for ending in [Ending::Exited(1), Ending::Signalled(9), Ending::DeadlinePassed] {
            assert!(!ending.is_success(), "{ending}");
        }
    }
}
