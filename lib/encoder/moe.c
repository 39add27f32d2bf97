/*
 * A layer of experts: gates, plan, and then every expert over the tokens that found a slot.  Only
 * these are computed; empty slots cost nothing.  A token receives its experts' outputs in the order
 * of the experts, so its bits depend on nothing but its own plan.
 */
#include <string.h>

#include "encoder/encoder.h"
#include "routing/routing.h"
#include "runtime/cpu.h"

struct layer {
    struct vmoe_encoder *encoder;
    const struct vmoe_block *block;
    size_t tokens; /* of the slice */
    bool class_only; /* only class tokens have a part in the result */
};

/* y = LayerNorm(x), and from the same float32 rows the gates and the choice of some tokens. */
static void run_gates(void *context, size_t task, uint32_t thread)
{
    const struct layer *layer = context;
    const struct vmoe_encoder *encoder = layer->encoder;
    const struct vmoe_buffers *buffers = &encoder->buffers;
    const struct vmoe_norm *norm = &layer->block->norm_1;
    size_t d = encoder->info->width, experts = encoder->info->experts;
    size_t picks = encoder->dial.picks;
    size_t begin = task * VMOE_TASK_ROWS, count = vmoe_task_rows(layer->tokens, task);
    float *gates = buffers->gates + begin * experts;
    float *rows = (float *)(void *)(buffers->scratch + thread * buffers->scratch_bytes);

    for (size_t i = 0; i < count; i++) {
        encoder->kernels->layer_norm(d, vmoe_matrix_row(&encoder->x, begin + i),
                                     VMOE_LAYER_NORM_EPSILON, norm->scale, norm->bias,
                                     rows + i * d);
        vmoe_matrix_set(encoder->kernels, &buffers->y, begin + i, d, rows + i * d);
    }
    encoder->kernels->router(count, d, experts, rows, d, layer->block->router, experts, gates);
    vmoe_route_gates(count, experts, gates);
    vmoe_route_choose(count, experts, picks, gates, buffers->choice + begin * picks);
}

/* The plan of one group. */
static void assign_group(void *context, size_t group, uint32_t thread)
{
    const struct layer *layer = context;
    const struct vmoe_encoder *encoder = layer->encoder;
    const struct vmoe_buffers *buffers = &encoder->buffers;
    const struct vmoe_dial *dial = &encoder->dial;
    size_t experts = encoder->info->experts;
    size_t tokens = dial->group_tokens, first = group * tokens;

    vmoe_route_assign(tokens, experts, dial->picks, dial->capacity, dial->priority,
                      buffers->gates + first * experts, buffers->choice + first * dial->picks,
                      buffers->slot + first * dial->picks,
                      buffers->scratch + thread * buffers->scratch_bytes);
}

/* Where the routes of the slice begin among those of the call, in MoE layer `number`. */
static size_t first_route(const struct vmoe_encoder *encoder, uint32_t number)
{
    return (number * encoder->call_images + encoder->first_image) * encoder->info->tokens *
           encoder->dial.picks;
}

/* The caller's decisions instead of our own: -1 - e is expert e without a slot. */
static void follow_routes(const struct layer *layer, uint32_t number)
{
    const struct vmoe_encoder *encoder = layer->encoder;
    const struct vmoe_buffers *buffers = &encoder->buffers;
    const int16_t *routes = encoder->forced + first_route(encoder, number);

    for (size_t i = 0; i < layer->tokens * encoder->dial.picks; i++) {
        buffers->choice[i] = (int16_t)(routes[i] < 0 ? -1 - routes[i] : routes[i]);
        buffers->slot[i] = routes[i] < 0 ? -1 : 0;
    }
}

/* Our decisions to the caller. */
static void tell_routes(const struct layer *layer, uint32_t number)
{
    const struct vmoe_encoder *encoder = layer->encoder;
    const struct vmoe_buffers *buffers = &encoder->buffers;
    int16_t *routes = encoder->tally.routes + first_route(encoder, number);

    for (size_t i = 0; i < layer->tokens * encoder->dial.picks; i++)
        routes[i] =
            (int16_t)(buffers->slot[i] >= 0 ? buffers->choice[i] : -1 - buffers->choice[i]);
}

/* True for the pairs that are computed: they have a slot, and the result depends on them. */
static bool counts(const struct layer *layer, size_t pair)
{
    const struct vmoe_encoder *encoder = layer->encoder;

    return encoder->buffers.slot[pair] >= 0 &&
           (!layer->class_only || pair / encoder->dial.picks % encoder->info->tokens == 0);
}

/* Lists the tokens that each expert computes: offsets, rows, factors. */
static void list_rows(const struct layer *layer)
{
    const struct vmoe_encoder *encoder = layer->encoder;
    const struct vmoe_buffers *buffers = &encoder->buffers;
    size_t experts = encoder->info->experts, picks = encoder->dial.picks;
    uint64_t *offsets = buffers->offsets, total = 0;

    /* offsets[e + 1] counts, then becomes the place of the next token of expert e, then its end. */
    memset(offsets, 0, (experts + 1) * sizeof *offsets);
    for (size_t i = 0; i < layer->tokens * picks; i++)
        if (counts(layer, i))
            offsets[buffers->choice[i] + 1]++;
    for (size_t e = 0; e < experts; e++) {
        uint64_t count = offsets[e + 1];

        offsets[e + 1] = total;
        total += count;
    }
    for (size_t i = 0; i < layer->tokens * picks; i++) {
        size_t expert = (size_t)buffers->choice[i], token = i / picks;

        if (!counts(layer, i))
            continue;
        buffers->rows[offsets[expert + 1]] = (int32_t)token;
        buffers->factors[offsets[expert + 1]++] = buffers->gates[token * experts + expert];
    }
}

static void count_layer(const struct layer *layer, uint32_t number)
{
    struct vmoe_encoder *encoder = layer->encoder;
    const struct vmoe_buffers *buffers = &encoder->buffers;
    struct vmoe_tally *tally = &encoder->tally;
    size_t experts = encoder->info->experts, picks = encoder->dial.picks;
    uint64_t assigned = layer->tokens * picks, processed = 0, untouched = 0;

    for (size_t t = 0; t < layer->tokens; t++) {
        size_t kept = 0;

        for (size_t i = t * picks; i < (t + 1) * picks; i++) {
            const bool slot = buffers->slot[i] >= 0;

            kept += slot;
            if (slot && tally->load != NULL)
                tally->load[number * experts + (size_t)buffers->choice[i]]++;
        }
        processed += kept;
        untouched += kept == 0;
    }
    tally->assigned += assigned;
    tally->processed += processed;
    tally->dropped += assigned - processed;
    tally->untouched += untouched;
    tally->computed += buffers->offsets[experts];
    if (tally->layers != NULL) {
        vmoe_layer_report *report = &tally->layers[number];

        report->assigned += assigned;
        report->processed += processed;
        report->dropped += assigned - processed;
        report->untouched += untouched;
    }
    for (size_t e = 0; e < experts; e++)
        if (buffers->offsets[e + 1] != buffers->offsets[e])
            tally->used[number * experts + e] = 1;
}

static void plan(struct layer *layer, uint32_t number)
{
    const struct vmoe_encoder *encoder = layer->encoder;

    vmoe_team_run(encoder->team, vmoe_task_count(layer->tokens), run_gates, layer);
    if (encoder->forced != NULL)
        follow_routes(layer, number);
    else
        vmoe_team_run(encoder->team, layer->tokens / encoder->dial.group_tokens, assign_group,
                      layer);
    list_rows(layer);
    count_layer(layer, number);
    if (encoder->tally.routes != NULL)
        tell_routes(layer, number);
}

void vmoe_moe(struct vmoe_encoder *encoder, uint32_t block, uint32_t number)
{
    const struct vmoe_buffers *buffers = &encoder->buffers;
    const struct vmoe_block *weights = &encoder->weights->blocks[block];
    const struct vmoe_matrix gates = vmoe_float_matrix(buffers->gates, encoder->info->experts);
    const struct vmoe_mlp_call call = { .mlps = weights->mlps,
                                        .offsets = buffers->offsets,
                                        .count = encoder->info->experts,
                                        .in = &buffers->y,
                                        .out = &encoder->x,
                                        .indices = buffers->rows,
                                        .factors = buffers->factors };
    struct layer layer = { encoder, weights, encoder->images * encoder->tokens,
                           vmoe_ends_in_class_tokens(encoder, block) };
    double begin = vmoe_cpu_seconds(), middle;

    plan(&layer, number);
    vmoe_trace_show(encoder, "norm_1", block, &buffers->y, layer.tokens, encoder->info->width);
    vmoe_trace_show(encoder, "gates", block, &gates, layer.tokens, encoder->info->experts);
    middle = vmoe_cpu_seconds();
    vmoe_mlp_run(encoder, &call);
    encoder->seconds[VMOE_STAGE_ROUTING] += middle - begin;
    encoder->seconds[VMOE_STAGE_EXPERTS] += vmoe_cpu_seconds() - middle;
}
