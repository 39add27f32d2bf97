/*
 * Vectors of floats, whatever their size.  The file of each table includes this text after it has
 * defined WIDTH, the floats in a vector of its instruction set, the type `vec` of such vectors, and
 * larger(a, b) and smaller(a, b), which give b if either is a NaN.  The rest is written once.  Each
 * operation is rounded correctly and none is contracted, so all tables agree to the bit.
 */
#ifndef VMOE_KERNELS_VECTOR_H
#define VMOE_KERNELS_VECTOR_H

#include <float.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* 1.5 * 2^23: a sum with it is rounded to an integer, and leaves that in the low bits. */
#define ROUNDER 12582912.0f

#define LANES 16u
#define PARTS (LANES / WIDTH)

typedef uint32_t vec_bits __attribute__((vector_size(4 * WIDTH)));
typedef int32_t vec_int __attribute__((vector_size(4 * WIDTH)));

/* ---- Functions of one vector ---------------------------------------------------------------- */

static inline vec all(float value)
{
    return (vec){ 0 } + value;
}

/* Both keep a NaN. */
static inline vec at_least(float low, vec x)
{
    return larger(all(low), x);
}

static inline vec at_most(float high, vec x)
{
    return smaller(all(high), x);
}

/*
 * For -88 <= x <= 87, exp(x) = (1 + p) * scale with scale a power of two and p the result, which
 * lies within -0.3 .. 0.42.  Below -87.7 scale is 0.
 */
static inline vec reduced_expm1(vec x, vec *scale)
{
    const vec shifted = x * 1.44269504f + ROUNDER;
    const vec n = shifted - ROUNDER;
    const vec r = x - n * 0.693359375f - n * -2.12194440e-4f; /* n times the first is exact */
    vec p;

    p = r * 0.00138145394f + 0.00836874545f;
    p = p * r + 0.0416683890f;
    p = p * r + 0.166665211f;
    p = p * r + 0.499999940f;
    *scale = (vec)(((vec_bits)shifted + 127u) << 23);
    return p * (r * r) + r;
}

/* exp(x) for x <= 87; 0 below -87.7. */
static inline vec exponential(vec x)
{
    vec scale;
    const vec p = reduced_expm1(at_least(-88.0f, x), &scale);

    return (p + 1.0f) * scale;
}

/* tanh(x) = t / (t + 2) with t = exp(2 x) - 1, put together without cancellation near 0. */
static inline vec tanh_of(vec x)
{
    vec scale, t;
    const vec p = reduced_expm1(at_most(9.5f, at_least(-9.5f, x)) * 2.0f, &scale);

    t = p * scale + (scale - 1.0f);
    return t / (t + 2.0f);
}

static inline vec sigmoid_of(vec x)
{
    return 1.0f / (exponential(at_most(87.0f, -x)) + 1.0f);
}

/* x / 2 * (1 + tanh(u)) = x * sigmoid(2 u), u = sqrt(2 / pi) * (x + 0.044715 x^3). */
static inline vec gelu_tanh_of(vec x)
{
    const vec z = at_least(-9.9f, x); /* where the result is -1e-36 */
    const vec q = z * (z * z * 0.0713548163f + 1.59576912f);

    return z / (exponential(-q) + 1.0f);
}

/*
 * x * Phi(x) with the normal distribution Phi(x) = sigmoid(q), where q(x) / x is a polynomial in
 * x^2 that was fitted so that the result is exact to 7e-8.  Beyond the range of the fit, -6 .. 6, q
 * only grows.
 */
static inline vec gelu_erf_of(vec x)
{
    const vec z = at_least(-7.0f, x); /* where the result is -2e-37 */
    const vec square = z * z;
    vec q;

    q = square * 3.61123131e-9f + -2.66892756e-7f;
    q = q * square + 7.93821800e-6f;
    q = q * square + -1.10480309e-4f;
    q = q * square + -6.62600141e-5f;
    q = q * square + 0.0726685673f;
    q = q * square + 1.59576845f;
    return z / (exponential(-(z * q)) + 1.0f);
}

#define FOR_PARTS(p) _Pragma("GCC unroll 4") for (size_t p = 0; p < PARTS; p++)

/* ---- Parts of rows -------------------------------------------------------------------------- */

static inline vec load(const float *x)
{
    vec v;

    memcpy(&v, x, sizeof v);
    return v;
}

static inline void store(float *x, vec v)
{
    memcpy(x, &v, sizeof v);
}

/* Copies the n < 16 values at the end of a row and fills up with `value`. */
static inline float *pad(float padded[LANES], size_t n, const float *x, float value)
{
    for (size_t i = 0; i < LANES; i++)
        padded[i] = i < n ? x[i] : value;
    return padded;
}

#endif
