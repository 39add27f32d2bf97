/* The vector of vector.h. */
#ifndef VMOE_KERNELS_X86_FLOAT32X16_H
#define VMOE_KERNELS_X86_FLOAT32X16_H

#include <immintrin.h>

#define WIDTH 16
#define larger(a, b) _mm512_max_ps(a, b)
#define smaller(a, b) _mm512_min_ps(a, b)
typedef __m512 vec;

#endif
