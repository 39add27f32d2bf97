/*
 * MLPs: the dense one over all tokens of the stream, or the experts, each over the tokens it was
 * given.  Rows go through both layers in waves; a wave of few tokens has the rows of many experts,
 * so that all threads find enough to do between two layers.
 */
#include <string.h>

#include "encoder/encoder.h"

/* Rows begin .. begin + rows - 1 of a call. */
struct wave {
    const struct vmoe_encoder *encoder;
    const struct vmoe_mlp_call *call;
    size_t begin, rows;
};

static void gather_rows(void *context, size_t task, uint32_t thread)
{
    const struct wave *wave = context;
    const struct vmoe_matrix *from = wave->call->in, *to = &wave->encoder->buffers.gathered;
    const size_t begin = task * VMOE_TASK_ROWS;
    const size_t end = begin + vmoe_task_rows(wave->rows, task);

    (void)thread;
    for (size_t r = begin; r < end; r++) {
        const size_t index = (size_t)wave->call->indices[wave->begin + r];

        memcpy(vmoe_matrix_row(to, r), vmoe_matrix_row(from, index), from->stride);
        if (from->quants != NULL)
            to->quants[r] = from->quants[index];
    }
}

/* Which rows of the wave belong to which MLP; `second` chooses among its layers. */
static size_t list_parts(const struct wave *wave, bool second)
{
    const struct vmoe_mlp_call *call = wave->call;
    struct vmoe_linear_part *parts = wave->encoder->buffers.parts;
    const size_t end = wave->begin + wave->rows;
    size_t count = 0;

    for (size_t i = 0; i < call->count; i++) {
        const size_t first = vmoe_larger(call->offsets[i], wave->begin);
        const size_t last = vmoe_smaller(call->offsets[i + 1], end);

        if (first < last)
            parts[count++] = (struct vmoe_linear_part){
                second ? &call->mlps[i].fc2 : &call->mlps[i].fc1, first - wave->begin, last - first
            };
    }
    return count;
}

static void run_wave(struct wave *wave)
{
    const struct vmoe_encoder *encoder = wave->encoder;
    const struct vmoe_buffers *buffers = &encoder->buffers;
    const struct vmoe_mlp_call *call = wave->call;
    const struct vmoe_matrix *wide = &buffers->hidden_wide;
    const struct vmoe_matrix out =
        vmoe_matrix_from(call->out, call->indices != NULL ? 0 : wave->begin);
    struct vmoe_linear_call first = {
        .parts = buffers->parts,
        .a = vmoe_matrix_from(call->in, wave->begin),
        .out = wide->data,
        .ldo = wide->stride,
        .activation = vmoe_mlp_activation(encoder),
        .store = wide->type == VMOE_PRECISION_BF16 ? VMOE_STORE_BF16 : VMOE_STORE_F32,
        .scratch = buffers->scratch,
        .scratch_bytes = buffers->scratch_bytes,
    };
    struct vmoe_linear_call second = { .parts = buffers->parts,
                                       .a = buffers->hidden,
                                       .out = out.data,
                                       .ldo = out.stride,
                                       .store = VMOE_ADD_F32,
                                       .scratch = buffers->scratch,
                                       .scratch_bytes = buffers->scratch_bytes };

    if (call->indices != NULL) {
        vmoe_team_run(encoder->team, vmoe_task_count(wave->rows), gather_rows, wave);
        first.a = buffers->gathered;
        second.out_rows = call->indices + wave->begin;
        second.factors = call->factors + wave->begin;
    }
    first.count = list_parts(wave, false);
    vmoe_linear_run(encoder->kernels, encoder->team, &first);
    if (wide->type != buffers->hidden.type)
        vmoe_narrow(encoder, wide, &buffers->hidden, wave->rows, encoder->info->mlp);
    second.count = list_parts(wave, true);
    vmoe_linear_run(encoder->kernels, encoder->team, &second);
}

/*
 * Where a wave ends: with the last MLP that fits, so that weights are fetched once.  The rows of
 * one that does not fit are cut into nearly equal parts, so that the last is not a poor use of
 * them.
 */
static size_t end_of_wave(const struct vmoe_mlp_call *call, size_t begin)
{
    size_t i = 0, rows, waves;

    while (call->offsets[i + 1] <= begin)
        i++;
    rows = call->offsets[i + 1] - begin;
    waves = vmoe_divide_up(rows, VMOE_MLP_ROWS);
    if (waves > 1)
        return begin + vmoe_divide_up(rows, waves);
    while (i + 1 < call->count && call->offsets[i + 2] - begin <= VMOE_MLP_ROWS)
        i++;
    return call->offsets[i + 1];
}

void vmoe_mlp_run(const struct vmoe_encoder *encoder, const struct vmoe_mlp_call *call)
{
    struct wave wave = { .encoder = encoder, .call = call };
    const size_t rows = call->offsets[call->count];

    for (; wave.begin < rows; wave.begin += wave.rows) {
        wave.rows = end_of_wave(call, wave.begin) - wave.begin;
        run_wave(&wave);
    }
}
