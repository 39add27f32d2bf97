/* Brings the lines of the panel that come soon into the first-level cache. */
#ifndef VMOE_KERNELS_X86_PREFETCH_H
#define VMOE_KERNELS_X86_PREFETCH_H

#include <immintrin.h>

#define PREFETCH_LINE(line)                                                                        \
    do {                                                                                           \
        const char *const from = (const char *)(line);                                             \
                                                                                                   \
        _mm_prefetch(from + TILE_BYTES, _MM_HINT_T0);                                              \
        _mm_prefetch(from + 2 * TILE_BYTES, _MM_HINT_T0);                                          \
    } while (0)

#endif
