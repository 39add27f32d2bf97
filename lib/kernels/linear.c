/*
 * The loops around gemm.  A task is a block of rows, small enough to stay in the second-level
 * cache, times a range of panels; each panel meets all tiles of the block in turn, so it is fetched
 * from memory once for many rows.  An element is computed in one way whatever the cut, so the
 * number of threads does not show in the result.
 */
#include "kernels/linear.h"

#include "kernels/pack.h"

#define BLOCK_BYTES ((size_t)768 << 10) /* of `a` in a block of rows, about */
#define TASK_WORK ((size_t)1 << 18)     /* multiplications that are worth a task */
#define TASKS_OF_A_THREAD 8u            /* enough for threads that are unequally fast */

typedef void map(size_t n, float *x);

/* `count` things cut into `parts` ranges whose lengths differ by at most one. */
struct split {
    size_t count, parts;
};

struct job {
    const struct vmoe_linear_call *call;
    vmoe_gemm_kernel gemm;
    map *activation; /* NULL: none */
    size_t panel_bytes;
    struct split tiles;  /* rows into tiles */
    struct split blocks; /* tiles into blocks */
    struct split ranges; /* panels into ranges */
};

static size_t begin_of(struct split split, size_t part)
{
    const size_t whole = split.count / split.parts;
    const size_t rest = split.count % split.parts;

    return part * whole + (part < rest ? part : rest);
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t divide_up(size_t a, size_t b)
{
    return (a + b - 1) / b;
}

/* Column scale, bias and activation, in place. */
static void finish_tile(const struct job *job, size_t rows, size_t column, size_t columns,
                        float *tile)
{
    const struct vmoe_linear *layer = job->call->layer;
    const float *bias = layer->bias + column;
    const float *scale = layer->precision == VMOE_PRECISION_INT8 ? layer->scale + column : NULL;

    for (size_t r = 0; r < rows; r++) {
        float *value = tile + r * VMOE_PANEL;

        if (scale != NULL)
            for (size_t c = 0; c < columns; c++)
                value[c] *= scale[c];
        for (size_t c = 0; c < columns; c++)
            value[c] += bias[c];
    }
    if (job->activation != NULL)
        job->activation(rows * VMOE_PANEL, tile);
}

static void store_tile(const struct vmoe_linear_call *call, size_t row, size_t rows, size_t column,
                       size_t columns, const float *tile)
{
    for (size_t r = row; r < row + rows; r++, tile += VMOE_PANEL) {
        const size_t to = call->out_rows != NULL ? (size_t)call->out_rows[r] : r;
        const float factor = call->out_factors != NULL ? call->out_factors[r] : 1.0f;
        float *out = call->out + to * call->ldo + column;

        if (call->add)
            for (size_t c = 0; c < columns; c++)
                out[c] += tile[c] * factor;
        else
            for (size_t c = 0; c < columns; c++)
                out[c] = tile[c] * factor;
    }
}

static void run_task(void *context, size_t task, uint32_t thread)
{
    const struct job *job = context;
    const struct vmoe_linear_call *call = job->call;
    const struct vmoe_linear *layer = call->layer;
    const size_t block = task / job->ranges.parts;
    const size_t range = task % job->ranges.parts;
    const size_t tile_end = begin_of(job->blocks, block + 1);
    const size_t panel_end = begin_of(job->ranges, range + 1);
    _Alignas(64) float tile[VMOE_TILE_ROWS_MAX * VMOE_PANEL];

    (void)thread;
    for (size_t p = begin_of(job->ranges, range); p < panel_end; p++) {
        const uint8_t *panel = (const uint8_t *)layer->panels + p * job->panel_bytes;
        const size_t column = p * VMOE_PANEL;
        const size_t columns = smaller(layer->n - column, VMOE_PANEL);

        for (size_t t = begin_of(job->blocks, block); t < tile_end; t++) {
            const size_t row = begin_of(job->tiles, t);
            const size_t rows = begin_of(job->tiles, t + 1) - row;

            job->gemm(rows, layer->k, call->a + row * call->lda, call->lda, panel, tile);
            finish_tile(job, rows, column, columns, tile);
            store_tile(call, row, rows, column, columns, tile);
        }
    }
}

static map *activation_of(const struct vmoe_kernels *kernels, uint32_t activation)
{
    switch (activation) {
    case VMOE_LINEAR_GELU_TANH:
        return kernels->gelu_tanh;
    case VMOE_LINEAR_GELU_ERF:
        return kernels->gelu_erf;
    case VMOE_LINEAR_TANH:
        return kernels->tanh;
    default:
        return NULL;
    }
}

/* Blocks that fit the cache; then more ranges, and only then smaller blocks, for enough tasks. */
static void cut(struct job *job, size_t tile_rows, uint32_t threads)
{
    const struct vmoe_linear *layer = job->call->layer;
    const size_t rows = job->call->rows;
    const size_t tiles = divide_up(rows, tile_rows);
    const size_t panels = divide_up(layer->n, VMOE_PANEL);
    const size_t tile_bytes = tile_rows * layer->k * sizeof(float);
    const size_t fitting = divide_up(tiles, BLOCK_BYTES / tile_bytes + 1);
    const size_t worthwhile = rows * layer->k * layer->n / TASK_WORK + 1;
    const size_t tasks = threads == 1 ? 1 : smaller(worthwhile, threads * TASKS_OF_A_THREAD);
    const size_t ranges = smaller(panels, divide_up(tasks, fitting));
    const size_t blocks = smaller(tiles, divide_up(tasks, ranges));

    job->tiles = (struct split){ rows, tiles };
    job->blocks = (struct split){ tiles, blocks > fitting ? blocks : fitting };
    job->ranges = (struct split){ panels, ranges };
}

void vmoe_linear_run(const struct vmoe_kernels *kernels, struct vmoe_team *team,
                     const struct vmoe_linear_call *call)
{
    const struct vmoe_linear *layer = call->layer;
    struct job job = {
        .call = call,
        .gemm = kernels->gemm[layer->precision],
        .activation = activation_of(kernels, call->activation),
        .panel_bytes = (size_t)vmoe_pack_bytes(layer->precision, layer->k, VMOE_PANEL),
    };

    if (call->rows == 0)
        return;
    cut(&job, kernels->tile_rows, vmoe_team_threads(team));
    vmoe_team_run(team, job.blocks.parts * job.ranges.parts, run_task, &job);
}
