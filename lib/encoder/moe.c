/*
 * A layer of experts: gates, plan, and then every expert over the tokens that found a slot.  Only
 * these are computed; empty slots cost nothing.  A token receives its experts' outputs in the order
 * of the experts, so its bits depend on nothing but its own plan.
 */
#include <string.h>

#include "encoder/encoder.h"
#include "routing/routing.h"
#include "runtime/cpu.h"

/* Tokens whose gates make one task. */
#define GATE_TOKENS 32u

struct layer {
    struct vmoe_encoder *encoder;
    const struct vmoe_block *block;
    size_t tokens; /* of the slice */
};

static void run_gates(void *context, size_t task, uint32_t thread)
{
    const struct layer *layer = context;
    const struct vmoe_encoder *encoder = layer->encoder;
    const struct vmoe_buffers *buffers = &encoder->buffers;
    size_t d = encoder->info->width, experts = encoder->info->experts;
    size_t picks = encoder->dial.picks;
    size_t begin = task * GATE_TOKENS;
    size_t count = layer->tokens - begin < GATE_TOKENS ? layer->tokens - begin : GATE_TOKENS;
    float *gates = buffers->gates + begin * experts;

    (void)thread;
    vmoe_route_gates(count, d, experts, buffers->y + begin * d, d, layer->block->router, gates);
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

/* The caller's decisions instead of our own: -1 - e is expert e without a slot. */
static void follow_routes(const struct vmoe_encoder *encoder, const int16_t *routes, size_t pairs)
{
    const struct vmoe_buffers *buffers = &encoder->buffers;

    for (size_t i = 0; i < pairs; i++) {
        buffers->choice[i] = (int16_t)(routes[i] < 0 ? -1 - routes[i] : routes[i]);
        buffers->slot[i] = routes[i] < 0 ? -1 : 0;
    }
}

/* Lists the tokens of each expert: offsets, rows, factors. */
static void list_rows(const struct vmoe_encoder *encoder, size_t tokens)
{
    const struct vmoe_buffers *buffers = &encoder->buffers;
    size_t experts = encoder->info->experts, picks = encoder->dial.picks;
    uint64_t *offsets = buffers->offsets, total = 0;

    /* offsets[e + 1] counts, then becomes the place of the next token of expert e, then its end. */
    memset(offsets, 0, (experts + 1) * sizeof *offsets);
    for (size_t i = 0; i < tokens * picks; i++)
        if (buffers->slot[i] >= 0)
            offsets[buffers->choice[i] + 1]++;
    for (size_t e = 0; e < experts; e++) {
        uint64_t count = offsets[e + 1];

        offsets[e + 1] = total;
        total += count;
    }
    for (size_t i = 0; i < tokens * picks; i++) {
        size_t expert = (size_t)buffers->choice[i], token = i / picks;

        if (buffers->slot[i] < 0)
            continue;
        buffers->rows[offsets[expert + 1]] = (int32_t)token;
        buffers->factors[offsets[expert + 1]++] = buffers->gates[token * experts + expert];
    }
}

static void count_layer(struct vmoe_encoder *encoder, uint32_t block, uint32_t layer, size_t tokens)
{
    const struct vmoe_buffers *buffers = &encoder->buffers;
    struct vmoe_tally *tally = &encoder->tally;
    size_t experts = encoder->info->experts, picks = encoder->dial.picks;
    uint64_t assigned = tokens * picks, processed = buffers->offsets[experts], untouched = 0;

    for (size_t t = 0; t < tokens; t++) {
        size_t kept = 0;

        for (size_t k = 0; k < picks; k++)
            kept += buffers->slot[t * picks + k] >= 0;
        untouched += kept == 0;
    }
    tally->assigned += assigned;
    tally->processed += processed;
    tally->dropped += assigned - processed;
    tally->untouched += untouched;
    if (tally->layers != NULL) {
        vmoe_layer_report *report = &tally->layers[layer];

        report->layer = block;
        report->assigned += assigned;
        report->processed += processed;
        report->dropped += assigned - processed;
        report->untouched += untouched;
    }
    for (size_t e = 0; e < experts; e++) {
        uint64_t load = buffers->offsets[e + 1] - buffers->offsets[e];

        if (load != 0)
            tally->used[layer * experts + e] = 1;
        if (tally->load != NULL)
            tally->load[layer * experts + e] += load;
    }
    if (tally->routes != NULL) {
        int16_t *routes = tally->routes + (layer * encoder->call_images + encoder->first_image) *
                                              encoder->info->tokens * picks;

        for (size_t i = 0; i < tokens * picks; i++)
            routes[i] = (int16_t)(buffers->slot[i] >= 0 ? buffers->choice[i]
                                                        : -1 - buffers->choice[i]);
    }
}

static void plan(struct vmoe_encoder *encoder, uint32_t block, uint32_t layer, size_t tokens)
{
    struct layer context = { encoder, &encoder->weights->blocks[block], tokens };
    size_t picks = encoder->dial.picks;

    vmoe_team_run(encoder->team, (tokens + GATE_TOKENS - 1) / GATE_TOKENS, run_gates, &context);
    if (encoder->forced != NULL)
        follow_routes(encoder,
                      encoder->forced + (layer * encoder->call_images + encoder->first_image) *
                                            encoder->info->tokens * picks,
                      tokens * picks);
    else
        vmoe_team_run(encoder->team, tokens / encoder->dial.group_tokens, assign_group, &context);
    list_rows(encoder, tokens);
    count_layer(encoder, block, layer, tokens);
}

void vmoe_moe(struct vmoe_encoder *encoder, uint32_t block, uint32_t layer)
{
    const struct vmoe_buffers *buffers = &encoder->buffers;
    const struct vmoe_block *weights = &encoder->weights->blocks[block];
    size_t tokens = encoder->images * encoder->info->tokens;
    double begin = vmoe_cpu_seconds(), middle;

    vmoe_norm_tokens(encoder, &weights->norm_1);
    vmoe_trace_show(encoder, "norm_1", block, buffers->y, tokens, encoder->info->width,
                    encoder->info->width);
    plan(encoder, block, layer, tokens);
    vmoe_trace_show(encoder, "gates", block, buffers->gates, tokens, encoder->info->experts,
                    encoder->info->experts);
    middle = vmoe_cpu_seconds();
    for (uint32_t e = 0; e < encoder->info->experts; e++) {
        size_t first = buffers->offsets[e];
        struct vmoe_mlp_call call = { .mlp = &weights->mlps[e],
                                      .rows = buffers->offsets[e + 1] - first,
                                      .in = buffers->y,
                                      .out = buffers->x,
                                      .indices = buffers->rows + first,
                                      .factors = buffers->factors + first };

        vmoe_mlp_run(encoder, &call);
    }
    encoder->seconds[VMOE_STAGE_ROUTING] += middle - begin;
    encoder->seconds[VMOE_STAGE_EXPERTS] += vmoe_cpu_seconds() - middle;
}
