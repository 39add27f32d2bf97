/* An allocator that keeps account of what it gave, and that fails where a mask says so. */
#ifndef VMOE_TESTS_FUZZ_ACCOUNT_H
#define VMOE_TESTS_FUZZ_ACCOUNT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <vmoe.h>

struct account {
    vmoe_allocator allocator; /* to be handed to the library */
    uint64_t calls;           /* of alloc, failed ones too */
    uint64_t failures;
    size_t live, peak; /* bytes that are allocated now, and at most */
    uint64_t mask;     /* bit i: call i (from 0) fails; calls from 64 on never do */
    uint64_t last;     /* calls from this one on fail */
};

/* Nothing fails yet. */
void account_open(struct account *account);

/* Every byte must have come back. */
void account_close(const struct account *account);

#endif
