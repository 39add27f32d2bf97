/*
 * Sums in registers.  The file of a table includes this text after it has defined TILE_ROWS, the
 * rows whose sums it keeps at once: 4, 6, 8 or 14.
 */
#ifndef VMOE_KERNELS_REGISTER_TILE_H
#define VMOE_KERNELS_REGISTER_TILE_H

#include "kernels/layout.h"

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
        CASES_TO_6(code)                                                                           \
        CASES_TO_8(code)                                                                           \
        CASES_TO_14(code)                                                                          \
    }

#if TILE_ROWS > 4
#define CASES_TO_6(code) CASE_ROWS(5, code) CASE_ROWS(6, code)
#else
#define CASES_TO_6(code)
#endif
#if TILE_ROWS > 6
#define CASES_TO_8(code) CASE_ROWS(7, code) CASE_ROWS(8, code)
#else
#define CASES_TO_8(code)
#endif
#if TILE_ROWS > 8
#define CASES_TO_14(code)                                                                          \
    CASE_ROWS(9, code)                                                                             \
    CASE_ROWS(10, code)                                                                            \
    CASE_ROWS(11, code)                                                                            \
    CASE_ROWS(12, code)                                                                            \
    CASE_ROWS(13, code)                                                                            \
    CASE_ROWS(14, code)
#else
#define CASES_TO_14(code)
#endif

/*
 * `function`, the product of float32 rows with panels of one type, whose groups have so many rows,
 * with code for each number of rows up to `most`.  The table has run_product and
 *
 *     gemm(precision, group, rows, k, a, lda, panel, tile, stride, ahead)
 */
#define FLOAT_PRODUCT(linkage, function, precision, group, most)                                   \
    static void gemm_of_##function(size_t rows, size_t k, const void *a, size_t lda,               \
                                   const void *panel, void *tile, size_t stride,                   \
                                   struct ahead *ahead)                                            \
    {                                                                                              \
        SWITCH_ROWS(gemm(precision, group, ROWS, k, a, lda / sizeof(float), panel, tile,           \
                         stride / sizeof(float), ahead))                                           \
    }                                                                                              \
    linkage void function(const struct vmoe_product *p)                                            \
    {                                                                                              \
        run_product(p, gemm_of_##function, most, false);                                           \
    }

#endif
