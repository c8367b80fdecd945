//! Measures how long programs take from `exec` to a line of their output.
//!
//! `stopwatch ROUNDS SECONDS TEXT -- PROGRAM ARGUMENT... -- PROGRAM ARGUMENT...` runs the programs in turns, and prints a JSON object for each
//! run: the number of the program, and the milliseconds from just before `exec` until its standard output had TEXT, and until it had ended.
//! Fails if a program does not print TEXT, or does not end within SECONDS.
#![forbid(unsafe_code)]

use std::io::Read as _;
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use lab_init::Lap;

/// A failure in words.
type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match measure(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("stopwatch: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(args: &[String]) -> Result<(), Failure> {
    let mut parts = args.split(|arg| arg == "--");
    let Some([rounds, seconds, text]) = parts.next() else {
        return Err("expected ROUNDS SECONDS TEXT -- PROGRAM ARGUMENT...".into());
    };
    let (rounds, deadline): (u32, u64) = (rounds.parse()?, seconds.parse()?);
    let programs: Vec<&[String]> = parts.collect();
    for _ in 0..rounds {
        for (program, command) in programs.iter().enumerate() {
            let lap = run(program, command, text, Duration::from_secs(deadline))?;
            println!("{}", serde_json::to_string(&lap)?);
        }
    }
    Ok(())
}

/// Runs a program once.
fn run(program: usize, command: &[String], text: &str, deadline: Duration) -> Result<Lap, Failure> {
    let [name, args @ ..] = command else {
        return Err("a program has no name".into());
    };
    let start = Instant::now();
    let mut child = Command::new(name)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut output = child.stdout.take().ok_or("no standard output")?;
    let (sender, chunks) = mpsc::channel();
    let reader = thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = output.read(&mut buffer) {
            if sender.send((start.elapsed(), buffer[..length].to_vec())).is_err() {
                return;
            }
        }
    });
    let mut seen = Vec::new();
    let mut milestone = None;
    let failure = loop {
        match chunks.recv_timeout(deadline.saturating_sub(start.elapsed())) {
            Ok((time, bytes)) => {
                seen.extend_from_slice(&bytes);
                if milestone.is_none() && contains(&seen, text) {
                    milestone = Some(time);
                }
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {
                child.kill()?;
                break Some("did not end in time");
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => break None,
        }
    };
    let status = child.wait()?;
    let end = start.elapsed();
    // The pipe is closed; the thread has ended or ends at its next read.
    drop(reader);
    let failure = failure.or_else(|| (!status.success()).then_some("failed"));
    match (failure, milestone) {
        (None, Some(milestone)) => Ok(Lap {
            program,
            milestone_ms: milestone.as_secs_f64() * 1e3,
            end_ms: end.as_secs_f64() * 1e3,
        }),
        (failure, _) => {
            let what = failure.unwrap_or("did not print the text");
            let output = String::from_utf8_lossy(&seen);
            Err(format!("{command:?} {what} ({status}); it printed:\n{output}").into())
        }
    }
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, deadline: Duration) -> Result<Lap, String> {
        let command = ["/bin/sh", "-c", script].map(str::to_owned);
        run(3, &command, "here", deadline).map_err(|error| error.to_string())
    }

    #[test]
    fn text_and_end_have_times() {
        let lap = shell("echo h; echo here; sleep 0.2", Duration::from_mins(1)).unwrap();
        assert_eq!(lap.program, 3);
        assert!(0.0 < lap.milestone_ms && lap.milestone_ms + 150.0 < lap.end_ms);
    }

    #[test]
    fn runs_that_count_for_nothing_are_errors() {
        let minute = Duration::from_mins(1);
        assert!(
            shell("echo no", minute)
                .unwrap_err()
                .contains("did not print the text")
        );
        assert!(shell("echo here; exit 3", minute).unwrap_err().contains("failed"));
        let late = shell("echo here; exec sleep 100", Duration::from_millis(100));
        assert!(late.unwrap_err().contains("did not end in time"));
        assert!(measure(&["1".to_owned()]).is_err());
    }
}
