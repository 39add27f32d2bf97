/*
 * From the tokens of the last block to logits: last norm, pooling, pre_logits, head.  All of it is
 * float32: it is little work, and what is lost here is not made good by anything behind.
 */
#include <string.h>

#include "encoder/encoder.h"

#define MEAN_COLUMNS 64u

/* The class token alone is normed: the other tokens have no part in the result. */
static void pool_token(void *context, size_t sequence, uint32_t thread)
{
    struct vmoe_encoder *encoder = context;
    size_t d = encoder->info->width;

    (void)thread;
    vmoe_norm_row(encoder, &encoder->weights->norm,
                  vmoe_matrix_row(&encoder->x, sequence * encoder->tokens),
                  encoder->buffers.pooled + sequence * d);
}

/* In double, as there may be many tokens, and a part of the columns at a time. */
static void pool_mean(void *context, size_t sequence, uint32_t thread)
{
    struct vmoe_encoder *encoder = context;
    const size_t d = encoder->info->width, tokens = encoder->info->tokens;
    const float *y = encoder->buffers.normed + sequence * tokens * d;
    float *pooled = encoder->buffers.pooled + sequence * d;

    (void)thread;
    for (size_t first = 0; first < d; first += MEAN_COLUMNS) {
        const size_t columns = vmoe_smaller(d - first, MEAN_COLUMNS);
        double sums[MEAN_COLUMNS] = { 0.0 };

        for (size_t t = 0; t < tokens; t++)
            for (size_t i = 0; i < columns; i++)
                sums[i] += (double)y[t * d + first + i];
        for (size_t i = 0; i < columns; i++)
            pooled[first + i] = (float)(sums[i] / (double)tokens);
    }
}

static void norm_pooled(void *context, size_t sequence, uint32_t thread)
{
    struct vmoe_encoder *encoder = context;
    size_t d = encoder->info->width;

    (void)thread;
    vmoe_norm_row(encoder, &encoder->weights->map.norm, encoder->buffers.pooled + sequence * d,
                  encoder->buffers.pooled_2 + sequence * d);
}

/* Attention from the learned probe to all tokens, then pooled = a + Mlp(LayerNorm(a)). */
static void pool_map(struct vmoe_encoder *encoder)
{
    const vmoe_info *info = encoder->info;
    const struct vmoe_buffers *buffers = &encoder->buffers;
    const struct vmoe_map_head *map = &encoder->weights->map;
    const size_t d = info->width, sequences = encoder->sequences;
    const struct vmoe_matrix probe = vmoe_float_matrix(map->probe, d);
    const struct vmoe_matrix query = vmoe_float_matrix(buffers->query, d);
    const struct vmoe_matrix pooled = vmoe_float_matrix(buffers->pooled, d);
    const struct vmoe_matrix pooled_2 = vmoe_float_matrix(buffers->pooled_2, d);
    const struct vmoe_matrix *hidden = &buffers->map_hidden;
    const struct vmoe_query_call call = { .sequences = sequences,
                                          .layer = &map->key_value,
                                          .key = 0,
                                          .value = info->width,
                                          .query = query,
                                          .queries = 1,
                                          .tokens = buffers->normed,
                                          .out = pooled_2 };

    vmoe_apply(encoder, &map->query, &probe, 1, VMOE_IDENTITY, &query, false);
    vmoe_query_run(encoder, &call);
    vmoe_apply(encoder, &map->out, &pooled_2, sequences, VMOE_IDENTITY, &pooled, false);
    vmoe_team_run(encoder->team, sequences, norm_pooled, encoder);
    vmoe_apply(encoder, &map->mlp.fc1, &pooled_2, sequences, vmoe_mlp_activation(encoder), hidden,
               false);
    vmoe_apply(encoder, &map->mlp.fc2, hidden, sequences, VMOE_IDENTITY, &pooled, true);
}

static void pool(struct vmoe_encoder *encoder)
{
    const vmoe_info *info = encoder->info;
    const struct vmoe_matrix normed = vmoe_float_matrix(encoder->buffers.normed, info->width);

    if (!vmoe_config_reads_class_tokens(info) || encoder->trace.show != NULL) {
        const size_t rows = encoder->sequences * encoder->tokens;

        vmoe_norm(encoder, &encoder->weights->norm, 0, rows, &normed);
        vmoe_trace_show(encoder, "norm", 0, &normed, rows, info->width);
    }
    if (info->classifier == VMOE_CLASSIFIER_TOKEN)
        vmoe_team_run(encoder->team, encoder->sequences, pool_token, encoder);
    else if (info->classifier == VMOE_CLASSIFIER_GAP)
        vmoe_team_run(encoder->team, encoder->sequences, pool_mean, encoder);
    else
        pool_map(encoder);
}

void vmoe_head(struct vmoe_encoder *encoder)
{
    const vmoe_info *info = encoder->info;
    const struct vmoe_buffers *buffers = &encoder->buffers;
    const struct vmoe_matrix pooled = vmoe_float_matrix(buffers->pooled, info->width);
    const size_t sequences = encoder->sequences, width = vmoe_config_head_width(info);
    const struct vmoe_matrix features = vmoe_float_matrix(buffers->features, width);
    const struct vmoe_matrix logits = vmoe_float_matrix(buffers->logits, info->classes);

    pool(encoder);
    vmoe_trace_show(encoder, "pooled", 0, &pooled, sequences, info->width);
    if (info->pre_logits != 0)
        vmoe_apply(encoder, &encoder->weights->pre_logits, &pooled, sequences, VMOE_TANH_OF,
                   &features, false);
    else
        memcpy(buffers->features, buffers->pooled, sequences * width * sizeof(float));
    vmoe_apply(encoder, &encoder->weights->head, &features, sequences, VMOE_IDENTITY, &logits,
               false);
}
