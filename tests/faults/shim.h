/*
 * Calls to the operating system that fail when they are told to.  Programs that link shim.c wrap
 * what the library calls (SHIM_LDFLAGS in faults.mk); a shim that is not armed changes and counts
 * nothing.  An armed one belongs to one thread.
 */
#ifndef VMOE_TESTS_SHIM_H
#define VMOE_TESTS_SHIM_H

#include <stdbool.h>
#include <stddef.h>

enum shim_call {
    SHIM_OPEN,
    SHIM_FSTAT,
    SHIM_STAT,
    SHIM_CHMOD,
    SHIM_READ,
    SHIM_MAP,
    SHIM_WRITE,
    SHIM_SYNC,
    SHIM_CLOSE,
    SHIM_RENAME,
    SHIM_UNLINK,
    SHIM_THREAD,
    SHIM_LOCK,
    SHIM_CONDITION,
    SHIM_ATTRIBUTES,
    SHIM_STACK,
    SHIM_CALLS
};

/* Instead of an errno: a read or write that moves nothing. */
#define SHIM_NOTHING (-1)

struct shim {
    bool armed;
    size_t counts[SHIM_CALLS];    /* calls since shim_arm */
    size_t at_rename[SHIM_CALLS]; /* ... when the first rename came */
    /* Call number `at` (from 1) of this kind fails with `error`, or all from it on. */
    enum shim_call call;
    size_t at;
    int error;
    bool persistent;
    /* Every other call that may be interrupted is; reads and writes move at most so much. */
    bool interrupted;
    size_t most;
    /* So many files to be created find a link to this in their way. */
    size_t in_the_way;
    const char *victim;
};

extern struct shim shim;

/* Arms it with the fields that are set in `plan`, counting from zero. */
void shim_arm(struct shim plan);
void shim_disarm(void);

#endif
