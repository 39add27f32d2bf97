/*
 * Gates: the softmax of the router's logits.  Which experts a token gets may hang on the last bit
 * of a gate, so every instruction set runs this one file, and exp is our own.
 */
#include "routing/routing.h"

#include <string.h>

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
    series *= scale;

    /* A mask where a branch would keep the compiler from computing several at once. */
    memcpy(&bits, &series, sizeof bits);
    bits &= (uint32_t)(x < -87.0f) - 1u;
    memcpy(&series, &bits, sizeof series);
    return series;
}

#define TOGETHER 4u /* tokens whose chains of comparisons and additions run side by side */

/* The softmax of a few rows; a constant count is what lets them run side by side. */
static inline void softmax(size_t rows, size_t experts, float *gates)
{
    float largest[TOGETHER], sum[TOGETHER];

    for (size_t t = 0; t < rows; t++) {
        largest[t] = gates[t * experts];
        sum[t] = 0.0f;
    }
    for (size_t e = 1; e < experts; e++)
        for (size_t t = 0; t < rows; t++)
            largest[t] = gates[t * experts + e] > largest[t] ? gates[t * experts + e] : largest[t];
    for (size_t t = 0; t < rows; t++)
        for (size_t e = 0; e < experts; e++)
            gates[t * experts + e] = exp_of_negative(gates[t * experts + e] - largest[t]);
    for (size_t e = 0; e < experts; e++)
        for (size_t t = 0; t < rows; t++)
            sum[t] += gates[t * experts + e];
    for (size_t t = 0; t < rows; t++)
        for (size_t e = 0; e < experts; e++)
            gates[t * experts + e] /= sum[t];
}

void vmoe_route_gates(size_t tokens, size_t experts, float *gates)
{
    size_t t = 0;

    for (; t + TOGETHER <= tokens; t += TOGETHER)
        softmax(TOGETHER, experts, gates + t * experts);
    for (; t < tokens; t++)
        softmax(1, experts, gates + t * experts);
}
