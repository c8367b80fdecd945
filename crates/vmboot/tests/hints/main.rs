//! Every piece of advice that a message of `vmboot` gives is carried out: afterwards, the problem is gone. Completion scripts
//! and manual pages are tried in their tools.
//!
//! A case whose tool is not installed is ignored, which the summary shows.

mod command;
mod containers;
mod documentation;
mod files;
mod options;
mod protocols;

use libtest_mimic::{Arguments, Trial};

fn main() {
    let args = Arguments::from_args();
    let cases: [(&str, fn()); 9] = [
        ("memory", options::memory),
        ("reserve", options::reserve),
        ("cmdline", options::cmdline),
        ("irqchip", options::irqchip),
        ("examples", options::examples),
        ("roles", options::roles),
        ("notes", options::notes),
        ("text-offset", options::text_offset),
        ("raw-lines", protocols::raw_lines),
    ];
    let mut trials = containers::trials();
    trials.extend(documentation::trials());
    trials.extend(cases.into_iter().map(|(name, case)| {
        Trial::test(name, move || {
            case();
            Ok(())
        })
    }));
    libtest_mimic::run(&args, trials).exit();
}
