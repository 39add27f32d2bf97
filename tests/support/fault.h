/* An allocator that counts, and that fails when it is told to. */
#ifndef VMOE_TESTS_FAULT_H
#define VMOE_TESTS_FAULT_H

#include <stdbool.h>
#include <stddef.h>
#include <vmoe.h>

struct fault {
    vmoe_allocator allocator; /* to be handed to the library */
    size_t calls;             /* of alloc, failed ones too */
    size_t live, peak;        /* bytes that are allocated now, and at most */
    size_t fail_at;           /* the call that fails, counted from 1; 0: none */
    bool persistent;          /* ... and all calls after it */
};

/* Memory is handed out filled with 0xA5, so nobody can rely on zeros. */
void fault_init(struct fault *fault, size_t fail_at, bool persistent);

/* Entries of a folder, without "." and ".."; 0 if it cannot be opened. */
size_t folder_entries(const char *path);

/*
 * Removes the temporary files that a process has left beside a target, and answers how many there
 * were.
 */
size_t remove_temporaries(const char *target, long process);

/* Open file descriptors of this process, and the one that counts them. */
size_t fault_open_files(void);

#endif
