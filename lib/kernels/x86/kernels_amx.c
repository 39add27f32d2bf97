/*
 * The AMX table: products of bfloat16 and int8 rows, and attention in bfloat16.  A block of 32 rows
 * and one panel is a square of two by two tiles, whose sums stay in the tile registers over all of
 * k.  The tile unit and the vector unit work side by side: while one block is multiplied, the sums
 * of the block before are finished, a few rows in each step.
 */
#include <immintrin.h>

#include "kernels/x86/avx512.h"
#include "kernels/x86/fast.h"
#include "kernels/x86/amx.h"

/* ---- Element-wise operations ---------------------------------------------------------------- */

#define WIDTH 16
#define larger(a, b) _mm512_max_ps(a, b)
#define smaller(a, b) _mm512_min_ps(a, b)
typedef __m512 vec;

#define GELU_TANH fast_gelu_tanh
#define GELU_ERF fast_gelu_erf
#define STORE_BF16(to, vector)                                                                     \
    _mm256_storeu_si256((__m256i *)(void *)(to), (__m256i)_mm512_cvtneps_pbh(vector))

#include "kernels/narrow.h"
#include "kernels/product.h"

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
 * As signed numbers, the bits of bfloat16 have the largest value on top; as unsigned ones, the least
 * value if there is a negative one.
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

static struct vmoe_quant bf16_to_int8(size_t n, const uint16_t *x, uint8_t *y)
{
    const struct vmoe_quant quant = quant_of_bf16(n, x);
    const __m512 inverse = _mm512_set1_ps(1.0f / quant.scale);
    const __m512 zero = _mm512_set1_ps((float)quant.zero);
    size_t i;

    for (i = 0; i < n; i += 16) {
        const __mmask16 mask = (__mmask16)(n - i < 16 ? (1u << (n - i)) - 1u : 0xffffu);
        const __m512 value = widen_bf16(_mm256_maskz_loadu_epi16(mask, x + i));
        const __m512 q = _mm512_max_ps(_mm512_fmadd_ps(value, inverse, zero), _mm512_setzero_ps());

        _mm_storeu_si128((__m128i *)(void *)(y + i),
                         _mm512_cvtusepi32_epi8(_mm512_cvtps_epi32(q)));
    }
    for (; i % VMOE_ROW_BYTES != 0; i += 16)
        memset(y + i, 0, 16);
    return quant;
}

/* ---- Products ------------------------------------------------------------------------------- */

#define BLOCK_ROWS (2 * TILE_ROWS)
#define SUMS_STRIDE (VMOE_PANEL * sizeof(float))

/* A block whose sums have left the tile registers. */
struct pending {
    const struct vmoe_product *product;
    const struct side *side;
    const float *sums;
    size_t row;        /* to be finished next */
    size_t left;       /* rows */
    size_t rows_a_step;
};

ALWAYS void finish_some(struct pending *pending, size_t rows, uint32_t activation, bool integers)
{
    for (size_t i = 0; i < rows && pending->left > 0; i++, pending->left--) {
        finish_row(pending->product, pending->side, activation, integers, pending->sums,
                   pending->row++);
        pending->sums += VMOE_PANEL;
    }
}

/* A panel on its way from memory to the second-level cache. */
struct ahead {
    const uint8_t *line, *end;
    size_t lines_a_step;
};

ALWAYS void fetch_some(struct ahead *ahead)
{
    for (size_t i = 0; i < ahead->lines_a_step && ahead->line < ahead->end; i++, ahead->line += 64)
        _mm_prefetch((const char *)ahead->line, _MM_HINT_T1);
}

/*
 * The tiles of one step.  Of rows and panel, the one that is met again sooner may stay in the
 * first-level cache: the panel if there are more blocks than one, the rows otherwise.
 */
ALWAYS void multiply_step(const uint8_t *a, size_t lda, const uint8_t *panel, bool tall,
                          bool one_block, bool integers)
{
    if (one_block) {
        TILE_STREAM(6, panel, 64ul);
        TILE_STREAM(7, panel + TILE_BYTES, 64ul);
        TILE_LOAD(4, a, lda);
    } else {
        TILE_LOAD(6, panel, 64ul);
        TILE_LOAD(7, panel + TILE_BYTES, 64ul);
        TILE_STREAM(4, a, lda);
    }
    if (integers) {
        TILE_DOT_INT8(0, 4, 6);
        TILE_DOT_INT8(1, 4, 7);
    } else {
        TILE_DOT_BF16(0, 4, 6);
        TILE_DOT_BF16(1, 4, 7);
    }
    if (!tall)
        return;
    if (one_block)
        TILE_LOAD(5, a + TILE_ROWS * lda, lda);
    else
        TILE_STREAM(5, a + TILE_ROWS * lda, lda);
    if (integers) {
        TILE_DOT_INT8(2, 5, 6);
        TILE_DOT_INT8(3, 5, 7);
    } else {
        TILE_DOT_BF16(2, 5, 6);
        TILE_DOT_BF16(3, 5, 7);
    }
}

ALWAYS void multiply_block(size_t steps, const uint8_t *a, size_t lda, const uint8_t *panel,
                           bool tall, bool one_block, struct ahead *ahead, struct pending *pending,
                           uint32_t activation, bool integers)
{
    TILE_ZERO(0);
    TILE_ZERO(1);
    TILE_ZERO(2);
    TILE_ZERO(3);
    for (size_t s = 0; s < steps; s++, a += STEP_BYTES, panel += 2 * TILE_BYTES) {
        multiply_step(a, lda, panel, tall, one_block, integers);
        fetch_some(ahead);
        finish_some(pending, pending->rows_a_step, activation, integers);
    }
}

ALWAYS void run_tiles(const struct vmoe_product *p, uint32_t activation, bool integers)
{
    const size_t bytes = p->k * (integers ? sizeof(uint8_t) : sizeof(uint16_t));
    const size_t steps = (bytes + STEP_BYTES - 1) / STEP_BYTES;
    const size_t blocks = (p->rows + BLOCK_ROWS - 1) / BLOCK_ROWS;
    const size_t rows_a_step = (BLOCK_ROWS + steps - 1) / steps;
    _Alignas(64) float sums[2][BLOCK_ROWS * VMOE_PANEL];
    _Alignas(64) struct side sides[2];
    struct pending pending = { p, sides, sums[0], 0, 0, rows_a_step };
    const uint8_t *panel = p->panels;
    size_t turn = 0;

    tiles_begin();
    for (size_t column = 0; column < p->columns; column += VMOE_PANEL, panel += p->panel_bytes) {
        const bool last = column + VMOE_PANEL >= p->columns;
        const uint8_t *next = last ? p->next : panel + p->panel_bytes;
        struct ahead ahead = { next, next != NULL ? next + p->panel_bytes : NULL,
                               (2 * TILE_BYTES / 64 + blocks - 1) / blocks };
        struct side *side = &sides[column / VMOE_PANEL % 2];

        side_of(p, column, side);
        for (size_t row = 0; row < p->rows; row += BLOCK_ROWS, turn++) {
            const size_t left = p->rows - row;
            const bool tall = left > TILE_ROWS;
            const uint8_t *a = (const uint8_t *)p->a + row * p->lda;

            multiply_block(steps, a, p->lda, panel, tall, blocks == 1, &ahead, &pending,
                           activation, integers);
            finish_some(&pending, BLOCK_ROWS, activation, integers);
            store_sums(sums[turn % 2], SUMS_STRIDE, tall);
            pending.side = side;
            pending.sums = sums[turn % 2];
            pending.row = row;
            pending.left = left < BLOCK_ROWS ? left : BLOCK_ROWS;
        }
    }
    finish_some(&pending, BLOCK_ROWS, activation, integers);
    tiles_end();
}

#define PRODUCT(name, integers)                                                                    \
    static void product_##name(const struct vmoe_product *p)                                       \
    {                                                                                              \
        switch (p->activation) {                                                                   \
        case VMOE_GELU_TANH_OF:                                                                    \
            run_tiles(p, VMOE_GELU_TANH_OF, integers);                                             \
            return;                                                                                \
        case VMOE_GELU_ERF_OF:                                                                     \
            run_tiles(p, VMOE_GELU_ERF_OF, integers);                                              \
            return;                                                                                \
        case VMOE_TANH_OF:                                                                         \
            run_tiles(p, VMOE_TANH_OF, integers);                                                  \
            return;                                                                                \
        default:                                                                                   \
            run_tiles(p, VMOE_IDENTITY, integers);                                                 \
            return;                                                                                \
        }                                                                                          \
    }

PRODUCT(bf16, false)
PRODUCT(int8, true)

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
    one.panel_bytes = p->panel_bytes;
    for (size_t column = 0; column < p->columns; column += VMOE_PANEL, panel += p->panel_bytes) {
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
        one.next = left > VMOE_PANEL ? panel + p->panel_bytes : p->next;
        product_bf16(&one);
    }
}

const struct vmoe_kernels vmoe_kernels_amx = {
    .isa = VMOE_ISA_AMX,
    VMOE_AVX512_KERNELS,
    .product[VMOE_PRECISION_BF16][VMOE_PRECISION_BF16] = product_bf16,
    .product[VMOE_PRECISION_BF16][VMOE_PRECISION_INT8] = product_widened,
    .product[VMOE_PRECISION_INT8][VMOE_PRECISION_INT8] = product_int8,
    .attend[VMOE_PRECISION_BF16] = vmoe_amx_attend,
    .to_bf16 = to_bf16,
    .to_int8 = to_int8,
    .bf16_to_int8 = bf16_to_int8,
};
