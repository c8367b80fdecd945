/* Runtime of guests in C: calls in both directions, parameters and results, log records, panics. */
#ifndef RUNTIME_H
#define RUNTIME_H

#include <stdbool.h>

#include "vmboot_sandbox.h"

/* Bytes of a payload. */
struct bytes {
    const uint8_t *at;
    uint64_t len;
};

/* A call of the host. Readers take the parameters from its start. */
struct call {
    struct bytes parameters;
    /* False once a parameter could not be read. */
    bool is_valid;
    /* The result: bytes that last until the host has them. */
    uint32_t status;
    struct bytes result;
    /* Memory for short results. */
    uint8_t short_result[128];
};

/* A function for the host; `function` of its record. */
typedef void guest_function(struct call *call);

/* The boot information. */
static inline const struct vmsb_boot_info *boot_info(void)
{
    return (const struct vmsb_boot_info *)VMSB_BOOT_INFO;
}

/* The next parameter, in postcard's format. */
uint64_t read_unsigned(struct call *call, unsigned bits);
struct bytes read_bytes(struct call *call);

/* Sets the result, in postcard's format. */
void return_unsigned(struct call *call, uint64_t value);
void return_string(struct call *call, const char *text);
/* Fails with a code and a text, of which the first 100 bytes count. */
void return_error(struct call *call, uint32_t status, uint32_t code, const char *text);

/* Writes a number in postcard's format, at most 10 bytes, and returns its length. */
uint64_t write_unsigned(uint8_t *to, uint64_t value);

/*
 * Calls a function of the host, whose record is in the table of imports, and returns its status. The host may call functions
 * meanwhile. The result lasts until the function that makes this call returns.
 */
uint32_t call_host(const struct vmsb_function *import, struct bytes parameters, struct bytes *result);

/* Memory until the function of the host's call returns; none if the heap has no more. */
void *allocate(uint64_t len);

/* Sends a record to the log of the host, or drops it if the host accepts no more. */
void log_text(uint8_t level, const char *target, uint32_t line, const char *text, uint64_t len);

/* Ends the program with a text. */
#define panic(text) panic_at(text, __FILE__, __LINE__)
_Noreturn void panic_at(const char *text, const char *file, uint32_t line);

/* First address and length of the part of the heap that `allocate` uses. A program may define it. */
struct bytes arena(void);

/* Called once before the first call. A program may define it. */
void init(void);

/* Functions of a C library, which compilers call. */
void *memcpy(void *restrict to, const void *restrict from, size_t len);
void *memmove(void *to, const void *from, size_t len);
void *memset(void *to, int byte, size_t len);
int memcmp(const void *a, const void *b, size_t len);
size_t strlen(const char *text);

/* Of the start-up code. */
void vmsb_start(void) __asm__("_start");
extern const char vmsb_vectors[];
/* Saves the registers of the caller in a record. */
void save_registers(struct vmsb_crash_record *record);

#endif
