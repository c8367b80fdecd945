use hv_core::Timeline;

use super::*;

const BASE: u64 = 0x8000_0000;

/// RAM from [`BASE`] on.
struct Ram(Mutex<Vec<u8>>);

impl Ram {
    fn new(len: usize) -> Self {
        Self(Mutex::new((0..=u8::MAX).cycle().take(len).collect()))
    }

    fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().clone()
    }

    fn range(&self, address: u64, len: usize) -> Option<std::ops::Range<usize>> {
        let start = usize::try_from(address.checked_sub(BASE)?).ok()?;
        let end = start.checked_add(len)?;
        (end <= self.0.lock().unwrap().len()).then_some(start..end)
    }
}

impl GuestMemoryAccess for Ram {
    fn read(&self, address: u64, data: &mut [u8]) -> bool {
        match self.range(address, data.len()) {
            Some(range) => {
                data.copy_from_slice(&self.0.lock().unwrap()[range]);
                true
            }
            None => false,
        }
    }

    fn write(&self, address: u64, data: &[u8]) -> bool {
        match self.range(address, data.len()) {
            Some(range) => {
                self.0.lock().unwrap()[range].copy_from_slice(data);
                true
            }
            None => false,
        }
    }
}

#[derive(Clone, Default)]
struct Output(Arc<Mutex<Vec<u8>>>);

impl io::Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn console() -> (SbiConsole, Output, Arc<Timeline>) {
    let output = Output::default();
    let timeline = Arc::new(Timeline::new());
    let console = SbiConsole::new(Box::new(output.clone()), Arc::clone(&timeline) as _);
    (console, output, timeline)
}

fn call(extension: u64, function: u64, args: &[u64]) -> SbiCall {
    let mut all = [0; 6];
    all[..args.len()].copy_from_slice(args);
    SbiCall {
        extension,
        function,
        args: all,
    }
}

const OK: u64 = 0;
const NOT_SUPPORTED: u64 = 2_u64.wrapping_neg();
const INVALID_PARAM: u64 = 3_u64.wrapping_neg();

#[test]
fn results_of_calls() {
    let (console, output, timeline) = console();
    let ram = Ram::new(0x2000);
    let check = |what: SbiCall, expected: SbiOutcome, printed: &[u8]| {
        assert_eq!(console.handle(&what, &ram).unwrap(), expected, "{what:x?}");
        assert_eq!(
            std::mem::take(&mut *output.0.lock().unwrap()),
            printed,
            "{what:x?}"
        );
    };
    let returns = |error, value| SbiOutcome::Return([error, value]);
    // The debug console: a write of no bytes, of three bytes, and of a single byte.
    check(call(DBCN, 0, &[0, BASE, 0]), returns(OK, 0), b"");
    assert!(timeline.entries().is_empty());
    check(call(DBCN, 0, &[3, BASE + 0x61, 0]), returns(OK, 3), b"abc");
    assert!(timeline.at(Milestone::FirstConsoleByte).is_some());
    check(call(DBCN, 2, &[0x1_0000_0041]), returns(OK, 0), b"A");
    check(call(DBCN, 3, &[]), returns(NOT_SUPPORTED, 0), b"");
    // Outside RAM: below, past the end, an address of more than 64 bits, and a range that wraps around.
    check(call(DBCN, 0, &[1, BASE - 1, 0]), returns(INVALID_PARAM, 0), b"");
    check(
        call(DBCN, 0, &[2, BASE + 0x1fff, 0]),
        returns(INVALID_PARAM, 0),
        b"",
    );
    check(call(DBCN, 0, &[1, BASE, 1]), returns(INVALID_PARAM, 0), b"");
    check(
        call(DBCN, 0, &[u64::MAX, u64::MAX, 0]),
        returns(INVALID_PARAM, 0),
        b"",
    );
    // The legacy console does not change a1.
    check(call(1, 7, &[0x42, 9]), returns(0, 9), b"B");
    check(call(2, 7, &[0x42, 9]), returns(u64::MAX, 9), b"");
    check(call(8, 0, &[]), SbiOutcome::System(SystemEvent::PowerOff), b"");
    // System reset.
    check(
        call(SRST, 0, &[0]),
        SbiOutcome::System(SystemEvent::PowerOff),
        b"",
    );
    check(call(SRST, 0, &[1]), SbiOutcome::System(SystemEvent::Reset), b"");
    check(call(SRST, 0, &[2]), SbiOutcome::System(SystemEvent::Reset), b"");
    check(call(SRST, 0, &[3]), returns(INVALID_PARAM, 0), b"");
    check(call(SRST, 1, &[0]), returns(NOT_SUPPORTED, 0), b"");
    check(call(0x0800_0000, 0, &[]), returns(NOT_SUPPORTED, 0), b"");
}

#[test]
fn one_call_writes_at_most_4096_bytes() {
    let (console, output, _) = console();
    let ram = Ram::new(0x2000);
    let outcome = console.handle(&call(DBCN, 0, &[0x2000, BASE, 0]), &ram).unwrap();
    assert_eq!(outcome, SbiOutcome::Return([OK, 0x1000]));
    assert_eq!(*output.0.lock().unwrap(), ram.bytes()[..0x1000]);
}

#[test]
fn reads_return_the_queued_input() {
    let (console, _, _) = console();
    let ram = Ram::new(16);
    let read = |len, address| match console.handle(&call(DBCN, 1, &[len, address, 0]), &ram) {
        Ok(SbiOutcome::Return(values)) => values,
        other => panic!("{other:?}"),
    };
    console.push(b"hello").unwrap();
    assert_eq!(
        read(4, BASE + 15),
        [INVALID_PARAM, 0],
        "an invalid call keeps the input"
    );
    assert_eq!(read(2, BASE), [OK, 2]);
    assert_eq!(read(10, BASE + 2), [OK, 3]);
    assert_eq!(read(10, BASE), [OK, 0]);
    assert_eq!(ram.bytes()[..6], *b"hello\x05");
    console.push(b"!").unwrap();
    let outcome = console.handle(&call(2, 0, &[0, 5]), &ram).unwrap();
    assert_eq!(outcome, SbiOutcome::Return([u64::from(b'!'), 5]));
}

#[test]
fn input_is_bounded() {
    let (console, _, _) = console();
    console.push(&vec![0; SerialInput::CAPACITY]).unwrap();
    let error = console.push(&[0]).unwrap_err();
    assert!(matches!(error, InputError::Full { len: 1, room: 0 }), "{error}");
}

#[test]
fn errors_of_the_output_are_returned() {
    struct Broken;

    impl io::Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    let console = SbiConsole::new(Box::new(Broken), Arc::new(hv_core::NullObserver));
    for what in [
        call(DBCN, 0, &[1, BASE, 0]),
        call(DBCN, 2, &[1]),
        call(1, 0, &[1]),
    ] {
        let error = console.handle(&what, &Ram::new(1)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe, "{what:x?}");
    }
}
