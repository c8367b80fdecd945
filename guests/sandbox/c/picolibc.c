/* A guest with the C library picolibc: printf writes to the log of the host, malloc takes the upper half of the heap. */
#include "runtime.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The variables that the library has for each thread, of which there is one, and their first values. */
extern char tls_block[];
extern const char tls_image[], tls_image_end[];

/* The lower half of the heap, for parameters and results. */
struct bytes arena(void)
{
    return (struct bytes){(const uint8_t *)boot_info()->heap, boot_info()->heap_len / 2};
}

/* For malloc: more of the upper half. */
void *sbrk(ptrdiff_t len)
{
    static uint64_t used;
    uint64_t start = boot_info()->heap_len / 2;
    uint64_t end = used + (uint64_t)len;
    if (end > boot_info()->heap_len - start) {
        errno = ENOMEM;
        return (void *)-1;
    }
    uint8_t *old = (uint8_t *)boot_info()->heap + start + used;
    used = end;
    return old;
}

/* A line of the output, which becomes a log record when it ends or when there is no more room. */
static char line[256];
static uint64_t line_len;

static void end_line(void)
{
    log_text(VMSB_LOG_INFO, "stdout", 0, line, line_len);
    line_len = 0;
}

static int put(char byte, FILE *file)
{
    (void)file;
    if (byte == '\n') {
        end_line();
        return byte;
    }
    if (line_len == sizeof(line))
        end_line();
    line[line_len++] = byte;
    return byte;
}

static FILE output = FDEV_SETUP_STREAM(put, NULL, NULL, _FDEV_SETUP_WRITE);
FILE *const stdout = &output;
FILE *const stderr = &output;

/* There is one process. Its signals come from `raise`, and those that nothing handles end it. */
pid_t getpid(void)
{
    return 1;
}

int kill(pid_t process, int signal)
{
    (void)process;
    if (signal == SIGABRT)
        panic("abort");
    panic("a signal that nothing handles");
}

_Noreturn void _exit(int status)
{
    (void)status;
    panic("the program ended itself");
}

void init(void)
{
    memcpy(tls_block, tls_image, (size_t)(tls_image_end - tls_image));
    /* The thread pointer: the variables are 16 bytes above it on arm64, and begin there on riscv64. */
#if defined(__aarch64__)
    __asm__ volatile("msr tpidr_el0, %0" : : "r"((uint64_t)tls_block - 16));
#elif defined(__riscv)
    __asm__ volatile("mv tp, %0" : : "r"(tls_block));
#endif
}

static void bad_parameters(struct call *call)
{
    return_error(call, VMSB_BAD_PARAMETERS, 0, "other parameters were expected");
}

/* describe(name: &str, value: u32) -> String: a text by snprintf; the same text by printf. */
VMSB_SIGNATURE_2(DESCRIBE, VMSB_TYPE_STRING, VMSB_TYPE_STRING, VMSB_TYPE_U32);
static void describe(struct call *call)
{
    static const char format[] = "%.*s: %u = %#x, half of it is %.2f";
    struct bytes name = read_bytes(call);
    uint32_t value = (uint32_t)read_unsigned(call, 32);
    if (!call->is_valid || name.len > INT32_MAX) {
        bad_parameters(call);
        return;
    }
    const char *text = (const char *)name.at;
    int len = snprintf(NULL, 0, format, (int)name.len, text, value, value, value / 2.0);
    char *result = malloc((size_t)len + 1);
    if (!result) {
        return_error(call, VMSB_ERROR, (uint32_t)errno, strerror(errno));
        return;
    }
    snprintf(result, (size_t)len + 1, format, (int)name.len, text, value, value, value / 2.0);
    printf("%s\n", result);
    return_string(call, result);
    free(result);
}
VMSB_EXPORT(describe_record, "describe", VMSB_TYPED, DESCRIBE, describe);

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* sort(values: Vec<u32>) -> Vec<u32>: by qsort, in memory of malloc. */
VMSB_SIGNATURE_1(SORT, VMSB_TYPE_SEQUENCE(VMSB_TYPE_U32), VMSB_TYPE_SEQUENCE(VMSB_TYPE_U32));
static void sort(struct call *call)
{
    uint64_t count = read_unsigned(call, 64);
    /* Each number has at least a byte. */
    if (!call->is_valid || count > call->parameters.len) {
        bad_parameters(call);
        return;
    }
    uint32_t *values = malloc(count * sizeof(*values) + 1);
    uint8_t *result = allocate(count * 5 + 10);
    if (!values || !result) {
        free(values);
        return_error(call, VMSB_ERROR, ENOMEM, strerror(ENOMEM));
        return;
    }
    for (uint64_t at = 0; at < count; at++)
        values[at] = (uint32_t)read_unsigned(call, 32);
    if (call->is_valid) {
        uint64_t len = write_unsigned(result, count);
        qsort(values, count, sizeof(*values), compare);
        for (uint64_t at = 0; at < count; at++)
            len += write_unsigned(result + len, values[at]);
        call->result = (struct bytes){result, len};
    } else {
        bad_parameters(call);
    }
    free(values);
}
VMSB_EXPORT(sort_record, "sort", VMSB_TYPED, SORT, sort);

/* allocate(len: u64) -> u64: allocates so many bytes, writes and frees them; an error with errno if there are not as many. */
VMSB_SIGNATURE_1(ALLOCATE, VMSB_TYPE_U64, VMSB_TYPE_U64);
static void use_memory(struct call *call)
{
    uint64_t len = read_unsigned(call, 64);
    if (!call->is_valid) {
        bad_parameters(call);
        return;
    }
    errno = 0;
    volatile char *memory = malloc(len);
    if (!memory) {
        return_error(call, VMSB_ERROR, (uint32_t)errno, strerror(errno));
        return;
    }
    for (uint64_t at = 0; at < len; at += VMSB_PAGE)
        memory[at] = 1;
    free((void *)memory);
    return_unsigned(call, len);
}
VMSB_EXPORT(allocate_record, "allocate", VMSB_TYPED, ALLOCATE, use_memory);

/* abort(): ends the program. */
VMSB_SIGNATURE_0(ABORT, VMSB_TYPE_UNIT);
static void end(struct call *call)
{
    (void)call;
    abort();
}
VMSB_EXPORT(end_record, "abort", VMSB_TYPED, ABORT, end);
