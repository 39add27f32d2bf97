/*
 * The portable table.  A tile of the packed layout is first made float32 (16 columns, up to 64
 * rows; it stays in the first-level cache), then all rows of `a` are multiplied with it, one row of
 * 16 sums at a time, which fits the registers of every instruction set.
 */
#include "kernels/kernels.h"

#include <string.h>

/* ---- Element-wise operations ---------------------------------------------------------------- */

#define WIDTH 4u
typedef float vec __attribute__((vector_size(16)));
typedef int32_t vec_mask __attribute__((vector_size(16)));

static inline vec choose(vec_mask mask, vec a, vec b)
{
    return (vec)((mask & (vec_mask)a) | (~mask & (vec_mask)b));
}

static inline vec larger(vec a, vec b)
{
    return choose(a > b, a, b);
}

static inline vec smaller(vec a, vec b)
{
    return choose(a < b, a, b);
}

#include "kernels/elementwise.h"

/* ---- Matrix products ------------------------------------------------------------------------ */

#define TILE_ROWS 8u
#define LINES 16u
#define COLUMNS 16u

/* sums[r][c] += a[r][i] * tile[i][c] for i = 0, 1, ... k-1.  Rows of sums are a panel apart. */
static void multiply(size_t rows, size_t k, const float *a, size_t lda, const float *tile,
                     float *sums)
{
    for (size_t r = 0; r < rows; r++, a += lda, sums += VMOE_PANEL) {
        float sum[COLUMNS];

        memcpy(sum, sums, sizeof sum);
        for (size_t i = 0; i < k; i++)
            for (size_t c = 0; c < COLUMNS; c++)
                sum[c] += a[i] * tile[i * COLUMNS + c];
        memcpy(sums, sum, sizeof sum);
    }
}

static size_t count_of(size_t left, size_t most)
{
    return left < most ? left : most;
}

static void gemm_f32(size_t rows, size_t k, const float *a, size_t lda, const void *panel,
                     float *sums)
{
    const float *tile = panel;

    memset(sums, 0, rows * VMOE_PANEL * sizeof *sums);
    for (size_t i = 0; i < k; i += LINES)
        for (size_t half = 0; half < 2; half++, tile += LINES * COLUMNS)
            multiply(rows, count_of(k - i, LINES), a + i, lda, tile, sums + half * COLUMNS);
}

static void gemm_bf16(size_t rows, size_t k, const float *a, size_t lda, const void *panel,
                      float *sums)
{
    const uint32_t *line = panel;
    float tile[2 * LINES * COLUMNS];

    memset(sums, 0, rows * VMOE_PANEL * sizeof *sums);
    for (size_t i = 0; i < k; i += 2 * LINES) {
        for (size_t half = 0; half < 2; half++) {
            for (size_t g = 0; g < LINES; g++, line += COLUMNS) {
                uint32_t row[2][COLUMNS];

                for (size_t c = 0; c < COLUMNS; c++) {
                    row[0][c] = line[c] << 16;
                    row[1][c] = line[c] & 0xffff0000u;
                }
                memcpy(tile + g * 2 * COLUMNS, row, sizeof row);
            }
            multiply(rows, count_of(k - i, 2 * LINES), a + i, lda, tile, sums + half * COLUMNS);
        }
    }
}

static void gemm_int8(size_t rows, size_t k, const float *a, size_t lda, const void *panel,
                      float *sums)
{
    const int8_t *line = panel;
    float tile[4 * LINES * COLUMNS];

    memset(sums, 0, rows * VMOE_PANEL * sizeof *sums);
    for (size_t i = 0; i < k; i += 4 * LINES) {
        for (size_t half = 0; half < 2; half++) {
            for (size_t g = 0; g < LINES; g++, line += 4 * COLUMNS)
                for (size_t j = 0; j < 4; j++)
                    for (size_t c = 0; c < COLUMNS; c++)
                        tile[(g * 4 + j) * COLUMNS + c] = line[c * 4 + j];
            multiply(rows, count_of(k - i, 4 * LINES), a + i, lda, tile, sums + half * COLUMNS);
        }
    }
}

const struct vmoe_kernels vmoe_kernels_ref = {
    .isa = VMOE_ISA_REF,
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
