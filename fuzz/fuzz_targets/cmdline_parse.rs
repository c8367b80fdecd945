//! Arbitrary bytes as a kernel command line: parsing must not panic, an accepted line must have the same parameters for the
//! kernel, and errors must point into the text.

#![no_main]

use boot_cmdline::{Cmdline, CmdlineError, CmdlinePart};
use libfuzzer_sys::fuzz_target;

#[path = "../../crates/boot-cmdline/tests/properties/kernel.rs"]
mod kernel;

fuzz_target!(|data: &[u8]| {
    match Cmdline::from_bytes(data) {
        Ok(cmdline) => check_accepted(&cmdline, data),
        Err(error) => check_error(&error, data),
    }
});

fn check_accepted(cmdline: &Cmdline, data: &[u8]) {
    let printed = cmdline.to_string();
    assert_eq!(Cmdline::parse(&printed).as_ref(), Ok(cmdline));
    let len = cmdline.encoded_len();
    assert_eq!(len, printed.len());
    assert_eq!(
        cmdline.to_bytes(len),
        Ok([printed.as_bytes(), b"\0".as_slice()].concat())
    );
    if let Some(max) = len.checked_sub(1) {
        assert_eq!(cmdline.to_bytes(max), Err(CmdlineError::TooLong { len, max }));
    }

    // The kernel reads the same from the original and from the printed line.
    let view = kernel::read(data);
    assert_eq!(view, kernel::read(printed.as_bytes()));
    assert_eq!(view.words.join(&b' '), printed.as_bytes());
    let params: kernel::Params = cmdline
        .params()
        .iter()
        .map(|param| (param.key().into(), param.value().map(Into::into)))
        .collect();
    assert_eq!(view.params, params);
    let init_args: Vec<Vec<u8>> = cmdline
        .init_args()
        .iter()
        .map(|arg| arg.text().into_bytes())
        .collect();
    assert_eq!(view.init_args, init_args);
    for param in cmdline.params() {
        let last = cmdline.get_all(param.key()).next_back();
        assert_eq!(cmdline.get(param.key()), last);
    }
}

fn check_error(error: &CmdlineError, data: &[u8]) {
    let line = str::from_utf8(data).unwrap_or_default();
    match *error {
        CmdlineError::NotUtf8 { offset, source } => {
            assert_eq!(offset, source.valid_up_to());
            assert!(offset < data.len() && str::from_utf8(data).is_err());
        }
        CmdlineError::ControlCharacter {
            part: CmdlinePart::Line,
            offset,
            character,
        }
        | CmdlineError::SpaceByte {
            part: CmdlinePart::Line,
            offset,
            character,
        } => assert!(line[offset..].starts_with(character)),
        CmdlineError::UnbalancedQuote { offset } => assert!(line[offset..].starts_with('"')),
        CmdlineError::HiddenSeparator {
            part: CmdlinePart::Line,
            offset,
        }
        | CmdlineError::SecondSeparator { offset } => {
            assert!(line[offset..].trim_start_matches('"').starts_with("--"));
        }
        ref other => panic!("{other:?} is not an error of a line"),
    }
}
