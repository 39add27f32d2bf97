/*
 * vmoe classify: the most probable classes of pictures.
 *
 * The pictures go to the library in slices, so that memory stays small for thousands of files.  A
 * slice holds whole routing groups, so that slicing never changes a result.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vmoe.h>

#include "commands.h"
#include "dial.h"
#include "files.h"
#include "json.h"
#include "open_model.h"
#include "picture_spec.h"

#define SLICE_PICTURES 64u
#define DEFAULT_TOP 5u

struct job {
    const vmoe_model *model;
    vmoe_info info;
    vmoe_options dial;
    vmoe_limits limits;
    uint32_t top_count;
    bool as_json;
    bool alone; /* every picture is a group of its own, so that one can fail by itself */
    bool failed;
    /* The slice in work: `count` pictures, their files, and top_count classes of each. */
    size_t count;
    vmoe_picture *pictures;
    const char **names;
    vmoe_class *top;
};

/* ---- The slice ------------------------------------------------------------------------------ */

static void free_pictures(struct job *job)
{
    for (size_t i = 0; i < job->count; i++)
        free((void *)(uintptr_t)job->pictures[i].data);
    job->count = 0;
}

static void free_slice(struct job *job)
{
    free_pictures(job);
    free(job->pictures);
    free(job->names);
    free(job->top);
}

static vmoe_status make_slice(struct job *job, size_t pictures, vmoe_error *error)
{
    job->pictures = calloc(pictures, sizeof *job->pictures);
    job->names = calloc(pictures, sizeof *job->names);
    job->top = calloc(pictures * job->top_count, sizeof *job->top);
    if (job->pictures == NULL || job->names == NULL || job->top == NULL)
        return error_set(error, VMOE_ERR_MEMORY, "classify", "no memory for %zu pictures",
                         pictures);
    return VMOE_OK;
}

static void report_picture(struct job *job, const char *name, const vmoe_error *error)
{
    error_print(name, error->text);
    job->failed = true;
}

/* Reads files into the slice.  A file that cannot be read is reported and left out. */
static void read_pictures(struct job *job, char *const *files, size_t count)
{
    for (size_t i = 0; i < count && (job->alone || !job->failed); i++) {
        vmoe_picture picture = { VMOE_PICTURE_JPEG, 0, 0, NULL, 0, 0 };
        vmoe_error error = VMOE_ERROR_INIT;
        void *data;

        if (file_read(files[i], job->limits.jpeg_bytes, &data, &picture.bytes, &error) != VMOE_OK) {
            report_picture(job, files[i], &error);
            continue;
        }
        picture.data = data;
        job->pictures[job->count] = picture;
        job->names[job->count++] = files[i];
    }
}

/* Reports the pictures that cannot be decoded and takes them out of the slice. */
static void drop_bad_pictures(struct job *job)
{
    const vmoe_preprocessing *preprocessing = &job->info.preprocessing;
    const size_t side = preprocessing_side(preprocessing);
    const size_t bytes = side * side * 3 * (size_t)preprocessing_type(preprocessing);
    const size_t count = job->count;
    void *pixels = malloc(bytes);

    if (pixels == NULL)
        return;
    job->count = 0;
    for (size_t i = 0; i < count; i++) {
        vmoe_error error = VMOE_ERROR_INIT;

        if ((job->alone || !job->failed) &&
            vmoe_preprocess(preprocessing, &job->pictures[i], pixels, bytes, &error) != VMOE_OK)
            report_picture(job, job->names[i], &error);
        if (error.status != VMOE_OK) {
            free((void *)(uintptr_t)job->pictures[i].data);
        } else {
            job->names[job->count] = job->names[i];
            job->pictures[job->count++] = job->pictures[i];
        }
    }
    free(pixels);
}

/* ---- Running and printing ------------------------------------------------------------------- */

static vmoe_status run_slice(struct job *job, vmoe_error *error)
{
    vmoe_input input = VMOE_INPUT_INIT;
    vmoe_output output = VMOE_OUTPUT_INIT;

    input.pictures = job->pictures;
    input.images = job->count;
    output.top = job->top;
    output.top_count = job->top_count;
    output.top_length = job->count * job->top_count;
    return vmoe_run(job->model, &input, &job->dial, &output, error);
}

static void print_text(const struct job *job, const char *name, const vmoe_class *top)
{
    text_print(stdout, name);
    putchar('\n');
    for (uint32_t i = 0; i < job->top_count; i++) {
        printf("  %5.1f %%  ", 100.0 * (double)top[i].probability);
        if (top[i].label[0] != '\0')
            text_print(stdout, top[i].label);
        else
            printf("class %u", top[i].index);
        putchar('\n');
    }
}

static void print_json(const struct job *job, const char *name, const vmoe_class *top)
{
    struct json json = { stdout, false };

    json_open(&json, NULL, '{');
    json_text(&json, "file", name);
    json_open(&json, "top", '[');
    for (uint32_t i = 0; i < job->top_count; i++) {
        json_open(&json, NULL, '{');
        json_count(&json, "index", top[i].index);
        json_text(&json, "label", top[i].label);
        json_number(&json, "probability", (double)top[i].probability);
        json_close(&json, '}');
    }
    json_close(&json, ']');
    json_close(&json, '}');
    putchar('\n');
}

/* One slice from files to lines.  False if going on makes no sense; that has been reported. */
static bool classify_slice(struct job *job, char *const *files, size_t count)
{
    vmoe_error error = VMOE_ERROR_INIT;

    read_pictures(job, files, count);
    if (job->failed && !job->alone)
        return false;
    if (job->count > 0 && run_slice(job, &error) != VMOE_OK) {
        const size_t before = job->count;

        drop_bad_pictures(job);
        if (job->count == before)
            error_exit(&error);
        if (job->count == before || !job->alone)
            return false;
        if (job->count > 0 && run_slice(job, &error) != VMOE_OK) {
            error_exit(&error);
            return false;
        }
    }
    for (size_t i = 0; i < job->count; i++) {
        const vmoe_class *top = job->top + i * job->top_count;

        if (job->as_json)
            print_json(job, job->names[i], top);
        else
            print_text(job, job->names[i], top);
    }
    free_pictures(job);
    return true;
}

/* ---- The command ---------------------------------------------------------------------------- */

/* Images of a routing group.  A dense model has no groups. */
static uint32_t group_images(const struct job *job)
{
    if (job->info.experts == 0)
        return 1;
    return job->dial.group_images != 0 ? job->dial.group_images : job->info.group_images;
}

static int classify(struct job *job, char *const *files, size_t count)
{
    const uint32_t group = group_images(job);
    size_t slice = group < SLICE_PICTURES ? SLICE_PICTURES / group * group : group;
    vmoe_error error = VMOE_ERROR_INIT;

    if (group != VMOE_GROUP_ALL && count % group != 0) {
        error_set(&error, VMOE_ERR_ARGUMENT, "group",
                  "%zu pictures cannot be cut into groups of %u", count, group);
        return error_exit(&error);
    }
    if (slice > count)
        slice = count;
    job->alone = group == 1;
    if (make_slice(job, slice, &error) != VMOE_OK)
        return error_exit(&error);
    for (size_t done = 0; done < count; done += slice) {
        const size_t rest = count - done;

        if (!classify_slice(job, files + done, rest < slice ? rest : slice))
            return EXIT_FAILED;
    }
    return job->failed ? EXIT_FAILED : EXIT_WORKED;
}

static int run(const struct command *self, int argc, char **argv)
{
    struct job job = { .dial = VMOE_OPTIONS_INIT,
                       .limits = VMOE_LIMITS_INIT,
                       .top_count = DEFAULT_TOP };
    const struct cli_option options[] = {
        { 0, "top", "N", "classes to show; default 5", option_count, &job.top_count },
        { 0, "json", NULL, "print a JSON object a line, one for each image", option_flag,
          &job.as_json },
        DIAL_OPTIONS(&job.dial),
        OPTIONS_END,
    };
    vmoe_error error = VMOE_ERROR_INIT;
    vmoe_model *model;
    int operands, status = options_parse(self, options, argc, argv, &operands);

    if (status != PARSED)
        return status;
    if (vmoe_get_limits(&job.limits, &error) != VMOE_OK ||
        model_open(argv[0], &model, &job.info, &error) != VMOE_OK)
        return error_exit(&error);
    job.model = model;
    if (job.top_count > job.info.classes)
        job.top_count = job.info.classes;
    status = classify(&job, argv + 1, (size_t)operands - 1);
    free_slice(&job);
    vmoe_free(model);
    return status;
}

const struct command command_classify = {
    .name = "classify",
    .operands = "FILE IMAGE...",
    .summary = "Shows the most probable classes of JPEG pictures",
    .notes =
        "What the dial leaves open is as the model file says.  A picture that cannot be read or\n"
        "decoded is reported on stderr, the others are classified all the same, and the exit\n"
        "status is 1.  Only when pictures share a group, the first bad one ends the command,\n"
        "because the others of its group would be routed differently without it.",
    .operands_min = 2,
    .operands_max = OPERANDS_ANY,
    .run = run,
};
