//! Properties of the command line, compared with an independent model of the kernel's tokenizer.

mod kernel;

use boot_cmdline::{Cmdline, CmdlineError, CmdlinePart, CmdlineRef, FastStart, InitArg, Param, RawCmdline};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::string::{RegexGeneratorStrategy, string_regex};

/// Pieces of command lines with and without arguments of [`FastStart`].
const PIECES: [&str; 14] = [
    " ",
    "\t",
    "\"",
    "--",
    "=",
    "quiet",
    "quiet ",
    " loglevel=7 ",
    "pci",
    " fips=1",
    "cryptomgr.notests",
    " -- ",
    "a",
    "\"--\"",
];

/// Parameters and init arguments according to the API.
fn parsed(cmdline: &Cmdline) -> (kernel::Params, Vec<Vec<u8>>) {
    let bytes = |text: &str| text.as_bytes().to_vec();
    let params = cmdline
        .params()
        .iter()
        .map(|p| (bytes(p.key()), p.value().map(bytes)))
        .collect();
    let init_args = cmdline
        .init_args()
        .iter()
        .map(|arg| arg.text().into_bytes())
        .collect();
    (params, init_args)
}

/// Checks the invariants of every command line.
fn check_invariants(cmdline: &Cmdline) -> Result<(), TestCaseError> {
    let print = cmdline.to_string();
    prop_assert!(!print.chars().any(char::is_control), "{print:?}");

    let view = kernel::read(print.as_bytes());
    let (params, init_args) = parsed(cmdline);
    prop_assert_eq!(view.params, params, "{}", print);
    prop_assert_eq!(&view.init_args, &init_args, "{}", print);

    // At most one word is the separator, with or without quotes.
    let is_dashes = |word: &&Vec<u8>| [&b"--"[..], b"\"--\""].contains(&word.as_slice());
    let separators = view.words.iter().filter(is_dashes).count();
    prop_assert!(separators <= 1, "{print:?}");
    prop_assert!(separators == 1 || init_args.is_empty(), "{print:?}");

    let again = Cmdline::parse(&print);
    prop_assert_eq!(again.as_ref(), Ok(cmdline), "{}", print);

    let len = cmdline.encoded_len();
    prop_assert_eq!(len, print.len());
    let mut bytes = print.into_bytes();
    bytes.push(0);
    prop_assert_eq!(cmdline.to_bytes(len), Ok(bytes));
    prop_assert_eq!(cmdline.check_len(len), Ok(()));
    if let Some(max) = len.checked_sub(1) {
        prop_assert_eq!(cmdline.to_bytes(max), Err(CmdlineError::TooLong { len, max }));
    }
    Ok(())
}

fn char_at(text: &str, offset: usize) -> char {
    text[offset..].chars().next().unwrap()
}

/// Checks the error of a refused line: the offset and the character are right.
fn check_refusal(line: &str, error: &CmdlineError) -> Result<(), TestCaseError> {
    let quoted_at = |offset: usize| line[..offset].matches('"').count() % 2 == 1;
    match *error {
        CmdlineError::ControlCharacter {
            part: CmdlinePart::Line,
            offset,
            character,
        } => {
            prop_assert_eq!(char_at(line, offset), character);
            prop_assert!(character.is_control());
            let separates = matches!(character, '\t'..='\r') && !quoted_at(offset);
            prop_assert!(!separates);
        }
        CmdlineError::SpaceByte {
            part: CmdlinePart::Line,
            offset,
            character,
        } => {
            prop_assert_eq!(char_at(line, offset), character);
            prop_assert!(character.to_string().as_bytes().contains(&0xa0) && !quoted_at(offset));
        }
        CmdlineError::UnbalancedQuote { offset } => {
            prop_assert!(line[offset..].starts_with('"'));
            prop_assert_eq!(line[offset..].matches('"').count(), 1);
            prop_assert!(!quoted_at(offset));
        }
        CmdlineError::HiddenSeparator {
            part: CmdlinePart::Line,
            offset,
        } => {
            prop_assert!(line[offset..].starts_with("\"--\""), "{offset}");
            prop_assert!(!quoted_at(offset));
        }
        CmdlineError::SecondSeparator { offset } => {
            prop_assert!(line[offset..].starts_with("--"));
            let before = kernel::read(&line.as_bytes()[..offset]);
            prop_assert!(before.words.contains(&b"--".to_vec()));
        }
        ref other => prop_assert!(false, "no error of a line: {other:?}"),
    }
    Ok(())
}

/// Texts that match a regular expression, compiled once.
fn text(regex: &str) -> RegexGeneratorStrategy<String> {
    string_regex(regex).unwrap()
}

/// Text with many characters that are special in a command line.
fn special_text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => text("[ab=\"\\-_ .]{0,16}"),
        2 => text("([ab]|=|\"| |--| -- |\"--|\u{e0}|\u{e9}|\t|\n|\u{1}){0,12}"),
        1 => any::<String>(),
    ]
}

/// A line that must be accepted: every word is one by construction.
fn legal_line() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        text("[a-z_][a-z_.-]{0,5}"),
        text("[a-z_]{1,5}=[a-z0-9,=/-]{0,6}"),
        text("[a-z_]{1,5}=\"[a-z0-9 +\u{e0}]{0,8}\""),
        text("\"[a-z_]{1,5}=[a-z0-9 +]{0,8}\""),
        text("[a-z]{1,3}\"[a-z ]{0,4}\"[a-z=]{0,4}"),
    ];
    let words = vec((word, text("[ \t\n]{1,3}")), 0..6).boxed();
    (words.clone(), option::of(words)).prop_map(|(params, args)| {
        let separator = args.is_some().then(|| "-- ".to_owned());
        let join = |(word, gap): (String, String)| word + &gap;
        let args = args.into_iter().flatten().map(join);
        params
            .into_iter()
            .map(join)
            .chain(separator)
            .chain(args)
            .collect()
    })
}

fn is_legal_text(text: &str) -> bool {
    !text.chars().any(|c| c.is_control() || c == '"')
}

fn is_legal_key(key: &str) -> bool {
    let cuts = |c: char| matches!(c, ' ' | '=') || c.to_string().as_bytes().contains(&0xa0);
    is_legal_text(key) && !key.is_empty() && key != "--" && !key.chars().any(cuts)
}

fn key() -> impl Strategy<Value = String> {
    // Few letters, so that keys meet.
    prop_oneof![8 => text("[ab][-_]?[ab]?"), 1 => special_text()]
}

fn value() -> impl Strategy<Value = Option<String>> {
    option::of(prop_oneof![2 => text("[a-z =\\-\u{e0}]{0,8}"), 1 => special_text()])
}

fn param((key, value): (String, Option<String>)) -> Option<Param> {
    match value {
        Some(value) => Param::with_value(&key, &value).ok(),
        None => Param::flag(&key).ok(),
    }
}

fn params() -> impl Strategy<Value = Vec<Param>> {
    vec((key(), value()).prop_filter_map("refused", param), 0..8)
}

/// The kernel's comparison of keys.
fn same_key(a: &str, b: &str) -> bool {
    a.replace('-', "_") == b.replace('-', "_")
}

fn positions(params: &[Param], key: &str) -> Vec<usize> {
    (0..params.len())
        .filter(|&at| same_key(params[at].key(), key))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn any_text_is_read_as_the_kernel_reads_it_or_refused_with_reason(line in special_text()) {
        match Cmdline::parse(&line) {
            Ok(cmdline) => {
                check_invariants(&cmdline)?;
                prop_assert_eq!(line.matches('"').count() % 2, 0);
                let view = kernel::read(line.as_bytes());
                prop_assert_eq!((view.params, view.init_args), parsed(&cmdline));
                // Only the white space between words changed.
                prop_assert_eq!(view.words.join(&b' '), cmdline.to_string().into_bytes());
            }
            Err(error) => check_refusal(&line, &error)?,
        }
    }

    #[test]
    fn any_bytes_are_read_like_their_text_or_refused(line in vec(any::<u8>(), 0..24)) {
        match (std::str::from_utf8(&line), Cmdline::from_bytes(&line)) {
            (Ok(text), found) => prop_assert_eq!(Cmdline::parse(text), found),
            (Err(error), found) => {
                let offset = error.valid_up_to();
                prop_assert_eq!(found, Err(CmdlineError::NotUtf8 { offset, source: error }));
            }
        }
    }

    #[test]
    fn a_legal_line_is_accepted_and_prints_back(line in legal_line()) {
        let cmdline = match Cmdline::parse(&line) {
            Ok(cmdline) => cmdline,
            Err(error) => return Err(TestCaseError::fail(format!("{line:?}: {error}"))),
        };
        check_invariants(&cmdline)?;
        let view = kernel::read(line.as_bytes());
        prop_assert_eq!((view.params, view.init_args), parsed(&cmdline));
        prop_assert_eq!(view.words.join(&b' '), cmdline.to_string().into_bytes());
    }

    #[test]
    fn what_is_inserted_is_what_the_kernel_sees(
        line in legal_line(), key in key(), value in value(), arg in special_text(),
    ) {
        let before = Cmdline::parse(&line).unwrap();
        let mut cmdline = before.clone();
        let legal = is_legal_key(&key) && value.as_deref().is_none_or(is_legal_text);
        let accepted = match &value {
            Some(value) => cmdline.insert(&key, value).is_ok(),
            None => cmdline.insert_flag(&key).is_ok(),
        };
        prop_assert_eq!(accepted, legal, "{:?} {:?}", key, value);
        let (mut params, mut args) = parsed(&before);
        if legal {
            params.push((key.into_bytes(), value.map(String::into_bytes)));
        } else {
            prop_assert_eq!(&cmdline, &before);
        }
        let legal_arg = is_legal_text(&arg) && arg != "--";
        prop_assert_eq!(cmdline.insert_init_arg(&arg).is_ok(), legal_arg, "{:?}", arg);
        if legal_arg {
            args.push(arg.into_bytes());
        }
        check_invariants(&cmdline)?;
        let view = kernel::read(cmdline.to_string().as_bytes());
        prop_assert_eq!((view.params, view.init_args), (params, args));
    }

    #[test]
    fn push_and_push_front_add_at_the_ends(all in params(), cuts: [Index; 2]) {
        let (params, last) = all.split_at(cuts[0].index(all.len() + 1));
        let (first, params) = params.split_at(cuts[1].index(params.len() + 1));
        let mut cmdline: Cmdline = params.iter().cloned().collect();
        for param in first {
            cmdline.push_front(param.clone());
        }
        for param in last {
            cmdline.push(param.clone());
        }
        let expected: Vec<Param> = first.iter().rev().chain(params).chain(last).cloned().collect();
        prop_assert_eq!(cmdline.params(), expected);
        check_invariants(&cmdline)?;
    }

    #[test]
    fn get_and_remove_find_all_of_a_key_and_nothing_else(params in params(), key in key()) {
        let mut cmdline: Cmdline = params.iter().cloned().collect();
        let (found, kept): (Vec<_>, Vec<_>) = params.iter().partition(|p| same_key(p.key(), &key));
        prop_assert_eq!(cmdline.get(&key), found.last().copied());
        prop_assert_eq!(cmdline.get_all(&key).collect::<Vec<_>>(), &found[..]);
        let removed = cmdline.remove(&key);
        prop_assert_eq!(removed.iter().collect::<Vec<_>>(), found);
        prop_assert_eq!(cmdline.params().iter().collect::<Vec<_>>(), kept);
        prop_assert_eq!(cmdline.get(&key), None);
        check_invariants(&cmdline)?;
    }

    #[test]
    fn replace_leaves_one_in_the_place_of_the_last(
        params in params(), param in (key(), value()).prop_filter_map("refused", param),
    ) {
        let mut cmdline: Cmdline = params.iter().cloned().collect();
        let removed = cmdline.replace(param.clone());
        let places = positions(&params, param.key());
        let expected: Vec<Param> = match places.last() {
            None => params.iter().chain([&param]).cloned().collect(),
            Some(last) => (0..params.len())
                .filter(|at| at == last || !places.contains(at))
                .map(|at| if at == *last { param.clone() } else { params[at].clone() })
                .collect(),
        };
        prop_assert_eq!(cmdline.params(), expected);
        prop_assert_eq!(removed, places.iter().map(|&at| params[at].clone()).collect::<Vec<_>>());
        prop_assert_eq!(cmdline.get_all(param.key()).collect::<Vec<_>>(), [&param]);
        check_invariants(&cmdline)?;
        let once = cmdline.clone();
        prop_assert_eq!(cmdline.replace(param.clone()), [param]);
        prop_assert_eq!(cmdline, once);
    }

    #[test]
    fn merged_lines_hold_the_words_of_both(first in legal_line(), second in legal_line()) {
        let (first, second) = (Cmdline::parse(&first).unwrap(), Cmdline::parse(&second).unwrap());
        let mut merged = first.clone();
        merged.merge(second.clone());
        check_invariants(&merged)?;
        prop_assert_eq!(merged.params(), [first.params(), second.params()].concat());
        prop_assert_eq!(merged.init_args(), [first.init_args(), second.init_args()].concat());
        let args: Vec<InitArg> = merged.remove_init_args();
        prop_assert_eq!(args, [first.init_args(), second.init_args()].concat());
        check_invariants(&merged)?;
        prop_assert!(!merged.to_string().split(' ').any(|word| word == "--"));
    }

    #[test]
    fn raw_lines_keep_every_byte_but_nul(line in vec(any::<u8>(), 0..24), max in 0..32_usize) {
        match RawCmdline::from_bytes(line.clone()) {
            Ok(raw) => {
                prop_assert_eq!(raw.as_bytes(), &line);
                prop_assert_eq!((raw.encoded_len(), raw.is_empty()), (line.len(), line.is_empty()));
                prop_assert_eq!(raw.to_string(), String::from_utf8_lossy(&line));
                prop_assert_eq!(Cmdline::try_from(&raw), Cmdline::from_bytes(&line));
                let expected = if line.len() > max {
                    Err(CmdlineError::TooLong { len: line.len(), max })
                } else {
                    Ok([&line[..], &[0]].concat())
                };
                prop_assert_eq!(raw.check_len(max), expected.clone().map(|_| ()));
                prop_assert_eq!(raw.to_bytes(max), expected);
            }
            Err(error) => {
                let offset = line.iter().position(|byte| *byte == 0).unwrap();
                prop_assert_eq!(error, CmdlineError::Nul { offset });
            }
        }
    }

    #[test]
    fn both_forms_of_a_line_are_the_same_to_a_protocol(line in legal_line(), max in 0..64_usize) {
        let cmdline = Cmdline::parse(&line).unwrap();
        let raw = RawCmdline::from(cmdline.clone());
        prop_assert_eq!(raw.as_bytes().to_vec(), cmdline.to_string().into_bytes());
        let forms = [CmdlineRef::from(&cmdline), CmdlineRef::from(&raw)];
        for form in forms {
            prop_assert_eq!(form.is_empty(), cmdline.is_empty());
            prop_assert_eq!(form.encoded_len(), cmdline.encoded_len());
            prop_assert_eq!(form.to_string(), cmdline.to_string());
            prop_assert_eq!(form.check_len(max), cmdline.check_len(max));
            prop_assert_eq!(form.to_bytes(max), cmdline.to_bytes(max));
        }
    }

    #[test]
    fn fast_arguments_are_those_that_the_kernel_does_not_find(
        pieces in vec(prop::sample::select(&PIECES[..]), 0..12),
        max in 0..80_usize,
    ) {
        let line: RawCmdline = pieces.concat().parse().unwrap();
        let fast = FastStart::new().without_pci();
        let merged = fast.add_to(&line, max);
        prop_assert_eq!(&fast.add_to(&merged, max), &merged);
        let [before, after] = [&line, &merged].map(|line| kernel::read(line.as_bytes()));
        prop_assert_eq!(&before.init_args, &after.init_args);
        let added = after.params.strip_suffix(&*before.params);
        let added = added.ok_or_else(|| TestCaseError::fail(format!("{line} in {merged}")))?;
        for arg in fast.args() {
            let (key, _) = arg.text.split_once('=').unwrap_or((arg.text, ""));
            let is_added = added.iter().any(|(found, _)| found == key.as_bytes());
            let is_there = before.params.iter().any(|(found, _)| arg.keys.iter().any(|key| key.as_bytes() == *found));
            let has_room = merged.encoded_len() + arg.text.len() + usize::from(!merged.is_empty()) <= max;
            prop_assert!(!(is_added && is_there), "{line} in {merged}");
            prop_assert!(is_added || is_there || !has_room, "{line} in {merged}");
        }
        prop_assert!(merged.encoded_len() <= max || merged == line);
    }
}
