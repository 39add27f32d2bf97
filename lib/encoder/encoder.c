/* The schedule of a forward pass: embedding, blocks, head, with a look at the clock in between. */
#include "encoder/encoder.h"

#include "runtime/cpu.h"

/* ---- Rows: layer norm, type, linear layer --------------------------------------------------- */

struct norm_run {
    const struct vmoe_encoder *encoder;
    const struct vmoe_norm *norm;
    const struct vmoe_matrix *rows;
    size_t first, count;
};

/* Narrow rows are made from a float32 row that stays in the first-level cache. */
static void norm_rows(void *context, size_t task, uint32_t thread)
{
    const struct norm_run *run = context;
    const struct vmoe_encoder *encoder = run->encoder;
    const size_t begin = run->first + task * VMOE_TASK_ROWS;
    const size_t end = begin + vmoe_task_rows(run->count, task);
    float *row = vmoe_scratch(encoder, thread);

    for (size_t t = begin; t < end; t++) {
        if (run->rows->type == VMOE_PRECISION_F32)
            row = vmoe_matrix_row(run->rows, t);
        vmoe_norm_row(encoder, run->norm, vmoe_matrix_row(&encoder->x, t), row);
        if (run->rows->type != VMOE_PRECISION_F32)
            vmoe_matrix_set(encoder->kernels, run->rows, t, encoder->info->width, row);
    }
}

void vmoe_norm(const struct vmoe_encoder *encoder, const struct vmoe_norm *norm, size_t first,
               size_t count, const struct vmoe_matrix *rows)
{
    struct norm_run run = { encoder, norm, rows, first, count };

    vmoe_team_run(encoder->team, vmoe_task_count(count), norm_rows, &run);
}

struct narrow_run {
    const struct vmoe_kernels *kernels;
    const struct vmoe_matrix *from, *to;
    size_t count, n;
};

static void narrow_rows(void *context, size_t task, uint32_t thread)
{
    const struct narrow_run *run = context;
    const size_t begin = task * VMOE_TASK_ROWS;
    const size_t end = begin + vmoe_task_rows(run->count, task);

    (void)thread;
    for (size_t r = begin; r < end; r++)
        vmoe_matrix_convert(run->kernels, run->from, run->to, r, run->n);
}

void vmoe_narrow(const struct vmoe_encoder *encoder, const struct vmoe_matrix *from,
                 const struct vmoe_matrix *to, size_t count, size_t n)
{
    struct narrow_run run = { encoder->kernels, from, to, count, n };

    vmoe_team_run(encoder->team, vmoe_task_count(count), narrow_rows, &run);
}

void vmoe_apply(const struct vmoe_encoder *encoder, const struct vmoe_linear *layer,
                const struct vmoe_matrix *in, size_t rows, uint32_t activation,
                const struct vmoe_matrix *out, bool add)
{
    const struct vmoe_linear_part part = { layer, 0, rows };
    const struct vmoe_linear_call call = {
        .parts = &part,
        .count = 1,
        .a = *in,
        .out = out->data,
        .ldo = out->stride,
        .activation = activation,
        .store = add                                 ? VMOE_ADD_F32
                 : out->type == VMOE_PRECISION_BF16 ? VMOE_STORE_BF16
                                                    : VMOE_STORE_F32,
        .scratch = encoder->buffers.scratch,
        .scratch_bytes = encoder->buffers.scratch_bytes,
    };

    vmoe_linear_run(encoder->kernels, encoder->team, &call);
}

/* ---- Trace ---------------------------------------------------------------------------------- */

void vmoe_trace_show(const struct vmoe_encoder *encoder, const char *stage, uint32_t block,
                     const struct vmoe_matrix *rows, size_t count, size_t columns)
{
    if (encoder->trace.show != NULL && rows->type == VMOE_PRECISION_F32)
        encoder->trace.show(encoder->trace.context, stage, block, rows->data, count, columns,
                            rows->stride / sizeof(float));
}

void vmoe_trace_show_stream(const struct vmoe_encoder *encoder, const char *stage, uint32_t block)
{
    vmoe_trace_show(encoder, stage, block, &encoder->x, encoder->sequences * encoder->tokens,
                    encoder->info->width);
}

/* ---- Blocks --------------------------------------------------------------------------------- */

/* A trace wants to see everything. */
bool vmoe_ends_in_class_tokens(const struct vmoe_encoder *encoder, uint32_t block)
{
    return block + 1 == encoder->info->layers && vmoe_config_reads_class_tokens(encoder->info) &&
           encoder->trace.show == NULL;
}

/* x += Mlp(LayerNorm(x)). */
static void run_mlp(const struct vmoe_encoder *encoder, uint32_t index)
{
    const struct vmoe_block *block = &encoder->weights->blocks[index];
    const struct vmoe_matrix *y = &encoder->buffers.y;
    const uint64_t offsets[] = { 0, encoder->sequences * encoder->tokens };
    const struct vmoe_mlp_call call = {
        .mlps = block->mlps, .offsets = offsets, .count = 1, .in = y, .out = &encoder->x
    };

    vmoe_norm(encoder, &block->norm_1, 0, offsets[1], y);
    vmoe_trace_show(encoder, "norm_1", index, y, offsets[1], encoder->info->width);
    vmoe_mlp_run(encoder, &call);
}

vmoe_status vmoe_encoder_check_cancel(const struct vmoe_encoder *encoder, vmoe_error *error)
{
    if (encoder->cancel != NULL && vmoe_team_read_flag(encoder->cancel) != 0)
        return vmoe_fail(error, VMOE_ERR_CANCELLED, "options.cancel",
                         "the call was cancelled at image %llu of %llu",
                         (unsigned long long)encoder->first_image,
                         (unsigned long long)encoder->call_images);
    return VMOE_OK;
}

/* Adds the time since `*mark` to a stage and moves the mark. */
static void stop_watch(struct vmoe_encoder *encoder, vmoe_stage stage, double *mark)
{
    double now = vmoe_cpu_seconds();

    encoder->seconds[stage] += now - *mark;
    *mark = now;
}

vmoe_status vmoe_encoder_run(struct vmoe_encoder *encoder, vmoe_error *error)
{
    const vmoe_info *info = encoder->info;
    double mark = vmoe_cpu_seconds();
    uint32_t moe_layer = 0;

    vmoe_embed(encoder);
    stop_watch(encoder, VMOE_STAGE_EMBED, &mark);
    for (uint32_t i = 0; i < info->layers; i++) {
        vmoe_status status = vmoe_encoder_check_cancel(encoder, error);

        if (status != VMOE_OK)
            return status;
        vmoe_attention(encoder, i);
        stop_watch(encoder, VMOE_STAGE_ATTENTION, &mark);
        status = vmoe_encoder_check_cancel(encoder, error);
        if (status != VMOE_OK)
            return status;
        if (info->moe[i]) {
            vmoe_moe(encoder, i, moe_layer++);
            mark = vmoe_cpu_seconds();
        } else {
            run_mlp(encoder, i);
            stop_watch(encoder, VMOE_STAGE_MLP, &mark);
        }
        vmoe_trace_show_stream(encoder, "block", i);
    }
    vmoe_head(encoder);
    stop_watch(encoder, VMOE_STAGE_HEAD, &mark);
    return vmoe_encoder_check_cancel(encoder, error);
}
