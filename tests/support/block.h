/* Memory that knows its size and never looks fresh: the ground of the allocators that count. */
#ifndef VMOE_TESTS_BLOCK_H
#define VMOE_TESTS_BLOCK_H

#include <stddef.h>

/* The alignment is a power of two.  The first `garbage` bytes are filled.  NULL without memory. */
void *block_take(size_t bytes, size_t alignment, size_t garbage);

/* Fills it again and frees it.  Returns the bytes that were asked for. */
size_t block_release(void *memory, size_t garbage);

#endif
