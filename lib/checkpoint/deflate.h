/* What the two users of zlib share. */
#ifndef VMOE_CHECKPOINT_DEFLATE_H
#define VMOE_CHECKPOINT_DEFLATE_H

#include <stdint.h>
#include <zlib.h>

#include "runtime/memory.h"

/*
 * Deflate codes at most 258 bytes in 2 bits, so what promises more is refused before memory is
 * taken for it.
 */
#define VMOE_DEFLATE_RATIO 1032u

static inline voidpf vmoe_deflate_take(voidpf context, uInt count, uInt bytes)
{
    return vmoe_memory_take(context, (uint64_t)count * bytes);
}

static inline void vmoe_deflate_release(voidpf context, voidpf memory)
{
    vmoe_memory_release(context, memory);
}

/* A stream that will take its memory from the allocator. */
static inline z_stream vmoe_deflate_stream(const vmoe_allocator *allocator)
{
    return (z_stream){ .zalloc = vmoe_deflate_take,
                       .zfree = vmoe_deflate_release,
                       .opaque = (voidpf)(uintptr_t)allocator };
}

#endif
