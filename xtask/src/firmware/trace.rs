//! Traces of EFI calls: what `guests/efitrace` prints, and its comparison with the traces in the repository.

use std::collections::BTreeSet;
use std::env;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use super::error::FirmwareError;
use super::job::Job;
use crate::error::{Error, WithPath as _};
use crate::workspace::Workspace;

/// Environment variable to replace the traces in the repository.
const UPDATE: &str = "UPDATE_GOLDEN";

/// The file of QEMU's fw_cfg that selects calls to refuse.
const REFUSAL: &str = "opt/vmboot/efitrace";

/// Services for a protocol or a table, whose GUID follows.
const OF_PROTOCOL: [&str; 9] = [
    "HandleProtocol",
    "OpenProtocol",
    "LocateHandle",
    "LocateHandleBuffer",
    "LocateProtocol",
    "LocateDevicePath",
    "InstallConfigurationTable",
    "InstallProtocolInterface",
    "InstallMultipleProtocolInterfaces",
];

/// A call: the image, the service with its arguments, and the status if the call returned.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Call {
    image: u32,
    text: String,
    status: Option<String>,
}

/// A trace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Trace {
    calls: Vec<Call>,
    /// The status with which the boot loader returned, if it did.
    pub(super) returned: Option<String>,
    /// Number of refused calls.
    pub(super) refused: usize,
}

impl Call {
    fn parse(line: &str) -> Option<Self> {
        let (image, rest) = line.split_once(' ')?;
        let (text, status) = match rest.rsplit_once(" = ") {
            Some((text, status)) => (text, Some(status.to_owned())),
            None => (rest, None),
        };
        Some(Self {
            image: image.parse().ok()?,
            text: text.to_owned(),
            status,
        })
    }

    /// The name of the service.
    pub(super) fn service(&self) -> &str {
        self.text.split(' ').next().unwrap_or_default()
    }

    /// The GUID of the protocol or table, if the service is for one.
    pub(super) fn protocol(&self) -> Option<&str> {
        let is_guid =
            |word: &&str| word.len() == 36 && word.bytes().filter(|byte| *byte == b'-').count() == 4;
        OF_PROTOCOL
            .contains(&self.service())
            .then(|| self.text.split(' ').find(is_guid))
            .flatten()
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.image, self.text)?;
        self.status.iter().try_for_each(|status| write!(f, " = {status}"))
    }
}

impl Trace {
    /// Parses what efitrace printed.
    fn parse(text: &str) -> Self {
        let lines = text.lines().map(str::trim_end);
        let mut returned = lines
            .clone()
            .filter_map(|line| line.strip_prefix("efitrace: "))
            .filter(|text| *text != "start");
        Self {
            calls: lines.clone().filter_map(Call::parse).collect(),
            returned: returned.next_back().map(str::to_owned),
            refused: lines.filter(|line| line.contains(" REFUSED = ")).count(),
        }
    }

    /// The calls in their order.
    pub(super) fn calls(&self) -> &[Call] {
        &self.calls
    }

    /// Each different call once, in the order of the first ones. How often a loader repeats a call, and the memory types and sizes
    /// that it gets, change with each version of the firmware and of the loader.
    fn summary(&self) -> String {
        let mut known = BTreeSet::new();
        let new = self.calls.iter().filter(|call| known.insert((*call).clone()));
        new.map(|call| format!("{call}\n")).collect::<Vec<_>>().concat()
    }
}

/// Makes a job write a trace, with the calls of `refusal` refused. Returns the path of the trace.
pub(super) fn prepare(workspace: &Workspace, job: &mut Job, refusal: &str) -> Result<PathBuf, Error> {
    let path = job.log(workspace)?.with_extension("trace");
    let options = [
        "-chardev".to_owned(),
        format!(
            "file,id=trace,path={}",
            path.display().to_string().replace(',', ",,")
        ),
        "-device".to_owned(),
        "isa-debugcon,iobase=0xe9,chardev=trace".to_owned(),
    ];
    job.setup.qemu.extend(options);
    if !refusal.is_empty() {
        let file = format!("name={REFUSAL},string={refusal}");
        job.setup.qemu.extend(["-fw_cfg".to_owned(), file]);
    }
    Ok(path)
}

/// Reads the trace at `path`.
pub(super) fn read(path: &Path) -> Result<Trace, Error> {
    let bytes = fs::read(path).with_path(path)?;
    Ok(Trace::parse(&String::from_utf8_lossy(&bytes)))
}

/// Compares a trace with the one in the repository, or replaces that one.
pub(super) fn compare(workspace: &Workspace, job: &Job, path: &Path) -> Result<(), Error> {
    let trace = read(path)?;
    let summary = trace.summary();
    let name = format!("{}-{}.txt", job.setup.row.name, job.medium);
    // What a firmware has decides what a loader calls, so each firmware has traces of its own.
    let directory = workspace.root().join("xtask/golden/efi-calls");
    let golden = directory.join(job.setup.firmware.name()).join(name);
    println!(
        "             {} EFI calls, {} different ones",
        trace.calls.len(),
        summary.lines().count()
    );
    if env::var_os(UPDATE).is_some() {
        let directory = golden.parent().unwrap_or(&golden);
        fs::create_dir_all(directory).with_path(directory)?;
        return fs::write(&golden, summary).with_path(&golden);
    }
    let expected = fs::read_to_string(&golden).with_path(&golden)?;
    let difference = difference(&expected, &summary);
    if difference.is_empty() {
        return Ok(());
    }
    Err(FirmwareError::Trace {
        boot: job.name(),
        golden,
        difference,
        trace: path.to_path_buf(),
    }
    .into())
}

/// The lines that are in one text only, with `-` and `+`, and a line for another order.
fn difference(expected: &str, found: &str) -> String {
    let only = |sign, one: &str, other: &str| {
        let other: BTreeSet<_> = other.lines().map(str::to_owned).collect();
        let lines = one.lines().filter(|line| !other.contains(*line));
        lines.map(|line| format!("{sign} {line}")).collect::<Vec<_>>()
    };
    let mut lines = only('-', expected, found);
    lines.extend(only('+', found, expected));
    if lines.is_empty() && expected != found {
        let mut pairs = expected.lines().zip(found.lines());
        let moved = pairs.find(|(one, other)| one != other);
        lines.extend(moved.map(|(one, other)| format!("another order: expected {one}, found {other}")));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel;

    const TEXT: &str = "efitrace: start\n\n\
        1 LocateProtocol 3152bca5-eade-433d-862e-c01cdc291f44 = NOT_FOUND\n\
        1 AllocatePool type=0x2 = SUCCESS\n\
        1 AllocatePool type=0x2 = SUCCESS\n\
        1 StartImage\n\
        2 SetVariable Name 4a67b082-0a4c-41cf-b6c7-440b29bb8c4f attributes=0x6 REFUSED = UNSUPPORTED\n\
        1 StartImage = UNSUPPORTED\n\
        efitrace: UNSUPPORTED\n";

    #[test]
    fn a_trace_is_parsed_and_summarised() {
        let trace = Trace::parse(TEXT);
        assert_eq!(trace.calls().len(), 6);
        assert_eq!(trace.returned.as_deref(), Some("UNSUPPORTED"));
        assert_eq!(trace.refused, 1);
        assert_eq!(trace.calls()[0].service(), "LocateProtocol");
        let guid = "3152bca5-eade-433d-862e-c01cdc291f44";
        assert_eq!(trace.calls()[0].protocol(), Some(guid));
        assert_eq!(trace.calls()[4].protocol(), None);
        assert_eq!(trace.calls()[3].status, None);
        assert_eq!(trace.summary().lines().count(), 5);
        assert_eq!(Trace::parse(&trace.summary()).summary(), trace.summary());
        assert_eq!(Trace::parse("efitrace: start\n1 Exit\n").returned, None);
    }

    #[test]
    fn differences_are_lines_or_the_order() {
        for (expected, found, difference_) in [
            ("a\nb\n", "a\nb\n", ""),
            ("a\nb\n", "a\nc\n", "- b\n+ c"),
            ("a\nb\n", "b\na\n", "another order: expected a, found b"),
        ] {
            assert_eq!(difference(expected, found), difference_);
        }
    }

    #[test]
    fn the_traces_in_the_repository_end_with_boot_services() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/efi-calls");
        let mut count = 0;
        for path in kernel::walk(&directory).unwrap() {
            let text = fs::read_to_string(&path).unwrap();
            let trace = Trace::parse(&text);
            assert_eq!(trace.summary(), text, "{}", path.display());
            let last = trace.calls().last().unwrap();
            assert_eq!(last.service(), "ExitBootServices", "{}", path.display());
            assert_eq!(last.status.as_deref(), Some("SUCCESS"), "{}", path.display());
            count += 1;
        }
        assert!(count >= 5, "{count} traces");
    }
}
