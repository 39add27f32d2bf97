/*
 * Brings lines of the panel into the first and the second level.  A panel from memory needs both:
 * the first level alone cannot have enough lines under way.
 */
#ifndef VMOE_KERNELS_X86_PREFETCH_H
#define VMOE_KERNELS_X86_PREFETCH_H

#include <immintrin.h>

#define PREFETCH_LINE(line)                                                                        \
    do {                                                                                           \
        const char *const ahead = (const char *)(line);                                            \
                                                                                                   \
        _mm_prefetch(ahead + TILE_BYTES, _MM_HINT_T0);                                             \
        _mm_prefetch(ahead + 2 * TILE_BYTES, _MM_HINT_T0);                                         \
        _mm_prefetch(ahead + 8 * TILE_BYTES, _MM_HINT_T1);                                         \
        _mm_prefetch(ahead + 9 * TILE_BYTES, _MM_HINT_T1);                                         \
    } while (0)

#endif
