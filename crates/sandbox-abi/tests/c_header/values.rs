//! The values.

use std::collections::BTreeMap;
use std::mem::{offset_of, size_of};

use sandbox_abi::{
    BootInfo, CrashReason, DoorbellKind, FunctionFlags, FunctionRecord, GuestStatus, HVC_DOORBELL, LogLevel,
    MessageFlags, MessageKind, Note, NoteFlags, PORT_DOORBELL, SBI_DOORBELL, ScratchState, Shape, VERSION,
    layout, signature,
};
use zerocopy::IntoBytes;

use crate::compiler::{Test, Value, check, number, preprocessed};

pub(crate) const TESTS: [Test; 4] = [
    ("constants", constants),
    ("signatures", signatures),
    ("tables", tables),
    ("assembly", assembly),
];

/// Constants as pairs of their names behind `VMSB_` and their values.
macro_rules! named {
    ($($name:ident = $value:expr),* $(,)?) => {
        [$((stringify!($name), u64::from($value))),*]
    };
}

fn layout_constants() -> Vec<(&'static str, u64)> {
    macro_rules! of_layout {
        ($($name:ident),*) => {
            [$((stringify!($name), u64::from(layout::$name))),*]
        };
    }
    of_layout!(
        PAGE,
        HOST,
        HOST_LEN,
        REWIND_CODE,
        REWIND_IMAGE,
        REWIND_IMAGE_LEN,
        BOOT_INFO,
        GDT,
        IDT,
        INBOX,
        IMAGE,
        IMAGE_END,
        MEMORY_END,
        REGION_TABLES,
        REGION_TABLES_LEN,
        REGIONS,
        REGIONS_END,
        REGION_ALIGN,
        MMIO_DOORBELL,
        GUARD,
        FAULT_STACK,
        MIN_WINDOW,
        MAX_WINDOW,
        HEAP_ALIGN
    )
    .into()
}

fn doorbell(kind: DoorbellKind) -> u32 {
    u32::from_le_bytes(*kind.as_bytes().first_chunk().unwrap())
}

fn constants() -> Result<(), String> {
    let layout = layout_constants();
    // None is missing.
    let source = include_str!("../../src/layout.rs");
    let declared = source
        .lines()
        .filter_map(|line| line.strip_prefix("pub const ")?.split(':').next());
    let declared: Vec<&str> = declared.collect();
    let listed: Vec<&str> = layout.iter().map(|(name, _)| *name).collect();
    if declared != listed {
        return Err(format!("layout.rs has {declared:?}, this test {listed:?}"));
    }
    let others = named![
        VERSION_MAJOR = VERSION.0,
        VERSION_MINOR = VERSION.1,
        CALL = MessageKind::CALL.number(),
        RETURN = MessageKind::RETURN.number(),
        HOST_CALL = MessageKind::HOST_CALL.number(),
        HOST_REPLY = MessageKind::HOST_REPLY.number(),
        MORE = MessageKind::MORE.number(),
        CONTINUE = MessageKind::CONTINUE.number(),
        READY = MessageKind::READY.number(),
        CRASH = MessageKind::CRASH.number(),
        LOG = MessageKind::LOG.number(),
        FLUSH = MessageFlags::FLUSH.bits(),
        OK = GuestStatus::OK.number(),
        ERROR = GuestStatus::ERROR.number(),
        BAD_PARAMETERS = GuestStatus::BAD_PARAMETERS.number(),
        NO_FUNCTION = GuestStatus::NO_FUNCTION.number(),
        NO_MEMORY = GuestStatus::NO_MEMORY.number(),
        CRASH_PANIC = CrashReason::PANIC.number(),
        CRASH_EXCEPTION = CrashReason::EXCEPTION.number(),
        CRASH_OUT_OF_MEMORY = CrashReason::OUT_OF_MEMORY.number(),
        CRASH_ABORT = CrashReason::ABORT.number(),
        CRASH_PROTOCOL = CrashReason::PROTOCOL.number(),
        CRASH_OUT_OF_COPIES = CrashReason::OUT_OF_COPIES.number(),
        LOG_ERROR = LogLevel::ERROR.number(),
        LOG_WARN = LogLevel::WARN.number(),
        LOG_INFO = LogLevel::INFO.number(),
        LOG_DEBUG = LogLevel::DEBUG.number(),
        LOG_TRACE = LogLevel::TRACE.number(),
        DOORBELL_PORT = doorbell(DoorbellKind::PORT),
        DOORBELL_HVC = doorbell(DoorbellKind::HVC),
        DOORBELL_MMIO = doorbell(DoorbellKind::MMIO),
        DOORBELL_SBI = doorbell(DoorbellKind::SBI),
        PORT_DOORBELL = PORT_DOORBELL,
        HVC_DOORBELL = HVC_DOORBELL,
        SBI_DOORBELL = SBI_DOORBELL,
        MAGIC = BootInfo::MAGIC,
        NOTE_TYPE = Note::TYPE,
        NOTE_FLOAT = NoteFlags::FLOAT.bits(),
        NOTE_COPIES_PAGES = NoteFlags::COPIES_PAGES.bits(),
        SCRATCH_RESERVE = ScratchState::RESERVE,
        TYPED = FunctionFlags::TYPED.bits(),
        BYTES = FunctionFlags::BYTES.bits(),
        MAX_NAME = FunctionRecord::MAX_NAME,
        MAX_RECORDS = FunctionRecord::MAX_RECORDS,
    ];
    let constant = |(name, value): (&str, u64)| (format!("VMSB_{name}"), value);
    let mut values: Vec<Value> = layout.into_iter().chain(others).map(constant).collect();
    let kinds = (0..1000).filter(|number| MessageKind::read(*number).name().is_some());
    let listed = others.iter().skip_while(|(name, _)| *name != "CALL");
    let listed = listed.take_while(|(name, _)| *name != "FLUSH").count();
    if kinds.count() != listed {
        return Err("not every kind of messages is in this test".to_owned());
    }
    values.push((
        "sizeof(VMSB_NOTE_OWNER) - 1".to_owned(),
        number(Note::OWNER.len()),
    ));
    for (at, byte) in Note::OWNER.bytes().enumerate() {
        values.push((format!("VMSB_NOTE_OWNER[{at}]"), byte.into()));
    }
    check("constants", "", &values)
}

/// A kind from its number.
trait Read {
    fn read(number: u32) -> Self;
}

impl Read for MessageKind {
    fn read(number: u32) -> Self {
        zerocopy::FromBytes::read_from_bytes(&number.to_le_bytes()).unwrap()
    }
}

fn signatures() -> Result<(), String> {
    macro_rules! types {
        ($($name:literal: $type:ty),* $(,)?) => {
            vec![$((format!("VMSB_TYPE_{}", $name), <$type as Shape>::HASH)),*]
        };
    }
    let mut values = types! {
        "UNIT": (), "BOOL": bool, "CHAR": char, "STRING": &str, "F32": f32, "F64": f64, "U8": u8, "U16": u16, "U32": u32,
        "U64": u64, "U128": u128, "I8": i8, "I16": i16, "I32": i32, "I64": i64, "I128": i128, "BYTES": &[u8],
        "SEQUENCE(VMSB_TYPE_U8)": &[u8], "SEQUENCE(VMSB_TYPE_STRING)": &[&str], "OPTION(VMSB_TYPE_I64)": Option<i64>,
    };
    let before = "
        VMSB_SIGNATURE_0(none, VMSB_TYPE_UNIT);
        VMSB_SIGNATURE_1(one, VMSB_TYPE_UNIT, VMSB_TYPE_STRING);
        VMSB_SIGNATURE_2(two, VMSB_TYPE_U32, VMSB_TYPE_U32, VMSB_TYPE_U32);
        VMSB_SIGNATURE_3(three, VMSB_TYPE_BYTES, VMSB_TYPE_U8, VMSB_TYPE_BOOL, VMSB_TYPE_OPTION(VMSB_TYPE_F64));
        VMSB_SIGNATURE_4(four, VMSB_TYPE_SEQUENCE(VMSB_TYPE_STRING), VMSB_TYPE_I8, VMSB_TYPE_I16, VMSB_TYPE_I32, VMSB_TYPE_I64);
    ";
    values.extend(
        [
            ("none", signature::<(), ()>()),
            ("one", signature::<(&str,), ()>()),
            ("two", signature::<(u32, u32), u32>()),
            ("three", signature::<(u8, bool, Option<f64>), [u8]>()),
            ("four", signature::<(i8, i16, i32, i64), [&str]>()),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    check("signatures", before, &values)
}

fn tables() -> Result<(), String> {
    let before = "
        VMSB_SIGNATURE_2(sum, VMSB_TYPE_U32, VMSB_TYPE_U32, VMSB_TYPE_U32);
        static void code(void) {}
        VMSB_EXPORT(add, \"add\", VMSB_TYPED, sum, code);
        VMSB_EXPORT(echo, \"echo\", VMSB_BYTES, 0, code);
        VMSB_IMPORT(now, \"now\", VMSB_TYPED, VMSB_TYPE_U64);
        VMSB_GUEST(VMSB_NOTE_FLOAT, code, code, 4096, 8192);
        static uint64_t exports(void) { return __stop_vmsandbox_exports - __start_vmsandbox_exports; }
        static uint64_t imports(void) { return __stop_vmsandbox_imports - __start_vmsandbox_imports; }
    ";
    let values = [
        ("exports()", 2),
        ("imports()", 1),
        ("add.signature", signature::<(u32, u32), u32>()),
        ("add.name_len", 3),
        ("((const char *)add.name)[2]", b'd'.into()),
        ("add.function == (uint64_t)code", 1),
        ("echo.flags", FunctionFlags::BYTES.bits().into()),
        ("now.function + now.reserved", 0),
        ("vmsb_guest_note.name_len", number(Note::OWNER.len() + 1)),
        ("vmsb_guest_note.descriptor_len", number(size_of::<Note>())),
        ("vmsb_guest_note.kind", Note::TYPE.into()),
        (
            "vmsb_guest_note.note.exports == (uint64_t)__start_vmsandbox_exports",
            1,
        ),
        (
            "vmsb_guest_note.note.imports_end == (uint64_t)__stop_vmsandbox_imports",
            1,
        ),
        ("vmsb_guest_note.note.min_heap", 4096),
        ("vmsb_guest_note.note.min_stack", 8192),
    ]
    .map(|(expression, value)| (expression.to_owned(), value));
    check("tables", before, &values)
}

fn assembly() -> Result<(), String> {
    let source = "#include \"vmboot_sandbox.h\"\n\
        stack_top VMSB_BOOT_INFO_STACK_TOP\n\
        fault_stack_top VMSB_BOOT_INFO_FAULT_STACK_TOP\n\
        mmu VMSB_BOOT_INFO_MMU\n\
        page VMSB_BOOT_INFO\n\
        image VMSB_IMAGE\n";
    let text = preprocessed("assembly", source)?;
    let lines = text.lines().filter_map(|line| line.split_once(' '));
    let found: BTreeMap<&str, &str> = lines.collect();
    let expected = [
        ("stack_top", offset_of!(BootInfo, stack_top).to_string()),
        (
            "fault_stack_top",
            offset_of!(BootInfo, fault_stack_top).to_string(),
        ),
        ("mmu", offset_of!(BootInfo, mmu).to_string()),
        ("page", format!("{:#x}", layout::BOOT_INFO)),
        ("image", format!("{:#x}", layout::IMAGE)),
    ];
    for (name, expected) in expected {
        if found.get(name) != Some(&expected.as_str()) {
            return Err(format!(
                "{name} is {:?}, expected {expected}; the text:\n{text}",
                found.get(name)
            ));
        }
    }
    Ok(())
}
