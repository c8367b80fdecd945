//! Knock-out boots: each service and protocol that a boot loader uses is refused in a boot of its own.

use std::collections::BTreeSet;
use std::fmt;

use super::boot::Boot;
use super::job::Job;
use super::timeline::Milestone;
use super::trace::{self, Call, Trace};
use crate::error::Error;
use crate::workspace::Workspace;

/// Services without which no EFI application works.
const INDISPENSABLE: [&str; 10] = [
    "AllocatePages",
    "AllocatePool",
    "CopyMem",
    "FreePages",
    "FreePool",
    "HandleProtocol",
    "OpenProtocol",
    "RaiseTPL",
    "RestoreTPL",
    "SetMem",
];

/// The result of a boot with refused calls.
#[derive(Debug)]
struct Row {
    refusal: String,
    refused: usize,
    reached: Option<Milestone>,
    returned: Option<String>,
}

impl Row {
    fn new(refusal: &str, boot: &Boot, trace: &Trace) -> Self {
        let mut milestones = Milestone::ALL.into_iter().rev();
        Self {
            refusal: refusal.to_owned(),
            refused: trace.refused,
            reached: milestones.find(|milestone| boot.timeline.time_of(*milestone).is_some()),
            returned: trace.returned.clone(),
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reached = self.reached.map_or("nothing", Milestone::name);
        write!(f, "{:<48}  {:>7}  {reached}", self.refusal, self.refused)?;
        let mut returned = self.returned.iter();
        returned.try_for_each(|status| write!(f, " (the loader returned {status})"))
    }
}

/// Boots once without a refusal, and then once for each service and protocol of that trace. Prints a table of what
/// each boot reached. Fails if the first one fails.
pub(super) fn run(workspace: &Workspace, job: &Job) -> Result<(), Error> {
    let (boot, trace) = run_one(workspace, job.clone(), "")?;
    job.conclude(boot)?;
    println!("{:<48}  refused  reached", "refused calls");
    for refusal in refusals(&trace) {
        let (boot, trace) = run_one(workspace, job.clone(), &refusal)?;
        println!("{}", Row::new(&refusal, &boot, &trace));
    }
    Ok(())
}

fn run_one(workspace: &Workspace, mut job: Job, refusal: &str) -> Result<(Boot, Trace), Error> {
    let path = trace::prepare(workspace, &mut job, refusal)?;
    let boot = job.run(workspace)?;
    Ok((boot, trace::read(&path)?))
}

/// What is to be refused: each service of a trace, and each protocol.
fn refusals(trace: &Trace) -> Vec<String> {
    let mut known = BTreeSet::new();
    let services = trace.calls().iter().map(Call::service);
    let services = services.filter(|name| !INDISPENSABLE.contains(name));
    let services = services.map(|name| format!("service {name}"));
    let protocols = trace.calls().iter().filter_map(Call::protocol);
    let protocols = protocols.map(|guid| format!("protocol {guid}"));
    services
        .chain(protocols)
        .filter(|refusal| known.insert(refusal.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn each_service_and_protocol_is_refused_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("trace");
        let guid = "3152bca5-eade-433d-862e-c01cdc291f44";
        let text = format!(
            "efitrace: start\n1 LocateProtocol {guid} = NOT_FOUND\n1 AllocatePool type=0x2 = SUCCESS\n\
             1 LocateProtocol {guid} = NOT_FOUND\n1 ExitBootServices = SUCCESS\n"
        );
        fs::write(&path, text).unwrap();
        let trace = trace::read(&path).unwrap();
        assert_eq!(
            refusals(&trace),
            [
                "service LocateProtocol".to_owned(),
                "service ExitBootServices".to_owned(),
                format!("protocol {guid}"),
            ]
        );
    }

    #[test]
    fn a_row_has_what_was_reached() {
        let row = Row {
            refusal: "service LoadImage".to_owned(),
            refused: 1,
            reached: Some(Milestone::Loader),
            returned: Some("UNSUPPORTED".to_owned()),
        };
        let text = row.to_string();
        assert!(text.starts_with("service LoadImage "), "{text}");
        assert!(
            text.ends_with("      1  loader (the loader returned UNSUPPORTED)"),
            "{text}"
        );
        let row = Row {
            reached: None,
            returned: None,
            ..row
        };
        assert!(row.to_string().ends_with("  1  nothing"));
    }
}
