use std::borrow::ToOwned;
use std::string::{String, ToString};
use std::vec::Vec;

use crate::*;

/// What a line should be read as: its print, its parameters, and init's arguments; or why it is refused.
type Read<'a> = Result<(&'a str, &'a [(&'a str, Option<&'a str>)], &'a [&'a str]), CmdlineError>;

fn check(line: &str, expected: &Read<'_>) {
    match (Cmdline::parse(line), expected) {
        (Ok(found), Ok((print, params, init_args))) => {
            assert_eq!(found.to_string(), *print, "{line:?}");
            let found_params: Vec<_> = found.params().iter().map(|p| (p.key(), p.value())).collect();
            assert_eq!(found_params, *params, "{line:?}");
            let words = found.params().iter().map(Param::to_string);
            let args = found.init_args().iter().map(InitArg::to_string);
            let separator = print.split(' ').any(|word| word == "--").then(|| "--".to_owned());
            let words: Vec<_> = words.chain(separator).chain(args).collect();
            assert_eq!(words.join(" "), *print, "{line:?}");
            let found_args: Vec<String> = found.init_args().iter().map(InitArg::text).collect();
            assert_eq!(found_args, *init_args, "{line:?}");
            assert_eq!(found.is_empty(), print.is_empty(), "{line:?}");
            assert_eq!(line.parse().as_ref(), Ok(&found), "{line:?}");
            assert_eq!(Cmdline::try_from(line).as_ref(), Ok(&found), "{line:?}");
            assert_eq!(
                Cmdline::try_from(line.as_bytes()).as_ref(),
                Ok(&found),
                "{line:?}"
            );
            assert_eq!(Cmdline::from_bytes(line.as_bytes()), Ok(found), "{line:?}");
        }
        (Err(found), Err(expected)) => assert_eq!(found, *expected, "{line:?}"),
        (found, _) => assert_eq!(
            found.map(|c| c.to_string()),
            expected.clone().map(|e| e.0.to_owned())
        ),
    }
}

#[test]
fn lines_are_read_as_the_kernel_reads_them() {
    let cases: &[(&str, Read<'_>)] = &[
        ("", Ok(("", &[], &[]))),
        (" \t\r\n\x0b\x0c", Ok(("", &[], &[]))),
        ("quiet", Ok(("quiet", &[("quiet", None)], &[]))),
        (
            "  a=1\t b \n",
            Ok(("a=1 b", &[("a", Some("1")), ("b", None)], &[])),
        ),
        (
            "dyndbg=\"file foo.c +p\"",
            Ok((
                "dyndbg=\"file foo.c +p\"",
                &[("dyndbg", Some("file foo.c +p"))],
                &[],
            )),
        ),
        (
            "\"a=b  c\" d",
            Ok(("\"a=b  c\" d", &[("a", Some("b  c")), ("d", None)], &[])),
        ),
        ("a=b\" \"c", Ok(("a=b\" \"c", &[("a", Some("b\" \"c"))], &[]))),
        ("\"\" x", Ok(("\"\" x", &[("", None), ("x", None)], &[]))),
        (
            "a=\"\u{e0}\"",
            Ok(("a=\"\u{e0}\"", &[("a", Some("\u{e0}"))], &[])),
        ),
        ("a=\u{e9}", Ok(("a=\u{e9}", &[("a", Some("\u{e9}"))], &[]))),
        ("--", Ok(("--", &[], &[]))),
        ("a -- b c=d", Ok(("a -- b c=d", &[("a", None)], &["b", "c=d"]))),
        (
            "-- \"b c\" d=\"e f\" \"g=h i\" \"\"",
            Ok((
                "-- \"b c\" d=\"e f\" \"g=h i\" \"\"",
                &[],
                &["b c", "d=e f", "g=h i", ""],
            )),
        ),
        (
            "a=\"b -- c\" \"d=-- --\" -- \"e -- f\"",
            Ok((
                "a=\"b -- c\" \"d=-- --\" -- \"e -- f\"",
                &[("a", Some("b -- c")), ("d", Some("-- --"))],
                &["e -- f"],
            )),
        ),
        (
            "--=x ---",
            Ok(("--=x ---", &[("--", Some("x")), ("---", None)], &[])),
        ),
    ];
    for (line, expected) in cases {
        check(line, expected);
    }
}

#[test]
fn lines_that_could_be_misread_are_refused() {
    let part = CmdlinePart::Line;
    let cases: &[(&str, Read<'_>)] = &[
        ("a \"b", Err(CmdlineError::UnbalancedQuote { offset: 2 })),
        ("a=\"b\"\"", Err(CmdlineError::UnbalancedQuote { offset: 5 })),
        ("\"", Err(CmdlineError::UnbalancedQuote { offset: 0 })),
        (
            "a\0b",
            Err(CmdlineError::ControlCharacter {
                part,
                offset: 1,
                character: '\0',
            }),
        ),
        (
            "a\x7f",
            Err(CmdlineError::ControlCharacter {
                part,
                offset: 1,
                character: '\x7f',
            }),
        ),
        (
            "\u{85}",
            Err(CmdlineError::ControlCharacter {
                part,
                offset: 0,
                character: '\u{85}',
            }),
        ),
        (
            "a=\"b\tc\"",
            Err(CmdlineError::ControlCharacter {
                part,
                offset: 4,
                character: '\t',
            }),
        ),
        (
            "a=\u{e0}",
            Err(CmdlineError::SpaceByte {
                part,
                offset: 2,
                character: '\u{e0}',
            }),
        ),
        (
            "a\u{a0}b",
            Err(CmdlineError::SpaceByte {
                part,
                offset: 1,
                character: '\u{a0}',
            }),
        ),
        ("a \"--\"", Err(CmdlineError::HiddenSeparator { part, offset: 2 })),
        (
            "-- \"--\"",
            Err(CmdlineError::HiddenSeparator { part, offset: 3 }),
        ),
        ("a -- b -- c", Err(CmdlineError::SecondSeparator { offset: 7 })),
    ];
    for (line, expected) in cases {
        check(line, expected);
    }
}

#[test]
fn bytes_that_are_not_text_are_refused_where_they_stand() {
    let error = Cmdline::from_bytes(b"ab\xff").unwrap_err();
    assert!(
        matches!(error, CmdlineError::NotUtf8 { offset: 2, .. }),
        "{error:?}"
    );
    assert!(core::error::Error::source(&error).is_some());
    assert_eq!(error.to_string(), "the command line is not UTF-8 at byte 2");
}

#[test]
fn parameters_are_quoted_where_they_must_be() {
    let cases = [
        ("a", "b", "a=b"),
        ("a", "", "a="),
        ("a", "b=c", "a=b=c"),
        ("a", "--", "a=--"),
        ("a", "b -- c", "a=\"b -- c\""),
        ("a", "-- b", "a=\"-- b\""),
        ("a", " ", "a=\" \""),
        ("a", "b c", "a=\"b c\""),
        ("a", "\u{e0}", "a=\"\u{e0}\""),
        ("--a", "b", "--a=b"),
    ];
    for (key, value, expected) in cases {
        let param = Param::with_value(key, value).unwrap();
        assert_eq!(
            (param.as_str(), param.key(), param.value()),
            (expected, key, Some(value))
        );
    }
}

#[test]
fn parameters_that_could_be_misread_are_refused() {
    let (key, value) = (CmdlinePart::Key, CmdlinePart::Value);
    let cases = [
        ("", "b", CmdlineError::EmptyKey),
        ("--", "b", CmdlineError::HiddenSeparator { part: key, offset: 0 }),
        (
            "a b",
            "",
            CmdlineError::KeyCharacter {
                offset: 1,
                character: ' ',
            },
        ),
        (
            "a=b",
            "",
            CmdlineError::KeyCharacter {
                offset: 1,
                character: '=',
            },
        ),
        (
            "=",
            "",
            CmdlineError::KeyCharacter {
                offset: 0,
                character: '=',
            },
        ),
        ("a\"", "", CmdlineError::Quote { part: key, offset: 1 }),
        (
            "a\t",
            "",
            CmdlineError::ControlCharacter {
                part: key,
                offset: 1,
                character: '\t',
            },
        ),
        (
            "\u{e0}",
            "",
            CmdlineError::SpaceByte {
                part: key,
                offset: 0,
                character: '\u{e0}',
            },
        ),
        (
            "a",
            "b\" c",
            CmdlineError::Quote {
                part: value,
                offset: 1,
            },
        ),
        (
            "a",
            "b\nc",
            CmdlineError::ControlCharacter {
                part: value,
                offset: 1,
                character: '\n',
            },
        ),
    ];
    for (key, value, expected) in cases {
        assert_eq!(Param::with_value(key, value), Err(expected), "{key:?} {value:?}");
    }
}

#[test]
fn init_arguments_are_quoted_or_refused() {
    let part = CmdlinePart::InitArg;
    let cases = [
        ("single", Ok("single")),
        ("a=b", Ok("a=b")),
        ("", Ok("\"\"")),
        ("a b", Ok("\"a b\"")),
        ("a=b c", Ok("\"a=b c\"")),
        ("a =", Ok("\"a =\"")),
        ("--x", Ok("--x")),
        ("--", Err(CmdlineError::HiddenSeparator { part, offset: 0 })),
        ("a -- b", Ok("\"a -- b\"")),
        ("a\"", Err(CmdlineError::Quote { part, offset: 1 })),
        (
            "a\0",
            Err(CmdlineError::ControlCharacter {
                part,
                offset: 1,
                character: '\0',
            }),
        ),
    ];
    for (text, expected) in cases {
        let found = InitArg::new(text);
        assert_eq!(
            found.as_ref().map(InitArg::as_str),
            expected.as_ref().copied(),
            "{text:?}"
        );
        if let Ok(arg) = found {
            assert_eq!(arg.text(), text);
        }
    }
}

#[test]
fn keys_are_found_changed_and_removed() {
    let mut cmdline = Cmdline::parse("a_b=1 c a-b=2 d -- a-b=9").unwrap();
    assert_eq!(cmdline.get("a-b").unwrap().value(), Some("2"));
    assert_eq!(cmdline.get("A-b"), None);
    let values: Vec<_> = cmdline.get_all("a_b").filter_map(Param::value).collect();
    assert_eq!(values, ["1", "2"]);

    let removed = cmdline.replace(Param::with_value("a-b", "3").unwrap());
    assert_eq!(
        removed,
        [
            Param::with_value("a_b", "1").unwrap(),
            Param::with_value("a-b", "2").unwrap()
        ]
    );
    assert_eq!(cmdline.to_string(), "c a-b=3 d -- a-b=9");
    assert_eq!(cmdline.replace(Param::flag("e").unwrap()), []);
    assert_eq!(cmdline.remove("c"), [Param::flag("c").unwrap()]);
    assert_eq!(cmdline.remove("c"), []);
    cmdline.push_front(Param::flag("first").unwrap());
    assert_eq!(cmdline.to_string(), "first a-b=3 d e -- a-b=9");
    assert_eq!(cmdline.remove_init_args().len(), 1);
    assert_eq!(cmdline.to_string(), "first a-b=3 d e");
    assert_eq!(cmdline.remove_init_args(), []);
}

#[test]
fn two_lines_merge_word_by_word() {
    let cases = [
        ("", "", ""),
        ("a", "b", "a b"),
        ("a -- x", "b", "a b -- x"),
        ("a", "b -- x", "a b -- x"),
        ("a -- x", "b -- y", "a b -- x y"),
        ("a --", "", "a --"),
    ];
    for (first, second, expected) in cases {
        let mut merged = Cmdline::parse(first).unwrap();
        merged.merge(Cmdline::parse(second).unwrap());
        assert_eq!(
            merged,
            Cmdline::parse(expected).unwrap(),
            "{first:?} + {second:?}"
        );
    }
    let mut extended: Cmdline = [Param::flag("a").unwrap()].into_iter().collect();
    extended.extend([Param::flag("b").unwrap()]);
    let keys: Vec<_> = extended.params().iter().map(Param::key).collect();
    assert_eq!(keys, ["a", "b"]);
}

#[test]
fn the_limit_does_not_count_the_nul() {
    let cases = [
        ("", 0, Ok(&b"\0"[..])),
        ("a b", 3, Ok(b"a b\0")),
        (" a  b ", 3, Ok(b"a b\0")),
        ("a b", 2, Err(CmdlineError::TooLong { len: 3, max: 2 })),
        ("a --", 4, Ok(b"a --\0")),
        ("a -- b", 5, Err(CmdlineError::TooLong { len: 6, max: 5 })),
        ("\u{e9}", 1, Err(CmdlineError::TooLong { len: 2, max: 1 })),
    ];
    for (line, max, expected) in cases {
        let found = Cmdline::parse(line).unwrap().to_bytes(max);
        assert_eq!(found, expected.map(<[u8]>::to_vec), "{line:?}");
    }
}

#[test]
fn errors_say_what_and_where() {
    let cases = [
        (
            Cmdline::parse("a\0").unwrap_err(),
            "control character 0x00 at byte 1 of the command line",
        ),
        (
            Cmdline::parse("\"").unwrap_err(),
            "the double quote at byte 0 of the command line is not closed",
        ),
        (
            Param::flag("a b").unwrap_err(),
            "' ' at byte 1 of the key: it would end the key there",
        ),
        (
            Param::with_value("a", "\"").unwrap_err(),
            "double quote at byte 0 of the value: a kernel command line has no escape for it",
        ),
        (
            InitArg::new("--").unwrap_err(),
            "the word `--` at byte 0 of the init argument: the kernel ends its parameters there; \
             add arguments of init separately",
        ),
        (
            Cmdline::parse("ab").unwrap().check_len(1).unwrap_err(),
            "the command line has 2 bytes, but the kernel accepts at most 1",
        ),
    ];
    for (error, expected) in cases {
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn raw_lines_come_from_text_and_bytes() {
    let line = "a \"b -- c -- d\te";
    let raw = RawCmdline::from_bytes(line).unwrap();
    assert_eq!(RawCmdline::try_from(line), Ok(raw.clone()));
    assert_eq!(RawCmdline::try_from(line.as_bytes()), Ok(raw.clone()));
    assert_eq!(line.parse(), Ok(raw));
    assert_eq!(RawCmdline::new(), RawCmdline::default());
    let nul = CmdlineError::Nul { offset: 1 };
    assert_eq!(RawCmdline::try_from("a\0"), Err(nul.clone()));
    assert_eq!(RawCmdline::try_from(&b"a\0b\0"[..]), Err(nul.clone()));
    assert_eq!(
        nul.to_string(),
        "NUL at byte 1 of the command line: the guest would not get what follows it"
    );
}
