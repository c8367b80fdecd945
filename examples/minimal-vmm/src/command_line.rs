//! The command line: `PROGRAM KERNEL [INITRD]`.

use std::error::Error;
use std::io::{Stdout, stdout};
use std::path::Path;
use std::process::ExitCode;

use crate::{Config, Outcome};

/// Boots the files of the command line with `boot`, and reports how the machine ended.
pub fn run(
    program: &str,
    boot: impl FnOnce(&Config<'_>, Stdout) -> Result<Outcome, Box<dyn Error>>,
) -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let (kernel, initrd) = match arguments.as_slice() {
        [kernel] => (kernel, None),
        [kernel, initrd] => (kernel, Some(Path::new(initrd))),
        _ => {
            eprintln!("usage: {program} KERNEL [INITRD]");
            return ExitCode::FAILURE;
        }
    };
    let config = Config {
        kernel: Path::new(kernel),
        initrd,
        cmdline: "console=ttyS0 reboot=k panic=-1",
        memory: 512 << 20,
    };
    match boot(&config, stdout()) {
        Ok(outcome) => {
            println!("the machine ended: {outcome:?}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprint!("{program}: {error}");
            let mut source = error.source();
            while let Some(cause) = source {
                eprint!(": {cause}");
                source = cause.source();
            }
            eprintln!();
            ExitCode::FAILURE
        }
    }
}
