/* From flattened patches to tokens. */
#include <string.h>

#include "encoder/encoder.h"

/* Fills one image of x with class token and position embeddings, to which the patches are added. */
static void prepare_image(void *context, size_t image, uint32_t thread)
{
    struct vmoe_encoder *encoder = context;
    const vmoe_info *info = encoder->info;
    const struct vmoe_weights *weights = encoder->weights;
    size_t d = info->width, patches = vmoe_config_patches(info);
    size_t first = image * info->tokens + vmoe_config_first_patch(info);
    float *x = encoder->buffers.x + image * info->tokens * d;
    int32_t *rows = encoder->buffers.patch_rows + image * patches;

    (void)thread;
    memcpy(x, weights->position, info->tokens * d * sizeof(float));
    if (weights->cls != NULL)
        for (size_t i = 0; i < d; i++)
            x[i] += weights->cls[i];
    for (size_t p = 0; p < patches; p++)
        rows[p] = (int32_t)(first + p);
}

void vmoe_embed(struct vmoe_encoder *encoder)
{
    const vmoe_info *info = encoder->info;
    const struct vmoe_buffers *buffers = &encoder->buffers;
    struct vmoe_linear_call call = { .layer = &encoder->weights->embedding,
                                     .rows = encoder->images * vmoe_config_patches(info),
                                     .a = buffers->wide,
                                     .lda = vmoe_config_patch_values(info),
                                     .out = buffers->x,
                                     .ldo = info->width,
                                     .add = true,
                                     .out_rows = buffers->patch_rows };

    vmoe_team_run(encoder->team, encoder->images, prepare_image, encoder);
    vmoe_linear_run(encoder->kernels, encoder->team, &call);
    vmoe_trace_show(encoder, "tokens", 0, buffers->x, encoder->images * info->tokens, info->width,
                    info->width);
}
