/* The transposition of 16 x 16 numbers of 4 bytes, with which keys are packed for attention. */
#ifndef VMOE_KERNELS_X86_TRANSPOSE_H
#define VMOE_KERNELS_X86_TRANSPOSE_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

/*
 * out[i][j] = in[j][i] for i, j < 16.  Of the 64 bytes of a row of `in`, what is beyond `bytes`,
 * and rows from `rows` on, count as 0 and are not read.  Strides are in bytes; `out` is aligned.
 */
static inline void transpose_16(size_t rows, size_t bytes, const void *in, size_t stride, void *out,
                                size_t out_stride)
{
    const __mmask64 mask = bytes >= 64 ? ~UINT64_C(0) : (UINT64_C(1) << bytes) - 1;
    const uint8_t *from = in;
    uint8_t *to = out;
    __m512i a[16], b[16];

#pragma GCC unroll 16
    for (size_t j = 0; j < 16; j++)
        a[j] = j < rows ? _mm512_maskz_loadu_epi8(mask, from + j * stride) : _mm512_setzero_si512();
    /* Pairs, fours and eights of rows change places, lane by lane and then across lanes. */
#pragma GCC unroll 8
    for (size_t j = 0; j < 16; j += 2) {
        b[j] = _mm512_unpacklo_epi32(a[j], a[j + 1]);
        b[j + 1] = _mm512_unpackhi_epi32(a[j], a[j + 1]);
    }
#pragma GCC unroll 4
    for (size_t j = 0; j < 16; j += 4) {
        a[j] = _mm512_unpacklo_epi64(b[j], b[j + 2]);
        a[j + 1] = _mm512_unpackhi_epi64(b[j], b[j + 2]);
        a[j + 2] = _mm512_unpacklo_epi64(b[j + 1], b[j + 3]);
        a[j + 3] = _mm512_unpackhi_epi64(b[j + 1], b[j + 3]);
    }
    /* Lane l of a[4 g + i] now holds column 4 l + i of rows 4 g .. 4 g + 3. */
#pragma GCC unroll 4
    for (size_t i = 0; i < 4; i++) {
        const __m512i low_01 = _mm512_shuffle_i32x4(a[i], a[4 + i], 0x44);
        const __m512i high_01 = _mm512_shuffle_i32x4(a[i], a[4 + i], 0xee);
        const __m512i low_23 = _mm512_shuffle_i32x4(a[8 + i], a[12 + i], 0x44);
        const __m512i high_23 = _mm512_shuffle_i32x4(a[8 + i], a[12 + i], 0xee);

        _mm512_store_si512(to + i * out_stride, _mm512_shuffle_i32x4(low_01, low_23, 0x88));
        _mm512_store_si512(to + (4 + i) * out_stride, _mm512_shuffle_i32x4(low_01, low_23, 0xdd));
        _mm512_store_si512(to + (8 + i) * out_stride, _mm512_shuffle_i32x4(high_01, high_23, 0x88));
        _mm512_store_si512(to + (12 + i) * out_stride,
                           _mm512_shuffle_i32x4(high_01, high_23, 0xdd));
    }
}

#endif
