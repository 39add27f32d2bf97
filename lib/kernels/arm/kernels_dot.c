/*
 * Products of int8 rows with int8 panels by dot products: an instruction adds the products of four
 * bytes of a row and four bytes of each of 4 columns to 4 sums.  Both are signed, so rows are taken
 * less 128.
 */
#if defined(__aarch64__)

#include "kernels/arm/float32x4.h"
#include "kernels/arm/neon.h"

#define ROWS_LESS 128
#include "kernels/product.h"

#define TILE_ROWS 8u
#include "kernels/arm/strip.h"

/* Group j of a step of all rows. */
#define ADD_GROUP(j)                                                                               \
    do {                                                                                           \
        const int8_t *const line = (const int8_t *)lines + j * LINE_BYTES;                         \
        const int8x16_t left = vld1q_s8(line), right = vld1q_s8(line + sizeof left);               \
                                                                                                   \
        FOR_ROWS(r, rows) {                                                                        \
            sum[r][0] = vdotq_laneq_s32(sum[r][0], left, values[r], j);                            \
            sum[r][1] = vdotq_laneq_s32(sum[r][1], right, values[r], j);                           \
        }                                                                                          \
    } while (0)

/* Rows are padded, so steps may be read whole; the weights beyond k are zero. */
ALWAYS void gemm_strip(size_t rows, size_t k, const uint8_t *a, size_t lda, const uint8_t *strip,
                       int32_t *tile, size_t stride)
{
    int32x4_t sum[TILE_ROWS][2];

    FOR_ROWS(r, rows)
        sum[r][0] = sum[r][1] = vdupq_n_s32(0);
    for (size_t i = 0; i < k; i += STEP_BYTES) {
        const uint8_t *const lines = line_at(strip, i / 4);
        int8x16_t values[TILE_ROWS];

        FOR_ROWS(r, rows)
            values[r] = vreinterpretq_s8_u8(
                veorq_u8(vld1q_u8(a + r * lda + i), vdupq_n_u8(ROWS_LESS)));
        ADD_GROUP(0);
        ADD_GROUP(1);
        ADD_GROUP(2);
        ADD_GROUP(3);
    }
    FOR_ROWS(r, rows) {
        vst1q_s32(tile + r * stride, sum[r][0]);
        vst1q_s32(tile + r * stride + WIDTH, sum[r][1]);
    }
}

ALWAYS void gemm(size_t rows, size_t k, const uint8_t *a, size_t lda, const void *panel,
                 int32_t *tile, size_t stride)
{
    FOR_STRIPS(column)
        gemm_strip(rows, k, a, lda, strip_at(panel, column), tile + column, stride);
}

static void gemm_int8(size_t rows, size_t k, const void *a, size_t lda, const void *panel,
                      void *tile, size_t stride, struct ahead *ahead)
{
    (void)ahead;
    SWITCH_ROWS(gemm(ROWS, k, a, lda, panel, tile, stride / sizeof(int32_t)))
}

void vmoe_dot_product_int8(const struct vmoe_product *p)
{
    run_product(p, gemm_int8, TILE_ROWS, true);
}

#endif
