//! Kernels and other files from standard input and pipes.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use vmboot::report::PlanReport;

use crate::files::{kernel, write};
use crate::stderr;

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vmboot"));
    command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The plan that `plan --json` prints with `bytes` in a pipe as standard input.
fn piped_plan(args: &[&str], bytes: &[u8]) -> PlanReport {
    let mut child = command(&[&["plan", "--json"], args].concat())
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let bytes = bytes.to_vec();
    let writer = thread::spawn(move || stdin.write_all(&bytes));
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    writer.join().unwrap().unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn files_from_standard_input_are_like_those_from_paths() {
    let dir = tempfile::tempdir().unwrap();
    let path = write(dir.path(), "kernel", &kernel());
    let path = path.to_str().unwrap();
    let initrd = vec![7; 300_000];
    let initrd_path = write(dir.path(), "initrd", &initrd);
    let initrd_path = initrd_path.to_str().unwrap();
    let expected = |args: &[&str]| piped_plan(args, b"");

    assert_eq!(piped_plan(&["-"], &kernel()), expected(&[path]));
    assert_eq!(
        piped_plan(&[path, "--initrd", "-"], &initrd),
        expected(&[path, "--initrd", initrd_path])
    );
    let module = format!("{initrd_path},a line");
    assert_eq!(
        piped_plan(&[path, "--module", "-,a line"], &initrd),
        expected(&[path, "--module", &module])
    );
    // A file as standard input, which is not copied.
    let output = command(&["plan", "--json", "-"])
        .stdin(File::open(path).unwrap())
        .output()
        .unwrap();
    let plan: PlanReport = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(plan, expected(&[path]));
}

/// As with `| head`, which is no mistake.
#[test]
fn a_closed_pipe_ends_the_output_without_a_message() {
    let dir = tempfile::tempdir().unwrap();
    let path = write(dir.path(), "kernel", &kernel());
    for args in [&["inspect"][..], &["plan", "--json"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = command(&[args, &[path.to_str().unwrap()]].concat())
            .stdout(writer)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(stderr(&output), "");
    }
}

fn make_fifo(path: &Path) {
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
}

#[test]
fn a_named_pipe_is_read_when_its_writer_comes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pipe");
    make_fifo(&path);
    let mut child = command(&["plan", path.to_str().unwrap()])
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    // Without a writer, a note tells what is missing.
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let note = lines.next().unwrap().unwrap();
    assert_eq!(note, format!("note: waiting for data from {}", path.display()));
    fs::write(&path, kernel()).unwrap();
    let output = child.wait_with_output().unwrap();
    let rest: Vec<_> = lines.map(Result::unwrap).collect();
    assert!(output.status.success(), "{rest:?}");
    assert!(
        str::from_utf8(&output.stdout)
            .unwrap()
            .starts_with("pvh boot on x86_64")
    );
}

#[test]
fn process_substitution_is_a_file() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "kernel", &kernel());
    let script = format!("'{}' plan <(cat kernel)", env!("CARGO_BIN_EXE_vmboot"));
    let output = match Command::new("bash")
        .args(["-c", &script])
        .current_dir(dir.path())
        .output()
    {
        Ok(output) => output,
        Err(error) => panic!("bash is needed for this test: {error}"),
    };
    assert!(output.status.success(), "{}", stderr(&output));
}
