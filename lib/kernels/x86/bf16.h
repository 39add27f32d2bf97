/*
 * What the tables with bfloat16 rows share: how sums become such rows and these int8 ones, and int8
 * panels for bfloat16 rows.  The file of a table includes this text and defines product_bf16.
 */
#ifndef VMOE_KERNELS_X86_BF16_H
#define VMOE_KERNELS_X86_BF16_H

#include "kernels/layout.h"
#include "kernels/x86/fast.h"
#include "kernels/x86/float32x16.h"

#define STORE_BF16(to, vector)                                                                     \
    _mm256_storeu_si256((__m256i *)(void *)(to), (__m256i)_mm512_cvtneps_pbh(vector))

#include "kernels/narrow.h"
#include "kernels/product.h"

/* ---- Rows ----------------------------------------------------------------------------------- */

static void to_bf16(size_t n, const float *x, uint16_t *y)
{
    size_t i = 0;

    for (; i + 32 <= n; i += 32)
        _mm512_storeu_si512(y + i, (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(x + i + 16),
                                                               _mm512_loadu_ps(x + i)));
    if (i < n) {
        const __mmask32 mask = ((__mmask32)1 << (n - i)) - 1;
        const __m512 low = _mm512_maskz_loadu_ps((__mmask16)mask, x + i);
        const __m512 high = _mm512_maskz_loadu_ps((__mmask16)(mask >> 16), x + i + 16);

        _mm512_storeu_si512(y + i, (__m512i)_mm512_cvtne2ps_pbh(high, low));
    }
}

static inline __m512 widen_bf16(__m256i x)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(x), 16));
}

/*
 * As signed numbers, the bits of bfloat16 have the largest value on top; as unsigned ones, the
 * least value if there is a negative one.
 */
static struct vmoe_quant quant_of_bf16(size_t n, const uint16_t *x)
{
    __m512i top = _mm512_setzero_si512(), bottom = _mm512_setzero_si512();
    struct span span = { { 0 }, { 0 }, { 0 } };

    for (size_t i = 0; i < n; i += 32) {
        const __mmask32 mask = n - i < 32 ? ((__mmask32)1 << (n - i)) - 1 : ~(__mmask32)0;
        const __m512i bits = _mm512_maskz_loadu_epi16(mask, x + i);

        top = _mm512_max_epi16(top, bits);
        bottom = _mm512_max_epu16(bottom, bits);
    }
    widen_span(&span, widen_bf16(_mm512_castsi512_si256(top)));
    widen_span(&span, widen_bf16(_mm512_extracti64x4_epi64(top, 1)));
    widen_span(&span, widen_bf16(_mm512_castsi512_si256(bottom)));
    widen_span(&span, widen_bf16(_mm512_extracti64x4_epi64(bottom, 1)));
    return quant_of(&span);
}

/* The numbers of 32 values in 16 bits each, which may be off their range by one. */
static inline __m512i words_of(__m512i x, __m512 inverse, __m512 zero)
{
    const __m512 even = _mm512_castsi512_ps(_mm512_slli_epi32(x, 16));
    const __m512 odd = _mm512_castsi512_ps(_mm512_and_si512(x, _mm512_set1_epi32(-65536)));
    const __m512i low = _mm512_castps_si512(_mm512_fmadd_ps(even, inverse, zero));
    const __m512i high = _mm512_castps_si512(_mm512_fmadd_ps(odd, inverse, zero));

    return _mm512_mask_blend_epi16(0xaaaaaaaa, low, _mm512_slli_epi32(high, 16));
}

static struct vmoe_quant bf16_to_int8(size_t n, const uint16_t *x, uint8_t *y)
{
    const struct vmoe_quant quant = quant_of_bf16(n, x);
    const __m512 inverse = _mm512_set1_ps(1.0f / quant.scale);
    const __m512 zero = _mm512_set1_ps((float)quant.zero + ROUNDER);
    const __m512i order = _mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7);

    for (size_t i = 0; i < n; i += VMOE_ROW_BYTES) {
        const size_t left = n - i;
        const __mmask64 mask = left < 64 ? ((__mmask64)1 << left) - 1 : ~(__mmask64)0;
        const __m512i first = _mm512_maskz_loadu_epi16((__mmask32)mask, x + i);
        const __m512i second = _mm512_maskz_loadu_epi16((__mmask32)(mask >> 32), x + i + 32);
        const __m512i numbers = _mm512_packus_epi16(words_of(first, inverse, zero),
                                                    words_of(second, inverse, zero));

        _mm512_storeu_si512(y + i, _mm512_permutexvar_epi64(order, numbers));
    }
    return quant;
}

/* ---- Panels --------------------------------------------------------------------------------- */

static void product_bf16(const struct vmoe_product *p);

/* Row j of the group that a line holds, as the upper halves of 4 bytes: int8 numbers are exact. */
ALWAYS __m512i bf16_of_int8(__m512i line, unsigned j)
{
    const __m512i number = _mm512_srai_epi32(_mm512_slli_epi32(line, 24 - 8 * j), 24);

    return _mm512_castps_si512(_mm512_cvtepi32_ps(number));
}

/* An int8 tile has 64 rows of 16 columns, and becomes two bfloat16 tiles of 32, a step apart. */
static void widen_tile(const uint8_t *tile, uint8_t *wide)
{
    for (size_t g = 0; g < 16; g++, tile += 64) {
        const __m512i line = _mm512_load_si512(tile);
        uint8_t *to = wide + g / 8 * 2 * TILE_BYTES + g % 8 * 2 * 64;

        for (unsigned j = 0; j < 4; j += 2, to += 64)
            _mm512_store_si512(
                to, _mm512_or_si512(_mm512_srli_epi32(bf16_of_int8(line, j), 16),
                                    bf16_of_int8(line, j + 1)));
    }
}

/* bfloat16 rows with int8 panels, each of which is widened once for all rows. */
static void product_widened(const struct vmoe_product *p)
{
    struct vmoe_product one = *p;
    const uint8_t *panel = p->panels;

    one.panels = p->scratch;
    for (size_t column = 0; column < p->columns; column += VMOE_PANEL, panel += p->panel_stride) {
        const size_t left = p->columns - column;
        const size_t width = p->store == VMOE_STORE_BF16 ? sizeof(uint16_t) : sizeof(float);
        uint8_t *wide = p->scratch;

        for (size_t i = 0; i < p->panel_bytes; i += 2 * TILE_BYTES, wide += 4 * TILE_BYTES) {
            widen_tile(panel + i, wide);
            widen_tile(panel + i + TILE_BYTES, wide + TILE_BYTES);
        }
        one.columns = left < VMOE_PANEL ? left : VMOE_PANEL;
        one.scale = p->scale + column;
        one.bias = p->bias != NULL ? p->bias + column : NULL;
        one.out = (uint8_t *)p->out + column * width;
        one.next = left > VMOE_PANEL ? panel + p->panel_stride : p->next;
        product_bf16(&one);
    }
}

#endif
