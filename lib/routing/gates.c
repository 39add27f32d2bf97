/*
 * The router: logits and their softmax.  Which experts a token gets may hang on the last bit of a
 * gate, so every instruction set runs this one file: multiply and add are separate, the order of
 * every sum is fixed, and exp is our own.  Nothing here depends on how many tokens there are.
 */
#include "routing/routing.h"

#include <string.h>

/* Four floats at once; where the machine has no such type, the compiler emulates it. */
typedef float lanes __attribute__((vector_size(16)));
#define LANES 4u

/* Tokens whose sums run side by side, which hides how long an addition takes. */
#define TOKENS 8u

/* Logits of TOKENS tokens for LANES experts.  Each sum runs over the width from its beginning. */
static void sum_block(size_t width, const float *x, size_t ldx, const float *router, size_t ldr,
                      float *out, size_t ldo)
{
    lanes sums[TOKENS] = { { 0.0f } };

    for (size_t i = 0; i < width; i++) {
        lanes weights;

        memcpy(&weights, router + i * ldr, sizeof weights);
        for (size_t t = 0; t < TOKENS; t++)
            sums[t] += x[t * ldx + i] * weights;
    }
    for (size_t t = 0; t < TOKENS; t++)
        memcpy(out + t * ldo, &sums[t], sizeof sums[t]);
}

/* One logit: the same operations in the same order. */
static float sum_one(size_t width, const float *x, const float *router, size_t ldr)
{
    float sum = 0.0f;

    for (size_t i = 0; i < width; i++)
        sum += x[i] * router[i * ldr];
    return sum;
}

/* The last blocks begin early enough to be full: what they compute twice gets the same bits. */
static size_t block_begin(size_t i, size_t count, size_t block)
{
    return count - i < block ? count - block : i;
}

static void logits(size_t tokens, size_t width, size_t experts, const float *x, size_t ldx,
                   const float *router, float *out)
{
    if (tokens < TOKENS || experts < LANES) {
        for (size_t t = 0; t < tokens; t++)
            for (size_t e = 0; e < experts; e++)
                out[t * experts + e] = sum_one(width, x + t * ldx, router + e, experts);
        return;
    }
    for (size_t i = 0; i < tokens; i += TOKENS) {
        const size_t t = block_begin(i, tokens, TOKENS);

        for (size_t j = 0; j < experts; j += LANES) {
            const size_t e = block_begin(j, experts, LANES);

            sum_block(width, x + t * ldx, ldx, router + e, experts, out + t * experts + e,
                      experts);
        }
    }
}

/*
 * exp(x) for x <= 0, within 1.5 ulp; NaN stays NaN.  Below -87 the answer is 0, so that no result
 * is denormal.  x = n ln 2 + r with |r| <= ln 2 / 2, where Taylor's series to r^7 is enough.
 */
static float exp_of_negative(float x)
{
    const float rounder = 12582912.0f; /* 1.5 * 2^23: a float of this size has no fraction */
    const float shifted = x * 1.44269504f + rounder;
    const float n = shifted - rounder;
    const float r = (x - n * 0.693145752f) - n * 1.42860677e-6f; /* ln 2 in two parts */
    float series, scale;
    uint32_t bits;

    series = 1.0f / 5040.0f;
    series = series * r + 1.0f / 720.0f;
    series = series * r + 1.0f / 120.0f;
    series = series * r + 1.0f / 24.0f;
    series = series * r + 1.0f / 6.0f;
    series = series * r + 0.5f;
    series = series * r + 1.0f;
    series = series * r + 1.0f;

    /* The low bits of `shifted` are n; moved into the exponent they make 2^n. */
    memcpy(&bits, &shifted, sizeof bits);
    bits = (bits + 127u) << 23;
    memcpy(&scale, &bits, sizeof scale);
    return x < -87.0f ? 0.0f : series * scale;
}

static void softmax(size_t experts, float *row)
{
    float largest = row[0];
    float sum = 0.0f;

    for (size_t e = 1; e < experts; e++)
        largest = row[e] > largest ? row[e] : largest;
    for (size_t e = 0; e < experts; e++)
        row[e] = exp_of_negative(row[e] - largest);
    for (size_t e = 0; e < experts; e++)
        sum += row[e];
    for (size_t e = 0; e < experts; e++)
        row[e] /= sum;
}

void vmoe_route_gates(size_t tokens, size_t width, size_t experts, const float *x, size_t ldx,
                      const float *router, float *gates)
{
    logits(tokens, width, experts, x, ldx, router, gates);
    for (size_t t = 0; t < tokens; t++)
        softmax(experts, gates + t * experts);
}
