/*
 * The AVX2 table.  gemm computes 6 rows of 16 sums at a time in 12 registers and passes over the
 * panel twice, once for each half of its columns; two registers hold a row of the half, the others
 * values of `a`.  The body is compiled for every number of rows.
 */
#include "kernels/kernels.h"

#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline))

/* ---- Element-wise operations ---------------------------------------------------------------- */

#define WIDTH 8u
#define larger(a, b) _mm256_max_ps(a, b)
#define smaller(a, b) _mm256_min_ps(a, b)
typedef __m256 vec;

#include "kernels/elementwise.h"

/* ---- Matrix products ------------------------------------------------------------------------ */

#define TILE_ROWS 6u
#define LINES 16u     /* of a tile */
#define BLOCK 2048u   /* bytes of a block, two tiles */
#define PREFETCH 4096 /* bytes ahead in the panel */

/* sum[r] += a[r] * (left, right), a row of one half of the panel. */
INLINE void add_row(size_t rows, const float *a, size_t lda, __m256 left, __m256 right,
                    __m256 sum[TILE_ROWS][2])
{
#pragma GCC unroll 6
    for (size_t r = 0; r < rows; r++) {
        const __m256 value = _mm256_broadcast_ss(a + r * lda);

        sum[r][0] = _mm256_fmadd_ps(value, left, sum[r][0]);
        sum[r][1] = _mm256_fmadd_ps(value, right, sum[r][1]);
    }
}

/* Row j of the group in half a line as float32; j is a constant except in the last block. */
INLINE __m256 widen(uint32_t precision, const uint8_t *line, size_t j)
{
    __m256i bits = _mm256_load_si256((const __m256i *)(const void *)line);

    switch (precision) {
    case VMOE_PRECISION_BF16:
        bits = j == 0 ? _mm256_slli_epi32(bits, 16)
                      : _mm256_and_si256(bits, _mm256_set1_epi32((int)0xffff0000));
        return _mm256_castsi256_ps(bits);
    case VMOE_PRECISION_INT8:
        bits = _mm256_slli_epi32(bits, (int)(24 - 8 * j));
        return _mm256_cvtepi32_ps(_mm256_srai_epi32(bits, 24));
    default:
        return _mm256_castsi256_ps(bits);
    }
}

/* One half of the columns. */
INLINE void gemm_half(uint32_t precision, size_t rows, size_t k, const float *a, size_t lda,
                      const uint8_t *line, float *tile)
{
    const size_t group = precision == VMOE_PRECISION_INT8   ? 4
                         : precision == VMOE_PRECISION_BF16 ? 2
                                                            : 1;
    __m256 sum[TILE_ROWS][2];

#pragma GCC unroll 6
    for (size_t r = 0; r < rows; r++)
        sum[r][0] = sum[r][1] = _mm256_setzero_ps();
    for (; k >= group * LINES; k -= group * LINES, line += BLOCK - LINES * 64) {
#pragma GCC unroll 2
        for (size_t g = 0; g < LINES; g++, a += group, line += 64) {
            _mm_prefetch((const char *)line + PREFETCH, _MM_HINT_T0);
#pragma GCC unroll 4
            for (size_t j = 0; j < group; j++)
                add_row(rows, a + j, lda, widen(precision, line, j),
                        widen(precision, line + 32, j), sum);
        }
    }
    for (size_t i = 0; i < k; i++) {
        const uint8_t *at = line + i / group * 64;

        add_row(rows, a + i, lda, widen(precision, at, i % group),
                widen(precision, at + 32, i % group), sum);
    }
#pragma GCC unroll 6
    for (size_t r = 0; r < rows; r++) {
        _mm256_storeu_ps(tile + r * VMOE_PANEL, sum[r][0]);
        _mm256_storeu_ps(tile + r * VMOE_PANEL + 8, sum[r][1]);
    }
}

INLINE void gemm(uint32_t precision, size_t rows, size_t k, const float *a, size_t lda,
                 const uint8_t *panel, float *tile)
{
    gemm_half(precision, rows, k, a, lda, panel, tile);
    gemm_half(precision, rows, k, a, lda, panel + BLOCK / 2, tile + VMOE_PANEL / 2);
}

/* clang-format off */
#define CASE(precision, rows) case rows: gemm(precision, rows, k, a, lda, panel, tile); break;
#define GEMM(name, precision)                                                                      \
    static void name(size_t rows, size_t k, const float *a, size_t lda, const void *panel,         \
                     float *tile)                                                                  \
    {                                                                                              \
        switch (rows) {                                                                            \
        CASE(precision, 1) CASE(precision, 2) CASE(precision, 3)                                   \
        CASE(precision, 4) CASE(precision, 5) CASE(precision, 6)                                   \
        }                                                                                          \
    }
/* clang-format on */

GEMM(gemm_f32, VMOE_PRECISION_F32)
GEMM(gemm_bf16, VMOE_PRECISION_BF16)
GEMM(gemm_int8, VMOE_PRECISION_INT8)

const struct vmoe_kernels vmoe_kernels_avx2 = {
    .isa = VMOE_ISA_AVX2,
    .tile_rows = TILE_ROWS,
    .gemm = { [VMOE_PRECISION_F32] = gemm_f32,
              [VMOE_PRECISION_BF16] = gemm_bf16,
              [VMOE_PRECISION_INT8] = gemm_int8 },
    .layer_norm = layer_norm,
    .softmax = softmax,
    .gelu_tanh = gelu_tanh,
    .gelu_erf = gelu_erf,
    .tanh = tanh_map,
    .sigmoid = sigmoid,
};
