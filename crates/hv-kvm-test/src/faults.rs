//! Work whose requests to KVM fail, one after the other.

mod requests;
mod supervised;

use std::{
    error::Error,
    io,
    time::{Duration, Instant},
};

use self::supervised::{Attempt, Call, Family, Fault, Supervised, filter};
use crate::{CheckResult, Held, explain};

/// The variable that makes every call fail, which takes a quarter of an hour on x86_64 in the lab and hours on arm64, and those outside of the run of the
/// guest with every error. Without it, the first call of each request fails with every error, and of its other calls up to [`MOST`] with one.
const ALL: &str = "VMBOOT_KVM_FAULTS";

/// Errors that end the run.
const HARD: [i32; 4] = [libc::ENOMEM, libc::EIO, libc::EFAULT, libc::EMFILE];

/// Errors after which a request may be made again.
const SOFT: [i32; 2] = [libc::EINTR, libc::EAGAIN];

/// Calls of one request that fail. The others are for the next registers of a long list.
const MOST: usize = 12;

/// `KVM_RUN`s that fail.
const MOST_ENTRIES: usize = 6;

/// Faults between two machines without one.
const CLEAN: usize = 32;

/// Wrong results that are reported.
const MAX_REPORTED: usize = 40;

/// Reason why no call can fail on request on this host.
#[must_use]
pub fn skip_reason() -> Option<String> {
    filter::skip_reason()
}

/// Does `work` again and again on a thread of its own, while another of its requests to KVM and calls for memory and files fails each time.
///
/// The error of the work has to name the failed request and the error of the kernel, the work may leave nothing behind, and without a fault it has to succeed
/// afterwards. What it makes once for the process is made before the first fault.
///
/// # Errors
///
/// A list of the wrong results, and hosts with a [`skip_reason`].
pub fn every_call_fails(work: impl Fn() -> CheckResult + Send + 'static) -> CheckResult {
    let supervised = Supervised::new(move || work().map_err(|error| explain(&*error)))?;
    // The first machines also make what stays, such as arenas of the allocator.
    clean(&supervised)?;
    clean(&supervised)?;
    let start = Instant::now();
    let calls = Calls::of(&clean(&supervised)?);
    let time_of_one = start.elapsed();
    let faults = faults(&calls, std::env::var_os(ALL).is_some());
    let mut held = Held::now()?;
    let mut wrong = Vec::new();
    let mut tally = Tally::default();
    let start = Instant::now();
    for (index, fault) in faults.iter().enumerate() {
        let attempt = supervised.run(Some(*fault))?;
        let after = Held::now()?;
        let judged = judge(&calls, fault, &attempt, &mut tally).and_then(|()| {
            if leaks_slot(&calls, fault) {
                // The memory of a slot that cannot be deleted stays mapped, as the guest could access it.
                held = after;
                return Ok(());
            }
            if after == held {
                Ok(())
            } else {
                let message = format!("held before {held:?}, after {after:?}");
                held = after;
                Err(message)
            }
        });
        if let Err(message) = judged {
            wrong.push(format!("{} {fault:?}: {message}", name(attempt.failed)));
        }
        if index % CLEAN == CLEAN - 1 {
            clean(&supervised)?;
        }
    }
    clean(&supervised)?;
    report(&calls, faults.len(), &tally, time_of_one, start.elapsed());
    if wrong.is_empty() {
        return Ok(());
    }
    let count = wrong.len();
    wrong.truncate(MAX_REPORTED);
    Err(format!("{count} wrong results, among them\n{}", wrong.join("\n")).into())
}

/// Calls of a run of the work without a fault.
struct Calls {
    kvm: Vec<Call>,
    host: Vec<Call>,
    /// Numbers of the first and the last `KVM_RUN` among those of KVM; without one, their number.
    first_run: usize,
    last_run: usize,
}

impl Calls {
    fn of(calls: &[Call]) -> Self {
        let (kvm, host): (Vec<Call>, Vec<Call>) = calls.iter().partition(|call| call.family() == Family::Kvm);
        let first_run = kvm.iter().position(|call| requests::is_run(*call));
        let last_run = kvm.iter().rposition(|call| requests::is_run(*call));
        Self {
            first_run: first_run.unwrap_or(kvm.len()),
            last_run: last_run.unwrap_or(kvm.len()),
            kvm,
            host,
        }
    }
}

/// Places of the calls of each request, in the order in which the requests occur first.
fn by_request(calls: &[Call]) -> Vec<Vec<usize>> {
    let mut requests: Vec<(Call, Vec<usize>)> = Vec::new();
    for (at, &call) in calls.iter().enumerate() {
        match requests.iter_mut().find(|(known, _)| *known == call) {
            Some((_, places)) => places.push(at),
            None => requests.push((call, vec![at])),
        }
    }
    requests.into_iter().map(|(_, places)| places).collect()
}

/// The faults that are tried.
fn faults(calls: &Calls, is_all: bool) -> Vec<Fault> {
    let errors: Vec<i32> = HARD.into_iter().chain(SOFT).collect();
    let mut faults = Vec::new();
    for places in by_request(&calls.kvm) {
        let is_run = places.first() == Some(&calls.first_run);
        let most = match (is_all, is_run) {
            (true, _) => places.len(),
            (false, true) => MOST_ENTRIES,
            (false, false) => MOST,
        };
        let stride = places.len().div_ceil(most);
        for (number, &at) in places.iter().step_by(stride).enumerate() {
            let is_guest = (calls.first_run..=calls.last_run).contains(&at);
            let fault = |errno| Fault {
                family: Family::Kvm,
                at,
                errno,
            };
            if number == 0 || (is_all && !is_guest) {
                faults.extend(errors.iter().copied().map(fault));
            } else {
                let one_of = if is_run { errors.as_slice() } else { &HARD };
                faults.extend(one_of.get(number % one_of.len()).copied().map(fault));
            }
        }
    }
    for (at, call) in calls.host.iter().enumerate() {
        let errno = match call {
            Call::Openat | Call::MemfdCreate => libc::EMFILE,
            _ => libc::ENOMEM,
        };
        faults.push(Fault {
            family: Family::Host,
            at,
            errno,
        });
    }
    faults
}

/// Results of faults.
#[derive(Default)]
struct Tally {
    reported: usize,
    went_on: usize,
    not_reached: usize,
}

fn report(calls: &Calls, faults: usize, tally: &Tally, time_of_one: Duration, time: Duration) {
    println!(
        "{} requests to KVM up to the first KVM_RUN, {} up to the last, {} in all; {} calls for memory and files; {faults} faults: {} reported, {} went on, {} not reached; \
         {time_of_one:.2?} for one machine, {time:.2?} for all",
        calls.first_run,
        calls.last_run,
        calls.kvm.len(),
        calls.host.len(),
        tally.reported,
        tally.went_on,
        tally.not_reached,
    );
}

/// Runs a machine without a fault, and returns its calls.
fn clean(supervised: &Supervised) -> Result<Vec<Call>, Box<dyn Error>> {
    let attempt = supervised.run(None)?;
    match attempt.result {
        Some(Ok(())) => Ok(attempt.calls),
        Some(Err(message)) => Err(format!("a machine without a fault: {message}").into()),
        None => Err("a machine without a fault panicked".into()),
    }
}

/// Whether the call deletes a RAM slot at the end.
fn leaks_slot(calls: &Calls, fault: &Fault) -> bool {
    fault.family == Family::Kvm
        && fault.at > calls.last_run
        && calls
            .kvm
            .get(fault.at)
            .is_some_and(|call| requests::is_slot(*call))
        && fault.errno != libc::EINTR
}

fn name(call: Option<Call>) -> String {
    match call {
        None => "no call".into(),
        Some(call) => match requests::known(call) {
            Some(request) => request.name.into(),
            None => format!("{call:x?}"),
        },
    }
}

/// Checks the result of a fault.
fn judge(calls: &Calls, fault: &Fault, attempt: &Attempt, tally: &mut Tally) -> Result<(), String> {
    let result = attempt.result.as_ref().ok_or("panicked")?;
    let Some(call) = attempt.failed else {
        tally.not_reached += 1;
        return result.clone();
    };
    match result {
        Ok(()) => tally.went_on += 1,
        Err(_) => tally.reported += 1,
    }
    let cause = requests::fault_of_guest(call, fault.errno).map_or_else(
        || io::Error::from_raw_os_error(fault.errno).to_string(),
        str::to_owned,
    );
    if fault.family == Family::Host {
        // The allocator, and readers of optional files, go on.
        return match result {
            Err(message) if !message.contains(&cause) => Err(format!("no {cause:?} in: {message}")),
            _ => Ok(()),
        };
    }
    let request = requests::known(call).ok_or("the request is not in the table")?;
    let goes_on =
        request.is_repeated && fault.errno == libc::EINTR || requests::is_entry_repeated(call, fault.errno);
    match result {
        Ok(()) if goes_on || leaks_slot(calls, fault) => Ok(()),
        Ok(()) => Err("the error was lost".into()),
        Err(message) if goes_on => Err(format!("the request was not made again: {message}")),
        Err(message) => {
            let has_name = message.contains(request.name)
                || requests::fault_of_guest(call, fault.errno).is_some()
                || request.texts.iter().any(|text| message.contains(text));
            if has_name && message.contains(&cause) {
                Ok(())
            } else {
                Err(format!("{} or {cause:?} is not in: {message}", request.name))
            }
        }
    }
}
