/*
 * The AVX-512 table with VNNI: products of int8 rows with int8 panels.  An instruction adds the
 * products of four unsigned bytes of a row and four signed bytes of each column to 16 sums, so the
 * loop is that of float32 with four values at a time.
 */
#include "kernels/x86/avx512.h"

#include <immintrin.h>

#include "kernels/x86/fast.h"

#define WIDTH 16
#define larger(a, b) _mm512_max_ps(a, b)
#define smaller(a, b) _mm512_min_ps(a, b)
typedef __m512 vec;

/* What int8 rows lead to is not exact to more than these are. */
#define GELU_TANH fast_gelu_tanh
#define GELU_ERF fast_gelu_erf

#include "kernels/narrow.h"
#include "kernels/product.h"
#include "kernels/x86/prefetch.h"

#define TILE_ROWS 14u
#include "kernels/register_tile.h"

#define GROUP 4u /* values of a row that one instruction takes */

/* One line of both tiles: four values of each row. */
ALWAYS void add_group(size_t rows, const uint8_t *a, size_t lda, const uint8_t *line,
                      __m512i sum[TILE_ROWS][2])
{
    const __m512i left = _mm512_loadu_si512(line);
    const __m512i right = _mm512_loadu_si512(line + TILE_BYTES);

    FOR_ROWS(r, rows) {
        int32_t values;
        __m512i all_values;

        memcpy(&values, a + r * lda, sizeof values);
        all_values = _mm512_set1_epi32(values);
        sum[r][0] = _mm512_dpbusd_epi32(sum[r][0], all_values, left);
        sum[r][1] = _mm512_dpbusd_epi32(sum[r][1], all_values, right);
    }
}

/* Rows are padded, so the last group may be read whole; its weights are zero beyond k. */
ALWAYS void gemm(size_t rows, size_t k, const uint8_t *a, size_t lda, const uint8_t *line,
                 int32_t *tile)
{
    size_t groups = (k + GROUP - 1) / GROUP;
    __m512i sum[TILE_ROWS][2];

    FOR_ROWS(r, rows)
        sum[r][0] = sum[r][1] = _mm512_setzero_si512();
    for (; groups > 0; line += TILE_BYTES) {
        const size_t lines = groups < LINES ? groups : LINES;

        for (size_t g = 0; g < lines; g++, a += GROUP, line += LINE_BYTES) {
            PREFETCH_LINE(line);
            add_group(rows, a, lda, line, sum);
        }
        groups -= lines;
    }
    FOR_ROWS(r, rows) {
        _mm512_storeu_si512(tile + r * VMOE_PANEL, sum[r][0]);
        _mm512_storeu_si512(tile + r * VMOE_PANEL + LINES, sum[r][1]);
    }
}

static void gemm_int8(size_t rows, size_t k, const void *a, size_t lda, const void *panel,
                      void *tile)
{
    SWITCH_ROWS(gemm(ROWS, k, a, lda, panel, tile))
}

static void product_int8(const struct vmoe_product *p)
{
    run_product(p, gemm_int8, TILE_ROWS, true);
}

const struct vmoe_kernels vmoe_kernels_vnni = {
    .isa = VMOE_ISA_AVX512_VNNI,
    VMOE_AVX512_KERNELS,
    .product[VMOE_PRECISION_INT8][VMOE_PRECISION_INT8] = product_int8,
    .to_int8 = to_int8,
};
