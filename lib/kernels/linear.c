/*
 * The loops around gemm.  A call is cut into tasks of one block of rows, small enough to stay in the
 * second-level cache, and a range of panels; inside, each panel meets all tiles of the block, so
 * that a panel is fetched from memory once for many rows.  Every element is computed by one task in
 * one way, which makes the result independent of the cut.
 */
#include "kernels/linear.h"

#include <string.h>

#include "kernels/pack.h"

#define BLOCK_BYTES ((size_t)768 << 10) /* of a block of rows of `a` */
#define TASK_WORK ((size_t)1 << 18)     /* multiplications worth a task of their own */
#define TASKS_OF_A_THREAD 8u

typedef void map(size_t n, float *x);

/* `count` rows or panels cut into `parts` ranges that differ by at most one. */
struct split {
    size_t count, parts;
};

struct linear_job {
    const struct vmoe_kernels *kernels;
    const struct vmoe_linear_call *call;
    map *activation; /* NULL: none */
    vmoe_gemm_kernel gemm;
    size_t panel_bytes;
    struct split tiles;  /* rows into tiles */
    struct split blocks; /* tiles into blocks */
    struct split panels; /* panels into ranges */
};

static size_t begin_of(struct split split, size_t part)
{
    const size_t whole = split.count / split.parts;
    const size_t rest = split.count % split.parts;

    return part * whole + (part < rest ? part : rest);
}

static size_t parts_of(size_t count, size_t size)
{
    return (count + size - 1) / size;
}

/* Bias, column scale and activation, on the tile in place. */
static void finish_tile(const struct linear_job *job, size_t rows, size_t column, size_t columns,
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
    const struct linear_job *job = context;
    const struct vmoe_linear_call *call = job->call;
    const struct vmoe_linear *layer = call->layer;
    const size_t block = task / job->panels.parts;
    const size_t range = task % job->panels.parts;
    const size_t tile_end = begin_of(job->blocks, block + 1);
    const size_t panel_end = begin_of(job->panels, range + 1);
    _Alignas(64) float tile[VMOE_TILE_ROWS_MAX * VMOE_PANEL];

    (void)thread;
    for (size_t p = begin_of(job->panels, range); p < panel_end; p++) {
        const uint8_t *panel = (const uint8_t *)layer->panels + p * job->panel_bytes;
        const size_t column = p * VMOE_PANEL;
        const size_t columns = layer->n - column < VMOE_PANEL ? layer->n - column : VMOE_PANEL;

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

/*
 * Blocks of rows that fit the cache, then ranges of panels until there are enough tasks; smaller
 * blocks only if the panels are too few.
 */
static void cut(struct linear_job *job, uint32_t threads)
{
    const struct vmoe_linear *layer = job->call->layer;
    const size_t tiles = (job->call->rows + job->kernels->tile_rows - 1) / job->kernels->tile_rows;
    const size_t panels = (layer->n + VMOE_PANEL - 1) / VMOE_PANEL;
    const size_t tile_bytes = job->kernels->tile_rows * (size_t)layer->k * sizeof(float);
    const size_t tiles_of_block = BLOCK_BYTES / tile_bytes + 1;
    size_t blocks = parts_of(tiles, tiles_of_block);
    size_t tasks = job->call->rows * layer->k * layer->n / TASK_WORK + 1;
    size_t ranges;

    if (tasks > threads * TASKS_OF_A_THREAD)
        tasks = threads * TASKS_OF_A_THREAD;
    if (threads == 1)
        tasks = 1;
    ranges = parts_of(tasks, blocks);
    ranges = ranges < panels ? ranges : panels;
    if (blocks < parts_of(tasks, ranges))
        blocks = parts_of(tasks, ranges);
    blocks = blocks < tiles ? blocks : tiles;
    job->tiles = (struct split){ job->call->rows, tiles };
    job->blocks = (struct split){ tiles, blocks };
    job->panels = (struct split){ panels, ranges };
}

void vmoe_linear_run(const struct vmoe_kernels *kernels, struct vmoe_team *team,
                     const struct vmoe_linear_call *call)
{
    const struct vmoe_linear *layer = call->layer;
    struct linear_job job = { .kernels = kernels, .call = call };

    if (call->rows == 0 || layer->n == 0 || layer->k == 0)
        return;
    job.activation = activation_of(kernels, call->activation);
    job.gemm = kernels->gemm[layer->precision];
    job.panel_bytes = (size_t)vmoe_pack_bytes(layer->precision, layer->k, VMOE_PANEL);
    cut(&job, vmoe_team_threads(team));
    vmoe_team_run(team, job.blocks.parts * job.panels.parts, run_task, &job);
}
