/*
 * The tile of sums of instructions that take 4 bytes of a row at a time.  A line of the panel
 * meets all rows of the tile; the sums stay in registers over all of k.
 */
#ifndef VMOE_KERNELS_X86_DOT_TILE_H
#define VMOE_KERNELS_X86_DOT_TILE_H

#include <immintrin.h>
#include <string.h>

#include "kernels/layout.h"
#include "kernels/product.h"
#include "kernels/x86/prefetch.h"

#define TILE_ROWS 14u
#include "kernels/register_tile.h"

/* sums + the products of 4 bytes of a row, in each of 16 places, and 4 bytes of each column. */
typedef __m512i dot(__m512i sums, __m512i row, __m512i line);

/* One line of both tiles: a group of each row. */
ALWAYS void add_line(dot *add, size_t rows, const uint8_t *a, size_t lda, const uint8_t *line,
                     __m512i sum[TILE_ROWS][2])
{
    const __m512i left = _mm512_loadu_si512(line);
    const __m512i right = _mm512_loadu_si512(line + TILE_BYTES);

    FOR_ROWS(r, rows) {
        int32_t values;
        __m512i all_values;

        memcpy(&values, a + r * lda, sizeof values);
        all_values = _mm512_set1_epi32(values);
        sum[r][0] = add(sum[r][0], all_values, left);
        sum[r][1] = add(sum[r][1], all_values, right);
    }
}

/* Rows are padded, so the last group may be read whole; its weights are zero beyond k. */
ALWAYS void gemm(dot *add, size_t rows, size_t groups, const uint8_t *a, size_t lda,
                 const uint8_t *line, void *tile, size_t stride, struct ahead *ahead)
{
    __m512i sum[TILE_ROWS][2];
    uint8_t *out = tile;

    FOR_ROWS(r, rows)
        sum[r][0] = sum[r][1] = _mm512_setzero_si512();
    for (; groups > 0; line += TILE_BYTES) {
        const size_t lines = groups < LINES ? groups : LINES;

        for (size_t g = 0; g < lines; g++, a += GROUP_BYTES, line += LINE_BYTES) {
            PREFETCH_LINE(line);
            add_line(add, rows, a, lda, line, sum);
        }
        fetch_ahead(ahead, 2);
        groups -= lines;
    }
    FOR_ROWS(r, rows) {
        _mm512_storeu_si512(out + r * stride, sum[r][0]);
        _mm512_storeu_si512(out + r * stride + LINE_BYTES, sum[r][1]);
    }
}

ALWAYS __m512i dot_int8(__m512i sums, __m512i row, __m512i line)
{
    return _mm512_dpbusd_epi32(sums, row, line);
}

static void gemm_int8(size_t rows, size_t k, const void *a, size_t lda, const void *panel,
                      void *tile, size_t stride, struct ahead *ahead)
{
    const size_t groups = (k + GROUP_BYTES - 1) / GROUP_BYTES;

    SWITCH_ROWS(gemm(dot_int8, ROWS, groups, a, lda, panel, tile, stride, ahead))
}

static void product_int8(const struct vmoe_product *p)
{
    run_product(p, gemm_int8, TILE_ROWS, true);
}

#endif
