//! See README.md.
#![forbid(unsafe_code)]

use std::env;
use std::io::{stderr, stdout};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use plugin_host::{Plugin, explain, run};

/// Time for a file.
const DEADLINE: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let Some((pattern, files)) = arguments.split_first() else {
        eprintln!("usage: plugin-host PATTERN FILE...");
        return ExitCode::FAILURE;
    };
    let default = || format!("target/guests/{}/sandbox-plugin.elf", env::consts::ARCH).into();
    let path = env::var_os("PLUGIN").map_or_else(default, PathBuf::from);
    let result = Plugin::start(&path, DEADLINE)
        .and_then(|mut plugin| run(&mut plugin, pattern, files, &mut stdout(), &mut stderr()));
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {}", explain(&error));
            eprintln!("`cargo xtask guests` builds the plugin; PLUGIN names another one");
            ExitCode::FAILURE
        }
    }
}
