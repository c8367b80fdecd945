/* Runtime of guests in C. */
#include "runtime.h"

/* Most unfinished calls of the host below a call. */
#define MAX_DEPTH 8

/* x86_64 without floating-point registers is for KVM on machines without VMX and SVM. */
#if defined(__x86_64__) && !defined(__SSE2__)
#define FLAGS 0
#else
#define FLAGS VMSB_NOTE_FLOAT
#endif

VMSB_GUEST(FLAGS, vmsb_start, vmsb_vectors, 0x10000, 0x4000);

/* Unfinished calls of the call that runs. */
static uint32_t depth;
/* Log records that were dropped since the last message. */
static uint32_t dropped;
/* Bytes of the arena in use. */
static uint64_t allocated;
/* How often the program crashed: a second time while it reports the first. */
static uint32_t crashes;

static _Noreturn void stop(struct vmsb_crash_record *record, const char *text, const char *file, uint32_t line);

static const struct vmsb_header *inbox(void)
{
    return (const struct vmsb_header *)boot_info()->inbox;
}

static struct vmsb_header *outbox(void)
{
    return (struct vmsb_header *)boot_info()->outbox;
}

static uint8_t *outbox_body(void)
{
    return (uint8_t *)(outbox() + 1);
}

/* Length of the body of a window. */
static uint64_t capacity(void)
{
    return boot_info()->window_len - sizeof(struct vmsb_header);
}

/* Puts a message whose body is in the window into the outbox, as the answer to the last one. */
static void prepare(struct vmsb_header header)
{
    header.sequence = inbox()->sequence;
    header.depth = depth;
    header.log_budget = dropped;
    dropped = 0;
    *outbox() = header;
}

/* Sends the message in the outbox. When it returns, the next message is in the inbox. */
static void ring(void)
{
    vmsb_ring(boot_info());
    if (inbox()->flags & VMSB_FLUSH)
        vmsb_flush_translations();
}

static void send(struct vmsb_header header)
{
    prepare(header);
    ring();
}

static _Noreturn void protocol_error(const char *text)
{
    struct vmsb_crash_record record = {0};
    save_registers(&record);
    record.reason = VMSB_CRASH_PROTOCOL;
    stop(&record, text, NULL, 0);
}

/* Sends a payload in as many parts as it needs, except for the last one, which is in the outbox then. False if the host refused the rest. */
static bool start_payload(struct vmsb_header header, struct bytes payload)
{
    uint64_t sent = 0;
    for (;;) {
        uint64_t len = payload.len - sent;
        if (len > capacity())
            len = capacity();
        memcpy(outbox_body(), payload.at + sent, len);
        header.len = (uint32_t)len;
        header.offset = sent;
        header.total = payload.len;
        sent += len;
        if (sent == payload.len) {
            prepare(header);
            return true;
        }
        send(header);
        /* The host can refuse the rest by another message. */
        if (inbox()->kind != VMSB_CONTINUE)
            return false;
        header = (struct vmsb_header){.kind = VMSB_MORE};
    }
}

/* Receives the payload whose first part is in the inbox. False if there is no memory for it. */
static bool receive_payload(struct bytes *payload)
{
    uint64_t total = inbox()->total;
    uint8_t *to = allocate(total);
    if (!to)
        return false;
    for (uint64_t received = 0;;) {
        uint64_t len = inbox()->len;
        if (len > capacity() || len > total - received || inbox()->total != total || inbox()->offset != received)
            protocol_error("a part of a payload is not the next one");
        memcpy(to + received, inbox() + 1, len);
        received += len;
        if (received == total)
            break;
        send((struct vmsb_header){.kind = VMSB_CONTINUE});
        if (inbox()->kind != VMSB_MORE)
            protocol_error("a part of a payload does not follow");
    }
    *payload = (struct bytes){to, total};
    return true;
}

/* Executes the call in the inbox. Its result is in the outbox then; false if the host refused it, and its next message is in the inbox. */
static bool serve(void)
{
    struct vmsb_header message = *inbox();
    uint32_t outer = depth;
    uint64_t mark = allocated;
    struct call call = {.is_valid = true};
    uint64_t exports = (uint64_t)(__stop_vmsandbox_exports - __start_vmsandbox_exports);
    if (message.kind != VMSB_CALL || message.depth > MAX_DEPTH)
        protocol_error("a call was expected");
    depth = message.depth;
    if (message.function >= exports) {
        call.status = VMSB_NO_FUNCTION;
    } else if (!receive_payload(&call.parameters)) {
        call.status = VMSB_NO_MEMORY;
    } else {
        guest_function *function = (guest_function *)__start_vmsandbox_exports[message.function].function;
        function(&call);
    }
    bool is_ready = start_payload((struct vmsb_header){.kind = VMSB_RETURN, .status = call.status}, call.result);
    allocated = mark;
    depth = outer;
    return is_ready;
}

uint32_t call_host(const struct vmsb_function *import, struct bytes parameters, struct bytes *result)
{
    uint32_t number = (uint32_t)(import - __start_vmsandbox_imports);
    if (start_payload((struct vmsb_header){.kind = VMSB_HOST_CALL, .function = number}, parameters))
        ring();
    while (inbox()->kind == VMSB_CALL)
        if (serve())
            ring();
    if (inbox()->kind != VMSB_HOST_REPLY)
        protocol_error("a reply of the host was expected");
    uint32_t status = inbox()->status;
    if (!receive_payload(result))
        panic("no memory for the result of a host function");
    return status;
}

/* Called by the start-up code. */
_Noreturn void vmsb_main(void)
{
    init();
    prepare((struct vmsb_header){.kind = VMSB_READY});
    /* The program waits for calls at this one place, with nothing in registers that changes between calls: see vmboot_sandbox.h. */
    for (;;) {
        ring();
        while (!serve())
            ;
    }
}

__attribute__((weak)) void init(void) {}

__attribute__((weak)) struct bytes arena(void)
{
    return (struct bytes){(const uint8_t *)boot_info()->heap, boot_info()->heap_len};
}

void *allocate(uint64_t len)
{
    struct bytes all = arena();
    uint64_t start = allocated;
    if (len > all.len - start)
        return NULL;
    uint64_t end = (start + len + 15) & ~UINT64_C(15);
    allocated = end < all.len ? end : all.len;
    return (uint8_t *)all.at + start;
}

uint64_t read_unsigned(struct call *call, unsigned bits)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && call->is_valid && call->parameters.len; shift += 7) {
        uint8_t byte = *call->parameters.at++;
        uint64_t part = byte & 0x7f;
        call->parameters.len--;
        if (part << shift >> shift != part)
            break;
        value |= part << shift;
        if (!(byte & 0x80)) {
            call->is_valid = bits == 64 || value >> bits == 0;
            return call->is_valid ? value : 0;
        }
    }
    call->is_valid = false;
    return 0;
}

struct bytes read_bytes(struct call *call)
{
    uint64_t len = read_unsigned(call, 64);
    struct bytes bytes = {call->parameters.at, len};
    if (len > call->parameters.len)
        call->is_valid = false;
    if (!call->is_valid)
        return (struct bytes){0};
    call->parameters.at += len;
    call->parameters.len -= len;
    return bytes;
}

uint64_t write_unsigned(uint8_t *to, uint64_t value)
{
    uint64_t len = 0;
    for (; value >= 0x80; value >>= 7)
        to[len++] = (uint8_t)(value | 0x80);
    to[len++] = (uint8_t)value;
    return len;
}

void return_unsigned(struct call *call, uint64_t value)
{
    call->result = (struct bytes){call->short_result, write_unsigned(call->short_result, value)};
}

/* Appends a text with its length to a result of `start` bytes. */
static void append_string(struct call *call, uint64_t start, const char *text, uint64_t len)
{
    uint8_t *to = call->short_result;
    if (start + len + 10 > sizeof(call->short_result)) {
        to = allocate(start + len + 10);
        if (!to)
            panic("no memory for a text");
        memcpy(to, call->short_result, start);
    }
    uint64_t text_start = start + write_unsigned(to + start, len);
    memcpy(to + text_start, text, len);
    call->result = (struct bytes){to, text_start + len};
}

void return_string(struct call *call, const char *text)
{
    append_string(call, 0, text, strlen(text));
}

void return_error(struct call *call, uint32_t status, uint32_t code, const char *text)
{
    uint64_t len = strlen(text);
    call->status = status;
    append_string(call, write_unsigned(call->short_result, code), text, len < 100 ? len : 100);
}

void log_text(uint8_t level, const char *target, uint32_t line, const char *text, uint64_t len)
{
    struct vmsb_log_record record = {.level = level, .target_len = (uint8_t)strlen(target), .line = line};
    uint64_t start = sizeof(record) + record.target_len;
    if (inbox()->log_budget == 0) {
        dropped++;
        return;
    }
    if (len > capacity() - start)
        len = capacity() - start;
    record.message_len = (uint32_t)len;
    memcpy(outbox_body(), &record, sizeof(record));
    memcpy(outbox_body() + sizeof(record), target, record.target_len);
    memcpy(outbox_body() + start, text, len);
    send((struct vmsb_header){.kind = VMSB_LOG, .len = (uint32_t)(start + len), .total = start + len});
    if (inbox()->kind != VMSB_CONTINUE)
        protocol_error("the host does not continue after a log record");
}

/* Sends the last message: a record, a text, and its place in the source unless `file` is null. */
static void report(struct vmsb_crash_record *record, const char *text, const char *file, uint32_t line)
{
    uint64_t len = strlen(text);
    uint64_t file_len = file ? strlen(file) : 0;
    uint64_t room = capacity() - sizeof(*record) - sizeof(struct vmsb_crash_location);
    uint8_t *to = outbox_body();
    if (file_len > 255)
        file_len = 255;
    if (len > room - file_len)
        len = room - file_len;
    record->message_len = (uint32_t)len;
    memcpy(to, record, sizeof(*record));
    to += sizeof(*record);
    memcpy(to, text, len);
    to += len;
    if (file) {
        struct vmsb_crash_location location = {.line = line, .column = 1, .file_len = (uint16_t)file_len};
        memcpy(to, &location, sizeof(location));
        memcpy(to + sizeof(location), file, file_len);
        to += sizeof(location) + file_len;
    }
    uint64_t total = (uint64_t)(to - outbox_body());
    send((struct vmsb_header){.kind = VMSB_CRASH, .len = (uint32_t)total, .total = total});
}

/* Reports a crash, or the crash of such a report without a text, and gives the host control as often as it returns. */
static _Noreturn void stop(struct vmsb_crash_record *record, const char *text, const char *file, uint32_t line)
{
    if (crashes++ == 0)
        report(record, text, file, line);
    for (;;)
        report(record, "", NULL, 0);
}

_Noreturn void panic_at(const char *text, const char *file, uint32_t line)
{
    struct vmsb_crash_record record = {0};
    save_registers(&record);
    record.reason = VMSB_CRASH_PANIC;
    stop(&record, text, file, line);
}

/* Called by the exception handlers, with a record of the registers. */
_Noreturn void vmsb_exception(struct vmsb_crash_record *record)
{
    record->reason = VMSB_CRASH_EXCEPTION;
    stop(record, "exception", NULL, 0);
}
