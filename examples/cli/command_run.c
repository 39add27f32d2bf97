/*
 * vmoe run: logits of arrays of images, for scripts.  Images stream from one .npy file to another
 * in calls of a chosen size, so that memory need not grow with the files.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <vmoe.h>

#include "commands.h"
#include "dial.h"
#include "files.h"
#include "interrupt.h"
#include "npy_file.h"
#include "open_model.h"
#include "progress.h"
#include "run_totals.h"

#define VALUE_MAX 8.0f /* of float32 images, either side of 0 */

/* A float32 array that is written, if it has a path. */
struct result {
    const char *path;
    struct output_file file;
    size_t elements; /* of an image */
    float *values;   /* room for one call */
};

struct job {
    const char *model_path, *input_path, *report_path;
    vmoe_options dial;
    uint32_t batch; /* images a call, 0: all */
    vmoe_model *model;
    vmoe_info info;
    struct npy_reader images;
    struct result logits, features, member_logits;
    struct output_file report_file;
    struct run_totals totals;
    struct progress progress;
    size_t image_elements;
    void *input; /* room for one call */
};

/* ---- Preparation ---------------------------------------------------------------------------- */

static vmoe_status open_images(struct job *job, vmoe_error *error)
{
    const uint32_t side = job->info.image_size;
    const uint64_t *dims = job->images.dims;
    char found[NPY_SHAPE_BYTES];

    if (npy_open(&job->images, job->input_path, error) != VMOE_OK)
        return error->status;
    if (job->images.rank != 4 || dims[1] != side || dims[2] != side || dims[3] != 3) {
        npy_format_shape(found, job->images.rank, dims);
        return error_set(error, VMOE_ERR_ARGUMENT, job->input_path,
                         "expected an array of shape (N, %u, %u, 3), found %s", side, side, found);
    }
    job->image_elements = (size_t)side * side * 3;
    return VMOE_OK;
}

/* Zeroed memory for an array; at least one byte, so that NULL is a failure. */
static void *take(size_t count, size_t bytes)
{
    return calloc(count > 0 ? count : 1, bytes);
}

/* Images of the first call, and of all but the last one. */
static size_t batch_images(const struct job *job)
{
    const uint64_t images = job->images.dims[0];

    return job->batch == 0 || job->batch > images ? (size_t)images : (size_t)job->batch;
}

/* All calls, before the first one, so that a long job does not end with a mistake. */
static vmoe_status check_calls(const struct job *job, vmoe_error *error)
{
    const size_t batch = batch_images(job);

    if (dial_check(&job->dial, &job->info, batch, error) == VMOE_OK && batch > 0)
        dial_check(&job->dial, &job->info, job->images.dims[0] % batch, error);
    return error->status;
}

static vmoe_status check_members(const struct job *job, vmoe_error *error)
{
    if (job->member_logits.path != NULL && job->info.members == 1)
        error_set(error, VMOE_ERR_ARGUMENT, "options.member_logits",
                  "expected an ensemble, found a model with one member");
    return error->status;
}

static vmoe_status take_memory(const struct job *job, size_t bytes, void **memory,
                               vmoe_error *error)
{
    const size_t batch = batch_images(job);

    *memory = take(batch, bytes);
    if (*memory == NULL)
        return error_set(error, VMOE_ERR_MEMORY, job->input_path,
                         "no memory for a call with %zu images; --batch makes it smaller", batch);
    return VMOE_OK;
}

/* The array has the shape (N, rows, columns), or (N, columns) if `rows` is 0. */
static vmoe_status open_result(const struct job *job, struct result *result, uint32_t rows,
                               uint32_t columns, vmoe_error *error)
{
    const uint64_t images = job->images.dims[0];
    const uint64_t dims[][3] = { { images, columns }, { images, rows, columns } };
    void *values;

    if (result->path == NULL)
        return VMOE_OK;
    result->elements = (size_t)(rows > 0 ? rows : 1) * columns;
    if (take_memory(job, result->elements * sizeof *result->values, &values, error) != VMOE_OK)
        return error->status;
    result->values = values;
    if (output_open(&result->file, result->path, error) == VMOE_OK)
        npy_write_header(result->file.stream, NPY_FLOAT32, rows > 0 ? 3 : 2, dims[rows > 0]);
    return error->status;
}

static vmoe_status prepare(struct job *job, vmoe_error *error)
{
    const vmoe_info *info = &job->info;

    if (model_open(job->model_path, &job->model, &job->info, error) != VMOE_OK ||
        check_members(job, error) != VMOE_OK)
        return error->status;
    dial_complete(&job->dial, info);
    if (open_images(job, error) != VMOE_OK || check_calls(job, error) != VMOE_OK ||
        take_memory(job, job->image_elements * (size_t)job->images.type, &job->input, error) !=
            VMOE_OK ||
        run_totals_make(&job->totals, info, error) != VMOE_OK ||
        open_result(job, &job->logits, 0, info->classes, error) != VMOE_OK ||
        open_result(job, &job->features, 0, info->features, error) != VMOE_OK ||
        open_result(job, &job->member_logits, info->members, info->classes, error) != VMOE_OK)
        return error->status;
    if (job->report_path != NULL)
        output_open(&job->report_file, job->report_path, error);
    return error->status;
}

/* ---- The work ------------------------------------------------------------------------------- */

/*
 * Floats that are still in 0..255 would give logits without a word.  Pictures normalised in another
 * way, by mean and deviation, stay within 3, so that the limit stops only what is no such thing.  NaN
 * is the library's affair.
 */
static vmoe_status check_range(const struct job *job, size_t images, vmoe_error *error)
{
    const float *values = job->input;

    for (size_t i = 0; i < images * job->image_elements; i++)
        if (fabsf(values[i]) > VALUE_MAX)
            return error_set(error, VMOE_ERR_ARGUMENT, job->input_path,
                             "image %" PRIu64 " has the value %g; float32 must be in -1..1, "
                             "x / 255 * 2 - 1",
                             job->totals.images + i / job->image_elements, (double)values[i]);
    return VMOE_OK;
}

static vmoe_status read_images(struct job *job, size_t images, vmoe_error *error)
{
    if (npy_read(&job->images, job->input, images * job->image_elements, error) != VMOE_OK ||
        job->images.type == NPY_UINT8)
        return error->status;
    return check_range(job, images, error);
}

static void write_result(const struct result *result, size_t images)
{
    if (result->path != NULL)
        fwrite(result->values, sizeof *result->values, images * result->elements,
               result->file.stream);
}

static vmoe_status run_call(struct job *job, size_t images, vmoe_error *error)
{
    vmoe_input input = VMOE_INPUT_INIT;
    vmoe_output output = VMOE_OUTPUT_INIT;

    if (read_images(job, images, error) != VMOE_OK)
        return error->status;
    input.images = images;
    input.length = images * job->image_elements;
    if (job->images.type == NPY_UINT8)
        input.pixels = job->input;
    else
        input.tensor = job->input;
    output.logits = job->logits.values;
    output.logits_length = images * job->logits.elements;
    output.features = job->features.values;
    output.features_length = images * job->features.elements;
    output.member_logits = job->member_logits.values;
    output.member_logits_length = images * job->member_logits.elements;
    output.report = &job->totals.call;
    if (vmoe_run(job->model, &input, &job->dial, &output, error) != VMOE_OK)
        return error->status;
    run_totals_add(&job->totals, images);
    write_result(&job->logits, images);
    write_result(&job->features, images);
    write_result(&job->member_logits, images);
    return VMOE_OK;
}

/* The totals have the images of the calls before. */
static void show_progress(void *context, uint64_t done, uint64_t total)
{
    struct job *job = context;

    (void)total;
    progress_show(&job->progress, job->totals.images + done);
}

/* Runs all calls.  An array of no images is one call with none, so that the report is filled. */
static vmoe_status run_calls(struct job *job, vmoe_error *error)
{
    uint64_t rest = job->images.dims[0];

    job->dial.cancel = interrupt_flag();
    job->dial.progress = show_progress;
    job->dial.progress_context = job;
    progress_begin(&job->progress, rest, "images");
    do {
        const size_t images =
            job->batch == 0 || job->batch > rest ? (size_t)rest : (size_t)job->batch;

        if (run_call(job, images, error) != VMOE_OK)
            break;
        rest -= images;
    } while (rest > 0 && !ferror(job->logits.file.stream));
    progress_hide(&job->progress);
    return error->status;
}

static vmoe_status commit_result(struct result *result, vmoe_error *error)
{
    return result->path != NULL ? output_commit(&result->file, error) : VMOE_OK;
}

static vmoe_status finish(struct job *job, vmoe_error *error)
{
    if (job->report_path != NULL)
        run_totals_write(&job->totals, &job->dial, job->report_file.stream);
    if (commit_result(&job->logits, error) == VMOE_OK &&
        commit_result(&job->features, error) == VMOE_OK &&
        commit_result(&job->member_logits, error) == VMOE_OK && job->report_path != NULL)
        output_commit(&job->report_file, error);
    return error->status;
}

static void close_result(struct result *result)
{
    output_abandon(&result->file);
    free(result->values);
}

static void clean_up(struct job *job)
{
    close_result(&job->logits);
    close_result(&job->features);
    close_result(&job->member_logits);
    output_abandon(&job->report_file);
    npy_close(&job->images);
    run_totals_free(&job->totals);
    free(job->input);
    vmoe_free(job->model);
}

/* ---- The command ---------------------------------------------------------------------------- */

static int run(const struct command *self, int argc, char **argv)
{
    struct job job = { .dial = VMOE_OPTIONS_INIT };
    const struct cli_option options[] = {
        { 0, "features", "OUT.npy", "also write what enters the head, (N, features)", option_text,
          &job.features.path },
        { 0, "member-logits", "OUT.npy", "also write those of an ensemble, (N, members, classes)",
          option_text, &job.member_logits.path },
        { 0, "report", "OUT.json", "also write what the experts did", option_text,
          &job.report_path },
        { 0, "batch", "N", "images of a call; default: all", option_count, &job.batch },
        DIAL_OPTIONS(&job.dial),
        OPTIONS_END,
    };
    vmoe_error error = VMOE_ERROR_INIT;
    int operands;
    const int status = options_parse(self, options, argc, argv, &operands);

    if (status != PARSED)
        return status;
    job.model_path = argv[0];
    job.input_path = argv[1];
    job.logits.path = argv[2];
    if (!files_differ(self->name, argv, 2,
                      (const char *[]){ job.logits.path, job.features.path, job.member_logits.path,
                                        job.report_path }, 4))
        return EXIT_USAGE;
    if (prepare(&job, &error) == VMOE_OK && run_calls(&job, &error) == VMOE_OK)
        finish(&job, &error);
    clean_up(&job);
    return error.status == VMOE_OK ? EXIT_WORKED : options_exit(self, options, &error);
}

const struct command command_run = {
    .name = "run",
    .operands = "FILE IN.npy OUT.npy",
    .summary = "Computes the logits of an array of images",
    .notes =
        "IN.npy has the shape (N, side, side, 3) with the model's image size, and is uint8, or\n"
        "float32 in -1..1, as 'vmoe preprocess' writes it.  Float32 beyond -8..8 is refused: it is\n"
        "no such picture.  OUT.npy is float32 (N, classes).  What the dial leaves open is as the\n"
        "model file says.  The report is a JSON object with sums over all calls; macs are the\n"
        "multiply-adds that were computed, papers_macs those that papers count; weight_bytes counts\n"
        "the weights that had a part in a call, for each call.  Slots and group_images are null if\n"
        "they are not the same in all calls.",
    .example = "vmoe run model.vmoe images.npy logits.npy -K 1 --report report.json",
    .operands_min = 3,
    .operands_max = 3,
    .run = run,
};
