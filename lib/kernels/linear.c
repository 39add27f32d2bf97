/*
 * The cut.  A task is a block of rows of one part, small enough to stay in the second-level cache,
 * times a range of panels.  Each panel meets the whole block in turn, so it is fetched from memory
 * once for many rows.  An element is computed in one way whatever the cut, so the number of threads
 * does not show in the result.
 */
#include "kernels/linear.h"

#include <string.h>

#include "kernels/pack.h"
#include "runtime/sizes.h"

#define BLOCK_BYTES ((size_t)1280 << 10) /* of `a` in a block of rows, about */
#define BLOCK_STEP 16u                   /* blocks end after a multiple of so many rows */
#define TASK_WORK ((size_t)1 << 18)      /* multiplications that are worth a task */
#define LONG_WORK ((size_t)1 << 24)      /* those of a task that need not be longer */
#define FEW_TASKS 4u                     /* of a thread: enough for unequally fast threads */
#define MANY_TASKS 16u                   /* of a thread: nobody waits long for the last one */
#define SECTION_BYTES ((size_t)6 << 10)  /* of a row, at most, where sections can be added */
#define SECTION_STEP 64u                 /* panels of every type can be cut there */

struct job {
    const struct vmoe_linear_call *call;
    void (*product)(const struct vmoe_product *product);
    size_t from, k; /* the section of the inner dimension that is multiplied */
    size_t panels, ranges; /* panels are cut into ranges */
    size_t block_rows;
    size_t blocks; /* of all parts together */
    bool ordered;  /* a task works through all blocks, because their results meet */
};

/* ---- Rows ----------------------------------------------------------------------------------- */

static size_t bytes_of(uint32_t type)
{
    return type == VMOE_PRECISION_INT8 ? 1 : type == VMOE_PRECISION_BF16 ? 2 : 4;
}

/*
 * An odd number of lines, so that rows begin in all sets of the first-level cache: a matrix kernel
 * reads a dozen of them side by side.
 */
size_t vmoe_matrix_stride(uint32_t type, size_t n)
{
    return (vmoe_divide_up(n * bytes_of(type), VMOE_ROW_BYTES) | 1) * VMOE_ROW_BYTES;
}

struct vmoe_matrix vmoe_matrix_from(const struct vmoe_matrix *rows, size_t r)
{
    struct vmoe_matrix from = *rows;

    from.data = vmoe_matrix_row(rows, r);
    from.quants = rows->quants != NULL ? rows->quants + r : NULL;
    return from;
}

struct vmoe_matrix vmoe_matrix_columns(const struct vmoe_matrix *rows, size_t c)
{
    struct vmoe_matrix columns = *rows;

    columns.data = (uint8_t *)rows->data + c * bytes_of(rows->type);
    return columns;
}

void vmoe_matrix_set(const struct vmoe_kernels *kernels, const struct vmoe_matrix *rows, size_t r,
                     size_t n, const float *values)
{
    switch (rows->type) {
    case VMOE_PRECISION_INT8:
        rows->quants[r] = kernels->to_int8(n, values, vmoe_matrix_row(rows, r));
        return;
    case VMOE_PRECISION_BF16:
        kernels->to_bf16(n, values, vmoe_matrix_row(rows, r));
        return;
    default:
        memcpy(vmoe_matrix_row(rows, r), values, n * sizeof *values);
        return;
    }
}

void vmoe_matrix_convert(const struct vmoe_kernels *kernels, const struct vmoe_matrix *from,
                         const struct vmoe_matrix *to, size_t r, size_t n)
{
    if (from->type == VMOE_PRECISION_F32)
        vmoe_matrix_set(kernels, to, r, n, vmoe_matrix_row(from, r));
    else
        to->quants[r] = kernels->bf16_to_int8(n, vmoe_matrix_row(from, r), vmoe_matrix_row(to, r));
}

uint32_t vmoe_matrix_type(const struct vmoe_kernels *kernels, uint32_t least, uint32_t panels)
{
    uint32_t type = least;

    while (type > VMOE_PRECISION_F32 && kernels->product[type][panels] == NULL)
        type--;
    return type;
}

struct vmoe_linear vmoe_linear_columns(const struct vmoe_linear *layer, size_t first, size_t n)
{
    struct vmoe_linear columns = *layer;

    columns.panels =
        (const uint8_t *)layer->panels + vmoe_pack_bytes(layer->precision, layer->k, first);
    columns.scale = layer->scale != NULL ? layer->scale + first : NULL;
    columns.sum = layer->sum != NULL ? layer->sum + first : NULL;
    columns.bias = layer->bias + first;
    columns.n = (uint32_t)n;
    return columns;
}

/* ---- Tasks ---------------------------------------------------------------------------------- */

static size_t blocks_of(const struct job *job, const struct vmoe_linear_part *part)
{
    return vmoe_divide_up(part->rows, job->block_rows);
}

static size_t panel_bytes(const struct vmoe_linear *layer, size_t k)
{
    return (size_t)vmoe_pack_bytes(layer->precision, k, VMOE_PANEL);
}

static const uint8_t *panel_at(const struct job *job, const struct vmoe_linear *layer, size_t panel)
{
    return (const uint8_t *)layer->panels + panel * panel_bytes(layer, layer->k) +
           panel_bytes(layer, job->from);
}

static const uint8_t *first_panel(const struct job *job, const struct vmoe_linear *layer,
                                  size_t range)
{
    return panel_at(job, layer, job->panels * range / job->ranges);
}

/* Block `block` of a part with a range of panels. */
static void run_block(const struct job *job, const struct vmoe_linear_part *part, size_t block,
                      size_t range, const void *next, uint32_t thread)
{
    const struct vmoe_linear_call *call = job->call;
    const struct vmoe_linear *layer = part->layer;
    const size_t first = part->first + block * job->block_rows;
    const struct vmoe_matrix a = vmoe_matrix_from(&call->a, first);
    const size_t panel = job->panels * range / job->ranges;
    const size_t column = panel * VMOE_PANEL;
    const size_t end = job->panels * (range + 1) / job->ranges * VMOE_PANEL;
    const size_t width = call->store == VMOE_STORE_BF16 ? 2 : 4;
    const size_t out_first = call->out_rows != NULL ? 0 : first;
    const struct vmoe_product product = {
        .rows = vmoe_smaller(job->block_rows, part->first + part->rows - first),
        .k = job->k,
        .columns = vmoe_smaller(layer->n, end) - column,
        .a = (const uint8_t *)a.data + job->from * bytes_of(a.type),
        .lda = a.stride,
        .quants = a.quants,
        .panels = panel_at(job, layer, panel),
        .panel_stride = panel_bytes(layer, layer->k),
        .panel_bytes = panel_bytes(layer, job->k),
        .scale = layer->precision == VMOE_PRECISION_INT8 ? layer->scale + column : NULL,
        .sums = layer->sum != NULL ? layer->sum + column : NULL,
        .bias = job->from == 0 ? layer->bias + column : NULL,
        .activation = call->activation,
        .store = call->store,
        .out = (uint8_t *)call->out + out_first * call->ldo + column * width,
        .ldo = call->ldo,
        .out_rows = call->out_rows != NULL ? call->out_rows + first : NULL,
        .factors = call->factors != NULL ? call->factors + first : NULL,
        .next = next,
        .scratch = call->scratch != NULL ? call->scratch + thread * call->scratch_bytes : NULL,
    };

    job->product(&product);
}

/* All blocks with one range of panels, in order. */
static void run_range(void *context, size_t range, uint32_t thread)
{
    const struct job *job = context;
    const struct vmoe_linear_part *part = job->call->parts;

    for (size_t i = 0; i < job->call->count; i++)
        for (size_t block = 0, blocks = blocks_of(job, &part[i]); block < blocks; block++) {
            const void *next;

            if (block + 1 < blocks)
                next = first_panel(job, part[i].layer, range);
            else if (i + 1 < job->call->count)
                next = first_panel(job, part[i + 1].layer, range);
            else
                next = range + 1 < job->ranges ? first_panel(job, part[0].layer, range + 1) : NULL;
            run_block(job, &part[i], block, range, next, thread);
        }
}

/*
 * One block with one range of panels.  The next task is mostly the next one of this thread too;
 * only its weights are fetched by that guess.
 */
static void run_task(void *context, size_t task, uint32_t thread)
{
    const struct job *job = context;
    const struct vmoe_linear_part *part = job->call->parts;
    const struct vmoe_linear_part *end = part + job->call->count;
    const size_t range = task % job->ranges;
    size_t block = task / job->ranges, blocks;
    const void *next;

    for (; block >= (blocks = blocks_of(job, part)); part++)
        block -= blocks;
    if (range + 1 < job->ranges)
        next = first_panel(job, part->layer, range + 1);
    else if (block + 1 < blocks)
        next = first_panel(job, part->layer, 0);
    else
        next = part + 1 < end ? first_panel(job, part[1].layer, 0) : NULL;
    run_block(job, part, block, range, next, thread);
}

/* Cuts panels into a few more ranges, until threads that are equally fast end together. */
static void share_equally(struct job *job, uint32_t threads)
{
    const size_t blocks = job->ordered ? 1 : job->blocks;

    while (blocks * job->ranges % threads != 0 && job->ranges < job->panels)
        job->ranges++;
}

/* Blocks that fit the cache; then more ranges, and only then smaller blocks, for a few tasks. */
static void cut(struct job *job, uint32_t threads)
{
    const struct vmoe_linear_call *call = job->call;
    const struct vmoe_linear *layer = call->parts[0].layer;
    const size_t row_bytes = job->k * bytes_of(call->a.type);
    const size_t fitting = (BLOCK_BYTES / row_bytes / BLOCK_STEP + 1) * BLOCK_STEP;
    size_t rows = 0, most = 0, work, few = 1, tasks = 1;

    for (size_t i = 0; i < call->count; i++) {
        rows += call->parts[i].rows;
        most = vmoe_larger(most, call->parts[i].rows);
    }
    work = rows * job->k * layer->n;
    if (threads > 1) {
        few = vmoe_smaller(work / TASK_WORK + 1, threads * FEW_TASKS);
        tasks = vmoe_larger(few, vmoe_smaller(work / LONG_WORK, threads * MANY_TASKS));
    }
    /* Blocks of the longest part are of nearly equal size. */
    job->block_rows = vmoe_divide_up(most, vmoe_divide_up(most, fitting));
    job->block_rows = vmoe_divide_up(job->block_rows, BLOCK_STEP) * BLOCK_STEP;
    job->ordered = call->out_rows != NULL && call->count > 1;
    job->ranges = job->ordered ? tasks
                               : vmoe_divide_up(tasks, vmoe_divide_up(rows, job->block_rows));
    job->ranges = vmoe_smaller(job->ranges, job->panels);
    if (!job->ordered && job->ranges == job->panels) {
        const size_t wanted = vmoe_divide_up(rows, vmoe_divide_up(few, job->ranges));
        const size_t whole = vmoe_divide_up(wanted, BLOCK_STEP) * BLOCK_STEP;

        job->block_rows = vmoe_smaller(job->block_rows, whole);
    }
    job->blocks = 0;
    for (size_t i = 0; i < call->count; i++)
        job->blocks += blocks_of(job, &call->parts[i]);
    if (tasks >= threads)
        share_equally(job, threads);
}

/*
 * Sums that are added to `out` may be made in sections of the inner dimension.  Those of long
 * float32 rows are: sections of many more rows fit the cache together.  Their number follows from
 * the layer alone, as the result does.
 */
static size_t sections_of(const struct vmoe_linear_call *call, const struct vmoe_linear *layer)
{
    if (call->a.type != VMOE_PRECISION_F32 || call->store != VMOE_ADD_F32 ||
        call->activation != VMOE_IDENTITY || call->out_rows != NULL)
        return 1;
    return vmoe_divide_up(layer->k * sizeof(float), SECTION_BYTES);
}

void vmoe_linear_run(const struct vmoe_kernels *kernels, struct vmoe_team *team,
                     const struct vmoe_linear_call *call)
{
    const struct vmoe_linear *layer = call->count != 0 ? call->parts[0].layer : NULL;
    struct job job = { .call = call };
    size_t rows = 0, sections;

    for (size_t i = 0; i < call->count; i++)
        rows += call->parts[i].rows;
    if (rows == 0)
        return;
    job.product = kernels->product[call->a.type][layer->precision];
    job.panels = vmoe_divide_up(layer->n, VMOE_PANEL);
    sections = sections_of(call, layer);
    for (size_t i = 1; i <= sections; i++, job.from += job.k) {
        const size_t end = layer->k * i / sections / SECTION_STEP * SECTION_STEP;

        job.k = (i < sections ? end : layer->k) - job.from;
        cut(&job, vmoe_team_threads(team));
        if (job.ordered)
            vmoe_team_run(team, job.ranges, run_range, &job);
        else
            vmoe_team_run(team, job.blocks * job.ranges, run_task, &job);
    }
}
