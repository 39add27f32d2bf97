/* From the tokens of the last block to logits: last norm, pooling, pre_logits, head. */
#include <string.h>

#include "encoder/attention.h"
#include "encoder/encoder.h"

/* The class token alone is normed: the other tokens have no part in the result. */
static void pool_token(void *context, size_t image, uint32_t thread)
{
    struct vmoe_encoder *encoder = context;
    const struct vmoe_norm *norm = &encoder->weights->norm;
    size_t d = encoder->info->width;

    (void)thread;
    encoder->kernels->layer_norm(d, encoder->buffers.x + image * encoder->info->tokens * d,
                                 VMOE_LAYER_NORM_EPSILON, norm->scale, norm->bias,
                                 encoder->buffers.pooled + image * d);
}

static void pool_mean(void *context, size_t image, uint32_t thread)
{
    struct vmoe_encoder *encoder = context;
    size_t d = encoder->info->width, tokens = encoder->info->tokens;
    const float *y = encoder->buffers.y + image * tokens * d;
    float *pooled = encoder->buffers.pooled + image * d;

    (void)thread;
    memcpy(pooled, y, d * sizeof(float));
    for (size_t t = 1; t < tokens; t++)
        for (size_t i = 0; i < d; i++)
            pooled[i] += y[t * d + i];
    for (size_t i = 0; i < d; i++)
        pooled[i] /= (float)tokens;
}

static void norm_pooled(void *context, size_t image, uint32_t thread)
{
    struct vmoe_encoder *encoder = context;
    const struct vmoe_norm *norm = &encoder->weights->map.norm;
    size_t d = encoder->info->width;

    (void)thread;
    encoder->kernels->layer_norm(d, encoder->buffers.pooled + image * d, VMOE_LAYER_NORM_EPSILON,
                                 norm->scale, norm->bias, encoder->buffers.pooled_2 + image * d);
}

/* Attention from the learned probe to all tokens, then pooled = a + Mlp(LayerNorm(a)). */
static void pool_map(struct vmoe_encoder *encoder)
{
    const vmoe_info *info = encoder->info;
    const struct vmoe_buffers *buffers = &encoder->buffers;
    const struct vmoe_map_head *map = &encoder->weights->map;
    size_t d = info->width, images = encoder->images;
    float *query = buffers->hidden;
    struct vmoe_linear_call project_query = { .layer = &map->query, .rows = 1, .a = map->probe,
                                              .lda = d, .out = query, .ldo = d };
    struct vmoe_linear_call project = { .layer = &map->key_value, .rows = images * info->tokens,
                                        .a = buffers->y, .lda = d, .out = buffers->wide,
                                        .ldo = 2 * d };
    struct vmoe_attention_call attend = { .images = images,
                                          .heads = info->heads,
                                          .width = d / info->heads,
                                          .queries = 1,
                                          .tokens = info->tokens,
                                          .q = query,
                                          .ldq = d,
                                          .q_image = 0,
                                          .k = buffers->wide,
                                          .v = buffers->wide + d,
                                          .ldkv = 2 * d,
                                          .out = buffers->pooled_2,
                                          .ldo = d };
    struct vmoe_linear_call out = { .layer = &map->out, .rows = images, .a = buffers->pooled_2,
                                    .lda = d, .out = buffers->pooled, .ldo = d };
    struct vmoe_mlp_call mlp = { .mlp = &map->mlp, .rows = images, .in = buffers->pooled_2,
                                 .out = buffers->pooled };

    vmoe_linear_run(encoder->kernels, encoder->team, &project_query);
    vmoe_linear_run(encoder->kernels, encoder->team, &project);
    vmoe_attention_run(encoder, &attend);
    vmoe_linear_run(encoder->kernels, encoder->team, &out);
    vmoe_team_run(encoder->team, images, norm_pooled, encoder);
    vmoe_mlp_run(encoder, &mlp);
}

static void pool(struct vmoe_encoder *encoder)
{
    const vmoe_info *info = encoder->info;
    size_t tokens = encoder->images * info->tokens;

    if (info->classifier == VMOE_CLASSIFIER_TOKEN && encoder->trace.show == NULL) {
        vmoe_team_run(encoder->team, encoder->images, pool_token, encoder);
        return;
    }
    vmoe_norm_tokens(encoder, &encoder->weights->norm);
    vmoe_trace_show(encoder, "norm", 0, encoder->buffers.y, tokens, info->width, info->width);
    if (info->classifier == VMOE_CLASSIFIER_TOKEN)
        vmoe_team_run(encoder->team, encoder->images, pool_token, encoder);
    else if (info->classifier == VMOE_CLASSIFIER_GAP)
        vmoe_team_run(encoder->team, encoder->images, pool_mean, encoder);
    else
        pool_map(encoder);
}

void vmoe_head(struct vmoe_encoder *encoder)
{
    const vmoe_info *info = encoder->info;
    const struct vmoe_buffers *buffers = &encoder->buffers;
    struct vmoe_linear_call pre_logits = { .layer = &encoder->weights->pre_logits,
                                           .rows = encoder->images,
                                           .a = buffers->pooled,
                                           .lda = info->width,
                                           .out = buffers->features,
                                           .ldo = info->features,
                                           .activation = VMOE_LINEAR_TANH };
    struct vmoe_linear_call head = { .layer = &encoder->weights->head,
                                     .rows = encoder->images,
                                     .a = buffers->features,
                                     .lda = info->features,
                                     .out = buffers->logits,
                                     .ldo = info->classes };

    pool(encoder);
    vmoe_trace_show(encoder, "pooled", 0, buffers->pooled, encoder->images, info->width,
                    info->width);
    if (info->pre_logits != 0)
        vmoe_linear_run(encoder->kernels, encoder->team, &pre_logits);
    else
        memcpy(buffers->features, buffers->pooled,
               encoder->images * info->width * sizeof(float));
    vmoe_linear_run(encoder->kernels, encoder->team, &head);
}
