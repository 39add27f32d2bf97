/*
 * The AVX-512 table.  gemm keeps up to 14 rows of 32 sums in 28 registers and walks down the panel
 * once; what remains are two registers for a row of the panel and two for values of `a`.
 */
#if defined(__x86_64__)

#include "kernels/kernels.h"
#include "kernels/x86/avx512.h"
#include "kernels/x86/float32x16.h"

/* ---- Element-wise operations ---------------------------------------------------------------- */

#include "kernels/elementwise.h"
#include "kernels/product.h"
#include "kernels/x86/prefetch.h"
#include "kernels/x86/transpose.h"

/* ---- Matrix products ------------------------------------------------------------------------ */

#define TILE_ROWS 14u
#include "kernels/register_tile.h"

/* sum[r] += a[r] * (left, right), one row of the panel. */
ALWAYS void add_row(size_t rows, const float *a, size_t lda, __m512 left, __m512 right,
                    __m512 sum[TILE_ROWS][2])
{
    FOR_ROWS(r, rows) {
        const __m512 value = _mm512_set1_ps(a[r * lda]);

        sum[r][0] = _mm512_fmadd_ps(value, left, sum[r][0]);
        sum[r][1] = _mm512_fmadd_ps(value, right, sum[r][1]);
    }
}

/* The first `count` rows of the group at `line`. */
ALWAYS void add_group(uint32_t precision, size_t count, size_t rows, const float *a, size_t lda,
                      const uint8_t *line, __m512 sum[TILE_ROWS][2])
{
#pragma GCC unroll 4
    for (size_t j = 0; j < 4; j++)
        if (j < count)
            add_row(rows, a + j, lda, row_of_line(precision, line, j),
                    row_of_line(precision, line + TILE_BYTES, j), sum);
}

ALWAYS void gemm(uint32_t precision, size_t group, size_t rows, size_t k, const float *a,
                 size_t lda, const void *panel, float *tile, size_t stride,
                 struct ahead *ahead)
{
    const uint8_t *line = panel;
    __m512 sum[TILE_ROWS][2];
    size_t lines;

    FOR_ROWS(r, rows)
        sum[r][0] = sum[r][1] = _mm512_setzero_ps();
    for (; k >= group; k -= lines * group) {
        lines = k / group < LINES ? k / group : LINES;
        for (size_t g = 0; g < lines; g++, a += group, line += LINE_BYTES) {
            PREFETCH_LINE(line);
            add_group(precision, group, rows, a, lda, line, sum);
        }
        fetch_ahead(ahead, 2);
        if (lines == LINES)
            line += TILE_BYTES;
    }
    add_group(precision, k, rows, a, lda, line, sum);
    FOR_ROWS(r, rows) {
        _mm512_storeu_ps(tile + r * stride, sum[r][0]);
        _mm512_storeu_ps(tile + r * stride + 16, sum[r][1]);
    }
}

FLOAT_PRODUCT(, vmoe_avx512_product_f32, VMOE_PRECISION_F32, 1, TILE_ROWS)
FLOAT_PRODUCT(, vmoe_avx512_product_bf16, VMOE_PRECISION_BF16, 2, TILE_ROWS)
FLOAT_PRODUCT(, vmoe_avx512_product_int8, VMOE_PRECISION_INT8, 4, TILE_ROWS)

/* ---- Attention ------------------------------------------------------------------------------ */

#define ATTEND_ROWS TILE_ROWS
#define product_f32 vmoe_avx512_product_f32
#define gemm_f32 gemm_of_vmoe_avx512_product_f32
#define PACK_KEYS transpose_keys

/* 16 dimensions of 16 keys at a time; what is beyond the keys and their width is zero. */
static void transpose_keys(size_t width, size_t tokens, const float *keys, size_t stride,
                           float *packed)
{
    const size_t panels = (tokens + VMOE_PANEL - 1) / VMOE_PANEL;

    for (size_t p = 0; p < panels; p++)
        for (size_t i = 0; i < width; i += LINES)
            for (size_t half = 0; half < 2; half++, packed += TILE_BYTES / sizeof *packed) {
                const size_t first = p * VMOE_PANEL + half * LINES;

                transpose_16(first < tokens ? tokens - first : 0, 4 * (width - i),
                             keys + first * (stride / sizeof *keys) + i, stride, packed,
                             LINE_BYTES);
            }
}

#include "kernels/attend.h"

void vmoe_avx512_attend(const struct vmoe_attend *attend)
{
    attend_f32(attend);
}

void vmoe_avx512_layer_norm(size_t n, const float *x, float epsilon, const float *scale,
                            const float *bias, float *y)
{
    layer_norm(n, x, epsilon, scale, bias, y);
}

float vmoe_avx512_softmax(size_t n, float factor, float *x)
{
    return softmax(n, factor, x);
}

void vmoe_avx512_sigmoid(size_t n, float *x)
{
    sigmoid(n, x);
}

void vmoe_avx512_router(size_t tokens, size_t width, size_t experts, const float *x, size_t ldx,
                        const float *weights, size_t ldw, float *logits)
{
    router(tokens, width, experts, x, ldx, weights, ldw, logits);
}

GEMV(, vmoe_avx512_gemv_f32, VMOE_PRECISION_F32, 1)
GEMV(, vmoe_avx512_gemv_bf16, VMOE_PRECISION_BF16, 2)
GEMV(, vmoe_avx512_gemv_int8, VMOE_PRECISION_INT8, 4)

const struct vmoe_kernels vmoe_kernels_avx512 = { .isa = VMOE_ISA_AVX512, VMOE_AVX512_KERNELS };

#endif
