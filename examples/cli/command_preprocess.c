/* vmoe preprocess: what a model would see of pictures. */
#include <stdio.h>
#include <stdlib.h>
#include <vmoe.h>

#include "commands.h"
#include "files.h"
#include "interrupt.h"
#include "npy_file.h"
#include "open_model.h"
#include "paths.h"
#include "picture_spec.h"

/* The preprocessing by name, or that of a model file. */
static vmoe_status find_preprocessing(const char *text, vmoe_preprocessing *preprocessing,
                                      vmoe_error *error)
{
    vmoe_info info;
    vmoe_model *model;

    if (preprocessing_parse(text, preprocessing))
        return VMOE_OK;
    if (model_open_header(text, &model, &info, error) != VMOE_OK)
        return error->status;
    *preprocessing = info.preprocessing;
    vmoe_free(model);
    return VMOE_OK;
}

/* Of the pictures of a job, one at a time. */
struct job {
    vmoe_preprocessing preprocessing;
    size_t values, bytes; /* of a picture */
    void *seen;
    struct paths paths;
    struct output_file file;
};

static vmoe_status take_memory(struct job *job, const char *place, vmoe_error *error)
{
    const size_t side = preprocessing_side(&job->preprocessing);
    vmoe_limits limits = VMOE_LIMITS_INIT;

    if (vmoe_get_limits(&limits, error) != VMOE_OK)
        return error->status;
    if (side > limits.image_size)
        return error_set(error, VMOE_ERR_LIMIT, place, "a side of %zu pixels; the limit is %u",
                         side, limits.image_size);
    job->values = side * side * 3;
    job->bytes = job->values * (size_t)preprocessing_type(&job->preprocessing);
    job->seen = malloc(job->bytes);
    if (job->seen == NULL)
        return error_set(error, VMOE_ERR_MEMORY, place, "no memory for the result");
    return VMOE_OK;
}

/* What is no longer made of whole numbers is written as the model computes with it. */
static vmoe_status write_picture(struct job *job, const char *path, vmoe_error *error)
{
    vmoe_picture picture = { 0 };

    if (picture_read(path, &picture, error) != VMOE_OK)
        return error->status;
    if (vmoe_preprocess(&job->preprocessing, &picture, job->seen, job->bytes, error) != VMOE_OK) {
        error_locate(error, path);
    } else {
        if (preprocessing_type(&job->preprocessing) == NPY_FLOAT32)
            picture_normalise(job->seen, job->values);
        fwrite(job->seen, 1, job->bytes, job->file.stream);
    }
    free((void *)(uintptr_t)picture.data);
    return error->status;
}

static vmoe_status write_array(struct job *job, const char *output, vmoe_error *error)
{
    const size_t side = preprocessing_side(&job->preprocessing);
    const uint64_t dims[] = { job->paths.count, side, side, 3 };

    if (output_open(&job->file, output, error) != VMOE_OK)
        return error->status;
    npy_write_header(job->file.stream, preprocessing_type(&job->preprocessing), 4, dims);
    for (size_t i = 0; i < job->paths.count && !ferror(job->file.stream); i++)
        if (interrupt_check(error) != VMOE_OK ||
            write_picture(job, job->paths.path[i], error) != VMOE_OK)
            return error->status;
    return output_commit(&job->file, error);
}

static void clean_up(struct job *job)
{
    output_abandon(&job->file);
    paths_free(&job->paths);
    free(job->seen);
}

static int run(const struct command *self, int argc, char **argv)
{
    const char *output = NULL;
    const struct cli_option options[] = {
        { 'o', "out", "OUT.npy", "where the result goes (required)", option_text, &output },
        OPTIONS_END,
    };
    struct job job = { .file = OUTPUT_FILE_NONE };
    vmoe_error error = VMOE_ERROR_INIT;
    int operands, status = options_parse(self, options, argc, argv, &operands);

    if (status != PARSED)
        return status;
    if (output == NULL)
        return usage_error(self->name, "option --out is missing");
    status = EXIT_WORKED;
    if (find_preprocessing(argv[0], &job.preprocessing, &error) == VMOE_OK &&
        take_memory(&job, argv[0], &error) == VMOE_OK &&
        paths_add_operands(&job.paths, argv + 1, (size_t)operands - 1, &error) == VMOE_OK) {
        if (!files_differ(self->name, argv, 1, &output, 1) ||
            !files_differ(self->name, job.paths.path, job.paths.count, &output, 1))
            status = EXIT_USAGE;
        else
            write_array(&job, output, &error);
    }
    clean_up(&job);
    return error.status == VMOE_OK ? status : error_exit(&error);
}

const struct command command_preprocess = {
    .name = "preprocess",
    .operands = "FILE|" PREPROCESSING_VALUE " IMAGE... -o OUT.npy",
    .summary = "Writes what a model sees of JPEG pictures",
    .notes =
        "The first operand is a preprocessing, or a .vmoe file for the one of that model.  An IMAGE\n"
        "is a file, or a folder whose JPEG files are taken.  resize-N squashes a picture to N x N\n"
        "and writes uint8; small-A-crop-B brings its shorter side to A pixels, cuts out the central\n"
        "B x B and writes float32 in -1..1, which is x / 255 * 2 - 1.  The shape is (N, side, side,\n"
        "3) for N pictures, and 'vmoe run' gives the same for them as 'vmoe classify'.",
    .example = "vmoe preprocess model.vmoe picture.jpg -o seen.npy",
    .operands_min = 2,
    .operands_max = OPERANDS_ANY,
    .run = run,
};
