/*
 * Attention of one head in float32, put together from the table's own products and softmax.  The
 * file of a table includes this text after it has defined ATTEND_ROWS, the queries that see all
 * keys at once, so that the softmax is exact, gemm_f32 for so many rows, and product_f32.
 */
#ifndef VMOE_KERNELS_ATTEND_H
#define VMOE_KERNELS_ATTEND_H

#include "kernels/kernels.h"
#include "kernels/pack.h"
#include "runtime/memory.h"

/* Keys are columns.  Some tables have a faster form. */
#ifndef PACK_KEYS
#define PACK_KEYS pack_keys
static void pack_keys(size_t width, size_t tokens, const float *keys, size_t stride, float *packed)
{
    vmoe_pack(VMOE_PRECISION_F32, width, tokens, keys, 1, stride / sizeof *keys, packed, NULL);
}
#endif

/* The products of some queries with all keys. */
static void score(const struct vmoe_attend *call, size_t first, size_t rows, const float *keys,
                  uint8_t *scores, size_t stride)
{
    const size_t panel_bytes = vmoe_pack_bytes(VMOE_PRECISION_F32, call->width, VMOE_PANEL);
    const size_t panels = (call->tokens + VMOE_PANEL - 1) / VMOE_PANEL;
    struct ahead nothing = { 0 };

    for (size_t p = 0; p < panels; p++)
        gemm_f32(rows, call->width, (const uint8_t *)call->q + first * call->ldq, call->ldq,
                 (const uint8_t *)keys + p * panel_bytes, scores + p * VMOE_PANEL * sizeof(float),
                 stride, &nothing);
}

static void attend_f32(const struct vmoe_attend *call)
{
    const size_t stride = vmoe_attend_stride(call->tokens);
    const size_t blocks = (call->queries + ATTEND_ROWS - 1) / ATTEND_ROWS;
    const size_t values_bytes = vmoe_pack_bytes(VMOE_PRECISION_F32, call->tokens, VMOE_PANEL);
    struct vmoe_arena arena = { .base = call->scratch, .size = call->scratch_bytes };
    float *keys =
        vmoe_arena_take(&arena, 1, vmoe_pack_bytes(VMOE_PRECISION_F32, call->width, call->tokens));
    float *values =
        vmoe_arena_take(&arena, 1, vmoe_pack_bytes(VMOE_PRECISION_F32, call->tokens, call->width));
    uint8_t *scores = vmoe_arena_take(&arena, ATTEND_ROWS, stride);
    float inverse[ATTEND_ROWS];
    struct vmoe_product mix = {
        .k = call->tokens,
        .columns = call->width,
        .a = scores,
        .lda = stride,
        .panels = values,
        .panel_stride = values_bytes,
        .panel_bytes = values_bytes,
        .ldo = call->ldo,
        .factors = inverse
    };

    PACK_KEYS(call->width, call->tokens, call->k, call->ldkv, keys);
    vmoe_pack(VMOE_PRECISION_F32, call->tokens, call->width, call->v, call->ldkv / sizeof(float), 1,
              values, NULL);
    /* Blocks of nearly equal size: few rows are a poor use of the keys. */
    for (size_t i = 0; i < blocks; i++) {
        const size_t done = call->queries * i / blocks;

        mix.rows = call->queries * (i + 1) / blocks - done;
        mix.out = (uint8_t *)call->out + done * call->ldo;
        score(call, done, mix.rows, keys, scores, stride);
        for (size_t r = 0; r < mix.rows; r++)
            inverse[r] = 1.0f / softmax(call->tokens, call->factor,
                                        (float *)(void *)(scores + r * stride));
        product_f32(&mix);
    }
}

#endif
