//! Code of the guests of bare machines. It is copied to 0x8000_0000, which the guest cannot write. Plain memory starts at 0x8001_0000,
//! memory with a dirty log at 0x8010_0000. `ring` rings the doorbell.
#![expect(unsafe_code, reason = "takes assembled code out of this program's own image")]

use std::{arch::global_asm, slice};

use crate::guest_code::guests;

guests! {
    /// Rings forever, and counts in X19 before.
    ring_and_count:
        "1: add x19, x19, #1"
        "ring"
        "b 1b";

    /// Rings without an instruction before.
    ring_at_once:
        "ring"
        "b .";

    /// Writes bytes next to the address in X21, reads it, and rings.
    near_doorbell:
        "mov w9, #0x11"
        "strb w9, [x21, #-1]"
        "ldrb w9, [x21]"
        "add w9, w9, #1"
        "strb w9, [x21, #-1]"
        "ring"
        "b .";

    /// Makes the call with the number in X0 and rings with the result in X19.
    call:
        "hvc #0"
        "mov x19, x0"
        "ring"
        "b .";

    /// Writes to pages 0 (across its end, with two bytes), 64 and 129 of the logged memory, and rings; forever.
    write_pages:
        "movz x9, #0x8010, lsl #16"
        "mov w10, #0x11"
        "1: strb w10, [x9, #0xfff]"
        "add x11, x9, #0x1000"
        "strb w10, [x11]"
        "add x11, x9, #0x40000"
        "str w10, [x11, #8]"
        "add x11, x9, #0x81000"
        "str x10, [x11, #0xff8]"
        "ring"
        "b 1b";

    /// Writes to its own code and to a page of the host at 0x8002_0000, and rings after each with what it reads in X19. Then stores two
    /// registers there.
    write_read_only:
        "movz w10, #0x1234, lsl #16"
        "movk w10, #0x5678"
        "movz x9, #0x8000, lsl #16"
        "str w10, [x9, #0x800]"
        "ldr w19, [x9, #0x800]"
        "ring"
        "movz x9, #0x8002, lsl #16"
        "str w10, [x9]"
        "ldr w19, [x9]"
        "ring"
        // Maintenance by address of memory that cannot be written, and where there is none.
        "dc civac, x9"
        "dc cvac, x9"
        "dc ivac, x9"
        "movz x11, #0x4000, lsl #16"
        "dc civac, x11"
        "mov x19, #7"
        "ring"
        "stp w10, w10, [x9]"
        "b .";
}
