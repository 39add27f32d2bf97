/* An MLP over some of the tokens: the dense one over all, an expert over those it was given. */
#include <string.h>

#include "encoder/encoder.h"

/* Rows of a gather that make one task. */
#define GATHER_ROWS 32u

struct gather {
    const int32_t *indices;
    const float *from;
    float *to;
    size_t rows, width;
};

static void gather_rows(void *context, size_t task, uint32_t thread)
{
    const struct gather *gather = context;
    size_t begin = task * GATHER_ROWS;
    size_t end = begin + GATHER_ROWS < gather->rows ? begin + GATHER_ROWS : gather->rows;

    (void)thread;
    for (size_t r = begin; r < end; r++)
        memcpy(gather->to + r * gather->width,
               gather->from + (size_t)gather->indices[r] * gather->width,
               gather->width * sizeof(float));
}

/* Rows begin .. begin + rows - 1 of a call. */
static void run_rows(struct vmoe_encoder *encoder, const struct vmoe_mlp_call *call, size_t begin,
                     size_t rows)
{
    const vmoe_info *info = encoder->info;
    const struct vmoe_buffers *buffers = &encoder->buffers;
    size_t d = info->width;
    struct vmoe_linear_call first = { .layer = &call->mlp->fc1,
                                      .rows = rows,
                                      .a = call->in + begin * d,
                                      .lda = d,
                                      .out = buffers->hidden,
                                      .ldo = buffers->hidden_stride,
                                      .activation = info->gelu == VMOE_GELU_ERF
                                                        ? VMOE_LINEAR_GELU_ERF
                                                        : VMOE_LINEAR_GELU_TANH };
    struct vmoe_linear_call second = { .layer = &call->mlp->fc2,
                                       .rows = rows,
                                       .a = buffers->hidden,
                                       .lda = buffers->hidden_stride,
                                       .out = call->out,
                                       .ldo = d,
                                       .add = true };

    if (call->indices != NULL) {
        struct gather gather = { call->indices + begin, call->in, buffers->gathered, rows, d };

        vmoe_team_run(encoder->team, (rows + GATHER_ROWS - 1) / GATHER_ROWS, gather_rows, &gather);
        first.a = buffers->gathered;
        second.out_rows = call->indices + begin;
    } else {
        second.out = call->out + begin * d;
    }
    if (call->factors != NULL)
        second.out_factors = call->factors + begin;
    vmoe_linear_run(encoder->kernels, encoder->team, &first);
    vmoe_linear_run(encoder->kernels, encoder->team, &second);
}

void vmoe_mlp_run(struct vmoe_encoder *encoder, const struct vmoe_mlp_call *call)
{
    size_t blocks = (call->rows + VMOE_MLP_ROWS - 1) / VMOE_MLP_ROWS;

    /* Blocks of nearly equal size, so that the last one is not a poor use of the weights. */
    for (size_t i = 0; i < blocks; i++) {
        size_t begin = call->rows * i / blocks;

        run_rows(encoder, call, begin, call->rows * (i + 1) / blocks - begin);
    }
}
