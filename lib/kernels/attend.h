/*
 * Attention of one head in float32, put together from the table's own product and softmax.  The file
 * of a table includes this text after it has defined ATTEND_ROWS, the queries that see all keys at
 * once, so that the softmax is exact, and pack_keys.
 */
#ifndef VMOE_KERNELS_ATTEND_H
#define VMOE_KERNELS_ATTEND_H

#include "kernels/kernels.h"
#include "kernels/pack.h"
#include "runtime/memory.h"

static void attend_f32(const struct vmoe_attend *call)
{
    const size_t stride = vmoe_attend_stride(call->tokens);
    const size_t blocks = (call->queries + ATTEND_ROWS - 1) / ATTEND_ROWS;
    struct vmoe_arena arena = {
        .base = call->scratch,
        .size = vmoe_attend_bytes(VMOE_PRECISION_F32, call->tokens, call->width)
    };
    float *keys =
        vmoe_arena_take(&arena, 1, vmoe_pack_bytes(VMOE_PRECISION_F32, call->width, call->tokens));
    float *values =
        vmoe_arena_take(&arena, 1, vmoe_pack_bytes(VMOE_PRECISION_F32, call->tokens, call->width));
    uint8_t *scores = vmoe_arena_take(&arena, ATTEND_ROWS, stride);
    float inverse[ATTEND_ROWS];
    struct vmoe_product score = {
        .k = call->width,
        .columns = (call->tokens + VMOE_PANEL - 1) / VMOE_PANEL * VMOE_PANEL,
        .lda = call->ldq,
        .panels = keys,
        .panel_bytes = vmoe_pack_bytes(VMOE_PRECISION_F32, call->width, VMOE_PANEL),
        .out = scores,
        .ldo = stride
    };
    struct vmoe_product mix = {
        .k = call->tokens,
        .columns = call->width,
        .a = scores,
        .lda = stride,
        .panels = values,
        .panel_bytes = vmoe_pack_bytes(VMOE_PRECISION_F32, call->tokens, VMOE_PANEL),
        .ldo = call->ldo,
        .factors = inverse
    };

    pack_keys(call->width, call->tokens, call->k, call->ldkv, keys);
    vmoe_pack(VMOE_PRECISION_F32, call->tokens, call->width, call->v, call->ldkv / sizeof(float), 1,
              values, NULL);
    /* Blocks of nearly equal size: few rows are a poor use of the keys. */
    for (size_t i = 0; i < blocks; i++) {
        const size_t done = call->queries * i / blocks;

        score.rows = mix.rows = call->queries * (i + 1) / blocks - done;
        score.a = (const uint8_t *)call->q + done * call->ldq;
        mix.out = (uint8_t *)call->out + done * call->ldo;
        product_f32(&score);
        for (size_t r = 0; r < score.rows; r++)
            inverse[r] = 1.0f / softmax(call->tokens, call->factor,
                                        (float *)(void *)(scores + r * stride));
        product_f32(&mix);
    }
}

#endif
