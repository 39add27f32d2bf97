/*
 * Attention by the matrix kernels: the keys of a head, transposed, and its values are packed like
 * weights, then a few queries at a time see all keys at once, so that the softmax is exact.
 */
#include "encoder/attention.h"

#include <math.h>
#include <string.h>

#include "kernels/pack.h"

struct head_scratch {
    float *keys;   /* packed, width x tokens */
    float *values; /* packed, tokens x width */
    float *scores; /* (VMOE_TILE_ROWS_MAX, stride) */
    float *tile;   /* (VMOE_TILE_ROWS_MAX, VMOE_PANEL) */
    size_t stride;
};

static size_t whole_panels(size_t n)
{
    return (n + VMOE_PANEL - 1) / VMOE_PANEL;
}

static void layout(struct vmoe_arena *arena, uint64_t tokens, uint64_t width,
                   struct head_scratch *scratch)
{
    scratch->stride = whole_panels(tokens) * VMOE_PANEL;
    scratch->keys =
        vmoe_arena_take(arena, 1, vmoe_pack_bytes(VMOE_PRECISION_F32, width, tokens));
    scratch->values =
        vmoe_arena_take(arena, 1, vmoe_pack_bytes(VMOE_PRECISION_F32, tokens, width));
    scratch->scores = vmoe_arena_take(arena, VMOE_TILE_ROWS_MAX * scratch->stride, sizeof(float));
    scratch->tile = vmoe_arena_take(arena, VMOE_TILE_ROWS_MAX * VMOE_PANEL, sizeof(float));
}

uint64_t vmoe_attention_scratch_bytes(uint64_t tokens, uint64_t width)
{
    struct vmoe_arena arena = { 0 };
    struct head_scratch scratch;

    layout(&arena, tokens, width, &scratch);
    return arena.used;
}

/* scores (rows, tokens) = q (rows, width) times the packed keys. */
static void score(const struct vmoe_kernels *kernels, const struct vmoe_attention_call *call,
                  const struct head_scratch *scratch, const float *q, size_t rows)
{
    size_t panel_bytes = vmoe_pack_bytes(VMOE_PRECISION_F32, call->width, VMOE_PANEL);

    for (size_t p = 0; p < whole_panels(call->tokens); p++) {
        const uint8_t *panel = (const uint8_t *)scratch->keys + p * panel_bytes;

        kernels->gemm[VMOE_PRECISION_F32](rows, call->width, q, call->ldq, panel, scratch->tile);
        for (size_t r = 0; r < rows; r++)
            memcpy(scratch->scores + r * scratch->stride + p * VMOE_PANEL,
                   scratch->tile + r * VMOE_PANEL, VMOE_PANEL * sizeof(float));
    }
}

/* out (rows, width) = scores times the packed values, each row times its factor. */
static void mix(const struct vmoe_kernels *kernels, const struct vmoe_attention_call *call,
                const struct head_scratch *scratch, const float *factors, float *out, size_t rows)
{
    size_t panel_bytes = vmoe_pack_bytes(VMOE_PRECISION_F32, call->tokens, VMOE_PANEL);

    for (size_t p = 0; p < whole_panels(call->width); p++) {
        const uint8_t *panel = (const uint8_t *)scratch->values + p * panel_bytes;
        size_t begin = p * VMOE_PANEL;
        size_t columns = call->width - begin < VMOE_PANEL ? call->width - begin : VMOE_PANEL;

        kernels->gemm[VMOE_PRECISION_F32](rows, call->tokens, scratch->scores, scratch->stride,
                                          panel, scratch->tile);
        for (size_t r = 0; r < rows; r++)
            for (size_t c = 0; c < columns; c++)
                out[r * call->ldo + begin + c] = scratch->tile[r * VMOE_PANEL + c] * factors[r];
    }
}

struct run {
    const struct vmoe_encoder *encoder;
    const struct vmoe_attention_call *call;
};

/* One head of one image. */
static void run_head(void *context, size_t task, uint32_t thread)
{
    const struct run *run = context;
    const struct vmoe_buffers *buffers = &run->encoder->buffers;
    const struct vmoe_kernels *kernels = run->encoder->kernels;
    const struct vmoe_attention_call *call = run->call;
    size_t image = task / call->heads, column = task % call->heads * call->width;
    const float *q = call->q + image * call->q_image + column;
    size_t first_token = image * call->tokens * call->ldkv + column;
    float *out = call->out + image * call->queries * call->ldo + column;
    float factor = 1.0f / sqrtf((float)call->width);
    struct vmoe_arena arena = { .base = buffers->scratch + thread * buffers->scratch_bytes,
                                .size = buffers->scratch_bytes };
    struct head_scratch scratch;

    layout(&arena, call->tokens, call->width, &scratch);
    vmoe_pack(VMOE_PRECISION_F32, call->width, call->tokens, call->k + first_token, 1, call->ldkv,
              scratch.keys, NULL);
    vmoe_pack(VMOE_PRECISION_F32, call->tokens, call->width, call->v + first_token, call->ldkv, 1,
              scratch.values, NULL);
    for (size_t done = 0, rows; done < call->queries; done += rows) {
        float inverse[VMOE_TILE_ROWS_MAX];

        rows = call->queries - done;
        rows = rows < kernels->tile_rows ? rows : kernels->tile_rows;
        score(kernels, call, &scratch, q + done * call->ldq, rows);
        for (size_t r = 0; r < rows; r++)
            inverse[r] = 1.0f / kernels->softmax(call->tokens, factor,
                                                 scratch.scores + r * scratch.stride);
        mix(kernels, call, &scratch, inverse, out + done * call->ldo, rows);
    }
}

void vmoe_attention_run(struct vmoe_encoder *encoder, const struct vmoe_attention_call *call)
{
    struct run run = { encoder, call };

    vmoe_team_run(encoder->team, call->images * call->heads, run_head, &run);
}
