/*
 * The NEON tables.  gemm keeps up to 8 rows of 8 sums in 16 registers and 4 values of each row in 8
 * more; what remains is for weights.  An instruction multiplies a vector of weights with one of the
 * 4 values, so 64 of them go with 16 loads.  The tables with more instructions add products of
 * narrow rows to this one.
 */
#if defined(__aarch64__)

#include "kernels/arm/float32x4.h"
#include "kernels/arm/neon.h"

/* ---- Element-wise operations ---------------------------------------------------------------- */

#include "kernels/elementwise.h"
#include "kernels/product.h"

GEMV(static, gemv_f32, VMOE_PRECISION_F32, 1)
GEMV(static, gemv_bf16, VMOE_PRECISION_BF16, 2)
GEMV(static, gemv_int8, VMOE_PRECISION_INT8, 4)

/* ---- Rows ----------------------------------------------------------------------------------- */

/* Instructions that narrow also keep numbers within their range. */
static inline int16x8_t words_of(const float *x, float inverse, float zero)
{
    const int32x4_t low = vcvtnq_s32_f32(load(x) * inverse + zero);
    const int32x4_t high = vcvtnq_s32_f32(load(x + WIDTH) * inverse + zero);

    return vqmovn_high_s32(vqmovn_s32(low), high);
}

static inline void store_numbers(const float *x, float inverse, float zero, uint8_t *y)
{
    for (size_t i = 0; i < VMOE_ROW_BYTES; i += LANES)
        vst1q_u8(y + i, vqmovun_high_s16(vqmovun_s16(words_of(x + i, inverse, zero)),
                                         words_of(x + i + 2 * WIDTH, inverse, zero)));
}

#include "kernels/narrow.h"

/* ---- Matrix products ------------------------------------------------------------------------ */

#define TILE_ROWS 8u
#include "kernels/arm/strip.h"

#define STEP 4u /* values of a row */

/* The sums of all rows += their value j of the step times its weights. */
#define ADD_VALUE(j)                                                                               \
    do {                                                                                           \
        const uint8_t *const line = lines + j / group * LINE_BYTES;                                \
        const vec left = row_of_line(precision, line, j % group);                                  \
        const vec right = row_of_line(precision, line + sizeof left, j % group);                   \
                                                                                                   \
        FOR_ROWS(r, rows) {                                                                        \
            sum[r][0] = vfmaq_laneq_f32(sum[r][0], left, values[r], j);                            \
            sum[r][1] = vfmaq_laneq_f32(sum[r][1], right, values[r], j);                           \
        }                                                                                          \
    } while (0)

/* A step with its weights, whose lines lie in one tile. */
ALWAYS void add_step(uint32_t precision, size_t group, size_t rows, const vec values[TILE_ROWS],
                     const uint8_t *lines, vec sum[TILE_ROWS][2])
{
    ADD_VALUE(0);
    ADD_VALUE(1);
    ADD_VALUE(2);
    ADD_VALUE(3);
}

ALWAYS void gemm_strip(uint32_t precision, size_t group, size_t rows, size_t k, const float *a,
                       size_t lda, const uint8_t *strip, float *tile, size_t stride)
{
    vec sum[TILE_ROWS][2];
    size_t i;

    FOR_ROWS(r, rows)
        sum[r][0] = sum[r][1] = all(0.0f);
    for (i = 0; i + STEP <= k; i += STEP) {
        vec values[TILE_ROWS];

        FOR_ROWS(r, rows)
            values[r] = load(a + r * lda + i);
        add_step(precision, group, rows, values, line_at(strip, i / group), sum);
    }
    if (i < k) {
        float rest[LANES];
        vec values[TILE_ROWS];

        FOR_ROWS(r, rows)
            values[r] = load(pad(rest, k - i, a + r * lda + i, 0.0f));
        add_step(precision, group, rows, values, line_at(strip, i / group), sum);
    }
    FOR_ROWS(r, rows) {
        store(tile + r * stride, sum[r][0]);
        store(tile + r * stride + WIDTH, sum[r][1]);
    }
}

ALWAYS void gemm(uint32_t precision, size_t group, size_t rows, size_t k, const float *a,
                 size_t lda, const void *panel, float *tile, size_t stride,
                 struct ahead *ahead)
{
    (void)ahead;
    FOR_STRIPS(column)
        gemm_strip(precision, group, rows, k, a, lda, strip_at(panel, column), tile + column,
                   stride);
}

FLOAT_PRODUCT(static, product_f32, VMOE_PRECISION_F32, 1, TILE_ROWS)
FLOAT_PRODUCT(static, product_bf16, VMOE_PRECISION_BF16, 2, TILE_ROWS)
FLOAT_PRODUCT(static, product_int8, VMOE_PRECISION_INT8, 4, TILE_ROWS)

/* ---- Attention ------------------------------------------------------------------------------ */

#define ATTEND_ROWS TILE_ROWS
#define gemm_f32 gemm_of_product_f32

#include "kernels/attend.h"

/* ---- Tables --------------------------------------------------------------------------------- */

#define BASELINE                                                                                   \
    .product[VMOE_PRECISION_F32] = { [VMOE_PRECISION_F32] = product_f32,                           \
                                     [VMOE_PRECISION_BF16] = product_bf16,                         \
                                     [VMOE_PRECISION_INT8] = product_int8 },                       \
    .attend[VMOE_PRECISION_F32] = attend_f32, .layer_norm = layer_norm, .softmax = softmax,        \
    .gemv = { [VMOE_PRECISION_F32] = gemv_f32,                                                     \
              [VMOE_PRECISION_BF16] = gemv_bf16,                                                   \
              [VMOE_PRECISION_INT8] = gemv_int8 },                                                 \
    .sigmoid = sigmoid, .router = router

const struct vmoe_kernels vmoe_kernels_neon = { .isa = VMOE_ISA_NEON, BASELINE };

const struct vmoe_kernels vmoe_kernels_neon_dot = {
    .isa = VMOE_ISA_NEON_DOT,
    BASELINE,
    .product[VMOE_PRECISION_INT8][VMOE_PRECISION_INT8] = vmoe_dot_product_int8,
    .to_int8 = to_int8,
};

const struct vmoe_kernels vmoe_kernels_neon_i8mm = {
    .isa = VMOE_ISA_NEON_I8MM,
    BASELINE,
    .product[VMOE_PRECISION_BF16][VMOE_PRECISION_BF16] = vmoe_i8mm_product_bf16,
    .product[VMOE_PRECISION_INT8][VMOE_PRECISION_INT8] = vmoe_i8mm_product_int8,
    .to_bf16 = vmoe_i8mm_to_bf16,
    .to_int8 = to_int8,
};

#endif
