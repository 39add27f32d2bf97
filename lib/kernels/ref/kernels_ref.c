/*
 * The portable table.  A tile of the packed layout is first made float32 (16 columns, up to 64
 * rows; it stays in the first-level cache), then each row of `a` is multiplied with it, 16 sums at
 * a time, which fit the registers of every instruction set.
 */
#include "kernels/kernels.h"
#include "kernels/layout.h"

#include <string.h>

/* ---- Element-wise operations ---------------------------------------------------------------- */

#define WIDTH 4
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
#include "kernels/product.h"

GEMV(static, gemv_f32, VMOE_PRECISION_F32, 1)
GEMV(static, gemv_bf16, VMOE_PRECISION_BF16, 2)
GEMV(static, gemv_int8, VMOE_PRECISION_INT8, 4)

/* ---- Matrix products ------------------------------------------------------------------------ */

#define TILE_ROWS 8u

/* Rows j = 0, 1, ... of the groups in a packed tile, WIDTH columns of one line at a time. */
static void widen_bf16(const uint8_t *packed, float *tile)
{
    for (size_t i = 0; i < LINES * COLUMNS; i += WIDTH) {
        float *row = tile + i / COLUMNS * 2 * COLUMNS + i % COLUMNS;
        vec_bits bits;

        memcpy(&bits, packed + 4 * i, sizeof bits);
        store(row, (vec)(bits << 16));
        store(row + COLUMNS, (vec)(bits & 0xffff0000u));
    }
}

static void widen_int8(const uint8_t *packed, float *tile)
{
    for (size_t i = 0; i < LINES * COLUMNS; i += WIDTH) {
        float *row = tile + i / COLUMNS * 4 * COLUMNS + i % COLUMNS;
        vec_bits bits;

        memcpy(&bits, packed + 4 * i, sizeof bits);
        for (unsigned j = 0; j < 4; j++)
            store(row + j * COLUMNS,
                  __builtin_convertvector((vec_int)(bits << (24 - 8 * j)) >> 24, vec));
    }
}

/* sums[r][c] += a[r][i] * tile[i][c] for i = 0, 1, ... k-1. */
static void multiply(size_t rows, size_t k, const float *a, size_t lda, const float *tile,
                     float *sums, size_t stride)
{
    for (size_t r = 0; r < rows; r++) {
        vec sum[PARTS];

        FOR_PARTS(p)
            sum[p] = load(sums + r * stride + p * WIDTH);
        for (size_t i = 0; i < k; i++)
            FOR_PARTS(p)
                sum[p] += load(tile + i * COLUMNS + p * WIDTH) * a[r * lda + i];
        FOR_PARTS(p)
            store(sums + r * stride + p * WIDTH, sum[p]);
    }
}

static void gemm(uint32_t precision, size_t group, size_t rows, size_t k, const float *a,
                 size_t lda, const uint8_t *packed, float *sums, size_t stride)
{
    float wide[4 * LINES * COLUMNS];
    const float *tile = wide;

    for (size_t r = 0; r < rows; r++)
        memset(sums + r * stride, 0, VMOE_PANEL * sizeof *sums);
    for (size_t i = 0; i < k; i += group * LINES) {
        const size_t left = k - i < group * LINES ? k - i : group * LINES;

        for (size_t half = 0; half < 2; half++, packed += TILE_BYTES) {
            if (precision == VMOE_PRECISION_INT8)
                widen_int8(packed, wide);
            else if (precision == VMOE_PRECISION_BF16)
                widen_bf16(packed, wide);
            else
                tile = (const float *)(const void *)packed;
            multiply(rows, left, a + i, lda, tile, sums + half * COLUMNS, stride);
        }
    }
}

#define PRODUCT(name, precision, group)                                                            \
    static void gemm_##name(size_t rows, size_t k, const void *a, size_t lda, const void *panel,   \
                            void *tile, size_t stride, struct ahead *ahead)                        \
    {                                                                                              \
        (void)ahead;                                                                               \
        gemm(precision, group, rows, k, a, lda / sizeof(float), panel, tile,                       \
             stride / sizeof(float));                                                              \
    }                                                                                              \
    static void product_##name(const struct vmoe_product *p)                                       \
    {                                                                                              \
        run_product(p, gemm_##name, TILE_ROWS, false);                                             \
    }

PRODUCT(f32, VMOE_PRECISION_F32, 1)
PRODUCT(bf16, VMOE_PRECISION_BF16, 2)
PRODUCT(int8, VMOE_PRECISION_INT8, 4)

/* ---- Attention ------------------------------------------------------------------------------ */

#define ATTEND_ROWS TILE_ROWS

#include "kernels/attend.h"

const struct vmoe_kernels vmoe_kernels_ref = {
    .isa = VMOE_ISA_REF,
    .product[VMOE_PRECISION_F32] = { [VMOE_PRECISION_F32] = product_f32,
                                     [VMOE_PRECISION_BF16] = product_bf16,
                                     [VMOE_PRECISION_INT8] = product_int8 },
    .attend[VMOE_PRECISION_F32] = attend_f32,
    .layer_norm = layer_norm,
    .softmax = softmax,
    .sigmoid = sigmoid,
    .router = router,
    .gemv = { [VMOE_PRECISION_F32] = gemv_f32,
              [VMOE_PRECISION_BF16] = gemv_bf16,
              [VMOE_PRECISION_INT8] = gemv_int8 },
};
