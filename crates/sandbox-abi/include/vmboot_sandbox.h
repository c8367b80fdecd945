/*
 * Binary interface between a guest program in a sandbox and its host: version 1.0. The crate sandbox-abi describes each part.
 *
 * Needs C99 without a library, and GCC or Clang for signatures, tables and the doorbell. Assemblers can include it for its
 * constants. All integers are little-endian, as those of the three architectures are.
 */
#ifndef VMBOOT_SANDBOX_H
#define VMBOOT_SANDBOX_H

#ifdef __ASSEMBLER__
#define VMSB_U64(value) value
#else
#include <stddef.h>
#include <stdint.h>
#define VMSB_U64(value) UINT64_C(value)
#endif

/* Version of the interface. A host accepts guests of the same major version whose minor version is not higher. */
#define VMSB_VERSION_MAJOR 1
#define VMSB_VERSION_MINOR 0

/*
 * Guest physical addresses, which are also the virtual ones at the start.
 */

/* Size of a page. */
#define VMSB_PAGE VMSB_U64(0x1000)
/* Pages that the host writes and the guest cannot, and their length. */
#define VMSB_HOST VMSB_U64(0x3fe00000)
#define VMSB_HOST_LEN VMSB_U64(0x200000)
/* Code of the host that loads registers, these registers, and their largest length. */
#define VMSB_REWIND_CODE VMSB_HOST
#define VMSB_REWIND_IMAGE VMSB_U64(0x3fe01000)
#define VMSB_REWIND_IMAGE_LEN VMSB_U64(0x8000)
/* struct vmsb_boot_info, one page. */
#define VMSB_BOOT_INFO VMSB_U64(0x3fe09000)
/* x86_64: global descriptor table with task state segment, and interrupt descriptor table; one page each. */
#define VMSB_GDT VMSB_U64(0x3fe0a000)
#define VMSB_IDT VMSB_U64(0x3fe0b000)
/* Messages of the host. */
#define VMSB_INBOX VMSB_U64(0x3fe10000)
/* First address and end of the program. */
#define VMSB_IMAGE VMSB_U64(0x40000000)
#define VMSB_IMAGE_END VMSB_U64(0x50000000)
/* End of the memory with data, stacks and heap, and of outbox and page tables behind it. */
#define VMSB_MEMORY_END VMSB_U64(0x1000000000)
/* Page tables of mapped files and regions, which the program cannot read. */
#define VMSB_REGION_TABLES VMSB_U64(0x1000000000)
#define VMSB_REGION_TABLES_LEN VMSB_U64(0x200000)
/* Mapped files and regions, and the alignment of their first addresses. The host tells a program address and length of each in a call. */
#define VMSB_REGIONS VMSB_U64(0x1000200000)
#define VMSB_REGIONS_END VMSB_U64(0x3fc0000000)
#define VMSB_REGION_ALIGN VMSB_U64(0x200000)
/* arm64: address of the doorbell on hosts without a filter for SMCCC calls. */
#define VMSB_MMIO_DOORBELL VMSB_U64(0x3ffffff000)
/* Length of the guards below and above each stack. */
#define VMSB_GUARD VMSB_U64(0x10000)
/* Length of the stack of exception handlers. */
#define VMSB_FAULT_STACK VMSB_U64(0x4000)
/* Smallest and largest length of inbox and outbox. */
#define VMSB_MIN_WINDOW 0x1000
#define VMSB_MAX_WINDOW 0x100000
/* Alignment of the heap. */
#define VMSB_HEAP_ALIGN VMSB_U64(0x200000)

/*
 * Kinds of messages.
 */

/* Host: call a function of the exports. */
#define VMSB_CALL 1
/* Guest: result of the call. */
#define VMSB_RETURN 2
/* Guest: call a function of the imports. */
#define VMSB_HOST_CALL 3
/* Host: result of the host function. */
#define VMSB_HOST_REPLY 4
/* Sender of a long payload: its next part. */
#define VMSB_MORE 5
/* Receiver of a long payload: send the next part. Host: the log records were received. */
#define VMSB_CONTINUE 6
/* Guest: ready for the first call. */
#define VMSB_READY 7
/* Guest: panic or fault; the body begins with struct vmsb_crash_record. */
#define VMSB_CRASH 8
/* Guest: log records. */
#define VMSB_LOG 9

/* Flag of a message of the host: flush the cached translations before anything else. */
#define VMSB_FLUSH 1

/*
 * Results of functions.
 */

#define VMSB_OK 0
/* The function failed; the payload is a code and a message: postcard of (u32, &str). */
#define VMSB_ERROR 1
/* The parameters cannot be decoded; the payload is as for VMSB_ERROR. */
#define VMSB_BAD_PARAMETERS 2
/* There is no function of this number; no payload. */
#define VMSB_NO_FUNCTION 3
/* There is no memory for a payload of this length; no payload. */
#define VMSB_NO_MEMORY 4

/*
 * Reasons of crashes, and levels of log records.
 */

#define VMSB_CRASH_PANIC 1
#define VMSB_CRASH_EXCEPTION 2
#define VMSB_CRASH_OUT_OF_MEMORY 3
#define VMSB_CRASH_ABORT 4
#define VMSB_CRASH_PROTOCOL 5
#define VMSB_CRASH_OUT_OF_COPIES 6

#define VMSB_LOG_ERROR 1
#define VMSB_LOG_WARN 2
#define VMSB_LOG_INFO 3
#define VMSB_LOG_DEBUG 4
#define VMSB_LOG_TRACE 5

/*
 * Doorbells: the kinds of struct vmsb_boot_info, and their usual values.
 */

/* x86_64: OUT of EAX to a port. */
#define VMSB_DOORBELL_PORT 1
/* arm64: HVC #0 with the function number in X0. */
#define VMSB_DOORBELL_HVC 2
/* arm64: a store of 4 bytes to an address. */
#define VMSB_DOORBELL_MMIO 3
/* riscv64: ECALL with the extension in a7. */
#define VMSB_DOORBELL_SBI 4

#define VMSB_PORT_DOORBELL 0x6c
#define VMSB_HVC_DOORBELL VMSB_U64(0xc6005342)
#define VMSB_SBI_DOORBELL VMSB_U64(0x09000000)

/*
 * Offsets in structures, for assemblers.
 */

#define VMSB_BOOT_INFO_STACK_TOP 48
#define VMSB_BOOT_INFO_FAULT_STACK_TOP 56
#define VMSB_BOOT_INFO_MMU 88

/*
 * The note and the tables of functions.
 */

/* Value of vmsb_boot_info.magic: "VMSB". */
#define VMSB_MAGIC VMSB_U64(0x42534d56)
/* Owner of the note, and its type. */
#define VMSB_NOTE_OWNER "VMSandbox"
#define VMSB_NOTE_TYPE 1
/* Flag of the note: the guest uses floating-point or SIMD registers. */
#define VMSB_NOTE_FLOAT 1
/* Flag of the note: exception handlers take copies of pages at writes, if vmsb_boot_info.scratch is not 0. */
#define VMSB_NOTE_COPIES_PAGES 2
/* Pages for copies behind vmsb_boot_info.copy_count, for the report that there are no more. */
#define VMSB_SCRATCH_RESERVE 16
/* Bit of an entry of a page table: a write to the page takes a copy. */
#if defined(__x86_64__)
#define VMSB_COPY_FLAG (VMSB_U64(1) << 9)
#elif defined(__aarch64__)
#define VMSB_COPY_FLAG (VMSB_U64(1) << 55)
#else
#define VMSB_COPY_FLAG (VMSB_U64(1) << 8)
#endif
/* Flags of a function: parameters and result are in postcard's format, or bytes without a format. */
#define VMSB_TYPED 0
#define VMSB_BYTES 1
/* Largest length of a function's name in bytes, and largest number of functions in a table. */
#define VMSB_MAX_NAME 255
#define VMSB_MAX_RECORDS 4096

#ifndef __ASSEMBLER__

/* Contents of the page at VMSB_BOOT_INFO. */
struct vmsb_boot_info {
    uint32_t magic;
    uint16_t major;
    uint16_t minor;
    /* Addresses of inbox and outbox, and the length of each with the header of the message. */
    uint64_t inbox;
    uint64_t outbox;
    uint32_t window_len;
    uint32_t doorbell_kind;
    /* Port, function number, address or extension of the doorbell. */
    uint64_t doorbell;
    /* Lowest and highest address of the stack, and highest of that for exception handlers; the highest ones are exclusive. */
    uint64_t stack;
    uint64_t stack_top;
    uint64_t fault_stack_top;
    uint64_t heap;
    uint64_t heap_len;
    /* Largest payload in bytes. */
    uint64_t max_payload;
    /* arm64: MAIR_EL1, TCR_EL1, TTBR0_EL1, SCTLR_EL1. riscv64: satp. */
    uint64_t mmu[4];
    /* Scratch area, which starts with a page with struct vmsb_scratch_state; 0 if the guest copies no pages. */
    uint64_t scratch;
    /* First page for copies, and their number. VMSB_SCRATCH_RESERVE more follow. */
    uint64_t copies;
    uint64_t copy_count;
    uint64_t reserved[5];
};

/* Start of the scratch area. */
struct vmsb_scratch_state {
    /* Number of pages in use, and number of pages that may be used besides copy_count. */
    uint64_t used;
    uint64_t extra;
};

/* Header of a message, at the start of inbox and outbox. The body follows. */
struct vmsb_header {
    /* Host: number of this message. Guest: number of the message that this one answers. */
    uint64_t sequence;
    uint32_t kind;
    /* Number of the function, for VMSB_CALL and VMSB_HOST_CALL. */
    uint32_t function;
    /* Length of the body in this message. */
    uint32_t len;
    /* Result of the function, for VMSB_RETURN and VMSB_HOST_REPLY. */
    uint32_t status;
    /* Length of the whole payload, and offset of the part in this message. */
    uint64_t total;
    uint64_t offset;
    /* Number of unfinished calls below this one. */
    uint32_t depth;
    uint32_t flags;
    /* Host: log records that it still accepts. Guest: log records that it dropped since its last message. */
    uint32_t log_budget;
    uint32_t reserved[3];
};

/* Descriptor of the note. */
struct vmsb_note {
    uint16_t major;
    uint16_t minor;
    uint32_t flags;
    /* The first instruction. */
    uint64_t entry;
    /* x86_64: 32 entries of 16 bytes. arm64: the vector table. riscv64: the trap handler. */
    uint64_t vectors;
    uint64_t exports;
    uint64_t exports_end;
    uint64_t imports;
    uint64_t imports_end;
    /* Smallest heap and stack in bytes. */
    uint64_t min_heap;
    uint64_t min_stack;
    uint64_t reserved[3];
};

/* A function in the table of exports or imports. Its position is its number in messages. */
struct vmsb_function {
    /* Address and length of the name, which is UTF-8. */
    uint64_t name;
    uint32_t name_len;
    uint32_t flags;
    /* VMSB_SIGNATURE_*; 0 for functions of bytes. */
    uint64_t signature;
    /* Exports: address of a function for the guest's own use. Imports: 0. */
    uint64_t function;
    uint64_t reserved;
};

/* Start of the body of VMSB_CRASH. The text follows, and then a vmsb_crash_location for a panic. */
struct vmsb_crash_record {
    uint32_t reason;
    uint32_t message_len;
    uint64_t pc;
    uint64_t sp;
    uint64_t fp;
    /* X30 or ra; 0 on x86_64. */
    uint64_t link;
    uint64_t fault_address;
    /* Error code, ESR_EL1 or scause. */
    uint64_t error_code;
    /* RFLAGS, SPSR_EL1 or sstatus. */
    uint64_t status;
    uint64_t vector;
    /* x86_64: RAX, RDX, RCX, RBX, RSI, RDI, RBP, RSP, R8 to R15. arm64: X0 to X30, SP. riscv64: x0 to x31. */
    uint64_t general[32];
};

/* Position of a panic in the source. The name of the file follows. */
struct vmsb_crash_location {
    uint32_t line;
    uint32_t column;
    uint16_t file_len;
    uint16_t reserved;
};

/* A log record in the body of VMSB_LOG. Target and text follow, then the next record. */
struct vmsb_log_record {
    uint8_t level;
    uint8_t target_len;
    uint16_t reserved;
    uint32_t message_len;
    uint32_t line;
};

/*
 * Signatures: hashes of types, and of functions. The value of a type is that of sandbox_abi::Shape::HASH.
 */

#define VMSB_TYPE_UNIT UINT64_C(0x6498dfe4855bb3a7)
#define VMSB_TYPE_BOOL UINT64_C(0xcd2fd49bc6b014bd)
#define VMSB_TYPE_CHAR UINT64_C(0xf2a393910b5b3ebd)
#define VMSB_TYPE_STRING UINT64_C(0x704be0d8faaffc58)
#define VMSB_TYPE_F32 UINT64_C(0xdd635018ff703544)
#define VMSB_TYPE_F64 UINT64_C(0xdd744c18ff7ea1ab)
#define VMSB_TYPE_U8 UINT64_C(0x08c48207b56753d8)
#define VMSB_TYPE_U16 UINT64_C(0x4d24d3193e7ef3bf)
#define VMSB_TYPE_U32 UINT64_C(0x4d2bdf193e8526d1)
#define VMSB_TYPE_U64 UINT64_C(0x4d35d3193e8d66f2)
#define VMSB_TYPE_U128 UINT64_C(0x9478b2e531ac5cf1)
#define VMSB_TYPE_I8 UINT64_C(0x08b70a07b55bfd94)
#define VMSB_TYPE_I16 UINT64_C(0x2aebbf192b3b86fb)
#define VMSB_TYPE_I32 UINT64_C(0x2af2b3192b419145)
#define VMSB_TYPE_I64 UINT64_C(0x2ae1af192b331746)
#define VMSB_TYPE_I128 UINT64_C(0x2a2a82c47632484d)
/* Vec<T> and &[T]; Option<T>. T is one of the constants above: the text of an expression in an expression grows eightfold. */
#define VMSB_TYPE_SEQUENCE(T) VMSB_HASH(UINT64_C(0xaa38aca481f528a8), T)
#define VMSB_TYPE_OPTION(T) VMSB_HASH(UINT64_C(0x03c119c726692754), T)
/* Vec<u8> and &[u8]. */
#define VMSB_TYPE_BYTES UINT64_C(0x1998a7ce944e83e9)

/* One step of FNV-1a with 64 bits, for byte n of a value. */
#define VMSB_FNV(hash, value, n) \
    (((hash) ^ (((uint64_t)(value) >> (8 * (n))) & 0xff)) * UINT64_C(0x100000001b3))
#define VMSB_FNV64(hash, value) \
    VMSB_FNV(VMSB_FNV(VMSB_FNV(VMSB_FNV(VMSB_FNV(VMSB_FNV(VMSB_FNV(VMSB_FNV( \
        hash, value, 0), value, 1), value, 2), value, 3), value, 4), value, 5), value, 6), value, 7)
/* Hash of the hash a, followed by the hash b: sandbox_abi::shape::combine. */
#define VMSB_HASH(a, b) VMSB_FNV64(VMSB_FNV64(UINT64_C(0xcbf29ce484222325), a), b)
#define VMSB_TUPLE UINT64_C(0x9123e5d0c6b648d1)

/*
 * VMSB_SIGNATURE_n(name, result, parameters...) defines the constant `name`: the signature of a function with n parameters. The
 * results of functions that can fail are those of their success. More parameters are more lines of the same form.
 */
#define VMSB_SIGNATURE_0(name, R) \
    __extension__ enum { name = VMSB_HASH(VMSB_TYPE_UNIT, R) }
#define VMSB_SIGNATURE_1(name, R, A) \
    __extension__ enum { name##_1 = VMSB_HASH(VMSB_TUPLE, A), name = VMSB_HASH(name##_1, R) }
#define VMSB_SIGNATURE_2(name, R, A, B) \
    __extension__ enum { \
        name##_1 = VMSB_HASH(VMSB_TUPLE, A), name##_2 = VMSB_HASH(name##_1, B), name = VMSB_HASH(name##_2, R) \
    }
#define VMSB_SIGNATURE_3(name, R, A, B, C) \
    __extension__ enum { \
        name##_1 = VMSB_HASH(VMSB_TUPLE, A), name##_2 = VMSB_HASH(name##_1, B), name##_3 = VMSB_HASH(name##_2, C), \
        name = VMSB_HASH(name##_3, R) \
    }
#define VMSB_SIGNATURE_4(name, R, A, B, C, D) \
    __extension__ enum { \
        name##_1 = VMSB_HASH(VMSB_TUPLE, A), name##_2 = VMSB_HASH(name##_1, B), name##_3 = VMSB_HASH(name##_2, C), \
        name##_4 = VMSB_HASH(name##_3, D), name = VMSB_HASH(name##_4, R) \
    }

/*
 * Tables: records in the sections vmsandbox_exports and vmsandbox_imports, whose start and end the linker defines.
 */

#define VMSB_RECORD(table) static const struct vmsb_function __attribute__((used, section(table), aligned(8)))

/* A function that the guest offers: `symbol` is the name of the record, `code` what the guest's runtime calls. */
#define VMSB_EXPORT(symbol, text, how, hash, code) \
    VMSB_RECORD("vmsandbox_exports") symbol = { \
        (uint64_t)(text), sizeof(text) - 1, (how), (hash), (uint64_t)(code), 0 \
    }
/* A function that the guest needs. Its number is its position: &symbol - __start_vmsandbox_imports. */
#define VMSB_IMPORT(symbol, text, how, hash) \
    VMSB_RECORD("vmsandbox_imports") symbol = { (uint64_t)(text), sizeof(text) - 1, (how), (hash), 0, 0 }

extern const struct vmsb_function __start_vmsandbox_exports[], __stop_vmsandbox_exports[];
extern const struct vmsb_function __start_vmsandbox_imports[], __stop_vmsandbox_imports[];

/* The note in the form of an ELF file. */
struct vmsb_elf_note {
    uint32_t name_len;
    uint32_t descriptor_len;
    uint32_t kind;
    char owner[12];
    struct vmsb_note note;
};

/* The note of a guest; one for each program. `code` and `handlers` are the values for entry and vectors. */
#define VMSB_GUEST(bits, code, handlers, heap, stack) \
    static const struct vmsb_elf_note __attribute__((used, section(".note.vmsandbox"), aligned(8))) vmsb_guest_note = { \
        sizeof(VMSB_NOTE_OWNER), sizeof(struct vmsb_note), VMSB_NOTE_TYPE, VMSB_NOTE_OWNER, \
        { \
            VMSB_VERSION_MAJOR, VMSB_VERSION_MINOR, (bits), (uint64_t)(code), (uint64_t)(handlers), \
            (uint64_t)__start_vmsandbox_exports, (uint64_t)__stop_vmsandbox_exports, \
            (uint64_t)__start_vmsandbox_imports, (uint64_t)__stop_vmsandbox_imports, (heap), (stack), {0} \
        } \
    }

/*
 * Doorbell: passes the message in the outbox to the host, and returns when the next message is in the inbox.
 *
 * A guest waits for calls from outside at one place in its code with one stack pointer, and needs nothing in registers there: when the host
 * brings memory back, it may give back the registers of another moment at which the guest waited. So READY and the last part of each RETURN
 * at depth 0 are sent by the same doorbell of a loop.
 */

#if defined(__x86_64__)
static inline void vmsb_ring(const struct vmsb_boot_info *info)
{
    __asm__ volatile("outl %%eax, %%dx" : : "a"(0), "d"((uint16_t)info->doorbell) : "memory");
}

/* Flushes the translations that the CPU cached, after a message with VMSB_FLUSH. */
static inline void vmsb_flush_translations(void)
{
    uint64_t scratch;
    __asm__ volatile("movq %%cr3, %0; movq %0, %%cr3" : "=r"(scratch) : : "memory");
}
#elif defined(__aarch64__)
/*
 * A return to a snapshot ends with ERET. With its target in ELR_EL1 and SPSR_EL1 before, the host has nothing to do in the middle
 * of it. Only possible because no exception handler of the guest returns.
 */
static inline void vmsb_ring(const struct vmsb_boot_info *info)
{
    register uint64_t function __asm__("x0") = info->doorbell;
    uint64_t scratch;
    /* EL1 with its own stack pointer, all interrupts masked, no flags. */
    uint64_t pstate = 0x3c5;
    if (info->doorbell_kind == VMSB_DOORBELL_MMIO) {
        __asm__ volatile("adr %0, 1f; msr elr_el1, %0; msr spsr_el1, %1; msr nzcv, xzr; str wzr, [%2]; 1:"
                         : "=&r"(scratch) : "r"(pstate), "r"(info->doorbell) : "memory", "cc");
    } else {
        /* The SMC calling convention allows changes of X0 to X17. */
        __asm__ volatile("adr x9, 1f; msr elr_el1, x9; msr spsr_el1, %1; msr nzcv, xzr; hvc #0; 1:"
                         : "+r"(function) : "r"(pstate)
                         : "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13", "x14", "x15",
                           "x16", "x17", "memory", "cc");
    }
}

static inline void vmsb_flush_translations(void)
{
    __asm__ volatile("dsb nshst; tlbi vmalle1; dsb nsh; isb" : : : "memory");
}
#elif defined(__riscv) && __riscv_xlen == 64
static inline void vmsb_ring(const struct vmsb_boot_info *info)
{
    register uint64_t extension __asm__("a7") = info->doorbell;
    register uint64_t function __asm__("a6") = 0;
    register uint64_t error __asm__("a0") = 0;
    register uint64_t value __asm__("a1");
    __asm__ volatile("ecall" : "+r"(error), "=r"(value) : "r"(extension), "r"(function) : "memory");
}

static inline void vmsb_flush_translations(void)
{
    __asm__ volatile("sfence.vma" : : : "memory");
}
#endif

#endif /* __ASSEMBLER__ */

#endif /* VMBOOT_SANDBOX_H */
