//! Parsing of the command line, and messages about mistakes in it.

use std::ffi::OsString;
use std::path::Path;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args as _, CommandFactory as _, FromArgMatches as _, Parser as _, ValueEnum as _};
use clap_complete::Shell;

use super::habits;
use super::help::split_advice;
use super::result::{USAGE, print_error};
use super::run;
use super::{Cli, Command};

/// Parses the arguments of the program, the first of which is its name. The error is the exit status, after a message.
pub(crate) fn parse(args: &[OsString]) -> Result<Cli, u8> {
    if let Some(args) = run_args(args) {
        let command = Command::Run(args);
        return Ok(Cli { command });
    }
    let error = match Cli::try_parse_from(args) {
        Ok(cli) => return Ok(cli),
        Err(error) => error,
    };
    match error.kind() {
        ErrorKind::DisplayHelp
        | ErrorKind::DisplayVersion
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => error.exit(),
        _ => {}
    }
    let args: Vec<_> = args
        .iter()
        .map(|arg| arg.to_string_lossy().into_owned())
        .collect();
    let Mistake { text, help } = Mistake::new(&error, &args);
    print_error(&text, Some(&help));
    Err(USAGE)
}

/// The arguments of `vmboot run`, parsed without those of the other subcommands, which take longer than the rest of a start. `None` for other
/// subcommands, for help, and for a mistake.
fn run_args(args: &[OsString]) -> Option<run::Args> {
    let rest = args
        .get(2..)
        .filter(|_| args.get(1).is_some_and(|name| name == "run"))?;
    let parser = clap::Command::new("vmboot run").no_binary_name(true);
    let parser = run::Args::augment_args(parser).mut_args(run::beside_prepared);
    let matches = parser.try_get_matches_from(rest).ok()?;
    run::Args::from_arg_matches(&matches).ok()
}

/// A mistake in the command line, and what to do about it.
#[derive(Debug, PartialEq, Eq)]
struct Mistake {
    text: String,
    help: String,
}

impl Mistake {
    fn new(error: &clap::Error, args: &[String]) -> Self {
        let strings = |kind| match error.get(kind) {
            Some(ContextValue::String(text)) => vec![text.clone()],
            Some(ContextValue::Strings(texts)) => texts.clone(),
            _ => Vec::new(),
        };
        let string = |kind| strings(kind).into_iter().next();
        let rendered = error.render().to_string();
        let text = rendered.lines().next().unwrap_or_default();
        let text = text.strip_prefix("error: ").unwrap_or(text).to_owned();
        let subcommand = args.get(1).filter(|name| is_subcommand(name));
        let see_help = match subcommand {
            Some(name) => format!("see `vmboot {name} --help`"),
            None => "see `vmboot --help`".to_owned(),
        };
        match error.kind() {
            ErrorKind::UnknownArgument => {
                let argument = string(ContextKind::InvalidArg).unwrap_or_default();
                let argument = whole_argument(&argument, args);
                let suggestion = string(ContextKind::SuggestedArg);
                Self {
                    text: format!("unexpected argument '{argument}'"),
                    help: argument_help(&argument, subcommand, suggestion).unwrap_or(see_help),
                }
            }
            ErrorKind::InvalidSubcommand => {
                let word = string(ContextKind::InvalidSubcommand).unwrap_or_default();
                let suggestion = string(ContextKind::SuggestedSubcommand);
                Self {
                    help: subcommand_help(&word, suggestion).unwrap_or(see_help),
                    text: format!("unknown subcommand '{word}'"),
                }
            }
            ErrorKind::MissingRequiredArgument => {
                let missing = strings(ContextKind::InvalidArg).join(" and ");
                let missing = missing.replace(['<', '>'], "");
                Self {
                    text: format!("the argument {missing} is missing"),
                    help: match missing.as_str() {
                        "KERNEL" | "FILE" => name_image(subcommand),
                        "SHELL" => format!("name one of {}", shells()),
                        _ => see_help,
                    },
                }
            }
            ErrorKind::InvalidValue => {
                let values = strings(ContextKind::ValidValue).join(", ");
                let is_missing = string(ContextKind::InvalidValue).is_none_or(|value| value.is_empty());
                let argument = string(ContextKind::InvalidArg).unwrap_or_default();
                if is_missing && let "<KERNEL>" | "[KERNEL]" | "<FILE>" = argument.as_str() {
                    return Self {
                        text: format!(
                            "the argument {} is empty",
                            argument.trim_matches(['<', '>', '[', ']'])
                        ),
                        help: name_image(subcommand),
                    };
                }
                Self {
                    text,
                    help: match values.as_str() {
                        "" if is_missing => format!("add its value; {see_help}"),
                        "" => see_help,
                        values => format!("use one of {values}"),
                    },
                }
            }
            ErrorKind::TooManyValues => {
                let option = string(ContextKind::InvalidArg).unwrap_or_default();
                Self {
                    text: format!("the option {option} has no value"),
                    help: "omit the value".to_owned(),
                }
            }
            ErrorKind::ArgumentConflict => Self {
                help: if text.contains("multiple times") {
                    "use it once".to_owned()
                } else {
                    "use only one of them".to_owned()
                },
                text,
            },
            _ => {
                let (text, help) = split_advice(&text);
                Self {
                    help: help.map_or(see_help, ToOwned::to_owned),
                    text: text.to_owned(),
                }
            }
        }
    }
}

fn is_subcommand(name: &str) -> bool {
    Cli::command().find_subcommand(name).is_some()
}

/// What to do without the name of the image.
fn name_image(subcommand: Option<&String>) -> String {
    let command = subcommand.map_or("run", String::as_str);
    format!("name the kernel image, as in `vmboot {command} vmlinuz`")
}

/// The shells that have completion scripts.
fn shells() -> String {
    let shells = Shell::value_variants().iter().map(ToString::to_string);
    shells.collect::<Vec<_>>().join(", ")
}

/// The argument that begins with the short option that clap found: `-kernel` for `-k`.
fn whole_argument(found: &str, args: &[String]) -> String {
    let is_short = found.starts_with('-') && !found.starts_with("--");
    args.iter()
        .skip(1)
        .filter(|_| is_short)
        .find(|arg| arg.starts_with(found))
        .map_or_else(|| found.to_owned(), Clone::clone)
}

/// What to do about an argument that a subcommand does not have.
fn argument_help(argument: &str, subcommand: Option<&String>, suggestion: Option<String>) -> Option<String> {
    let command = subcommand.map(String::as_str);
    if !argument.starts_with('-') {
        return Some(word_help(argument, command));
    }
    let is_version = match argument {
        "-V" | "--version" => true,
        "-v" => command.is_none(),
        _ => false,
    };
    if is_version {
        return Some("use `vmboot --version`".to_owned());
    }
    let advice = other_subcommands(argument)
        .map(|names| format!("use it with {names}"))
        .or_else(|| {
            let advice = habits::option_advice(argument)?;
            let of_boots = advice.starts_with("use --") && !matches!(command, None | Some("plan" | "run"));
            Some(if of_boots {
                format!("{advice} with `vmboot plan` or `vmboot run`")
            } else {
                advice.to_owned()
            })
        })
        .or_else(|| suggestion.map(|suggestion| format!("use {suggestion}")));
    if command.is_some() {
        return advice;
    }
    Some(match advice {
        Some(advice) if advice.starts_with("use ") => {
            format!("name a subcommand first, as in `vmboot run`; {advice}")
        }
        Some(advice) if advice.starts_with("omit ") => advice,
        _ => "begin with a subcommand and the kernel, as in `vmboot run vmlinuz`".to_owned(),
    })
}

/// What to do about a word after the arguments of a subcommand.
fn word_help(word: &str, subcommand: Option<&str>) -> String {
    let exists = Path::new(word).exists();
    match subcommand {
        Some("inspect") => "inspect one file at a time".to_owned(),
        Some("doctor") => "omit it; `vmboot doctor` examines the host, not a kernel".to_owned(),
        Some("man") => "name one directory".to_owned(),
        Some("completions") => "name one shell".to_owned(),
        _ if exists => "pass one kernel; an initrd is passed as --initrd FILE".to_owned(),
        _ if word.contains('=') => {
            format!("pass the command line of the kernel as --cmdline \"{word}\"")
        }
        _ => format!(
            "pass one kernel; use --initrd FILE for an initrd, and --cmdline \"{word}\" for the command line"
        ),
    }
}

/// The subcommands that have an option.
fn other_subcommands(option: &str) -> Option<String> {
    let name = option.strip_prefix("--")?;
    let name = name.split('=').next().unwrap_or(name);
    let names: Vec<_> = Cli::command()
        .get_subcommands()
        .filter(|command| command.get_arguments().any(|arg| arg.get_long() == Some(name)))
        .map(|command| format!("`vmboot {}`", command.get_name()))
        .collect();
    let (last, others) = names.split_last()?;
    Some(match others {
        [] => last.clone(),
        _ => format!("{} or {last}", others.join(", ")),
    })
}

/// What to do about a word in place of a subcommand.
fn subcommand_help(word: &str, suggestion: Option<String>) -> Option<String> {
    let is_file = word.contains(['/', '.'])
        || ["vmlinu", "bzImage", "Image"]
            .iter()
            .any(|prefix| word.starts_with(prefix))
        || Path::new(word).exists();
    if is_file && habits::subcommand(word).is_none() {
        return Some(format!("use `vmboot run {word}` to boot it"));
    }
    habits::subcommand(word)
        .map(ToOwned::to_owned)
        .or(suggestion)
        .map(|name| format!("use `vmboot {name}`"))
}
