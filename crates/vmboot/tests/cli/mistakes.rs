//! Mistakes of users: the exit status and the message of each, as in `mistakes/golden.txt`.
//!
//! `UPDATE_GOLDEN=1 cargo test -p vmboot --test cli mistakes` rewrites the golden file. Read the difference as a user would.

mod inputs;
mod rows;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use self::rows::{ROWS, Row, Stream};

/// Number of `x` that the argument `{long}` stands for.
const LONG: usize = 5000;

/// First words of a sentence that says what to do.
const IMPERATIVES: &str = "add append begin boot build check close copy correct decompress exchange extract fetch free get inspect link \
    list mount name omit pass prepare redirect remove reserve see shorten start unpack use";

/// What a row resulted in.
struct Answer {
    status: Option<i32>,
    stdout: Vec<u8>,
    stderr: String,
}

fn run(row: &Row, dir: &Path) -> Answer {
    let long = "x".repeat(LONG);
    let args = row.args.iter().map(|arg| arg.replace("{long}", &long));
    let mut command = Command::new(env!("CARGO_BIN_EXE_vmboot"));
    command.args(args).current_dir(dir);
    let (reader, writer) = std::io::pipe().unwrap();
    match row.stream {
        Stream::None => command.stdin(Stdio::null()),
        Stream::Stdin(name) => command.stdin(File::open(dir.join(name)).unwrap()),
        Stream::Pipe(name) => {
            // Short enough for the buffer of the pipe.
            let bytes = fs::read(dir.join(name)).unwrap();
            let mut writer = writer;
            std::io::Write::write_all(&mut writer, &bytes).unwrap();
            command.stdin(reader)
        }
        Stream::FullStdout => {
            let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
            command.stdin(Stdio::null()).stdout(full)
        }
    };
    let output = command.output().unwrap();
    Answer {
        status: output.status.code(),
        stdout: output.stdout,
        stderr: String::from_utf8(output.stderr).unwrap().replace(&long, "{long}"),
    }
}

/// Rules for all messages.
fn check(row: &Row, answer: &Answer) {
    let Answer {
        status,
        stdout,
        stderr,
    } = answer;
    let context = format!("{:?}: {stderr}", row.args);
    assert!(matches!(status, Some(1 | 2)), "status {status:?} of {context}");
    assert!(stdout.is_empty(), "output of {context}");
    let lines: Vec<_> = stderr.lines().collect();
    let is_note = |line: &&&str| line.starts_with("note: ") || line.starts_with("warning: ");
    let notes = lines.iter().take_while(is_note).count();
    let [error, help] = &lines[notes..] else {
        panic!("not an error and a help line: {context}");
    };
    let error = error.strip_prefix("error: ").expect(&context);
    let help = help.strip_prefix("help: ").expect(&context);
    assert!(lines.len() <= 4, "too many lines: {context}");
    for line in &lines {
        assert!(line.chars().count() <= 200, "a long line: {context}");
        for words in [
            "panicked",
            "unsupported: unsupported",
            "Some(",
            "Err(",
            " { ",
            "::",
            "Error",
            "\u{1b}",
        ] {
            assert!(!line.contains(words), "`{words}` in {context}");
        }
    }
    let first = help.split([' ', ',']).next().unwrap();
    assert!(
        IMPERATIVES.split(' ').any(|word| word == first),
        "the help begins with `{first}`: {context}"
    );
    // A chain of errors of at most three, after the name of a file.
    assert!(
        error.matches(": ").count() <= 3,
        "a long chain of errors: {context}"
    );
    // No phrase of four words occurs twice.
    let is_word = |word: &&str| word.chars().any(char::is_alphabetic);
    let words: Vec<_> = error.split(' ').filter(is_word).collect();
    let phrases: Vec<_> = words.windows(4).collect();
    let unique: BTreeSet<_> = phrases.iter().collect();
    assert_eq!(unique.len(), phrases.len(), "a repeated phrase: {context}");
    assert!(
        !help.ends_with(['.', '?']) && !error.ends_with('.'),
        "punctuation: {context}"
    );
}

#[test]
fn mistakes_have_the_golden_answers() {
    let dir = tempfile::tempdir().unwrap();
    inputs::write_all(dir.path());
    let mut text = String::new();
    let mut chapter = "";
    let answers: Vec<_> = ROWS.iter().map(|row| run(row, dir.path())).collect();
    for (row, answer) in ROWS.iter().zip(&answers) {
        if chapter != row.chapter {
            chapter = row.chapter;
            writeln!(text, "# {chapter}\n").unwrap();
        }
        let quoted: Vec<_> = row.args.iter().map(|arg| shell_word(arg)).collect();
        let status = answer.status.unwrap_or_default();
        let stream = row.stream.as_shell();
        writeln!(
            text,
            "$ vmboot {}{stream}   [{status}]\n{}",
            quoted.join(" "),
            answer.stderr
        )
        .unwrap();
    }
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/cli/mistakes/golden.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &text).unwrap();
    }
    for (row, answer) in ROWS.iter().zip(&answers) {
        check(row, answer);
    }
    let golden = fs::read_to_string(&path).unwrap();
    for (found, expected) in text.split("\n\n").zip(golden.split("\n\n")) {
        assert_eq!(found, expected, "see the head of {}", file!());
    }
    assert_eq!(text.len(), golden.len(), "the golden file has other rows");
}

#[test]
fn the_table_has_a_hundred_different_mistakes() {
    let unique: BTreeSet<_> = ROWS.iter().map(|row| (row.args, row.stream.as_shell())).collect();
    assert_eq!(unique.len(), ROWS.len());
    assert!(ROWS.len() >= 100, "{}", ROWS.len());
}

/// An argument as in a shell.
fn shell_word(argument: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./,=:{}".contains(c);
    if !argument.is_empty() && argument.chars().all(is_plain) {
        return argument.to_owned();
    }
    if argument.chars().any(char::is_control) {
        let quoted = argument.chars().map(|character| match character {
            '\'' | '\\' => format!("\\{character}"),
            c if c.is_control() => format!("\\x{:02x}", u32::from(c)),
            c => c.to_string(),
        });
        return format!("$'{}'", quoted.collect::<String>());
    }
    format!("'{argument}'")
}
