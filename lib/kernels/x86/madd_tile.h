/*
 * Int8 rows and their products with int8 panels where no instruction takes four bytes at a time.
 * Bytes are widened to 16 bits, of which one multiplies pairs: a group of a row meets those of 4
 * columns and gives two sums for each, which are added at the end.
 */
#ifndef VMOE_KERNELS_X86_MADD_TILE_H
#define VMOE_KERNELS_X86_MADD_TILE_H

#include <immintrin.h>
#include <string.h>

#include "kernels/layout.h"
#include "kernels/product.h"

/* ---- Rows ----------------------------------------------------------------------------------- */

ALWAYS __m256i numbers_of(const float *x, __m256 inverse, __m256 zero)
{
    return _mm256_cvtps_epi32(_mm256_fmadd_ps(_mm256_loadu_ps(x), inverse, zero));
}

/* Packing clamps, and takes quarters of four registers in turn. */
static inline void store_numbers(const float *x, float inverse, float zero, uint8_t *y)
{
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    const __m256 factor = _mm256_set1_ps(inverse), term = _mm256_set1_ps(zero);

    for (size_t i = 0; i < VMOE_ROW_BYTES; i += 32) {
        const __m256i left = _mm256_packs_epi32(numbers_of(x + i, factor, term),
                                                numbers_of(x + i + 8, factor, term));
        const __m256i right = _mm256_packs_epi32(numbers_of(x + i + 16, factor, term),
                                                 numbers_of(x + i + 24, factor, term));

        _mm256_storeu_si256(
            (__m256i *)(void *)(y + i),
            _mm256_permutevar8x32_epi32(_mm256_packus_epi16(left, right), order));
    }
}

#include "kernels/narrow.h"

/* ---- Products ------------------------------------------------------------------------------- */

/* Rows are widened in pieces, which stay in the first-level cache with the lines that they meet. */
#define PIECE 512u
#define BLOCK (LINES * GROUP_BYTES)

typedef uint16_t wide_rows[TILE_ROWS][PIECE];

/* Rows are padded, so the last register of a row may be read whole. */
ALWAYS void widen_rows(size_t rows, size_t k, const uint8_t *a, size_t lda, wide_rows wide)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < k; i += 16) {
            const __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(a + r * lda + i));

            _mm256_store_si256((__m256i *)(void *)(wide[r] + i), _mm256_cvtepu8_epi16(bytes));
        }
}

ALWAYS __m256i widen_columns(const uint8_t *groups)
{
    return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)groups));
}

/* Left to itself, the compiler adds products of two groups first and has no registers for them. */
ALWAYS __m256i add_products(__m256i sum, __m256i row, __m256i columns)
{
    const __m256i products = _mm256_madd_epi16(row, columns);

    __asm__("vpaddd %1, %0, %0" : "+x"(sum) : "x"(products));
    return sum;
}

/* sum[r] += the group at wide[r] times those of a strip. */
ALWAYS void add_groups(size_t rows, const uint16_t *wide, const uint8_t *groups,
                       __m256i sum[TILE_ROWS][2])
{
    const __m256i left = widen_columns(groups), right = widen_columns(groups + 16);

    FOR_ROWS(r, rows) {
        int64_t group;
        __m256i all;

        memcpy(&group, wide + r * PIECE, sizeof group);
        all = _mm256_set1_epi64x(group);
        sum[r][0] = add_products(sum[r][0], all, left);
        sum[r][1] = add_products(sum[r][1], all, right);
    }
}

/* The sums of a piece of k and a strip, stored or added. */
ALWAYS void madd_strip(size_t rows, size_t k, const uint16_t *wide, const uint8_t *strip, bool add,
                       int32_t *tile, size_t stride, struct ahead *ahead)
{
    __m256i sum[TILE_ROWS][2];

    FOR_ROWS(r, rows)
        sum[r][0] = sum[r][1] = _mm256_setzero_si256();
    for (size_t i = 0; i < k; i += BLOCK, strip += TILE_BYTES) {
        const uint16_t *const end = wide + (k - i < BLOCK ? k - i : BLOCK);

        for (; wide < end; wide += GROUP_BYTES, strip += LINE_BYTES) {
            _mm_prefetch((const char *)strip + NEAR, _MM_HINT_T0);
            add_groups(rows, wide, strip, sum);
        }
        fetch_ahead(ahead, 1);
    }
    FOR_ROWS(r, rows) {
        __m256i *const to = (__m256i *)(void *)(tile + r * stride);
        __m256i y = _mm256_permute4x64_epi64(_mm256_hadd_epi32(sum[r][0], sum[r][1]), 0xd8);

        if (add)
            y = _mm256_add_epi32(y, _mm256_loadu_si256(to));
        _mm256_storeu_si256(to, y);
    }
}

ALWAYS void madd(size_t rows, size_t k, const uint8_t *a, size_t lda, const uint8_t *panel,
                 int32_t *tile, size_t stride, struct ahead *ahead)
{
    _Alignas(32) wide_rows wide;

    for (size_t from = 0; from < k; from += PIECE, panel += PIECE * VMOE_PANEL) {
        const size_t piece = k - from < PIECE ? k - from : PIECE;

        widen_rows(rows, piece, a + from, lda, wide);
        FOR_STRIPS(column)
            madd_strip(rows, piece, wide[0], strip_at(panel, column), from > 0, tile + column,
                       stride, ahead);
    }
}

static void gemm_bytes(size_t rows, size_t k, const void *a, size_t lda, const void *panel,
                       void *tile, size_t stride, struct ahead *ahead)
{
    SWITCH_ROWS(madd(ROWS, k, a, lda, panel, tile, stride / sizeof(int32_t), ahead))
}

static void product_bytes(const struct vmoe_product *p)
{
    run_product(p, gemm_bytes, TILE_ROWS, true);
}

#endif
