/*
 * The element-wise operations and reductions of the table, over rows of any length.  The square
 * root is all that is asked of libm, so all tables agree to the bit.
 */
#ifndef VMOE_KERNELS_ELEMENTWISE_H
#define VMOE_KERNELS_ELEMENTWISE_H

#include <math.h>

#include "kernels/kernels.h"
#include "kernels/layout.h"
#include "kernels/vector.h"

static void sigmoid(size_t n, float *x)
{
    float rest[LANES];

    for (; n >= WIDTH; n -= WIDTH, x += WIDTH)
        store(x, sigmoid_of(load(x)));
    if (n > 0) {
        store(rest, sigmoid_of(load(pad(rest, n, x, 0.0f))));
        memcpy(x, rest, n * sizeof *x);
    }
}

/* ---- Reductions in 16 lanes ----------------------------------------------------------------- */

typedef float quad __attribute__((vector_size(16)));

static inline float sum_of(const vec sum[PARTS])
{
    quad lanes[LANES / 4];

    memcpy(lanes, sum, sizeof lanes);
    lanes[0] = (lanes[0] + lanes[2]) + (lanes[1] + lanes[3]);
    return (lanes[0][0] + lanes[0][2]) + (lanes[0][1] + lanes[0][3]);
}

/* sum += (x - shift)^power for 16 values, power being 1 or 2. */
static inline void add_powers(const float *x, float shift, int power, vec sum[PARTS])
{
    FOR_PARTS(p) {
        const vec v = load(x + p * WIDTH) - shift;

        if (power == 2)
            sum[p] += v * v;
        else
            sum[p] += v;
    }
}

#define CHAINS 4u /* sums that run side by side, which hides how long an addition takes */

/* The mean of (x - shift)^power. */
static inline float moment(size_t n, const float *x, float shift, int power)
{
    vec sum[CHAINS][PARTS] = { { { 0 } } };
    float rest[LANES];
    size_t i;

    for (i = 0; i + CHAINS * LANES <= n; i += CHAINS * LANES)
        _Pragma("GCC unroll 4") for (size_t chain = 0; chain < CHAINS; chain++)
            add_powers(x + i + chain * LANES, shift, power, sum[chain]);
    for (; i + LANES <= n; i += LANES)
        add_powers(x + i, shift, power, sum[0]);
    if (i < n)
        add_powers(pad(rest, n - i, x + i, shift), shift, power, sum[0]);
    FOR_PARTS(p)
        sum[0][p] = (sum[0][p] + sum[1][p]) + (sum[2][p] + sum[3][p]);
    return sum_of(sum[0]) / (float)n;
}

static void layer_norm(size_t n, const float *x, float epsilon, const float *scale,
                       const float *bias, float *y)
{
    const float mean = moment(n, x, 0.0f, 1);
    const float factor = 1.0f / sqrtf(moment(n, x, mean, 2) + epsilon);
    size_t i;

    for (i = 0; i + WIDTH <= n; i += WIDTH)
        store(y + i, (load(x + i) - mean) * factor * load(scale + i) + load(bias + i));
    for (; i < n; i++)
        y[i] = (x[i] - mean) * factor * scale[i] + bias[i];
}

static inline void larger_lanes(const float *x, vec max[PARTS])
{
    FOR_PARTS(p)
        max[p] = larger(load(x + p * WIDTH), max[p]);
}

/* The largest value that is not a NaN, and at least -FLT_MAX, so that -inf is like any other. */
static float max_of(size_t n, const float *x)
{
    vec max[PARTS], other[PARTS];
    float lane[LANES];
    size_t i;

    FOR_PARTS(p)
        max[p] = other[p] = all(-FLT_MAX);
    for (i = 0; i + 2 * LANES <= n; i += 2 * LANES) {
        larger_lanes(x + i, max);
        larger_lanes(x + i + LANES, other);
    }
    if (i + LANES <= n) {
        larger_lanes(x + i, max);
        i += LANES;
    }
    if (i < n)
        larger_lanes(pad(lane, n - i, x + i, -FLT_MAX), other);
    FOR_PARTS(p)
        max[p] = larger(max[p], other[p]);
    memcpy(lane, max, sizeof lane);
    for (size_t width = LANES / 2; width > 0; width /= 2)
        for (size_t l = 0; l < width; l++)
            lane[l] = lane[l] > lane[l + width] ? lane[l] : lane[l + width];
    return lane[0];
}

static inline void exp_lanes(float *x, float max, float factor, vec sum[PARTS])
{
    FOR_PARTS(p) {
        const vec v = exponential((load(x + p * WIDTH) - max) * factor);

        sum[p] += v;
        store(x + p * WIDTH, v);
    }
}

static float softmax(size_t n, float factor, float *x)
{
    const float max = max_of(n, x);
    vec sum[PARTS] = { { 0 } };
    float rest[LANES];
    size_t i;

    for (i = 0; i + LANES <= n; i += LANES)
        exp_lanes(x + i, max, factor, sum);
    if (i < n) {
        exp_lanes(pad(rest, n - i, x + i, -INFINITY), max, factor, sum);
        memcpy(x + i, rest, (n - i) * sizeof *x);
    }
    return sum_of(sum);
}

/* ---- Panels times a vector ------------------------------------------------------------------ */

/* What a line holds of row `row` of its group, in as many columns as a vector has. */
static inline vec row_of_line(uint32_t precision, const uint8_t *line, size_t row)
{
    vec_bits bits;

    memcpy(&bits, line, sizeof bits);
    if (precision == VMOE_PRECISION_INT8)
        return __builtin_convertvector((vec_int)(bits << (24 - 8 * row)) >> 24, vec);
    if (precision == VMOE_PRECISION_BF16)
        return (vec)(row == 0 ? bits << 16 : bits & 0xffff0000u);
    return (vec)bits;
}

/* y[row * ldy] = a row of the group times x, for the first `rows` rows of it. */
static inline void multiply_group(uint32_t precision, unsigned group, size_t panels,
                                  size_t panel_bytes, const uint8_t *packed, const float *x,
                                  size_t rows, float *y, size_t ldy)
{
    vec sums[4][PARTS] = { { { 0 } } };

    for (size_t tile = 0; tile < 2 * panels; tile++) {
        const uint8_t *line = packed + tile / 2 * panel_bytes + tile % 2 * TILE_BYTES;

        FOR_PARTS(p)
            _Pragma("GCC unroll 4") for (size_t row = 0; row < group; row++) sums[row][p] +=
                row_of_line(precision, line + 4 * WIDTH * p, row) *
                load(x + tile * COLUMNS + p * WIDTH);
    }
    for (size_t row = 0; row < rows; row++)
        y[row * ldy] = sum_of(sums[row]);
}

/* `group` is a constant, for the code of one precision. */
static inline void multiply_panels(uint32_t precision, unsigned group, size_t k, size_t panels,
                                   const uint8_t *packed, const float *x, float *y, size_t ldy)
{
    const size_t blocks = (k + group * LINES - 1) / (group * LINES);

    for (size_t line = 0; line * group < k; line++, y += group * ldy) {
        const size_t left = k - line * group;

        multiply_group(precision, group, panels, blocks * 2 * TILE_BYTES,
                       packed + (line / LINES * 2 * LINES + line % LINES) * LINE_BYTES, x,
                       left < group ? left : group, y, ldy);
    }
}

#define GEMV(linkage, name, precision, group)                                                      \
    linkage void name(size_t k, size_t panels, const void *packed, const float *x, float *y,       \
                      size_t ldy)                                                                  \
    {                                                                                              \
        multiply_panels(precision, group, k, panels, packed, x, y, ldy);                           \
    }

/* ---- The router ----------------------------------------------------------------------------- */

/* Tokens whose sums run side by side, which hides how long an addition takes. */
#define ROUTER_TOKENS 8u

/*
 * Logits of some tokens for as many experts as a vector has.  Each sum runs over the width from its
 * beginning, multiply and add apart.
 */
#define ROUTER_BLOCK(name, lanes, tokens)                                                          \
    static void name(size_t width, const float *x, size_t ldx, const float *weights, size_t ldw,   \
                     float *out, size_t ldo)                                                       \
    {                                                                                              \
        typedef float row __attribute__((vector_size(4 * lanes)));                                 \
        row sums[tokens] = { { 0.0f } };                                                           \
                                                                                                   \
        for (size_t i = 0; i < width; i++) {                                                       \
            row w;                                                                                 \
                                                                                                   \
            memcpy(&w, weights + i * ldw, sizeof w);                                               \
            _Pragma("GCC unroll 8") for (size_t t = 0; t < tokens; t++) sums[t] +=                 \
                x[t * ldx + i] * w;                                                                \
        }                                                                                          \
        for (size_t t = 0; t < tokens; t++)                                                        \
            memcpy(out + t * ldo, &sums[t], sizeof sums[t]);                                       \
    }

ROUTER_BLOCK(router_8x4, 4, ROUTER_TOKENS)
ROUTER_BLOCK(router_1x4, 4, 1)
#if WIDTH > 4
ROUTER_BLOCK(router_8x8, 8, ROUTER_TOKENS)
ROUTER_BLOCK(router_1x8, 8, 1)
#endif
#if WIDTH > 8
ROUTER_BLOCK(router_8x16, 16, ROUTER_TOKENS)
ROUTER_BLOCK(router_1x16, 16, 1)
#endif

/* One logit: the same operations in the same order. */
static float router_one(size_t width, const float *x, const float *weights, size_t ldw)
{
    float sum = 0.0f;

    for (size_t i = 0; i < width; i++)
        sum += x[i] * weights[i * ldw];
    return sum;
}

/* Blocks at the end begin early enough to be full: what they compute twice gets the same bits. */
static size_t block_begin(size_t i, size_t count, size_t block)
{
    return count - i < block ? count - block : i;
}

static void router(size_t tokens, size_t width, size_t experts, const float *x, size_t ldx,
                   const float *weights, size_t ldw, float *logits)
{
    const bool few = tokens < ROUTER_TOKENS;
    void (*block)(size_t, const float *, size_t, const float *, size_t, float *, size_t) =
        few ? router_1x4 : router_8x4;
    size_t lanes = 4;

    if (experts < lanes) {
        for (size_t t = 0; t < tokens; t++)
            for (size_t e = 0; e < experts; e++)
                logits[t * experts + e] = router_one(width, x + t * ldx, weights + e, ldw);
        return;
    }
#if WIDTH > 4
    if (experts >= 8) {
        block = few ? router_1x8 : router_8x8;
        lanes = 8;
    }
#endif
#if WIDTH > 8
    if (experts >= 16) {
        block = few ? router_1x16 : router_8x16;
        lanes = 16;
    }
#endif
    for (size_t i = 0; i < tokens; i += few ? 1 : ROUTER_TOKENS) {
        const size_t t = few ? i : block_begin(i, tokens, ROUTER_TOKENS);

        for (size_t j = 0; j < experts; j += lanes) {
            const size_t e = block_begin(j, experts, lanes);

            block(width, x + t * ldx, ldx, weights + e, ldw, logits + t * experts + e, experts);
        }
    }
}

#endif
