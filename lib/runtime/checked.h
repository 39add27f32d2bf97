/*
 * Arithmetic on sizes that come from files, images or callers before they have been held against
 * limits.h; each function answers false instead of wrapping.
 */
#ifndef VMOE_RUNTIME_CHECKED_H
#define VMOE_RUNTIME_CHECKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline bool vmoe_add_u64(uint64_t a, uint64_t b, uint64_t *sum)
{
    *sum = a + b;
    return *sum >= a;
}

static inline bool vmoe_mul_u64(uint64_t a, uint64_t b, uint64_t *product)
{
    if (b != 0 && a > UINT64_MAX / b)
        return false;
    *product = a * b;
    return true;
}

/* Rounds up to a multiple of `to`, which is not 0. */
static inline bool vmoe_round_up_u64(uint64_t a, uint64_t to, uint64_t *rounded)
{
    uint64_t rest = a % to;

    if (rest == 0) {
        *rounded = a;
        return true;
    }
    return vmoe_add_u64(a, to - rest, rounded);
}

static inline bool vmoe_to_size(uint64_t a, size_t *size)
{
    *size = (size_t)a;
    return *size == a;
}

#endif
