/* A tile of 14 x 32 sums in 28 registers of 512 bits, whatever is multiplied. */
#ifndef VMOE_KERNELS_X86_REGISTER_TILE_H
#define VMOE_KERNELS_X86_REGISTER_TILE_H

#define TILE_ROWS 14u
#define LINES 16u /* of a tile of the packed layout, two of which are a block */
#define LINE_BYTES 64u
#define TILE_BYTES (LINES * LINE_BYTES)

/*
 * Brings lines of the panel into the first and the second level.  A panel from memory needs both:
 * the first level alone cannot have enough lines under way.
 */
#define PREFETCH_LINE(line)                                                                        \
    do {                                                                                           \
        const char *const ahead = (const char *)(line);                                            \
                                                                                                   \
        _mm_prefetch(ahead + TILE_BYTES, _MM_HINT_T0);                                             \
        _mm_prefetch(ahead + 2 * TILE_BYTES, _MM_HINT_T0);                                         \
        _mm_prefetch(ahead + 8 * TILE_BYTES, _MM_HINT_T1);                                         \
        _mm_prefetch(ahead + 9 * TILE_BYTES, _MM_HINT_T1);                                         \
    } while (0)

/* A count that is constant, so that the compiler unrolls the loop and keeps sums in registers. */
#define FOR_ROWS(r, rows)                                                                          \
    _Pragma("GCC unroll 14") for (size_t r = 0; r < TILE_ROWS; r++)                                \
        if (r < (rows))

/* `code` for each number of rows, which it knows as the constant ROWS. */
#define CASE_ROWS(count, code)                                                                     \
    case count: {                                                                                  \
        enum { ROWS = count };                                                                     \
                                                                                                   \
        code;                                                                                      \
        return;                                                                                    \
    }
#define SWITCH_ROWS(code)                                                                          \
    switch (rows) {                                                                                \
        CASE_ROWS(1, code)                                                                         \
        CASE_ROWS(2, code)                                                                         \
        CASE_ROWS(3, code)                                                                         \
        CASE_ROWS(4, code)                                                                         \
        CASE_ROWS(5, code)                                                                         \
        CASE_ROWS(6, code)                                                                         \
        CASE_ROWS(7, code)                                                                         \
        CASE_ROWS(8, code)                                                                         \
        CASE_ROWS(9, code)                                                                         \
        CASE_ROWS(10, code)                                                                        \
        CASE_ROWS(11, code)                                                                        \
        CASE_ROWS(12, code)                                                                        \
        CASE_ROWS(13, code)                                                                        \
        CASE_ROWS(14, code)                                                                        \
    }

#endif
