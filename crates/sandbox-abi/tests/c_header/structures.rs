//! Sizes and offsets of structures.

use std::mem::{offset_of, size_of};

use sandbox_abi::{
    BootInfo, CrashLocation, CrashRecord, FunctionRecord, Header, LogRecord, Note, ScratchState,
};
use zerocopy::IntoBytes;

use crate::compiler::{Test, check, number};

pub(crate) const TESTS: [Test; 1] = [("structures", test)];

/// The size of a structure and the offset and size of each field. The pattern has every field, or it does not compile.
macro_rules! structure {
    ($values:ident, $type:ident: $name:literal { $($field:ident),* }) => {
        let _ = |value: &$type| {
            let $type { $($field),* } = value;
            $(let _ = $field;)*
        };
        $values.push((format!("sizeof(struct {})", $name), number(size_of::<$type>())));
        $(
            let field = stringify!($field);
            $values.push((format!("offsetof(struct {}, {field})", $name), number(offset_of!($type, $field))));
            let size = |value: &$type| number(value.$field.as_bytes().len());
            let zero = <$type as zerocopy::FromZeros>::new_zeroed();
            $values.push((format!("sizeof(((struct {} *)0)->{field})", $name), size(&zero)));
        )*
    };
}

fn test() -> Result<(), String> {
    let mut values = Vec::new();
    structure!(values, BootInfo: "vmsb_boot_info" {
        magic, major, minor, inbox, outbox, window_len, doorbell_kind, doorbell, stack, stack_top,
        fault_stack_top, heap, heap_len, max_payload, mmu, scratch, copies, copy_count, reserved
    });
    structure!(values, ScratchState: "vmsb_scratch_state" { used, extra });
    structure!(values, Header: "vmsb_header" {
        sequence, kind, function, len, status, total, offset, depth, flags, log_budget, reserved
    });
    structure!(values, Note: "vmsb_note" {
        major, minor, flags, entry, vectors, exports, exports_end, imports, imports_end, min_heap,
        min_stack, reserved
    });
    structure!(values, FunctionRecord: "vmsb_function" {
        name, name_len, flags, signature, function, reserved
    });
    structure!(values, CrashRecord: "vmsb_crash_record" {
        reason, message_len, pc, sp, fp, link, fault_address, error_code, status, vector, general
    });
    structure!(values, CrashLocation: "vmsb_crash_location" {
        line, column, file_len, reserved
    });
    structure!(values, LogRecord: "vmsb_log_record" {
        level, target_len, reserved, message_len, line
    });
    values.push(("offsetof(struct vmsb_elf_note, note)".to_owned(), 24));
    check("structures", "", &values)
}
