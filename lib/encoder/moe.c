/*
 * A layer of experts: gates, plan, and then every expert over the tokens that found a slot.  Only
 * these are computed; empty slots cost nothing.  A token receives its experts' outputs in the order
 * of the experts, so its bits depend on nothing but its own plan.  The members of an ensemble are
 * so many V-MoEs side by side: each has a copy of the tokens, its own columns of the router, its
 * own experts, and no part in another's plan.
 */
#include <string.h>

#include "encoder/encoder.h"
#include "routing/routing.h"
#include "runtime/cpu.h"

struct layer {
    struct vmoe_encoder *encoder;
    const struct vmoe_block *block;
    size_t number;           /* among the MoE layers */
    size_t members, experts; /* experts: of a member */
    size_t tokens;           /* of a member in the slice */
    bool class_only;         /* only class tokens have a part in the result */
};

/* x of the slice once more, for members 1, 2, ... */
static void copy_rows(void *context, size_t task, uint32_t thread)
{
    const struct layer *layer = context;
    const struct vmoe_matrix *x = &layer->encoder->x;
    const size_t begin = task * VMOE_TASK_ROWS;
    const size_t rows = vmoe_task_rows(layer->tokens, task);

    (void)thread;
    for (size_t m = 1; m < layer->members; m++)
        memcpy(vmoe_matrix_row(x, m * layer->tokens + begin), vmoe_matrix_row(x, begin),
               rows * x->stride);
}

/*
 * y = LayerNorm(x), and from the same float32 rows the gates and the choice of some tokens of one
 * member, which sees its own columns of the router alone.
 */
static void run_gates(void *context, size_t task, uint32_t thread)
{
    const struct layer *layer = context;
    const struct vmoe_encoder *encoder = layer->encoder;
    const struct vmoe_buffers *buffers = &encoder->buffers;
    size_t d = encoder->info->width, experts = layer->experts, picks = encoder->dial.picks;
    size_t tasks = vmoe_task_count(layer->tokens), member = task / tasks, part = task % tasks;
    size_t begin = member * layer->tokens + part * VMOE_TASK_ROWS;
    size_t count = vmoe_task_rows(layer->tokens, part);
    float *gates = buffers->gates + begin * experts;
    float *rows = vmoe_scratch(encoder, thread);

    for (size_t i = 0; i < count; i++) {
        vmoe_norm_row(encoder, &layer->block->norm_1, vmoe_matrix_row(&encoder->x, begin + i),
                      rows + i * d);
        vmoe_matrix_set(encoder->kernels, &buffers->y, begin + i, d, rows + i * d);
    }
    encoder->kernels->router(count, d, experts, rows, d, layer->block->router + member * experts,
                             encoder->info->experts, gates);
    vmoe_route_gates(count, experts, gates);
    vmoe_route_choose(count, experts, picks, gates, buffers->choice + begin * picks);
}

/*
 * The plan of one group for one member.  Members share no experts, so a plan of them all would be
 * the same, in whatever order it takes their tokens.
 */
static void assign_group(void *context, size_t group, uint32_t thread)
{
    const struct layer *layer = context;
    const struct vmoe_encoder *encoder = layer->encoder;
    const struct vmoe_buffers *buffers = &encoder->buffers;
    const struct vmoe_dial *dial = &encoder->dial;
    size_t experts = layer->experts, tokens = dial->group_tokens / layer->members;
    size_t first = group * tokens, member = first / layer->tokens;
    int16_t *choice = buffers->choice + first * dial->picks;

    vmoe_route_assign(tokens, experts, dial->picks, dial->capacity, dial->priority,
                      buffers->gates + first * experts, choice, buffers->slot + first * dial->picks,
                      vmoe_scratch(encoder, thread));
    /* From here on an expert has its number among those of all members. */
    for (size_t i = 0; member != 0 && i < tokens * dial->picks; i++)
        choice[i] = (int16_t)((size_t)choice[i] + member * experts);
}

/*
 * Where the routes of a member's token begin among those of the call, which have the members of a
 * token side by side.
 */
static size_t route_of(const struct layer *layer, size_t member, size_t token)
{
    const struct vmoe_encoder *encoder = layer->encoder;
    const size_t tokens = encoder->info->tokens;
    const size_t first = (layer->number * encoder->call_images + encoder->first_image) * tokens;

    return ((first + token) * layer->members + member) * encoder->dial.picks;
}

/* The caller's decisions instead of our own: -1 - e is expert e without a slot. */
static void follow_routes(const struct layer *layer)
{
    const struct vmoe_encoder *encoder = layer->encoder;
    int16_t *choice = encoder->buffers.choice;
    int32_t *slot = encoder->buffers.slot;

    for (size_t m = 0; m < layer->members; m++)
        for (size_t t = 0; t < layer->tokens; t++) {
            const int16_t *routes = encoder->forced + route_of(layer, m, t);

            for (size_t k = 0; k < encoder->dial.picks; k++) {
                *choice++ = (int16_t)(routes[k] < 0 ? -1 - routes[k] : routes[k]);
                *slot++ = routes[k] < 0 ? -1 : 0;
            }
        }
}

/* Our decisions to the caller. */
static void tell_routes(const struct layer *layer)
{
    const struct vmoe_encoder *encoder = layer->encoder;
    const int16_t *choice = encoder->buffers.choice;
    const int32_t *slot = encoder->buffers.slot;

    for (size_t m = 0; m < layer->members; m++)
        for (size_t t = 0; t < layer->tokens; t++) {
            int16_t *routes = encoder->tally.routes + route_of(layer, m, t);

            for (size_t k = 0; k < encoder->dial.picks; k++, choice++, slot++)
                routes[k] = (int16_t)(*slot >= 0 ? *choice : -1 - *choice);
        }
}

/* A pair is computed if it has a slot, and the result depends on it. */
static bool is_computed(const struct layer *layer, size_t pair)
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
    const size_t experts = encoder->info->experts, picks = encoder->dial.picks;
    const size_t pairs = layer->tokens * picks; /* of a member */
    uint64_t *offsets = buffers->offsets, total = 0;

    /* offsets[e + 1] counts, then becomes the place of the next token of expert e, then its end. */
    memset(offsets, 0, (experts + 1) * sizeof *offsets);
    for (size_t i = 0; i < layer->members * pairs; i++)
        if (is_computed(layer, i))
            offsets[buffers->choice[i] + 1]++;
    for (size_t e = 0; e < experts; e++) {
        uint64_t count = offsets[e + 1];

        offsets[e + 1] = total;
        total += count;
    }
    for (size_t m = 0; m < layer->members; m++)
        for (size_t i = m * pairs; i < (m + 1) * pairs; i++) {
            const size_t expert = (size_t)buffers->choice[i], token = i / picks;
            const size_t gate = token * layer->experts + expert - m * layer->experts;

            if (!is_computed(layer, i))
                continue;
            buffers->rows[offsets[expert + 1]] = (int32_t)token;
            buffers->factors[offsets[expert + 1]++] = buffers->gates[gate];
        }
}

static void count_layer(const struct layer *layer)
{
    struct vmoe_encoder *encoder = layer->encoder;
    const struct vmoe_buffers *buffers = &encoder->buffers;
    struct vmoe_tally *tally = &encoder->tally;
    size_t experts = encoder->info->experts, picks = encoder->dial.picks;
    const size_t tokens = layer->members * layer->tokens;
    uint64_t assigned = tokens * picks, processed = 0, untouched = 0;

    for (size_t t = 0; t < tokens; t++) {
        size_t kept = 0;

        for (size_t i = t * picks; i < (t + 1) * picks; i++) {
            const bool slot = buffers->slot[i] >= 0;

            kept += slot;
            if (slot && tally->load != NULL)
                tally->load[layer->number * experts + (size_t)buffers->choice[i]]++;
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
        vmoe_layer_report *report = &tally->layers[layer->number];

        report->assigned += assigned;
        report->processed += processed;
        report->dropped += assigned - processed;
        report->untouched += untouched;
    }
    for (size_t e = 0; e < experts; e++)
        if (buffers->offsets[e + 1] != buffers->offsets[e])
            tally->used[layer->number * experts + e] = 1;
}

static void plan(struct layer *layer)
{
    const struct vmoe_encoder *encoder = layer->encoder;

    vmoe_team_run(encoder->team, layer->members * vmoe_task_count(layer->tokens), run_gates,
                  layer);
    if (encoder->forced != NULL)
        follow_routes(layer);
    else
        vmoe_team_run(encoder->team,
                      layer->members * (encoder->images / encoder->dial.group_images),
                      assign_group, layer);
    list_rows(layer);
    count_layer(layer);
    if (encoder->tally.routes != NULL)
        tell_routes(layer);
}

void vmoe_moe(struct vmoe_encoder *encoder, uint32_t block, uint32_t number)
{
    const vmoe_info *info = encoder->info;
    const struct vmoe_buffers *buffers = &encoder->buffers;
    const struct vmoe_block *weights = &encoder->weights->blocks[block];
    struct layer layer = { .encoder = encoder,
                           .block = weights,
                           .number = number,
                           .members = info->members,
                           .experts = vmoe_config_own_experts(info),
                           .tokens = encoder->images * encoder->tokens,
                           .class_only = vmoe_ends_in_class_tokens(encoder, block) };
    const struct vmoe_matrix gates = vmoe_float_matrix(buffers->gates, layer.experts);
    const struct vmoe_mlp_call call = { .mlps = weights->mlps,
                                        .offsets = buffers->offsets,
                                        .count = info->experts,
                                        .in = &buffers->y,
                                        .out = &encoder->x,
                                        .indices = buffers->rows,
                                        .factors = buffers->factors };
    double begin = vmoe_cpu_seconds(), middle;

    if (info->members > 1 && number == 0) {
        vmoe_team_run(encoder->team, vmoe_task_count(layer.tokens), copy_rows, &layer);
        encoder->sequences = info->members * encoder->images;
    }
    plan(&layer);
    vmoe_trace_show(encoder, "norm_1", block, &buffers->y, encoder->sequences * encoder->tokens,
                    info->width);
    vmoe_trace_show(encoder, "gates", block, &gates, encoder->sequences * encoder->tokens,
                    layer.experts);
    middle = vmoe_cpu_seconds();
    vmoe_mlp_run(encoder, &call);
    encoder->seconds[VMOE_STAGE_ROUTING] += middle - begin;
    encoder->seconds[VMOE_STAGE_EXPERTS] += vmoe_cpu_seconds() - middle;
}
