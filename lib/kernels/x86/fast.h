/*
 * Faster forms of what product.h and narrow.h do, for results that will be rounded to bfloat16 or
 * less: the relative error of the exponentials is below 2^-12, against 2^-9 of the rounding.
 */
#ifndef VMOE_KERNELS_X86_FAST_H
#define VMOE_KERNELS_X86_FAST_H

#include <immintrin.h>
#include <stdint.h>

#define GELU_TANH fast_gelu_tanh
#define GELU_ERF fast_gelu_erf
#define SCALED(sum, scale, bias) _mm512_fmadd_ps(sum, scale, bias)

/* 2^x: a cubic for the fraction, fitted for the least relative error (7.5e-5). */
static inline __m512 fast_exp2(__m512 x)
{
    const __m512 f = _mm512_reduce_ps(x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
    __m512 p = _mm512_set1_ps(0.0780245215f);

    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.226067156f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.695833564f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.999925196f));
    return _mm512_scalef_ps(p, x);
}

/* z / (1 + 2^q) */
static inline __m512 fast_gate(__m512 z, __m512 q)
{
    const __m512 one = _mm512_set1_ps(1.0f);

    return _mm512_mul_ps(z, _mm512_rcp14_ps(_mm512_add_ps(fast_exp2(q), one)));
}

/* The GELUs of vector.h with their sigmoid in powers of two; constants times -log2 e. */
static inline __m512 fast_gelu_tanh(__m512 x)
{
    const __m512 z = _mm512_max_ps(_mm512_set1_ps(-9.9f), x);
    const __m512 q = _mm512_fmadd_ps(_mm512_mul_ps(z, z), _mm512_set1_ps(-0.10294324f),
                                     _mm512_set1_ps(-2.3022082f));

    return fast_gate(z, _mm512_mul_ps(z, q));
}

static inline __m512 fast_gelu_erf(__m512 x)
{
    const __m512 z = _mm512_max_ps(_mm512_set1_ps(-7.0f), x);
    const __m512 square = _mm512_mul_ps(z, z);
    __m512 q = _mm512_set1_ps(-5.2099055e-9f);

    q = _mm512_fmadd_ps(q, square, _mm512_set1_ps(3.85044856e-7f));
    q = _mm512_fmadd_ps(q, square, _mm512_set1_ps(-1.14524277e-5f));
    q = _mm512_fmadd_ps(q, square, _mm512_set1_ps(1.59389394e-4f));
    q = _mm512_fmadd_ps(q, square, _mm512_set1_ps(9.55929938e-5f));
    q = _mm512_fmadd_ps(q, square, _mm512_set1_ps(-0.104838582f));
    q = _mm512_fmadd_ps(q, square, _mm512_set1_ps(-2.30220723f));
    return fast_gate(z, _mm512_mul_ps(z, q));
}

static inline __m512i fast_number(const float *x, __m512 inverse, __m512 zero)
{
    return _mm512_cvtps_epi32(_mm512_fmadd_ps(_mm512_loadu_ps(x), inverse, zero));
}

/* Packing takes quarters of four registers in turn. */
static inline void store_numbers(const float *x, float inverse, float zero, uint8_t *y)
{
    const __m512i order =
        _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    const __m512 factor = _mm512_set1_ps(inverse), term = _mm512_set1_ps(zero);
    const __m512i left = _mm512_packs_epi32(fast_number(x, factor, term),
                                            fast_number(x + 16, factor, term));
    const __m512i right = _mm512_packs_epi32(fast_number(x + 32, factor, term),
                                             fast_number(x + 48, factor, term));

    _mm512_storeu_si512(
        y, _mm512_permutexvar_epi32(order, _mm512_packus_epi16(left, right)));
}

#endif
