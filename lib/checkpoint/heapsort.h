/* Sorting of index lists: in place, without memory, never worse than n log n. */
#ifndef VMOE_CHECKPOINT_HEAPSORT_H
#define VMOE_CHECKPOINT_HEAPSORT_H

#include <stddef.h>
#include <stdint.h>

/* Negative, zero or positive as what `a` stands for comes before, with or after that of `b`. */
typedef int (*vmoe_compare)(const void *context, uint32_t a, uint32_t b);

void vmoe_heapsort(uint32_t *items, size_t count, vmoe_compare compare, const void *context);

#endif
