//! The protocol with a host that the test plays.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};

use sandbox_abi::{
    CrashReason, CrashRecord, GuestStatus, Header, LogLevel, MessageError, MessageFlags, MessageKind,
};
use sandbox_guest::{
    Area, Call, Error, Export, HostError, MAX_DEPTH, Port, ProtocolError, Reply, State, call_host,
    call_host_bytes, log, report_crash, serve, signature,
};
use zerocopy::{FromBytes, FromZeros};

/// Bytes of a window after the header.
const CAPACITY: usize = 600;

const MAX_PAYLOAD: u64 = 5000;

/// A message: its header and body.
#[derive(Clone, Debug)]
struct Message(Header, Vec<u8>);

/// The end of a test's guest: nothing is left for it to do.
struct Done;

/// A host: it answers the messages of the guest one by one.
struct Host {
    inbox: (Cell<Header>, Vec<Cell<u8>>),
    outbox: (Cell<Header>, Vec<Cell<u8>>),
    state: State,
    sequence: Cell<u64>,
    budget: Cell<u32>,
    answers: RefCell<VecDeque<Message>>,
    sent: RefCell<Vec<Message>>,
    flushes: Cell<u32>,
    exports: Vec<Export>,
}

fn window() -> (Cell<Header>, Vec<Cell<u8>>) {
    (Cell::new(Header::new_zeroed()), vec![Cell::new(0); CAPACITY])
}

impl Host {
    fn new(answers: impl IntoIterator<Item = Message>) -> Self {
        let host = Self {
            inbox: window(),
            outbox: window(),
            state: State::new(),
            sequence: Cell::new(100),
            budget: Cell::new(0),
            answers: RefCell::new(answers.into_iter().collect()),
            sent: RefCell::default(),
            flushes: Cell::new(0),
            exports: exports(),
        };
        host.set_budget(1000);
        host
    }

    /// Sets the number of log records that the guest may still send.
    fn set_budget(&self, budget: u32) {
        let mut header = Header::new(MessageKind::CALL, self.sequence.get());
        header.log_budget.set(budget);
        self.inbox.0.set(header);
        self.budget.set(budget);
    }

    /// Puts the next answer into the inbox.
    fn answer(&self) {
        let Some(Message(mut header, body)) = self.answers.borrow_mut().pop_front() else {
            panic_any(Done);
        };
        self.sequence.set(self.sequence.get() + 1);
        header.sequence.set(self.sequence.get());
        header.log_budget.set(self.budget.get());
        for (cell, byte) in self.inbox.1.iter().zip(body) {
            cell.set(byte);
        }
        self.inbox.0.set(header);
    }

    /// Serves a call and sends its result.
    fn serve_one(&self) {
        if self.serve() {
            self.ring();
        }
    }

    /// Serves all messages, and returns those of the guest.
    #[track_caller]
    fn run(self) -> Vec<Message> {
        self.run_with(|host| {
            host.answer();
            loop {
                host.serve_one();
            }
        })
    }

    /// Runs `guest` until there is no answer to its message, and returns its messages.
    #[track_caller]
    fn run_with(self, guest: impl FnOnce(&Self)) -> Vec<Message> {
        let end = catch_unwind(AssertUnwindSafe(|| guest(&self)));
        if let Err(panic) = end
            && !panic.is::<Done>()
        {
            std::panic::resume_unwind(panic);
        }
        assert!(self.answers.borrow().is_empty(), "answers that nobody asked for");
        self.sent.into_inner()
    }
}

impl Port for Host {
    fn inbox(&self) -> Area<'_> {
        let (header, body) = &self.inbox;
        Area { header, body }
    }

    fn outbox(&self) -> Area<'_> {
        let (header, body) = &self.outbox;
        Area { header, body }
    }

    fn ring(&self) {
        let header = self.outbox.0.get();
        assert_eq!(header.sequence.get(), self.sequence.get(), "{header:?}");
        assert_eq!(header.reserved, Header::new(MessageKind::LOG, 0).reserved);
        let len = usize::try_from(header.len.get()).unwrap();
        let body: Vec<u8> = self.outbox.1[..len].iter().map(Cell::get).collect();
        if header.kind == MessageKind::LOG {
            let count = u32::try_from(records(&body).len()).unwrap();
            self.budget.set(self.budget.get() - count);
        }
        self.sent.borrow_mut().push(Message(header, body));
        self.answer();
    }

    fn flush_translations(&self) {
        self.flushes.set(self.flushes.get() + 1);
    }

    fn max_payload(&self) -> u64 {
        MAX_PAYLOAD
    }

    fn serve(&self) -> bool {
        serve(self, &self.exports)
    }

    fn state(&self) -> &State {
        &self.state
    }

    fn stop(&self, error: ProtocolError) -> ! {
        panic_any(error)
    }
}

fn exports() -> Vec<Export> {
    vec![
        Export::typed(
            "add",
            signature::<(u32, u32), u32>(),
            |call: &mut Call<'_>| match call.parameters::<(u32, u32)>() {
                Ok((a, b)) => call.reply(&(a + b)),
                Err(reply) => reply,
            },
        ),
        Export::bytes("echo", |call: &mut Call<'_>| {
            let bytes = call.take_bytes();
            call.reply_bytes(bytes)
        }),
        Export::typed("fail", signature::<(), ()>(), |call: &mut Call<'_>| {
            call.error(Error::new(9, "the reason"))
        }),
        Export::typed("long", signature::<(), ()>(), |call: &mut Call<'_>| {
            call.reply(&[7u8; 6000][..])
        }),
        Export::bytes("long bytes", |call: &mut Call<'_>| {
            call.reply_bytes(vec![7u8; 6000])
        }),
        Export::typed("string", signature::<(), ()>(), |call: &mut Call<'_>| {
            call.reply(&"x".repeat(1500))
        }),
    ]
}

const ADD: u32 = 0;
const ECHO: u32 = 1;
const FAIL: u32 = 2;
const LONG: u32 = 3;
const LONG_BYTES: u32 = 4;
const STRING: u32 = 5;

fn single(kind: MessageKind, function: u32, body: &[u8]) -> Message {
    let len = u32::try_from(body.len()).unwrap();
    Message(
        Header::new(kind, 0).with_function(function).with_body(len),
        body.to_vec(),
    )
}

fn call(function: u32, body: &[u8]) -> Message {
    single(MessageKind::CALL, function, body)
}

/// The parts of a message with `body`.
fn parts(kind: MessageKind, function: u32, body: &[u8]) -> Vec<Message> {
    let total = u64::try_from(body.len()).unwrap();
    let mut offset = 0;
    let mut header = Header::new(kind, 0).with_function(function);
    let mut parts = Vec::new();
    for part in body.chunks(CAPACITY) {
        let len = u32::try_from(part.len()).unwrap();
        parts.push(Message(header.with_part(len, offset, total), part.to_vec()));
        offset += u64::from(len);
        header = Header::new(MessageKind::MORE, 0);
    }
    parts
}

fn go_on() -> Message {
    single(MessageKind::CONTINUE, 0, &[])
}

/// The kinds of messages.
fn kinds(sent: &[Message]) -> Vec<MessageKind> {
    sent.iter().map(|Message(header, _)| header.kind).collect()
}

/// The payload in `sent`, which has all parts of a message and nothing else.
#[track_caller]
fn join(sent: &[Message], kind: MessageKind) -> Vec<u8> {
    let mut bytes = Vec::new();
    let total = sent[0].0.total;
    for (at, Message(header, body)) in sent.iter().enumerate() {
        let expected = if at == 0 { kind } else { MessageKind::MORE };
        assert_eq!((header.kind, header.total), (expected, total));
        assert_eq!(header.offset.get(), u64::try_from(bytes.len()).unwrap());
        bytes.extend_from_slice(body);
    }
    assert_eq!(total.get(), u64::try_from(bytes.len()).unwrap());
    bytes
}

fn payload(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at % 251).to_le_bytes()[0]).collect()
}

/// Calls `function` with `body`, and compares status and payload of its only answer.
#[track_caller]
fn check(function: u32, body: &[u8], status: GuestStatus, expected: &[u8]) {
    let sent = Host::new([call(function, body)]).run();
    assert_eq!(kinds(&sent), [MessageKind::RETURN]);
    let Message(header, body) = &sent[0];
    assert_eq!((header.status, &body[..]), (status, expected));
    assert_eq!(header.total.get(), u64::from(header.len.get()));
}

#[test]
fn functions_return() {
    check(ADD, &[3, 4], GuestStatus::OK, &[7]);
    for len in [0, 1, 599, 600] {
        check(ECHO, &payload(len), GuestStatus::OK, &payload(len));
    }
    check(FAIL, &[], GuestStatus::ERROR, b"\x09\x0athe reason");
    check(77, &[], GuestStatus::NO_FUNCTION, &[]);
    check(u32::MAX, &[], GuestStatus::NO_FUNCTION, &[]);
}

#[test]
fn wrong_parameters_are_reported() {
    for body in [&[3][..], &[3, 4, 5], &[]] {
        let sent = Host::new([call(ADD, body)]).run();
        let Message(header, body) = &sent[0];
        assert_eq!(header.status, GuestStatus::BAD_PARAMETERS);
        let (code, text): (u32, &str) = postcard::from_bytes(body).unwrap();
        assert!(code == 0 && !text.is_empty());
    }
}

#[test]
fn payloads_come_in_parts() {
    for len in [601, 1024, 1025, 1200, 1201, 5000] {
        let parameters = parts(MessageKind::CALL, ECHO, &payload(len));
        let count = parameters.len();
        let answers = parameters.into_iter().chain(vec![go_on(); count - 1]);
        let sent = Host::new(answers).run();
        let (asked, result) = sent.split_at(count - 1);
        assert_eq!(kinds(asked), vec![MessageKind::CONTINUE; count - 1]);
        assert!(asked.iter().all(|Message(header, _)| header.total.get() == 0));
        assert!(join(result, MessageKind::RETURN) == payload(len));
        assert_eq!(result[0].0.status, GuestStatus::OK);
    }
    let sent = Host::new([call(STRING, &[]), go_on(), go_on()]).run();
    assert_eq!(join(&sent, MessageKind::RETURN).len(), 1502);
}

#[test]
fn the_host_can_refuse_the_rest() {
    let sent = Host::new([call(STRING, &[]), call(ADD, &[1, 1])]).run();
    assert_eq!(kinds(&sent), [MessageKind::RETURN; 2]);
    assert_eq!((sent[0].0.total.get(), &sent[1].1[..]), (1502, &[2][..]));
}

#[test]
fn results_have_a_limit() {
    for function in [LONG, LONG_BYTES] {
        let sent = Host::new([call(function, &[]), call(ADD, &[1, 1])]).run();
        assert_eq!(kinds(&sent), [MessageKind::RETURN; 2]);
        assert_eq!(sent[0].0.status, GuestStatus::ERROR);
        let (code, text): (u32, &str) = postcard::from_bytes(&sent[0].1).unwrap();
        assert!(code == 0 && text.contains("longer"), "{text}");
        assert_eq!(sent[1].1, [2]);
    }
}

#[test]
fn translations_are_flushed_when_asked_for() {
    let mut flush = call(ADD, &[1, 1]);
    flush.0.flags = MessageFlags::FLUSH;
    let host = Host::new([call(ADD, &[1, 1]), flush, call(ADD, &[1, 1])]);
    host.run_with(|host| {
        host.answer();
        for flushes in [0, 0, 1] {
            assert_eq!(host.flushes.get(), flushes);
            host.serve_one();
        }
    });
}

#[track_caller]
fn check_stop(answers: Vec<Message>, expected: ProtocolError) {
    let host = Host::new(answers);
    let end = catch_unwind(AssertUnwindSafe(|| {
        host.answer();
        loop {
            host.serve_one();
        }
    }));
    let error = *end
        .unwrap_err()
        .downcast::<ProtocolError>()
        .expect("a protocol error");
    assert_eq!(error, expected);
    assert!(!error.to_string().is_empty());
}

#[test]
fn messages_that_break_the_protocol_stop_the_guest() {
    for kind in [
        MessageKind::RETURN,
        MessageKind::CONTINUE,
        MessageKind::MORE,
        MessageKind::HOST_REPLY,
    ] {
        check_stop(vec![single(kind, 0, &[])], ProtocolError::Kind { found: kind });
    }
    let mut deep = call(ADD, &[1, 1]);
    deep.0.depth.set(MAX_DEPTH + 1);
    check_stop(vec![deep.clone()], ProtocolError::Depth { found: 9 });
    deep.0.depth.set(MAX_DEPTH);
    deep.0.len.set(601);
    deep.0.total.set(601);
    check_stop(
        vec![deep],
        ProtocolError::Message(MessageError::Length { found: 601, max: 600 }),
    );
    let long = parts(MessageKind::CALL, ECHO, &payload(5001));
    let too_long = MessageError::Total {
        found: 5001,
        min: 600,
        max: 5000,
    };
    check_stop(long[..1].to_vec(), ProtocolError::Message(too_long));
    // Another part than the next one, another length, another kind.
    let good = parts(MessageKind::CALL, ECHO, &payload(1800));
    let (found, expected) = (1200, 600);
    let error = ProtocolError::Message(MessageError::Offset { found, expected });
    check_stop(vec![good[0].clone(), good[2].clone()], error);
    let other = parts(MessageKind::CALL, ECHO, &payload(1799));
    let (found, expected) = (1799, 1800);
    let error = ProtocolError::Message(MessageError::TotalChanged { found, expected });
    check_stop(vec![good[0].clone(), other[1].clone()], error);
    let mut call = good[1].clone();
    call.0.kind = MessageKind::CALL;
    let error = ProtocolError::Kind {
        found: MessageKind::CALL,
    };
    check_stop(vec![good[0].clone(), call], error);
}

fn reply(status: GuestStatus, body: &[u8]) -> Message {
    let mut reply = single(MessageKind::HOST_REPLY, 0, body);
    reply.0.status = status;
    reply
}

#[test]
fn host_functions_return() {
    let host = Host::new([reply(GuestStatus::OK, &[9])]);
    let sent = host.run_with(|host| {
        assert_eq!(call_host::<u32>(host, 3, &(1u32, "ab")), Ok(9));
    });
    assert_eq!(kinds(&sent), [MessageKind::HOST_CALL]);
    assert_eq!(
        (sent[0].0.function.get(), &sent[0].1[..]),
        (3, &[1, 2, b'a', b'b'][..])
    );
}

#[test]
fn host_functions_take_and_return_long_payloads() {
    let result = parts(MessageKind::HOST_REPLY, 0, &payload(2000));
    let host = Host::new([go_on(), go_on()].into_iter().chain(result));
    let sent = host.run_with(|host| {
        assert_eq!(call_host_bytes(host, 3, &payload(1500)), Ok(payload(2000)));
    });
    assert!(join(&sent[..3], MessageKind::HOST_CALL) == payload(1500));
    assert_eq!(kinds(&sent[3..]), [MessageKind::CONTINUE; 3]);
}

#[test]
fn host_functions_fail() {
    let message = || "no".to_owned();
    let text = postcard::to_allocvec(&(5u32, "no")).unwrap();
    for (status, body, expected) in [
        (
            GuestStatus::ERROR,
            &text[..],
            HostError::Function {
                code: 5,
                message: message(),
            },
        ),
        (
            GuestStatus::BAD_PARAMETERS,
            &text,
            HostError::BadParameters { message: message() },
        ),
        (GuestStatus::NO_FUNCTION, &[], HostError::NoFunction),
        (GuestStatus::NO_MEMORY, &[], HostError::Refused),
        (
            GuestStatus::ERROR,
            &[5],
            HostError::Decode(postcard::Error::DeserializeUnexpectedEnd),
        ),
        (
            GuestStatus::OK,
            &[1, 1],
            HostError::Decode(postcard::Error::DeserializeBadEncoding),
        ),
    ] {
        Host::new([reply(status, body)]).run_with(|host| {
            assert_eq!(call_host::<u32>(host, 0, &()), Err(expected));
        });
    }
    // Parameters that are too long are not sent.
    let sent = Host::new([]).run_with(|host| {
        let error = HostError::Encode(postcard::Error::SerializeBufferFull);
        assert_eq!(call_host_bytes(host, 0, &[0; 5001]), Err(error.clone()));
        assert_eq!(call_host::<u32>(host, 0, &(&[7u8; 6000][..],)), Err(error));
    });
    assert!(sent.is_empty());
}

#[test]
fn the_host_calls_while_its_function_runs() {
    let mut inner = call(ADD, &[1, 2]);
    inner.0.depth.set(1);
    let mut innermost = call(ECHO, &[8]);
    innermost.0.depth.set(1);
    let sent = Host::new([inner, innermost, reply(GuestStatus::OK, &[9])]).run_with(|host| {
        assert_eq!(call_host::<u32>(host, 0, &()), Ok(9));
    });
    let expected = [MessageKind::HOST_CALL, MessageKind::RETURN, MessageKind::RETURN];
    assert_eq!(kinds(&sent), expected);
    let depths: Vec<u32> = sent.iter().map(|Message(header, _)| header.depth.get()).collect();
    assert_eq!(depths, [0, 1, 1]);
    assert_eq!((&sent[1].1[..], &sent[2].1[..]), (&[3][..], &[8][..]));
}

#[test]
fn a_host_call_while_a_value_is_encoded_panics() {
    struct Nested<'a>(&'a Host);
    impl serde::Serialize for Nested<'_> {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let _ = call_host::<u32>(self.0, 0, &());
            serializer.serialize_unit()
        }
    }
    let host = Host::new([]);
    let end = catch_unwind(AssertUnwindSafe(|| call_host::<u32>(&host, 0, &Nested(&host))));
    let text = *end.unwrap_err().downcast::<&str>().unwrap();
    assert!(text.contains("while a message is written"), "{text}");
}

/// Level, target, line and text of each record.
fn records(mut body: &[u8]) -> Vec<(u8, String, u32, String)> {
    let mut records = Vec::new();
    while !body.is_empty() {
        let (record, rest) = sandbox_abi::LogRecord::read_from_prefix(body).unwrap();
        let (target, rest) = rest.split_at(record.target_len.into());
        let (text, rest) = rest.split_at(record.message_len.get().try_into().unwrap());
        let [target, text] = [target, text].map(|bytes| String::from_utf8(bytes.to_vec()).unwrap());
        records.push((record.level.number(), target, record.line.get(), text));
        body = rest;
    }
    records
}

#[test]
fn log_records_are_sent_before_the_next_message() {
    let host = Host::new([go_on(), reply(GuestStatus::OK, &[1])]);
    host.set_budget(3);
    let sent = host.run_with(|host| {
        log(host, LogLevel::INFO, "target", 7, format_args!("one {}", 1));
        log(host, LogLevel::ERROR, "", 0, format_args!(""));
        assert_eq!(call_host::<u32>(host, 0, &()), Ok(1));
    });
    assert_eq!(kinds(&sent), [MessageKind::LOG, MessageKind::HOST_CALL]);
    let expected = [
        (3, "target".to_owned(), 7, "one 1".to_owned()),
        (1, String::new(), 0, String::new()),
    ];
    assert_eq!(records(&sent[0].1), expected);
    assert_eq!(sent[1].1, []);
}

#[test]
fn log_records_have_a_budget() {
    let host = Host::new([
        go_on(),
        reply(GuestStatus::OK, &[1]),
        reply(GuestStatus::OK, &[1]),
    ]);
    host.set_budget(2);
    let sent = host.run_with(|host| {
        for at in 0..5 {
            log(host, LogLevel::INFO, "t", 0, format_args!("{at}"));
        }
        assert_eq!(call_host::<u32>(host, 0, &()), Ok(1));
        log(host, LogLevel::INFO, "t", 0, format_args!("6"));
        assert_eq!(call_host::<u32>(host, 0, &()), Ok(1));
    });
    let dropped: Vec<u32> = sent
        .iter()
        .map(|Message(header, _)| header.log_budget.get())
        .collect();
    assert_eq!(
        kinds(&sent),
        [MessageKind::LOG, MessageKind::HOST_CALL, MessageKind::HOST_CALL]
    );
    // Each message counts those since the one before.
    assert_eq!(dropped, [3, 0, 1]);
    assert_eq!(records(&sent[0].1).len(), 2);
}

#[test]
fn full_windows_of_log_records_are_sent_at_once() {
    let host = Host::new(vec![go_on(); 4]);
    host.set_budget(1000);
    let sent = host.run_with(|host| {
        let text = "y".repeat(250);
        for at in 0..5 {
            log(host, LogLevel::INFO, "t", 0, format_args!("{at}{text}"));
        }
        // Longer than a window, with characters of two bytes.
        log(host, LogLevel::INFO, "t", 0, format_args!("{}", "ü".repeat(400)));
        log(host, LogLevel::INFO, &"t".repeat(300), 0, format_args!("end"));
        let _ = call_host::<u32>(host, 0, &());
    });
    assert_eq!(kinds(&sent)[..4], [MessageKind::LOG; 4]);
    let records: Vec<_> = sent.iter().flat_map(|Message(_, body)| records(body)).collect();
    assert_eq!(records.len(), 7);
    for (at, (_, _, _, text)) in records[..5].iter().enumerate() {
        assert_eq!(*text, format!("{at}{}", "y".repeat(250)));
    }
    assert_eq!(records[5].3, "ü".repeat((CAPACITY - 12 - 1) / 2));
    assert_eq!((records[6].1.len(), &records[6].3[..]), (255, "end"));
}

#[test]
fn a_text_that_logs_itself_does_not_harm_the_record() {
    struct Nested<'a>(&'a Host);
    impl std::fmt::Display for Nested<'_> {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            log(self.0, LogLevel::INFO, "t", 0, format_args!("inner"));
            f.write_str("outer")
        }
    }
    let host = Host::new([go_on()]);
    host.set_budget(9);
    let sent = host.run_with(|host| {
        log(host, LogLevel::INFO, "t", 0, format_args!("{}", Nested(host)));
        let _ = call_host::<u32>(host, 0, &());
    });
    assert_eq!(records(&sent[0].1)[0].3, "outer");
    assert_eq!((sent[0].0.log_budget.get(), records(&sent[0].1).len()), (1, 1));
}

fn record() -> CrashRecord {
    let mut record = CrashRecord::new_zeroed();
    record.reason = CrashReason::PANIC;
    record.pc.set(0x1234);
    record
}

#[test]
fn crashes_are_one_message() {
    let location = std::panic::Location::caller();
    let sent = Host::new([])
        .run_with(|host| report_crash(host, record(), format_args!("text {}", 1), Some(location)));
    assert_eq!(kinds(&sent), [MessageKind::CRASH]);
    let (found, rest) = CrashRecord::read_from_prefix(&sent[0].1).unwrap();
    assert_eq!((found.message_len.get(), found.pc.get()), (6, 0x1234));
    let (text, rest) = rest.split_at(6);
    assert_eq!(text, b"text 1");
    let (found, file) = sandbox_abi::CrashLocation::read_from_prefix(rest).unwrap();
    assert_eq!(
        (found.line.get(), found.column.get()),
        (location.line(), location.column())
    );
    assert_eq!(file, location.file().as_bytes());
    assert_eq!(usize::from(found.file_len.get()), file.len());
}

#[test]
fn texts_of_crashes_are_cut() {
    let location = std::panic::Location::caller();
    let text = "ü".repeat(1000);
    let sent =
        Host::new([]).run_with(|host| report_crash(host, record(), format_args!("{text}"), Some(location)));
    let (found, rest) = CrashRecord::read_from_prefix(&sent[0].1).unwrap();
    let len = usize::try_from(found.message_len.get()).unwrap();
    let room = CAPACITY - size_of::<CrashRecord>() - 12 - location.file().len();
    assert_eq!(len, room / 2 * 2);
    assert!(rest.ends_with(location.file().as_bytes()));
}

#[test]
fn a_reply_is_no_place_for_a_status_of_the_runtime() {
    // The entry of a function can reply with an error only, so the host can rely on the other statuses.
    fn entry(call: &mut Call<'_>) -> Reply {
        call.error(Error::new(u32::MAX, String::new()))
    }
    let mut host = Host::new([call(0, &[])]);
    host.exports = vec![Export::bytes("x", entry)];
    let sent = host.run();
    assert_eq!(sent[0].0.status, GuestStatus::ERROR);
}

mod derived {
    use sandbox_guest::Shape;
    use sandbox_guest::shape::{combine, name};

    #[derive(Shape)]
    struct Named {
        #[expect(dead_code, reason = "only the shape is used")]
        r#type: u8,
    }

    #[derive(Shape)]
    struct Generic<T>(T, ());

    #[derive(Shape)]
    #[shape(crate = sandbox_abi)]
    enum Choice {
        Unit,
        #[expect(dead_code, reason = "only the shape is used")]
        Tuple(u8),
    }

    #[derive(Shape)]
    struct Unit;

    #[test]
    fn shapes_are_those_of_fields_and_variants() {
        let named = combine(combine(name("named"), name("type")), u8::HASH);
        assert_eq!(Named::HASH, combine(name("struct"), named));
        let unnamed = combine(combine(name("unnamed"), u64::HASH), <()>::HASH);
        assert_eq!(Generic::<u64>::HASH, combine(name("struct"), unnamed));
        let unit = combine(combine(name("enum"), name("Unit")), name("unit"));
        let tuple = combine(name("unnamed"), u8::HASH);
        assert_eq!(Choice::HASH, combine(combine(unit, name("Tuple")), tuple));
        assert_eq!(Unit::HASH, combine(name("struct"), name("unit")));
        assert!(matches!(Choice::Unit, Choice::Unit));
        let Generic(value, ()) = Generic(3u8, ());
        assert_eq!((value, size_of::<Unit>(), size_of::<Named>()), (3, 0, 1));
    }
}
