/*
 * Attention of one head in bfloat16.  32 queries at a time see all keys at once, so the softmax is
 * exact; its powers of two go into the same memory as the scores, rounded to bfloat16, and are
 * divided by their sum only in the end.  Between the rows of one block's softmax, panels of the
 * next block's scores and of the block before's mixture are multiplied, so that a tile unit and the
 * vector unit have work side by side.
 *
 * The file of a table includes this text and defines multiply.
 */
#ifndef VMOE_KERNELS_X86_ATTEND_BF16_H
#define VMOE_KERNELS_X86_ATTEND_BF16_H

#include <float.h>
#include <immintrin.h>

#include "kernels/kernels.h"
#include "kernels/layout.h"
#include "kernels/pack.h"
#include "kernels/x86/fast.h"
#include "kernels/x86/transpose.h"
#include "runtime/memory.h"

#define BLOCK_QUERIES 32u
#define GROUP_ROWS 4u  /* rows whose softmax runs side by side */
#define BLOCKS 3u      /* blocks under way */

/*
 * The sums of up to BLOCK_QUERIES rows of k numbers with one panel.  Sums of further rows, up to as
 * many, may be written too.
 */
static void multiply(size_t count, size_t k, const uint8_t *rows, size_t stride,
                     const uint8_t *panel, void *sums, size_t sums_stride);

/* A block of queries on its way. */
struct block {
    size_t first, rows;         /* queries; no rows: no block */
    uint8_t *scores;            /* (BLOCK_QUERIES, stride): float32, then bfloat16 */
    float inverse[BLOCK_QUERIES];  /* of the sums */
};

struct head {
    const struct vmoe_attend *call;
    uint8_t *keys, *values;     /* packed */
    size_t key_panels, value_panels;
    size_t key_bytes, value_bytes; /* of a panel */
    size_t stride;              /* bytes of a row of scores */
};

/* ---- Packing -------------------------------------------------------------------------------- */

/* Keys are columns: pairs of dimensions of 16 keys in a line. */
static void pack_keys(const struct head *head)
{
    const struct vmoe_attend *call = head->call;
    uint8_t *tile = head->keys;

    for (size_t p = 0; p < head->key_panels; p++)
        for (size_t i = 0; i < call->width; i += 32)
            for (size_t half = 0; half < 2; half++, tile += TILE_BYTES) {
                const size_t first = p * VMOE_PANEL + half * 16;

                transpose_16(first < call->tokens ? call->tokens - first : 0,
                             2 * (call->width - i),
                             (const uint16_t *)call->k + first * (call->ldkv / 2) + i, call->ldkv,
                             tile, 64);
            }
}

static __mmask16 mask_of(size_t left)
{
    return (__mmask16)((1u << (left < 16 ? left : 16)) - 1u);
}

/* Pairs of tokens of 16 dimensions in a line. */
static void pack_values(const struct head *head)
{
    const struct vmoe_attend *call = head->call;
    const size_t lines = head->value_bytes / (2 * TILE_BYTES) * 16;

    for (size_t tile = 0; tile < 2 * head->value_panels; tile++) {
        const size_t column = tile * 16;
        const __mmask16 mask = column < call->width ? mask_of(call->width - column) : 0;
        uint8_t *line = head->values + tile / 2 * head->value_bytes + tile % 2 * TILE_BYTES;

        for (size_t g = 0; g < lines; g++, line += g % 16 == 0 ? TILE_BYTES + 64 : 64) {
            const uint16_t *v = (const uint16_t *)call->v + 2 * g * (call->ldkv / 2) + column;
            const __mmask16 even = 2 * g < call->tokens ? mask : 0;
            const __mmask16 odd = 2 * g + 1 < call->tokens ? mask : 0;
            const __m512i low = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(even, v));
            const __m512i high =
                _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(odd, v + call->ldkv / 2));

            _mm512_store_si512(line, _mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
        }
    }
}

/* ---- Panels --------------------------------------------------------------------------------- */

/* The softmax takes some rows at a time, of which the last may be padding. */
static void score_panel(const struct head *head, const struct block *block, size_t panel)
{
    const struct vmoe_attend *call = head->call;

    multiply((block->rows + GROUP_ROWS - 1) / GROUP_ROWS * GROUP_ROWS, call->width,
             (const uint8_t *)call->q + block->first * call->ldq, call->ldq,
             head->keys + panel * head->key_bytes,
             block->scores + panel * VMOE_PANEL * sizeof(float), head->stride);
}

static void mix_panel(const struct head *head, const struct block *block, size_t panel)
{
    const struct vmoe_attend *call = head->call;
    const size_t column = panel * VMOE_PANEL, left = call->width - column;
    const __mmask16 low = mask_of(left), high = left > 16 ? mask_of(left - 16) : 0;
    _Alignas(64) float sums[BLOCK_QUERIES * VMOE_PANEL];

    multiply(block->rows, call->tokens, block->scores, head->stride,
             head->values + panel * head->value_bytes, sums, VMOE_PANEL * sizeof *sums);
    for (size_t r = 0; r < block->rows; r++) {
        const __m512 factor = _mm512_set1_ps(block->inverse[r]);
        const float *sum = sums + r * VMOE_PANEL;
        uint16_t *out = (uint16_t *)call->out + (block->first + r) * (call->ldo / 2) + column;
        const __m512 left_half = _mm512_mul_ps(_mm512_load_ps(sum), factor);
        const __m512 right_half = _mm512_mul_ps(_mm512_load_ps(sum + 16), factor);

        _mm256_mask_storeu_epi16(out, low, (__m256i)_mm512_cvtneps_pbh(left_half));
        _mm256_mask_storeu_epi16(out + 16, high, (__m256i)_mm512_cvtneps_pbh(right_half));
    }
}

/* ---- Softmax -------------------------------------------------------------------------------- */

/*
 * Rows first .. first + 3 of a block; what is beyond the tokens becomes 0.  The largest score goes
 * before the factor comes: their product is rounded, by which large scores would leave 2^0 by far.
 */
static void soften(const struct head *head, struct block *block, size_t first)
{
    const size_t tokens = head->call->tokens;
    const __m512 factor = _mm512_set1_ps(head->call->factor * 1.44269504f);
    __m512 most[GROUP_ROWS], sum[GROUP_ROWS];
    uint8_t *row[GROUP_ROWS];

#pragma GCC unroll 4
    for (size_t r = 0; r < GROUP_ROWS; r++) {
        row[r] = block->scores + (first + r) * head->stride;
        most[r] = _mm512_set1_ps(-FLT_MAX);
        sum[r] = _mm512_setzero_ps();
    }
    for (size_t t = 0; t < tokens; t += 16) {
        const __mmask16 mask = mask_of(tokens - t);

#pragma GCC unroll 4
        for (size_t r = 0; r < GROUP_ROWS; r++)
            most[r] = _mm512_mask_max_ps(
                most[r], mask, _mm512_load_ps((const float *)(void *)row[r] + t), most[r]);
    }
#pragma GCC unroll 4
    for (size_t r = 0; r < GROUP_ROWS; r++)
        most[r] = _mm512_set1_ps(_mm512_reduce_max_ps(most[r]));
    for (size_t t = 0; t < tokens; t += VMOE_PANEL) {
        const __mmask16 low = mask_of(tokens - t);
        const __mmask16 high = tokens - t > 16 ? mask_of(tokens - t - 16) : 0;

#pragma GCC unroll 4
        for (size_t r = 0; r < GROUP_ROWS; r++) {
            const float *score = (const float *)(void *)row[r] + t;
            const __m512 x = _mm512_sub_ps(_mm512_load_ps(score), most[r]);
            const __m512 y = _mm512_sub_ps(_mm512_load_ps(score + 16), most[r]);
            const __m512 p = _mm512_maskz_mov_ps(low, fast_exp2(_mm512_mul_ps(x, factor)));
            const __m512 q = _mm512_maskz_mov_ps(high, fast_exp2(_mm512_mul_ps(y, factor)));

            sum[r] = _mm512_add_ps(sum[r], _mm512_add_ps(p, q));
            _mm512_storeu_si512((uint16_t *)(void *)row[r] + t,
                                (__m512i)_mm512_cvtne2ps_pbh(q, p));
        }
    }
#pragma GCC unroll 4
    for (size_t r = 0; r < GROUP_ROWS; r++)
        block->inverse[first + r] = 1.0f / _mm512_reduce_add_ps(sum[r]);
}

/* ---- The head ------------------------------------------------------------------------------- */

/* Panels begin .. end - 1 of what the tile unit has to do beside a softmax. */
static void run_panels(const struct head *head, const struct block *before,
                       const struct block *next, size_t begin, size_t end)
{
    const size_t mixing = before->rows != 0 ? head->value_panels : 0;

    for (size_t i = begin; i < end; i++) {
        if (i < mixing)
            mix_panel(head, before, i);
        else
            score_panel(head, next, i - mixing);
    }
}

static size_t panels_beside(const struct head *head, const struct block *before,
                            const struct block *next)
{
    return (before->rows != 0 ? head->value_panels : 0) + (next->rows != 0 ? head->key_panels : 0);
}

static void set_block(const struct head *head, struct block *block, size_t first)
{
    const size_t queries = head->call->queries;
    const size_t left = first < queries ? queries - first : 0;

    block->first = first;
    block->rows = left < BLOCK_QUERIES ? left : BLOCK_QUERIES;
}

static void run_blocks(const struct head *head, struct block blocks[BLOCKS])
{
    const size_t count = (head->call->queries + BLOCK_QUERIES - 1) / BLOCK_QUERIES;

    set_block(head, &blocks[0], 0);
    blocks[BLOCKS - 1].rows = 0;
    run_panels(head, &blocks[BLOCKS - 1], &blocks[0], 0, head->key_panels);
    for (size_t i = 0; i < count; i++) {
        struct block *block = &blocks[i % BLOCKS], *next = &blocks[(i + 1) % BLOCKS];
        const struct block *before = &blocks[(i + BLOCKS - 1) % BLOCKS];
        size_t groups = (block->rows + GROUP_ROWS - 1) / GROUP_ROWS, panels;

        set_block(head, next, (i + 1) * BLOCK_QUERIES);
        panels = panels_beside(head, before, next);
        for (size_t g = 0; g < groups; g++) {
            soften(head, block, g * GROUP_ROWS);
            run_panels(head, before, next, panels * g / groups, panels * (g + 1) / groups);
        }
    }
    for (size_t p = 0; p < head->value_panels; p++)
        mix_panel(head, &blocks[(count - 1) % BLOCKS], p);
}

static void attend_bf16(const struct vmoe_attend *call)
{
    struct vmoe_arena arena = { .base = call->scratch, .size = call->scratch_bytes };
    struct head head = {
        .call = call,
        .key_panels = (call->tokens + VMOE_PANEL - 1) / VMOE_PANEL,
        .value_panels = (call->width + VMOE_PANEL - 1) / VMOE_PANEL,
        .key_bytes = vmoe_pack_bytes(VMOE_PRECISION_BF16, call->width, VMOE_PANEL),
        .value_bytes = vmoe_pack_bytes(VMOE_PRECISION_BF16, call->tokens, VMOE_PANEL),
        .stride = vmoe_attend_stride(call->tokens),
    };
    struct block blocks[BLOCKS];

    head.keys = vmoe_arena_take(&arena, head.key_panels, head.key_bytes);
    head.values = vmoe_arena_take(&arena, head.value_panels, head.value_bytes);
    for (size_t i = 0; i < BLOCKS; i++)
        blocks[i].scores = vmoe_arena_take(&arena, BLOCK_QUERIES, head.stride);
    pack_keys(&head);
    pack_values(&head);
    run_blocks(&head, blocks);
}

#endif
