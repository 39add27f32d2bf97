/*
 * The AVX2 table.  gemm keeps up to 6 rows of 16 sums in 12 registers and walks down the panel
 * twice, once for each half of its columns; what remains are two registers for a row of the half,
 * one for a value of `a` and one to spare.
 */
#if defined(__x86_64__)

#include "kernels/kernels.h"

#include <immintrin.h>

/* ---- Element-wise operations ---------------------------------------------------------------- */

#define WIDTH 8
#define larger(a, b) _mm256_max_ps(a, b)
#define smaller(a, b) _mm256_min_ps(a, b)
typedef __m256 vec;

#include "kernels/elementwise.h"
#include "kernels/product.h"

GEMV(static, gemv_f32, VMOE_PRECISION_F32, 1)
GEMV(static, gemv_bf16, VMOE_PRECISION_BF16, 2)
GEMV(static, gemv_int8, VMOE_PRECISION_INT8, 4)

/* ---- Matrix products ------------------------------------------------------------------------ */

#define TILE_ROWS 6u
#define NARROW_ROWS 5u /* with narrow panels, whose widening takes registers too */
#include "kernels/register_tile.h"

/* Bytes ahead in the panel that are brought into the first-level cache. */
#define NEAR (2 * TILE_BYTES)

/*
 * a * b + sum.  With narrow weights the compiler runs short of registers: it takes forms of the
 * instruction that overwrite a or b, and keeps sums in memory.
 */
ALWAYS __m256 add_product(uint32_t precision, __m256 sum, __m256 a, __m256 b)
{
    if (precision == VMOE_PRECISION_F32)
        return _mm256_fmadd_ps(a, b, sum);
    __asm__("vfmadd231ps %2, %1, %0" : "+x"(sum) : "x"(a), "x"(b));
    return sum;
}

/* sum[r] += a[r] * (left, right), one row of a half of the panel. */
ALWAYS void add_row(uint32_t precision, size_t rows, const float *a, size_t lda, __m256 left,
                    __m256 right, __m256 sum[TILE_ROWS][2])
{
    FOR_ROWS(r, rows) {
        const __m256 value = _mm256_broadcast_ss(a + r * lda);

        sum[r][0] = add_product(precision, sum[r][0], value, left);
        sum[r][1] = add_product(precision, sum[r][1], value, right);
    }
}

/* Row j of the group that half a line holds. */
ALWAYS __m256 widen(uint32_t precision, const uint8_t *line, size_t j)
{
    const __m256i bits = _mm256_loadu_si256((const __m256i *)(const void *)line);

    switch (precision) {
    case VMOE_PRECISION_BF16:
        if (j == 0)
            return _mm256_castsi256_ps(_mm256_slli_epi32(bits, 16));
        return _mm256_castsi256_ps(_mm256_blend_epi16(_mm256_setzero_si256(), bits, 0xaa));
    case VMOE_PRECISION_INT8:
        return _mm256_cvtepi32_ps(
            _mm256_srai_epi32(_mm256_slli_epi32(bits, (int)(24 - 8 * j)), 24));
    default:
        return _mm256_castsi256_ps(bits);
    }
}

/* The first `count` rows of the group at `line`. */
ALWAYS void add_group(uint32_t precision, size_t count, size_t rows, const float *a, size_t lda,
                      const uint8_t *line, __m256 sum[TILE_ROWS][2])
{
#pragma GCC unroll 4
    for (size_t j = 0; j < 4; j++)
        if (j < count)
            add_row(precision, rows, a + j, lda, widen(precision, line, j),
                    widen(precision, line + LINE_BYTES / 2, j), sum);
}

ALWAYS void add_line(uint32_t precision, size_t group, size_t rows, const float *a, size_t lda,
                     const uint8_t *line, __m256 sum[TILE_ROWS][2])
{
    _mm_prefetch((const char *)line + NEAR, _MM_HINT_T0);
    add_group(precision, group, rows, a, lda, line, sum);
}

/*
 * Full tiles of float32 go four lines at a time: where another thread shares the core, every
 * instruction of the loop costs.
 */
ALWAYS void gemm_half(uint32_t precision, size_t group, size_t rows, size_t k, const float *a,
                      size_t lda, const uint8_t *line, float *tile, size_t stride,
                      struct ahead *ahead)
{
    __m256 sum[TILE_ROWS][2];
    size_t lines;

    FOR_ROWS(r, rows)
        sum[r][0] = sum[r][1] = _mm256_setzero_ps();
    for (; k >= group; k -= lines * group) {
        lines = k / group < LINES ? k / group : LINES;
        if (precision == VMOE_PRECISION_F32 && rows == TILE_ROWS && lines == LINES)
#pragma GCC unroll 4
            for (size_t g = 0; g < LINES; g++, a += group, line += LINE_BYTES)
                add_line(precision, group, rows, a, lda, line, sum);
        else
#pragma GCC unroll 1
            for (size_t g = 0; g < lines; g++, a += group, line += LINE_BYTES)
                add_line(precision, group, rows, a, lda, line, sum);
        fetch_ahead(ahead, 1);
        if (lines == LINES)
            line += TILE_BYTES;
    }
    add_group(precision, k, rows, a, lda, line, sum);
    FOR_ROWS(r, rows) {
        _mm256_storeu_ps(tile + r * stride, sum[r][0]);
        _mm256_storeu_ps(tile + r * stride + 8, sum[r][1]);
    }
}

ALWAYS void gemm(uint32_t precision, size_t group, size_t rows, size_t k, const float *a,
                 size_t lda, const uint8_t *panel, float *tile, size_t stride,
                 struct ahead *ahead)
{
    gemm_half(precision, group, rows, k, a, lda, panel, tile, stride, ahead);
    gemm_half(precision, group, rows, k, a, lda, panel + TILE_BYTES, tile + VMOE_PANEL / 2,
              stride, ahead);
}

FLOAT_PRODUCT(static, product_f32, VMOE_PRECISION_F32, 1, TILE_ROWS)
FLOAT_PRODUCT(static, product_bf16, VMOE_PRECISION_BF16, 2, NARROW_ROWS)
FLOAT_PRODUCT(static, product_int8, VMOE_PRECISION_INT8, 4, NARROW_ROWS)

#include "kernels/x86/madd_tile.h"

/* ---- Attention ------------------------------------------------------------------------------ */

#define ATTEND_ROWS TILE_ROWS
#define gemm_f32 gemm_of_product_f32

#include "kernels/attend.h"

const struct vmoe_kernels vmoe_kernels_avx2 = {
    .isa = VMOE_ISA_AVX2,
    .product[VMOE_PRECISION_F32] = { [VMOE_PRECISION_F32] = product_f32,
                                     [VMOE_PRECISION_BF16] = product_bf16,
                                     [VMOE_PRECISION_INT8] = product_int8 },
    .product[VMOE_PRECISION_INT8][VMOE_PRECISION_INT8] = product_bytes,
    .to_int8 = to_int8,
    .attend[VMOE_PRECISION_F32] = attend_f32,
    .layer_norm = layer_norm,
    .softmax = softmax,
    .sigmoid = sigmoid,
    .router = router,
    .gemv = { [VMOE_PRECISION_F32] = gemv_f32,
              [VMOE_PRECISION_BF16] = gemv_bf16,
              [VMOE_PRECISION_INT8] = gemv_int8 },
};

#endif
