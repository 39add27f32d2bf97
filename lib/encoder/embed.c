/* From flattened patches to tokens. */
#include <string.h>

#include "encoder/encoder.h"

/* Fills one image of x with class token and position embeddings, to which the patches are added. */
static void prepare_image(void *context, size_t image, uint32_t thread)
{
    struct vmoe_encoder *encoder = context;
    const vmoe_info *info = encoder->info;
    const struct vmoe_weights *weights = encoder->weights;
    const struct vmoe_buffers *buffers = &encoder->buffers;
    const size_t d = info->width, patches = vmoe_config_patches(info);
    const size_t values = vmoe_config_patch_values(info);
    const size_t first = image * info->tokens + vmoe_config_first_patch(info);
    int32_t *rows = buffers->patch_rows + image * patches;

    (void)thread;
    for (size_t t = 0; t < info->tokens; t++)
        memcpy(vmoe_matrix_row(&buffers->x, image * info->tokens + t), weights->position + t * d,
               d * sizeof(float));
    if (weights->cls != NULL) {
        float *x = vmoe_matrix_row(&buffers->x, image * info->tokens);

        for (size_t i = 0; i < d; i++)
            x[i] += weights->cls[i];
    }
    for (size_t p = 0; p < patches; p++)
        rows[p] = (int32_t)(first + p);
    if (buffers->patches.type == VMOE_PRECISION_F32)
        return;
    for (size_t p = image * patches; p < (image + 1) * patches; p++)
        vmoe_matrix_set(encoder->kernels, &buffers->patches, p, values,
                        buffers->image_patches + p * values);
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
    vmoe_team_run(encoder->team, encoder->images, prepare_image, encoder);
    vmoe_linear_run(encoder->kernels, encoder->team, &call);
    vmoe_trace_show_stream(encoder, "tokens", 0);
}
