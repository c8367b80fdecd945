/* A guest in C without a library: a function of each kind. */
#include "runtime.h"

VMSB_SIGNATURE_2(ADD, VMSB_TYPE_U32, VMSB_TYPE_U32, VMSB_TYPE_U32);
VMSB_SIGNATURE_1(GREET, VMSB_TYPE_STRING, VMSB_TYPE_STRING);
VMSB_SIGNATURE_1(TWICE, VMSB_TYPE_U64, VMSB_TYPE_U64);
VMSB_SIGNATURE_0(NOTHING, VMSB_TYPE_UNIT);
VMSB_SIGNATURE_1(PANIC, VMSB_TYPE_UNIT, VMSB_TYPE_STRING);
VMSB_SIGNATURE_1(INCREMENT, VMSB_TYPE_U64, VMSB_TYPE_U64);

/* add(a: u32, b: u32) -> u32: the sum. */
static void add(struct call *call)
{
    uint32_t a = (uint32_t)read_unsigned(call, 32);
    uint32_t b = (uint32_t)read_unsigned(call, 32);
    if (!call->is_valid) {
        return_error(call, VMSB_BAD_PARAMETERS, 0, "two numbers of 32 bits were expected");
        return;
    }
    return_unsigned(call, (uint32_t)(a + b));
}
VMSB_EXPORT(add_record, "add", VMSB_TYPED, ADD, add);

/* echo: the same bytes. */
static void echo(struct call *call)
{
    call->result = call->parameters;
}
VMSB_EXPORT(echo_record, "echo", VMSB_BYTES, 0, echo);

/* greet(name: &str) -> Result<String, Error>: a text; an error without a name. */
static void greet(struct call *call)
{
    static const char hello[] = "Hello, ";
    struct bytes name = read_bytes(call);
    char *text = allocate(sizeof(hello) + name.len);
    if (!call->is_valid || name.len == 0) {
        return_error(call, call->is_valid ? VMSB_ERROR : VMSB_BAD_PARAMETERS, 3, "there is nobody to greet");
        return;
    }
    if (!text)
        panic("no memory for a text");
    memcpy(text, hello, sizeof(hello) - 1);
    memcpy(text + sizeof(hello) - 1, name.at, name.len);
    text[sizeof(hello) - 1 + name.len] = 0;
    log_text(VMSB_LOG_INFO, "freestanding", __LINE__, text, strlen(text));
    return_string(call, text);
}
VMSB_EXPORT(greet_record, "greet", VMSB_TYPED, GREET, greet);

/* Of the host, increment(value: u64) -> u64: value + 1. */
VMSB_IMPORT(increment_record, "increment", VMSB_TYPED, INCREMENT);

/* Calls it. */
static uint64_t increment(uint64_t value)
{
    uint8_t parameters[10];
    struct call reply = {.is_valid = true};
    struct bytes sent = {parameters, write_unsigned(parameters, value)};
    if (call_host(&increment_record, sent, &reply.parameters) != VMSB_OK)
        panic("the host function failed");
    value = read_unsigned(&reply, 64);
    if (!reply.is_valid)
        panic("the host function returned something else");
    return value;
}

/* twice(value: u64) -> u64: value + 2, by two calls of the host. */
static void twice(struct call *call)
{
    uint64_t value = read_unsigned(call, 64);
    if (!call->is_valid) {
        return_error(call, VMSB_BAD_PARAMETERS, 0, "a number of 64 bits was expected");
        return;
    }
    return_unsigned(call, increment(increment(value)));
}
VMSB_EXPORT(twice_record, "twice", VMSB_TYPED, TWICE, twice);

/* count() -> u64 and its state: how often it was called. */
static uint64_t calls;

VMSB_SIGNATURE_0(COUNT, VMSB_TYPE_U64);
static void count(struct call *call)
{
    return_unsigned(call, ++calls);
}
VMSB_EXPORT(count_record, "count", VMSB_TYPED, COUNT, count);

/* panic(text: &str): ends the program. */
static void end(struct call *call)
{
    struct bytes text = read_bytes(call);
    char *copy = allocate(text.len + 1);
    if (!copy)
        panic("no memory for a text");
    memcpy(copy, text.at, text.len);
    copy[text.len] = 0;
    panic(copy);
}
VMSB_EXPORT(end_record, "panic", VMSB_TYPED, PANIC, end);

/* null_read(): a read at address 0, which is not mapped. */
static void null_read(struct call *call)
{
    const volatile uint8_t *address = NULL;
    __asm__("" : "+r"(address));
    call->status = *address;
}
VMSB_EXPORT(null_read_record, "null_read", VMSB_TYPED, NOTHING, null_read);

/* write_code(): a write to the code of the program. */
static void write_code(struct call *call)
{
    volatile uint8_t *address = (volatile uint8_t *)(uint64_t)write_code;
    *address = 0;
    (void)call;
}
VMSB_EXPORT(write_code_record, "write_code", VMSB_TYPED, NOTHING, write_code);

/* spin(): does not return. */
static void spin(struct call *call)
{
    (void)call;
    for (;;)
        __asm__ volatile("");
}
VMSB_EXPORT(spin_record, "spin", VMSB_TYPED, NOTHING, spin);
