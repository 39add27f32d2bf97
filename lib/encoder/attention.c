/*
 * Attention: projections, heads, and the way back to the residual stream.  A task is one head of
 * one sequence, or some of its queries where there are too few heads for all threads.
 */
#include <math.h>
#include <string.h>

#include "encoder/encoder.h"

/* ---- Heads ---------------------------------------------------------------------------------- */

/* Parts of a head end after a multiple of so many queries, which every kernel takes well. */
#define PART_QUERIES 32u

struct heads {
    const struct vmoe_encoder *encoder;
    const struct vmoe_heads_call *call;
    size_t blocks; /* of PART_QUERIES queries in a head, the last one shorter */
    size_t parts;  /* of a head */
};

/*
 * The cut of a head with which the busiest thread has least to do.  Each part packs all keys and
 * values again, which is taken for half the work of a block.
 */
static size_t parts_of(size_t heads, size_t blocks, size_t threads)
{
    size_t best = 1, least = SIZE_MAX;

    for (size_t parts = 1; parts <= blocks && parts <= threads; parts++) {
        const size_t busiest = vmoe_divide_up(heads * parts, threads);
        const size_t work = busiest * (1 + 2 * vmoe_divide_up(blocks, parts));

        if (work < least) {
            best = parts;
            least = work;
        }
    }
    return best;
}

static void run_head(void *context, size_t task, uint32_t thread)
{
    const struct heads *heads = context;
    const struct vmoe_heads_call *call = heads->call;
    const struct vmoe_encoder *encoder = heads->encoder;
    const struct vmoe_buffers *buffers = &encoder->buffers;
    const size_t count = encoder->info->heads, width = encoder->info->width / count;
    const size_t head = task / heads->parts, part = task % heads->parts;
    const size_t sequence = head / count, column = head % count * width;
    const size_t queries = call->queries == 0 ? 1 : call->queries;
    const size_t first = heads->blocks * part / heads->parts * PART_QUERIES;
    const size_t end = heads->blocks * (part + 1) / heads->parts * PART_QUERIES;
    const size_t first_token = sequence * encoder->info->tokens;
    const struct vmoe_matrix q = vmoe_matrix_columns(call->q, column);
    const struct vmoe_matrix k = vmoe_matrix_columns(call->k, column);
    const struct vmoe_matrix v = vmoe_matrix_columns(call->v, column);
    const struct vmoe_matrix out = vmoe_matrix_columns(call->out, column);
    const struct vmoe_attend attend = {
        .queries = vmoe_smaller(end, queries) - first,
        .tokens = encoder->info->tokens,
        .width = width,
        .factor = 1.0f / sqrtf((float)width),
        .q = vmoe_matrix_row(&q, sequence * call->queries + first),
        .k = vmoe_matrix_row(&k, first_token),
        .v = vmoe_matrix_row(&v, first_token),
        .ldq = q.stride,
        .ldkv = k.stride,
        .out = vmoe_matrix_row(&out, sequence * queries + first),
        .ldo = out.stride,
        .scratch = buffers->scratch + thread * buffers->scratch_bytes,
        .scratch_bytes = buffers->scratch_bytes,
    };

    encoder->kernels->attend[q.type](&attend);
}

void vmoe_heads_run(struct vmoe_encoder *encoder, const struct vmoe_heads_call *call)
{
    const size_t count = call->sequences * encoder->info->heads;
    struct heads heads = { encoder, call, 0, 1 };

    heads.blocks = call->queries == 0 ? 1 : vmoe_divide_up(call->queries, PART_QUERIES);
    heads.parts = parts_of(count, heads.blocks, vmoe_team_threads(encoder->team));
    vmoe_team_run(encoder->team, count * heads.parts, run_head, &heads);
}

/* ---- From the stream and back --------------------------------------------------------------- */

/* Some sequences, whose rows go from the stream through attention and back. */
struct chunk {
    size_t first, sequences;
    size_t row, rows;     /* of all their tokens */
    struct vmoe_matrix y; /* from `row` on */
};

static void project(struct vmoe_encoder *encoder, const struct vmoe_linear *layer,
                    const struct vmoe_matrix *in, size_t rows, const struct vmoe_matrix *out)
{
    const struct vmoe_linear_part part = { layer, 0, rows };
    const struct vmoe_linear_call call = {
        .parts = &part,
        .count = 1,
        .a = *in,
        .out = out->data,
        .ldo = out->stride,
        .store = out->type == VMOE_PRECISION_BF16 ? VMOE_STORE_BF16 : VMOE_STORE_F32,
        .scratch = encoder->buffers.scratch,
        .scratch_bytes = encoder->buffers.scratch_bytes,
    };

    vmoe_linear_run(encoder->kernels, encoder->team, &call);
}

/* Queries of all tokens. */
static void attend_all(struct vmoe_encoder *encoder, uint32_t index, const struct chunk *chunk,
                       const struct vmoe_matrix *mixed)
{
    const size_t d = encoder->info->width;
    const struct vmoe_matrix *qkv = &encoder->buffers.qkv;
    const struct vmoe_matrix k = vmoe_matrix_columns(qkv, d), v = vmoe_matrix_columns(qkv, 2 * d);
    const struct vmoe_heads_call heads = { chunk->sequences, qkv, encoder->info->tokens, &k, &v,
                                           mixed };

    project(encoder, &encoder->weights->blocks[index].qkv, &chunk->y, chunk->rows, qkv);
    vmoe_trace_show(encoder, "query", index, qkv, chunk->rows, d);
    vmoe_trace_show(encoder, "key", index, &k, chunk->rows, d);
    vmoe_trace_show(encoder, "value", index, &v, chunk->rows, d);
    vmoe_heads_run(encoder, &heads);
}

/* Copies the class tokens of the chunk from the stream and from y. */
static void keep_class_tokens(struct vmoe_encoder *encoder, const struct chunk *chunk)
{
    const struct vmoe_buffers *buffers = &encoder->buffers;
    const size_t d = encoder->info->width, tokens = encoder->info->tokens;

    for (size_t i = chunk->first; i < chunk->first + chunk->sequences; i++) {
        memcpy(buffers->pooled + i * d, vmoe_matrix_row(&buffers->x, i * tokens),
               d * sizeof(float));
        memcpy(vmoe_matrix_row(&buffers->class_y, i), vmoe_matrix_row(&buffers->y, i * tokens),
               buffers->y.stride);
        if (buffers->y.type == VMOE_PRECISION_INT8)
            buffers->class_y.quants[i] = buffers->y.quants[i * tokens];
    }
}

/* Queries of class tokens: keys and values of all tokens, but nothing else of the others. */
static void attend_class(struct vmoe_encoder *encoder, uint32_t index, const struct chunk *chunk,
                         const struct vmoe_matrix *mixed)
{
    const struct vmoe_buffers *buffers = &encoder->buffers;
    const struct vmoe_linear *qkv = &encoder->weights->blocks[index].qkv;
    const uint32_t d = encoder->info->width, first = d / VMOE_PANEL * VMOE_PANEL;
    const struct vmoe_linear query = vmoe_linear_columns(qkv, 0, d);
    const struct vmoe_linear key_value = vmoe_linear_columns(qkv, first, 3 * d - first);
    const struct vmoe_matrix wide = vmoe_matrix_columns(&buffers->qkv, first);
    const struct vmoe_matrix k = vmoe_matrix_columns(&buffers->qkv, d);
    const struct vmoe_matrix v = vmoe_matrix_columns(&buffers->qkv, 2 * (size_t)d);
    const struct vmoe_matrix y = vmoe_matrix_from(&buffers->class_y, chunk->first);
    const struct vmoe_heads_call heads = { chunk->sequences, &buffers->class_query, 1, &k, &v,
                                           mixed };

    project(encoder, &key_value, &chunk->y, chunk->rows, &wide);
    keep_class_tokens(encoder, chunk);
    /* What a kernel may read behind the last head. */
    memset(buffers->class_query.data, 0, chunk->sequences * buffers->class_query.stride);
    project(encoder, &query, &y, chunk->sequences, &buffers->class_query);
    vmoe_heads_run(encoder, &heads);
}

/* out += Attention(y), for the tokens of the chunk or for its class tokens. */
static void run_chunk(struct vmoe_encoder *encoder, uint32_t index, const struct chunk *chunk,
                      bool class_only, const struct vmoe_matrix *out)
{
    const struct vmoe_buffers *buffers = &encoder->buffers;
    const struct vmoe_block *block = &encoder->weights->blocks[index];
    const struct vmoe_matrix class_y = vmoe_matrix_from(&buffers->class_y, chunk->first);
    const struct vmoe_matrix *y = class_only ? &class_y : &chunk->y;
    const struct vmoe_matrix *mixed = buffers->mixed.data != NULL ? &buffers->mixed : y;
    const size_t first = class_only ? chunk->first : chunk->row;
    const struct vmoe_linear_part part = { &block->out, 0,
                                           class_only ? chunk->sequences : chunk->rows };
    const struct vmoe_linear_call back = { .parts = &part,
                                           .count = 1,
                                           .a = *y,
                                           .out = vmoe_matrix_row(out, first),
                                           .ldo = out->stride,
                                           .store = VMOE_ADD_F32,
                                           .scratch = buffers->scratch,
                                           .scratch_bytes = buffers->scratch_bytes };

    vmoe_norm(encoder, &block->norm_0, chunk->row, chunk->rows, &buffers->y);
    vmoe_trace_show(encoder, "norm_0", index, &chunk->y, chunk->rows, encoder->info->width);
    if (class_only)
        attend_class(encoder, index, chunk, mixed);
    else
        attend_all(encoder, index, chunk, mixed);
    if (mixed != y)
        vmoe_narrow(encoder, mixed, y, part.rows, encoder->info->width);
    vmoe_linear_run(encoder->kernels, encoder->team, &back);
}

void vmoe_attention(struct vmoe_encoder *encoder, uint32_t index)
{
    const struct vmoe_buffers *buffers = &encoder->buffers;
    const bool class_only =
        vmoe_ends_in_class_tokens(encoder, index) && !encoder->info->moe[index];
    const struct vmoe_matrix class_x = vmoe_float_matrix(buffers->pooled, encoder->info->width);
    const size_t tokens = encoder->info->tokens;
    struct chunk chunk = { .sequences = vmoe_chunk_sequences(encoder->info, encoder->sequences) };

    for (; chunk.first < encoder->sequences; chunk.first += chunk.sequences) {
        chunk.sequences = vmoe_smaller(chunk.sequences, encoder->sequences - chunk.first);
        chunk.row = chunk.first * tokens;
        chunk.rows = chunk.sequences * tokens;
        chunk.y = vmoe_matrix_from(&buffers->y, chunk.row);
        run_chunk(encoder, index, &chunk, class_only, class_only ? &class_x : &encoder->x);
    }
    if (class_only) {
        encoder->x = class_x;
        encoder->tokens = 1;
    }
    vmoe_trace_show_stream(encoder, "attention", index);
}
