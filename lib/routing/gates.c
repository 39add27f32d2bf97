/*
 * Gates: the softmax of the router's logits.  Which experts a token gets may hang on the last bit of
 * a gate, so every instruction set runs this one file, and exp is our own.
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

void vmoe_route_gates(size_t tokens, size_t experts, float *gates)
{
    for (size_t t = 0; t < tokens; t++)
        softmax(experts, gates + t * experts);
}
