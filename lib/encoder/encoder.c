/* The schedule of a forward pass: embedding, blocks, head, with a look at the clock in between. */
#include "encoder/encoder.h"

#include "encoder/attention.h"
#include "runtime/cpu.h"

/* Tokens whose layer norm makes one task. */
#define NORM_TOKENS 16u

struct norm_run {
    const struct vmoe_encoder *encoder;
    const struct vmoe_norm *norm;
    size_t tokens;
};

static void norm_rows(void *context, size_t task, uint32_t thread)
{
    const struct norm_run *run = context;
    const struct vmoe_encoder *encoder = run->encoder;
    size_t d = encoder->info->width;
    size_t begin = task * NORM_TOKENS;
    size_t end = begin + NORM_TOKENS < run->tokens ? begin + NORM_TOKENS : run->tokens;

    (void)thread;
    for (size_t t = begin; t < end; t++)
        encoder->kernels->layer_norm(d, encoder->buffers.x + t * d, VMOE_LAYER_NORM_EPSILON,
                                     run->norm->scale, run->norm->bias,
                                     encoder->buffers.y + t * d);
}

void vmoe_norm_tokens(struct vmoe_encoder *encoder, const struct vmoe_norm *norm)
{
    struct norm_run run = { encoder, norm, encoder->images * encoder->info->tokens };

    vmoe_team_run(encoder->team, (run.tokens + NORM_TOKENS - 1) / NORM_TOKENS, norm_rows, &run);
}

void vmoe_trace_show(const struct vmoe_encoder *encoder, const char *stage, uint32_t block,
                     const float *data, size_t rows, size_t columns, size_t stride)
{
    if (encoder->trace.show != NULL)
        encoder->trace.show(encoder->trace.context, stage, block, data, rows, columns, stride);
}

/* x += Attention(LayerNorm(x)). */
static void run_attention(struct vmoe_encoder *encoder, uint32_t index)
{
    const vmoe_info *info = encoder->info;
    const struct vmoe_buffers *buffers = &encoder->buffers;
    const struct vmoe_block *block = &encoder->weights->blocks[index];
    size_t d = info->width, tokens = encoder->images * info->tokens;
    struct vmoe_linear_call qkv = { .layer = &block->qkv, .rows = tokens, .a = buffers->y,
                                    .lda = d, .out = buffers->wide, .ldo = 3 * d };
    struct vmoe_attention_call attend = { .images = encoder->images,
                                          .heads = info->heads,
                                          .width = d / info->heads,
                                          .queries = info->tokens,
                                          .tokens = info->tokens,
                                          .q = buffers->wide,
                                          .ldq = 3 * d,
                                          .q_image = info->tokens * 3 * d,
                                          .k = buffers->wide + d,
                                          .v = buffers->wide + 2 * d,
                                          .ldkv = 3 * d,
                                          .out = buffers->y,
                                          .ldo = d };
    struct vmoe_linear_call out = { .layer = &block->out, .rows = tokens, .a = buffers->y,
                                    .lda = d, .out = buffers->x, .ldo = d, .add = true };

    vmoe_norm_tokens(encoder, &block->norm_0);
    vmoe_trace_show(encoder, "norm_0", index, buffers->y, tokens, d, d);
    vmoe_linear_run(encoder->kernels, encoder->team, &qkv);
    vmoe_trace_show(encoder, "query", index, buffers->wide, tokens, d, 3 * d);
    vmoe_trace_show(encoder, "key", index, buffers->wide + d, tokens, d, 3 * d);
    vmoe_trace_show(encoder, "value", index, buffers->wide + 2 * d, tokens, d, 3 * d);
    vmoe_attention_run(encoder, &attend);
    vmoe_linear_run(encoder->kernels, encoder->team, &out);
    vmoe_trace_show(encoder, "attention", index, buffers->x, tokens, d, d);
}

/* x += Mlp(LayerNorm(x)). */
static void run_mlp(struct vmoe_encoder *encoder, uint32_t index)
{
    const struct vmoe_block *block = &encoder->weights->blocks[index];
    size_t d = encoder->info->width, tokens = encoder->images * encoder->info->tokens;
    struct vmoe_mlp_call call = { .mlp = block->mlps,
                                  .rows = tokens,
                                  .in = encoder->buffers.y,
                                  .out = encoder->buffers.x };

    vmoe_norm_tokens(encoder, &block->norm_1);
    vmoe_trace_show(encoder, "norm_1", index, encoder->buffers.y, tokens, d, d);
    vmoe_mlp_run(encoder, &call);
}

static vmoe_status check_cancel(const struct vmoe_encoder *encoder, vmoe_error *error)
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
    size_t tokens = encoder->images * info->tokens;
    double mark = vmoe_cpu_seconds();
    uint32_t moe_layer = 0;

    vmoe_embed(encoder);
    stop_watch(encoder, VMOE_STAGE_EMBED, &mark);
    for (uint32_t i = 0; i < info->layers; i++) {
        vmoe_status status = check_cancel(encoder, error);

        if (status != VMOE_OK)
            return status;
        run_attention(encoder, i);
        stop_watch(encoder, VMOE_STAGE_ATTENTION, &mark);
        status = check_cancel(encoder, error);
        if (status != VMOE_OK)
            return status;
        if (info->moe[i]) {
            vmoe_moe(encoder, i, moe_layer++);
            mark = vmoe_cpu_seconds();
        } else {
            run_mlp(encoder, i);
            stop_watch(encoder, VMOE_STAGE_MLP, &mark);
        }
        vmoe_trace_show(encoder, "block", i, encoder->buffers.x, tokens, info->width, info->width);
    }
    vmoe_head(encoder);
    stop_watch(encoder, VMOE_STAGE_HEAD, &mark);
    return check_cancel(encoder, error);
}
