//! Calls in both directions.

use std::time::Duration;

use hv_kvm_test::expect;
use sandbox::{CallError, CallOptions};
use sandbox_abi::Shape;
use serde::{Deserialize, Serialize};

use crate::guest::{Records, Test, TestResult, builder, crash, sandbox};

pub(crate) const TESTS: &[Test] = &[
    ("sandbox::call::parameters_and_results", parameters),
    ("sandbox::call::bytes_of_all_lengths", bytes),
    ("sandbox::call::errors_of_functions", errors),
    ("sandbox::call::host_functions", host_functions),
    ("sandbox::call::functions_within_each_other", nested),
    ("sandbox::call::log_records", log),
    ("sandbox::call::log_before_a_panic", log_and_panic),
    ("sandbox::call::real_crates", real_crates),
    ("sandbox::call::web_assembly", web_assembly),
];

pub(crate) const HARDWARE_TESTS: &[Test] = &[("sandbox::call::floating_point", floating_point)];

fn parameters() -> TestResult {
    let mut sandbox = sandbox()?;
    sandbox.call::<_, ()>("nop", ())?;
    expect("sum", &sandbox.call::<_, u32>("add", (3u32, u32::MAX))?, &2)?;
    let greeting: String = sandbox.call("greet", ("wörld",))?;
    expect("greeting", &greeting.as_str(), &"Hello, wörld!")?;
    for len in [0usize, 1, 255, 1023, 1024, 5000, 200_000] {
        let bytes: Vec<u8> = (0..len).map(|at| at.to_le_bytes()[0]).collect();
        let twice: Vec<u8> = sandbox.call("twice", (&bytes,))?;
        expect("bytes twice", &(twice == bytes.repeat(2)), &true)?;
    }
    let numbers: i64 = sandbox.call("parse", ("-77",))?;
    expect("number", &numbers, &-77)
}

fn bytes() -> TestResult {
    let mut sandbox = builder().window(0x2000).build()?;
    let capacity = 0x2000 - 64;
    let mut result = Vec::new();
    let lengths = [
        0,
        1,
        15,
        16,
        17,
        1023,
        1024,
        1025,
        capacity - 1,
        capacity,
        capacity + 1,
    ];
    for len in lengths
        .into_iter()
        .chain([2 * capacity, 2 * capacity + 1, 300_000])
    {
        let bytes: Vec<u8> = (0..len).map(|at: usize| (at % 253).to_le_bytes()[0]).collect();
        sandbox.call_bytes("echo", &bytes, &mut result)?;
        expect(&format!("echo of {len} bytes"), &(result == bytes), &true)?;
        sandbox.call_bytes("reversed", &bytes, &mut result)?;
        result.reverse();
        expect(&format!("host's echo of {len} bytes"), &(result == bytes), &true)?;
    }
    sandbox.call_bytes("count-bytes", &[1; 12], &mut result)?;
    expect("count", &result.as_slice(), &b"12".as_slice())
}

fn errors() -> TestResult {
    let mut sandbox = sandbox()?;
    let guest_error = |result: Result<(), CallError>| match result {
        Err(CallError::Guest(error)) => Ok((error.code, error.message)),
        other => Err(format!("no error of the function: {other:?}")),
    };
    let refused = sandbox.call::<_, u32>("refuse", (5u32, "the reason")).map(|_| ());
    expect("error", &guest_error(refused)?, &(5, "the reason".into()))?;
    let parsed = sandbox.call::<_, i64>("parse", ("x",)).map(|_| ());
    let text = "invalid digit found in string".to_owned();
    expect("error of a conversion", &guest_error(parsed)?, &(0, text))?;
    let counted = sandbox.call_bytes("count-bytes", &[], &mut Vec::new());
    expect(
        "error of bytes",
        &guest_error(counted)?,
        &(11, "there are no bytes".into()),
    )?;
    match sandbox.call_any::<_, u32>("add", &(1u32,)) {
        Err(CallError::BadParameters(_)) => {}
        other => return Err(format!("too few parameters: {other:?}").into()),
    }
    match sandbox.call_any::<_, u32>("add", &(1u32, 2u32, 3u32)) {
        Err(CallError::BadParameters(_)) => {}
        other => return Err(format!("too many parameters: {other:?}").into()),
    }
    let failure: String = sandbox.call("failure", ("no luck",))?;
    expect(
        "error of the host",
        &failure.as_str(),
        &"host function: no luck (code 7)",
    )
}

fn host_functions() -> TestResult {
    let mut sandbox = sandbox()?;
    let exits = sandbox.exits();
    expect("calls", &sandbox.call::<_, u64>("host_loop", (500u64,))?, &500)?;
    expect("exits", &(sandbox.exits() - exits), &501)
}

fn nested() -> TestResult {
    let mut sandbox = sandbox()?;
    for n in [0u32, 1, 8] {
        expect("depth", &sandbox.call::<_, u32>("nested", (n,))?, &n)?;
    }
    match sandbox.call::<_, u32>("nested", (9u32,)) {
        Err(_) => Ok(()),
        Ok(depth) => Err(format!("nine calls within the first one returned {depth}").into()),
    }
}

fn log() -> TestResult {
    let records = Records::default();
    let sink = records.clone();
    let mut sandbox = builder()
        .window(0x1000)
        .log_to(move |record| sink.push(&record), 60)
        .build()?;
    let start = ("INFO".to_owned(), "start".to_owned());
    expect("records before the first call", &records.take(), &vec![start])?;
    let exits = sandbox.exits();
    sandbox.call::<_, ()>("log", (3u32, 0u32))?;
    let text = |n: u32| ("INFO".to_owned(), format!("record {n} "));
    expect("records", &records.take(), &vec![text(0), text(1), text(2)])?;
    expect("exits of three records", &(sandbox.exits() - exits), &2)?;
    // More than the window has room for, and more than are accepted.
    sandbox.call::<_, ()>("log", (100u32, 500u32))?;
    let found = records.take();
    expect("number of records", &found.len(), &60)?;
    let is_whole = found
        .iter()
        .zip(0..)
        .all(|((_, found), n)| *found == format!("record {n} {}", "x".repeat(500)));
    expect("all of them are whole", &is_whole, &true)?;
    // One that is longer than the window.
    sandbox.call::<_, ()>("log", (1u32, 10_000u32))?;
    let [(_, cut)] = &records.take()[..] else {
        return Err("not one record".into());
    };
    let is_cut = cut.starts_with("record 0 xxx") && cut.len() > 3000 && cut.len() < 0x1000;
    expect("a record that is cut", &is_cut, &true)
}

fn log_and_panic() -> TestResult {
    let records = Records::default();
    let sink = records.clone();
    let mut sandbox = builder().log_to(move |record| sink.push(&record), 60).build()?;
    records.take();
    let crash = crash(sandbox.call::<_, ()>("log_and_panic", ()))?;
    expect("panic", &crash.message.as_str(), &"after two records")?;
    let expected = [("ERROR", "an error"), ("WARN", "a warning")];
    let expected = expected.map(|(level, text)| (level.to_owned(), text.to_owned()));
    expect("records", &records.take(), &expected.to_vec())
}

fn real_crates() -> TestResult {
    let mut sandbox = sandbox()?;
    let json: String = sandbox.call("json", (r#"{ "b": [1, true, null], "a": "\u00e9" }"#,))?;
    expect(
        "json",
        &json.as_str(),
        &r#"{"a":"é","b":[1,true,null],"count":2}"#,
    )?;
    let matches: Vec<(u32, u32)> = sandbox.call("matches", ("[a-z]+[0-9]{2,}", "ab12 c3 xyz789"))?;
    expect("matches", &matches, &vec![(0, 4), (8, 14)])?;
    let invalid = sandbox.call::<_, Vec<(u32, u32)>>("matches", ("(", ""));
    expect(
        "an invalid pattern",
        &matches!(invalid, Err(CallError::Guest(_))),
        &true,
    )
}

/// A WebAssembly module whose function `run` has this code. It may call function 0: `increment` of the host.
fn module(code: &[u8]) -> Vec<u8> {
    let section = |id: u8, content: &[u8]| {
        let len = u8::try_from(content.len()).expect("a short section");
        [&[id, len], content].concat()
    };
    let body = [&[0], code, &[0x0b]].concat();
    let body_len = u8::try_from(body.len()).expect("a short body");
    [
        b"\0asm\x01\0\0\0".to_vec(),
        // Type 0: a function from i64 to i64.
        section(1, &[1, 0x60, 1, 0x7e, 1, 0x7e]),
        section(2, b"\x01\x04host\x09increment\0\0"),
        section(3, &[1, 0]),
        section(7, b"\x01\x03run\0\x01"),
        section(10, &[&[1, body_len], &*body].concat()),
    ]
    .concat()
}

fn web_assembly() -> TestResult {
    let mut sandbox = sandbox()?;
    // local.get 0; call 0; call 0; i64.const 10; i64.mul
    let arithmetic = module(&[0x20, 0, 0x10, 0, 0x10, 0, 0x42, 10, 0x7e]);
    expect(
        "run(20)",
        &sandbox.call::<_, i64>("wasm", (&arithmetic, 20i64))?,
        &220,
    )?;
    let errors = [
        // unreachable
        (module(&[0x00]), "unreachable"),
        (arithmetic[..arithmetic.len() - 1].to_vec(), "unexpected end"),
        (module(&[0x42, 1, 0x10, 1]), "call stack"),
    ];
    for (module, text) in errors {
        match sandbox.call::<_, i64>("wasm", (&module, 0i64)) {
            Err(CallError::Guest(error)) if error.message.contains(text) => {}
            other => return Err(format!("{other:?}, not an error with {text:?}").into()),
        }
    }
    // loop; br 0; end; unreachable
    let endless = module(&[0x03, 0x40, 0x0c, 0, 0x0b, 0x00]);
    let wasm = sandbox.function::<(Vec<u8>, i64), i64>("wasm")?;
    let limit = CallOptions::default().with_deadline(Duration::from_millis(100));
    let ended = sandbox.invoke(&wasm, &(endless, 0), limit);
    expect(
        "deadline",
        &matches!(ended, Err(CallError::Deadline { .. })),
        &true,
    )
}

/// The struct of the same fields in the guest.
#[derive(Debug, PartialEq, Deserialize, Serialize)]
struct Rectangle {
    width: f64,
    height: f64,
    label: Option<String>,
}

impl Shape for Rectangle {
    const HASH: u64 = {
        use sandbox_abi::shape::{combine, name};
        let hash = combine(combine(name("named"), name("width")), f64::HASH);
        let hash = combine(combine(hash, name("height")), f64::HASH);
        let hash = combine(combine(hash, name("label")), <Option<String>>::HASH);
        combine(name("struct"), hash)
    };
}

fn floating_point() -> TestResult {
    let mut sandbox = sandbox()?;
    let numbers: Vec<f64> = (1..=1000).map(|n| 1.0 / f64::from(n)).collect();
    let sum: f64 = sandbox.call("sum", (&numbers,))?;
    expect("sum", &sum.to_bits(), &numbers.iter().sum::<f64>().to_bits())?;
    let rectangle = Rectangle {
        width: 2.5,
        height: -1.0,
        label: Some("r".into()),
    };
    let turned: Rectangle = sandbox.call("turn", (&rectangle,))?;
    let expected = Rectangle {
        width: -1.0,
        height: 2.5,
        label: Some("r".into()),
    };
    expect("rectangle", &turned, &expected)
}
