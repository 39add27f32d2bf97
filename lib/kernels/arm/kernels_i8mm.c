/*
 * Products of int8 and of bfloat16 rows by matrix instructions.  One multiplies 8 bytes of two rows
 * with 8 bytes of two columns and adds the four results to a square of sums:
 *
 *     row 0   a0 .. a7             c0   b0 .. b7          (0, c0) (0, c1)
 *     row 1   a0 .. a7      times  c1   b0 .. b7    to    (1, c0) (1, c1)
 *
 * Two neighbouring lines of a panel, their 4-byte groups interleaved, have columns in this form.
 * Rows are taken by pairs, the last of which may be half padding.
 *
 * int8 sums are exact.  Of bfloat16 the instruction rounds the sum of two products, and then the
 * sum with what was there, each to odd: an error below one unit in the last place of float32, in
 * one order for all rows.
 */
#if defined(__aarch64__)

#include "kernels/arm/float32x4.h"
#include "kernels/arm/neon.h"

#define STORE_BF16(to, vector) vst1_u16(to, vreinterpret_u16_bf16(vcvt_bf16_f32(vector)))
#include "kernels/product.h"

#define TILE_ROWS 4u /* pairs of rows */
#include "kernels/arm/strip.h"

/* ---- Rows ----------------------------------------------------------------------------------- */

static inline void store_lanes(const float *x, uint16_t *y)
{
    FOR_PARTS(p)
        STORE_BF16(y + p * WIDTH, load(x + p * WIDTH));
}

void vmoe_i8mm_to_bf16(size_t n, const float *x, uint16_t *y)
{
    float rest[LANES];
    size_t i;

    for (i = 0; i + LANES <= n; i += LANES)
        store_lanes(x + i, y + i);
    if (i < n) {
        store_lanes(pad(rest, n - i, x + i, 0.0f), y + i);
        i += LANES;
    }
    for (; i % (VMOE_ROW_BYTES / sizeof *y) != 0; i += LANES)
        memset(y + i, 0, LANES * sizeof *y);
}

/* ---- Matrix products ------------------------------------------------------------------------ */

/*
 * sum += rows * columns; the sums of int8 are integers in the same 4 bytes.  Given the intrinsics,
 * a compiler copies sums from register to register and keeps some in memory.
 */
ALWAYS vec multiply(bool integers, vec sum, uint8x16_t rows, uint8x16_t columns)
{
    if (integers)
        __asm__("usmmla %0.4s, %1.16b, %2.16b" : "+w"(sum) : "w"(rows), "w"(columns));
    else
        __asm__("bfmmla %0.4s, %1.8h, %2.8h" : "+w"(sum) : "w"(rows), "w"(columns));
    return sum;
}

/* Two lines, and the half of the step that goes with them. */
ALWAYS void add_lines(bool integers, size_t pairs, const uint8x16_t values[TILE_ROWS],
                      const uint8_t *line, vec sum[TILE_ROWS][4])
{
#pragma GCC unroll 2
    for (size_t half = 0; half < 2; half++, line += sizeof(vec)) {
        const uint32x4_t first = (uint32x4_t)vld1q_u8(line);
        const uint32x4_t second = (uint32x4_t)vld1q_u8(line + LINE_BYTES);
        const uint8x16_t left = (uint8x16_t)vzip1q_u32(first, second);
        const uint8x16_t right = (uint8x16_t)vzip2q_u32(first, second);

        FOR_ROWS(p, pairs) {
            sum[p][2 * half] = multiply(integers, sum[p][2 * half], values[p], left);
            sum[p][2 * half + 1] = multiply(integers, sum[p][2 * half + 1], values[p], right);
        }
    }
}

/* The upper or the lower rows of two neighbouring squares. */
ALWAYS vec upper(vec left, vec right)
{
    return (vec)vtrn1q_u64((uint64x2_t)left, (uint64x2_t)right);
}

ALWAYS vec lower(vec left, vec right)
{
    return (vec)vtrn2q_u64((uint64x2_t)left, (uint64x2_t)right);
}

/* Rows are padded, so steps may be read whole; the weights beyond them are zero. */
ALWAYS void gemm_strip(bool integers, size_t pairs, size_t bytes, const uint8_t *a, size_t lda,
                       const uint8_t *strip, float *tile, size_t stride)
{
    vec sum[TILE_ROWS][4] = { { { 0 } } };

    for (size_t i = 0; i < bytes; i += STEP_BYTES) {
        const uint8_t *const line = line_at(strip, i / 4);
        uint8x16_t begin[TILE_ROWS], end[TILE_ROWS];

        FOR_ROWS(p, pairs) {
            const uint8_t *const row = a + 2 * p * lda + i;
            const vec even = (vec)vld1q_u8(row), odd = (vec)vld1q_u8(row + lda);

            begin[p] = (uint8x16_t)upper(even, odd);
            end[p] = (uint8x16_t)lower(even, odd);
        }
        add_lines(integers, pairs, begin, line, sum);
        add_lines(integers, pairs, end, line + 2 * LINE_BYTES, sum);
    }
    FOR_ROWS(p, pairs) {
        float *const row = tile + 2 * p * stride;

        for (size_t half = 0; half < 2; half++) {
            const vec left = sum[p][2 * half], right = sum[p][2 * half + 1];

            store(row + half * WIDTH, upper(left, right));
            store(row + stride + half * WIDTH, lower(left, right));
        }
    }
}

ALWAYS void gemm(bool integers, size_t pairs, size_t bytes, const void *a, size_t lda,
                 const void *panel, float *tile, size_t stride)
{
    FOR_STRIPS(column)
        gemm_strip(integers, pairs, bytes, a, lda, strip_at(panel, column), tile + column,
                   stride);
}

/* Code for each number of pairs, which is that of rows in SWITCH_ROWS. */
#define PRODUCT(name, type, integers)                                                              \
    static void gemm_##name(size_t count, size_t k, const void *a, size_t lda, const void *panel,  \
                            void *tile, size_t stride, struct ahead *ahead)                        \
    {                                                                                              \
        const size_t rows = (count + 1) / 2;                                                       \
                                                                                                   \
        (void)ahead;                                                                               \
        SWITCH_ROWS(gemm(integers, ROWS, k * sizeof(type), a, lda, panel, tile,                    \
                         stride / sizeof(float)))                                                  \
    }                                                                                              \
    void vmoe_i8mm_product_##name(const struct vmoe_product *p)                                    \
    {                                                                                              \
        run_product(p, gemm_##name, 2 * TILE_ROWS, integers);                                      \
    }

PRODUCT(bf16, uint16_t, false)
PRODUCT(int8, uint8_t, true)

#endif
