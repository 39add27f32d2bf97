/*
 * Attention: projections, heads, and the way back to the residual stream.  A task is one head of
 * one sequence, or some of its queries where there are too few heads for all threads.
 */
#include <math.h>

#include "encoder/encoder.h"

/* ---- Heads ---------------------------------------------------------------------------------- */

/* Parts of a head end after a multiple of so many queries, which every kernel takes well. */
#define PART_QUERIES 32u

struct heads {
    const struct vmoe_encoder *encoder;
    const struct vmoe_matrix *out; /* (chunk, T, D) */
    size_t blocks;                 /* of PART_QUERIES queries in a head, the last one shorter */
    size_t parts;                  /* of a head */
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
    const struct vmoe_encoder *encoder = heads->encoder;
    const struct vmoe_buffers *buffers = &encoder->buffers;
    const struct vmoe_matrix *qkv = &buffers->qkv;
    const size_t d = encoder->info->width, tokens = encoder->info->tokens;
    const size_t count = encoder->info->heads, width = d / count;
    const size_t head = task / heads->parts, part = task % heads->parts;
    const size_t row = head / count * tokens, column = head % count * width;
    const size_t first = heads->blocks * part / heads->parts * PART_QUERIES;
    const size_t end = heads->blocks * (part + 1) / heads->parts * PART_QUERIES;
    const struct vmoe_matrix q = vmoe_matrix_columns(qkv, column);
    const struct vmoe_matrix k = vmoe_matrix_columns(qkv, d + column);
    const struct vmoe_matrix v = vmoe_matrix_columns(qkv, 2 * d + column);
    const struct vmoe_matrix out = vmoe_matrix_columns(heads->out, column);
    const struct vmoe_attend attend = {
        .queries = vmoe_smaller(end, tokens) - first,
        .tokens = tokens,
        .width = width,
        .factor = 1.0f / sqrtf((float)width),
        .q = vmoe_matrix_row(&q, row + first),
        .k = vmoe_matrix_row(&k, row),
        .v = vmoe_matrix_row(&v, row),
        .ldq = qkv->stride,
        .ldkv = qkv->stride,
        .out = vmoe_matrix_row(&out, row + first),
        .ldo = out.stride,
        .scratch = vmoe_scratch(encoder, thread),
        .scratch_bytes = buffers->scratch_bytes,
    };

    encoder->kernels->attend[qkv->type](&attend);
}

/* Between the queries, keys and values of some sequences. */
static void run_heads(const struct vmoe_encoder *encoder, size_t sequences,
                      const struct vmoe_matrix *out)
{
    const size_t count = sequences * encoder->info->heads;
    struct heads heads = { encoder, out, vmoe_divide_up(encoder->info->tokens, PART_QUERIES), 1 };

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

static void show_qkv(const struct vmoe_encoder *encoder, uint32_t index, size_t rows)
{
    static const char *const names[] = { "query", "key", "value" };
    const size_t d = encoder->info->width;

    for (size_t i = 0; i < 3; i++) {
        const struct vmoe_matrix columns = vmoe_matrix_columns(&encoder->buffers.qkv, i * d);

        vmoe_trace_show(encoder, names[i], index, &columns, rows, d);
    }
}

/* x += Attention(LayerNorm(x)), for the tokens of the chunk. */
static void run_chunk(struct vmoe_encoder *encoder, uint32_t index, const struct chunk *chunk)
{
    const struct vmoe_buffers *buffers = &encoder->buffers;
    const struct vmoe_block *block = &encoder->weights->blocks[index];
    const struct vmoe_matrix *mixed = buffers->mixed.data != NULL ? &buffers->mixed : &chunk->y;
    const struct vmoe_matrix x = vmoe_matrix_from(&encoder->x, chunk->row);
    const size_t d = encoder->info->width;

    vmoe_norm(encoder, &block->norm_0, chunk->row, chunk->rows, &buffers->y);
    vmoe_trace_show(encoder, "norm_0", index, &chunk->y, chunk->rows, d);
    vmoe_apply(encoder, &block->qkv, &chunk->y, chunk->rows, VMOE_IDENTITY, &buffers->qkv, false);
    show_qkv(encoder, index, chunk->rows);
    run_heads(encoder, chunk->sequences, mixed);
    if (mixed != &chunk->y)
        vmoe_narrow(encoder, mixed, &chunk->y, chunk->rows, d);
    vmoe_apply(encoder, &block->out, &chunk->y, chunk->rows, VMOE_IDENTITY, &x, true);
}

/* The same for class tokens alone: of the others nothing but their norms is needed. */
static void run_class_tokens(struct vmoe_encoder *encoder, uint32_t index)
{
    const struct vmoe_buffers *buffers = &encoder->buffers;
    const struct vmoe_block *block = &encoder->weights->blocks[index];
    const size_t d = encoder->info->width, tokens = encoder->info->tokens;
    const size_t sequences = encoder->sequences;
    const struct vmoe_matrix normed = vmoe_float_matrix(buffers->normed, d);
    const struct vmoe_matrix query = vmoe_float_matrix(buffers->query, d);
    const struct vmoe_matrix mixed = vmoe_float_matrix(buffers->pooled, d);
    const struct vmoe_linear query_layer = vmoe_linear_columns(&block->qkv, 0, d);
    const struct vmoe_query_call call = { .sequences = sequences,
                                          .layer = &block->qkv,
                                          .key = d,
                                          .value = 2 * d,
                                          .query = query,
                                          .queries = sequences,
                                          .tokens = normed.data,
                                          .out = mixed };
    struct vmoe_matrix class_normed = normed;

    vmoe_norm(encoder, &block->norm_0, 0, sequences * tokens, &normed);
    class_normed.stride *= tokens;
    encoder->x.stride *= tokens;
    encoder->tokens = 1;
    vmoe_apply(encoder, &query_layer, &class_normed, sequences, VMOE_IDENTITY, &query, false);
    vmoe_query_run(encoder, &call);
    vmoe_apply(encoder, &block->out, &mixed, sequences, VMOE_IDENTITY, &encoder->x, true);
}

void vmoe_attention(struct vmoe_encoder *encoder, uint32_t index)
{
    const size_t tokens = encoder->info->tokens;
    struct chunk chunk = { .sequences = vmoe_chunk_sequences(encoder->info, encoder->sequences) };

    if (vmoe_ends_in_class_tokens(encoder, index) && !encoder->info->moe[index]) {
        run_class_tokens(encoder, index);
        return;
    }
    for (; chunk.first < encoder->sequences; chunk.first += chunk.sequences) {
        chunk.sequences = vmoe_smaller(chunk.sequences, encoder->sequences - chunk.first);
        chunk.row = chunk.first * tokens;
        chunk.rows = chunk.sequences * tokens;
        chunk.y = vmoe_matrix_from(&encoder->buffers.y, chunk.row);
        run_chunk(encoder, index, &chunk);
    }
    vmoe_trace_show_stream(encoder, "attention", index);
}
