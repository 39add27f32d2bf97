/*
 * Attention of one query in each sequence: that of the class token in a last block, or the probe of
 * the map head.  Its keys and values are never made, which would be a product of all tokens with
 * two matrices.  For a head with query q and the columns K and V of its matrices, the score of a
 * token y is q . (K' y) = (K q) . y, and the values mixed by weights p are V' (sum of p y).  Biases
 * of keys add the same to all scores of a head, which a softmax does not see.
 */
#include <math.h>
#include <string.h>

#include "encoder/encoder.h"
#include "kernels/pack.h"

struct run {
    const struct vmoe_encoder *encoder;
    const struct vmoe_query_call *call;
    size_t width; /* of a head */
};

static size_t panel_of(size_t column)
{
    return column / VMOE_PANEL;
}

/* K q of one head for all queries.  What other heads have in its panels is multiplied by 0. */
static void make_directions(void *context, size_t head, uint32_t thread)
{
    const struct run *run = context;
    const struct vmoe_query_call *call = run->call;
    const struct vmoe_encoder *encoder = run->encoder;
    const size_t d = encoder->info->width, heads = encoder->info->heads;
    const size_t column = call->key + head * run->width;
    const size_t begin = panel_of(column) * VMOE_PANEL, end = column + run->width;
    const size_t panels = panel_of(end - 1) + 1 - panel_of(column);
    const struct vmoe_linear part = vmoe_linear_columns(call->layer, begin, end - begin);
    float *x = vmoe_scratch(run->encoder, thread);

    memset(x, 0, panels * VMOE_PANEL * sizeof *x);
    for (size_t i = 0; i < call->queries; i++) {
        const float *query = (const float *)vmoe_matrix_row(&call->query, i) + head * run->width;

        for (size_t c = column - begin; c < part.n; c++)
            x[c] = query[c - (column - begin)] * (part.scale != NULL ? part.scale[c] : 1.0f);
        encoder->kernels->gemv[part.precision](
            d, panels, part.panels, x, encoder->buffers.directions + i * d * heads + head, heads);
    }
}

/* Of some tokens of one sequence for all heads. */
static void score(void *context, size_t task, uint32_t thread)
{
    const struct run *run = context;
    const struct vmoe_query_call *call = run->call;
    const struct vmoe_buffers *buffers = &run->encoder->buffers;
    const size_t tokens = run->encoder->info->tokens, tasks = vmoe_task_count(tokens);
    const size_t d = run->encoder->info->width, heads = run->encoder->info->heads;
    const size_t sequence = task / tasks, begin = sequence * tokens + task % tasks * VMOE_TASK_ROWS;
    const size_t query = call->queries == 1 ? 0 : sequence;

    (void)thread;
    run->encoder->kernels->router(vmoe_task_rows(tokens, task % tasks), d, heads,
                                  call->tokens + begin * d, d,
                                  buffers->directions + query * d * heads, heads,
                                  buffers->scores + begin * heads);
}

/* The weights of one sequence, and its tokens mixed by those of each head. */
static void mix_tokens(void *context, size_t sequence, uint32_t thread)
{
    const struct run *run = context;
    const struct vmoe_kernels *kernels = run->encoder->kernels;
    const struct vmoe_buffers *buffers = &run->encoder->buffers;
    const size_t tokens = run->encoder->info->tokens;
    const size_t d = run->encoder->info->width, heads = run->encoder->info->heads;
    const float *scores = buffers->scores + sequence * tokens * heads;
    const float factor = 1.0f / sqrtf((float)run->width);
    float *weights = vmoe_scratch(run->encoder, thread);

    for (size_t head = 0; head < heads; head++) {
        float *row = weights + head * tokens, inverse;

        for (size_t t = 0; t < tokens; t++)
            row[t] = scores[t * heads + head];
        inverse = 1.0f / kernels->softmax(tokens, factor, row);
        for (size_t t = 0; t < tokens; t++)
            row[t] *= inverse;
    }
    kernels->router(heads, tokens, d, weights, tokens, run->call->tokens + sequence * tokens * d, d,
                    buffers->mixtures + sequence * heads * d);
}

/* Columns first .. end - 1 of a panel, which belong to one head, for all sequences. */
static void mix_head(const struct run *run, size_t first, size_t end, size_t head, float *values)
{
    const struct vmoe_query_call *call = run->call;
    const struct vmoe_buffers *buffers = &run->encoder->buffers;
    const size_t d = run->encoder->info->width, heads = run->encoder->info->heads;
    const size_t begin = panel_of(first) * VMOE_PANEL;
    const struct vmoe_linear part = vmoe_linear_columns(call->layer, begin, end - begin);

    for (size_t i = 0; i < call->sequences; i += VMOE_TASK_ROWS) {
        const size_t count = vmoe_smaller(call->sequences - i, VMOE_TASK_ROWS);
        const struct vmoe_product product = {
            .rows = count,
            .k = d,
            .columns = part.n,
            .a = buffers->mixtures + (i * heads + head) * d,
            .lda = heads * d * sizeof(float),
            .panels = part.panels,
            .panel_stride = vmoe_pack_bytes(part.precision, d, VMOE_PANEL),
            .panel_bytes = vmoe_pack_bytes(part.precision, d, VMOE_PANEL),
            .scale = part.scale,
            .bias = part.bias,
            .out = values,
            .ldo = VMOE_PANEL * sizeof *values,
        };

        run->encoder->kernels->product[VMOE_PRECISION_F32][part.precision](&product);
        for (size_t r = 0; r < count; r++)
            memcpy((float *)vmoe_matrix_row(&call->out, i + r) + (first - call->value),
                   values + r * VMOE_PANEL + (first - begin), (end - first) * sizeof *values);
    }
}

/* V' times the mixed tokens, one panel of V. */
static void mix_values(void *context, size_t task, uint32_t thread)
{
    const struct run *run = context;
    const size_t value = run->call->value, d = run->encoder->info->width;
    const size_t panel = panel_of(value) + task;
    const size_t last = vmoe_smaller((panel + 1) * VMOE_PANEL, value + d);
    size_t first = vmoe_larger(panel * VMOE_PANEL, value), end;

    for (; first < last; first = end) {
        const size_t head = (first - value) / run->width;

        end = vmoe_smaller(last, value + (head + 1) * run->width);
        mix_head(run, first, end, head, vmoe_scratch(run->encoder, thread));
    }
}

void vmoe_query_run(const struct vmoe_encoder *encoder, const struct vmoe_query_call *call)
{
    const size_t d = encoder->info->width, heads = encoder->info->heads;
    struct run run = { encoder, call, d / heads };
    const size_t panels = panel_of(call->value + d - 1) + 1 - panel_of(call->value);

    vmoe_team_run(encoder->team, heads, make_directions, &run);
    vmoe_team_run(encoder->team, call->sequences * vmoe_task_count(encoder->info->tokens), score,
                  &run);
    vmoe_team_run(encoder->team, call->sequences, mix_tokens, &run);
    vmoe_team_run(encoder->team, panels, mix_values, &run);
}
