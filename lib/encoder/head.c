/*
 * From the tokens of the last block to logits: last norm, pooling, pre_logits, head.  All of it is
 * float32: it is little work, and what is lost here is not made good by anything behind.
 */
#include <string.h>

#include "encoder/encoder.h"
#include "runtime/sizes.h"

#define MEAN_COLUMNS 64u

/* out (rows, n) = activation(in W + bias). */
static void run_linear(struct vmoe_encoder *encoder, const struct vmoe_linear *layer,
                       const struct vmoe_matrix *in, size_t rows, const struct vmoe_matrix *out,
                       uint32_t activation, uint32_t store)
{
    const struct vmoe_linear_part part = { layer, 0, rows };
    const struct vmoe_linear_call call = { .parts = &part,
                                           .count = 1,
                                           .a = *in,
                                           .out = out->data,
                                           .ldo = out->stride,
                                           .activation = activation,
                                           .store = store };

    vmoe_linear_run(encoder->kernels, encoder->team, &call);
}

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
    const struct vmoe_query_call call = { sequences, &map->key_value, 0, info->width, query, 1,
                                          buffers->normed, pooled_2 };

    run_linear(encoder, &map->query, &probe, 1, &query, VMOE_IDENTITY, VMOE_STORE_F32);
    vmoe_query_run(encoder, &call);
    run_linear(encoder, &map->out, &pooled_2, sequences, &pooled, VMOE_IDENTITY, VMOE_STORE_F32);
    vmoe_team_run(encoder->team, sequences, norm_pooled, encoder);
    run_linear(encoder, &map->mlp.fc1, &pooled_2, sequences, hidden,
               info->gelu == VMOE_GELU_ERF ? VMOE_GELU_ERF_OF : VMOE_GELU_TANH_OF, VMOE_STORE_F32);
    run_linear(encoder, &map->mlp.fc2, hidden, sequences, &pooled, VMOE_IDENTITY, VMOE_ADD_F32);
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
        run_linear(encoder, &encoder->weights->pre_logits, &pooled, sequences, &features,
                   VMOE_TANH_OF, VMOE_STORE_F32);
    else
        memcpy(buffers->features, buffers->pooled, sequences * width * sizeof(float));
    run_linear(encoder, &encoder->weights->head, &features, sequences, &logits, VMOE_IDENTITY,
               VMOE_STORE_F32);
}
