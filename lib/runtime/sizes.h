/* Arithmetic on sizes that are known to be far from wrapping; checked.h has that on all others. */
#ifndef VMOE_RUNTIME_SIZES_H
#define VMOE_RUNTIME_SIZES_H

#include <stddef.h>

static inline size_t vmoe_smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static inline size_t vmoe_larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

static inline size_t vmoe_divide_up(size_t a, size_t b)
{
    return (a + b - 1) / b;
}

#endif
