//! The tests.

use std::env;
use std::env::consts::ARCH;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use hv_kvm_test::{TestResult, explain, fixture, has_virtualisation, skip_reason, trial};
use plugin_host::{Plugin, run as run_plugin};

/// Sufficient for a call that ends by itself, in an emulated machine that shares its CPU.
const LONG: Duration = Duration::from_mins(1);
/// Sufficient for the start of the plugin.
const SHORT: Duration = Duration::from_secs(2);

/// A pattern that needs more memory than the plugin has.
const LARGE: &str = "(a{1000}){1000}";
/// A pattern that takes minutes on [`long_text`].
const SLOW: &str = "(.{0,30}){0,30}x$";

type Test = (&'static str, fn() -> TestResult);

fn file() -> String {
    let is_limited = ARCH == "x86_64" && !has_virtualisation();
    let kind = if is_limited { "-softfloat" } else { "" };
    format!("guests/{ARCH}/sandbox-plugin{kind}.elf")
}

pub(crate) fn run() -> ! {
    let skip = skip_reason(&[file()], false);
    let tests: [Test; 4] = [
        ("example::plugin-host::finds-lines", finds_lines),
        ("example::plugin-host::survives-a-crash", survives_a_crash),
        ("example::plugin-host::survives-a-deadline", survives_a_deadline),
        ("example::plugin-host::command", command),
    ];
    let trials = tests.map(|(name, test)| trial(name, skip.clone(), test));
    hv_kvm_test::run(trials.into())
}

fn plugin(deadline: Duration) -> Result<Plugin, String> {
    Plugin::start(&fixture(&file()), deadline).map_err(|error| explain(&error))
}

fn long_text() -> String {
    "ab ".repeat(0x1_0000)
}

/// What the plugin finds; an error as its text.
fn find(
    plugin: &mut Plugin,
    pattern: &str,
    text: &str,
) -> Result<Result<Vec<(u32, String)>, String>, String> {
    let found = plugin.find(pattern, text).map_err(|error| explain(&error))?;
    Ok(found.map_err(|error| explain(&error)))
}

/// Fails unless the plugin finds these lines.
fn check(plugin: &mut Plugin, pattern: &str, text: &str, expected: &[(u32, &str)]) -> Result<(), String> {
    let found = find(plugin, pattern, text)??;
    let is_same = found
        .iter()
        .map(|(number, line)| (*number, line.as_str()))
        .eq(expected.iter().copied());
    if is_same {
        return Ok(());
    }
    Err(format!("{pattern}: found {found:?}, expected {expected:?}"))
}

/// Fails unless the error of a call has this text.
fn check_error(plugin: &mut Plugin, pattern: &str, text: &str, expected: &str) -> Result<(), String> {
    match find(plugin, pattern, text)? {
        Err(error) if error.contains(expected) => Ok(()),
        found => Err(format!(
            "{pattern}: found {found:?}, expected an error with {expected:?}"
        )),
    }
}

const TEXT: &str = "one\ntwo 22\n\nthree\u{e9} 3\n";

fn works(plugin: &mut Plugin) -> Result<(), String> {
    check(plugin, r"\d+$", TEXT, &[(2, "two 22"), (4, "three\u{e9} 3")])
}

fn finds_lines() -> TestResult {
    let mut plugin = plugin(LONG)?;
    works(&mut plugin)?;
    check(&mut plugin, "(?i)^O\\w+", TEXT, &[(1, "one")])?;
    check(&mut plugin, "^four", TEXT, &[])?;
    check(&mut plugin, "", "", &[])?;
    check_error(&mut plugin, "(", TEXT, "unclosed group")?;
    works(&mut plugin)?;
    Ok(None)
}

fn survives_a_crash() -> TestResult {
    let mut plugin = plugin(LONG)?;
    for _ in 0..3 {
        check_error(&mut plugin, LARGE, TEXT, "heap is too small")?;
        works(&mut plugin)?;
    }
    Ok(None)
}

fn survives_a_deadline() -> TestResult {
    let mut plugin = plugin(SHORT)?;
    check_error(&mut plugin, SLOW, &long_text(), "longer than 2s")?;
    check_error(&mut plugin, "(", TEXT, "unclosed group")?;
    works(&mut plugin)?;
    Ok(None)
}

/// All files are searched, whatever happens in one of them.
fn command() -> TestResult {
    let directory = env::temp_dir().join(format!("plugin-host-{}", std::process::id()));
    fs::create_dir_all(&directory)?;
    let path = |name: &str| directory.join(name).to_string_lossy().into_owned();
    let files = ["slow", "missing", "good"].map(path);
    fs::write(&files[0], long_text() + "\nz 1\n")?;
    fs::write(&files[2], "y x\nb 2\n")?;
    let mut outputs = [Vec::new(), Vec::new()];
    let [output, errors] = &mut outputs;
    let result = run_plugin(&mut plugin(SHORT)?, SLOW, &files, output, errors);
    fs::remove_dir_all(PathBuf::from(&directory))?;
    let is_good = result.map_err(|error| explain(&error))?;
    let [output, errors] = outputs.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let expected = format!("{}:1: y x\n", files[2]);
    let is_expected = !is_good
        && output == expected
        && errors.lines().count() == 2
        && errors.contains(&format!("{}: the call took longer than 2s", files[0]))
        && errors.contains(&format!("{}: ", files[1]));
    if is_expected {
        return Ok(None);
    }
    Err(format!("good: {is_good}; output: {output:?}, expected {expected:?}; errors: {errors:?}").into())
}
