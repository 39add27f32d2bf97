/* From flattened patches to tokens. */
#include <string.h>

#include "encoder/encoder.h"

/* A row of x with its position, to which its patch will be added, or the class token. */
static void prepare_token(const struct vmoe_encoder *encoder, size_t image, size_t token)
{
    const vmoe_info *info = encoder->info;
    const struct vmoe_weights *weights = encoder->weights;
    const struct vmoe_buffers *buffers = &encoder->buffers;
    const size_t d = info->width, values = vmoe_config_patch_values(info);
    const size_t row = image * info->tokens + token, first = vmoe_config_first_patch(info);
    float *x = vmoe_matrix_row(&buffers->x, row);
    size_t patch;

    memcpy(x, weights->position + token * d, d * sizeof *x);
    if (token < first) {
        for (size_t i = 0; i < d; i++)
            x[i] += weights->cls[i];
        return;
    }
    patch = image * vmoe_config_patches(info) + token - first;
    buffers->patch_rows[patch] = (int32_t)row;
    if (buffers->patches.type != VMOE_PRECISION_F32)
        vmoe_matrix_set(encoder->kernels, &buffers->patches, patch, values,
                        buffers->image_patches + patch * values);
}

static void prepare_tokens(void *context, size_t task, uint32_t thread)
{
    const struct vmoe_encoder *encoder = context;
    const size_t tasks = vmoe_task_count(encoder->info->tokens); /* of an image */
    const size_t begin = task % tasks * VMOE_TASK_ROWS;
    const size_t end = begin + vmoe_task_rows(encoder->info->tokens, task % tasks);

    (void)thread;
    for (size_t token = begin; token < end; token++)
        prepare_token(encoder, task / tasks, token);
}

void vmoe_embed(struct vmoe_encoder *encoder)
{
    const vmoe_info *info = encoder->info;
    const struct vmoe_buffers *buffers = &encoder->buffers;
    const struct vmoe_linear_part part = { &encoder->weights->embedding, 0,
                                           encoder->images * vmoe_config_patches(info) };
    const struct vmoe_linear_call call = { .parts = &part,
                                           .count = 1,
                                           .a = buffers->patches,
                                           .out = buffers->x.data,
                                           .ldo = buffers->x.stride,
                                           .store = VMOE_ADD_F32,
                                           .out_rows = buffers->patch_rows };

    encoder->x = buffers->x;
    encoder->sequences = encoder->images;
    encoder->tokens = info->tokens;
    vmoe_team_run(encoder->team, encoder->images * vmoe_task_count(info->tokens), prepare_tokens,
                  encoder);
    vmoe_linear_run(encoder->kernels, encoder->team, &call);
    vmoe_trace_show_stream(encoder, "tokens", 0);
}
