//! Decompression of a vmlinux beside the tool of each codec: the shortest of some runs of each, by turns.
//!
//! `cargo xtask bench codecs` runs it. The first argument is the file; the tools have to be installed.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use boot_core::Codec;
use decompress::decompress;

/// Runs of each.
const RUNS: usize = 5;

/// Codec, and the command that compresses; its `-dc` decompresses.
const TOOLS: [(Codec, &str, &[&str]); 8] = [
    (Codec::Zstd, "zstd", &["-19", "-T0", "-q", "-c"]),
    (Codec::Gzip, "gzip", &["-9", "-n", "-c"]),
    (Codec::Xz, "xz", &["-T1", "-6", "--check=crc32", "-c"]),
    (Codec::Lzma, "lzma", &["-6", "-c"]),
    (Codec::Lz4Legacy, "lz4", &["-l", "-9", "-q", "-c"]),
    (Codec::Lz4Frame, "lz4", &["-9", "-q", "-c"]),
    (Codec::Lzo, "lzop", &["-9", "-q", "-c"]),
    (Codec::Bzip2, "bzip2", &["-9", "-q", "-c"]),
];

fn main() -> Result<(), Box<dyn Error>> {
    // Cargo passes `--bench`.
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let Some(file) = arguments.next() else {
        eprintln!("nothing is measured without a file; `cargo xtask bench codecs` passes a kernel");
        return Ok(());
    };
    let only = arguments.next();
    let data = fs::read(&file)?;
    let dir = tempfile::tempdir()?;
    println!("{:<12} {:>10} {:>10} {:>7}", "codec", "here", "tool", "ratio");
    for (codec, tool, args) in TOOLS {
        if only.as_ref().is_some_and(|only| only != codec.name()) {
            continue;
        }
        let packed = Command::new(tool).args(args).arg(&file).output()?.stdout;
        let path = dir.path().join("packed");
        fs::write(&path, &packed)?;
        let mut shortest = [Duration::MAX; 2];
        for _ in 0..RUNS {
            let start = Instant::now();
            let unpacked = decompress(codec, &packed, data.len())?;
            shortest[0] = shortest[0].min(start.elapsed());
            if unpacked.bytes != data {
                return Err(format!("{codec}: the data differ").into());
            }
            drop(unpacked);
            shortest[1] = shortest[1].min(run(tool, &path, data.len())?);
        }
        let [here, theirs] = shortest.map(|time| time.as_secs_f64() * 1e3);
        println!(
            "{codec:<12} {here:>7.1} ms {theirs:>7.1} ms {:>7.2}",
            here / theirs
        );
    }
    Ok(())
}

/// The time of the tool, which decompresses from the page cache to a pipe that is read to memory.
fn run(tool: &str, path: &Path, len: usize) -> Result<Duration, Box<dyn Error>> {
    let start = Instant::now();
    let output = Command::new(tool)
        .arg("-dc")
        .stdin(fs::File::open(path)?)
        .stderr(Stdio::inherit())
        .output()?;
    let time = start.elapsed();
    if !output.status.success() || output.stdout.len() != len {
        return Err(format!("{tool} -dc failed").into());
    }
    Ok(time)
}
