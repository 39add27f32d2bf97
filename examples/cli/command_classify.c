/*
 * vmoe classify: the most probable classes of pictures, as a table for people or as JSON lines.
 *
 * The pictures go to the library in slices, so that memory stays small for thousands of files.  A
 * slice holds whole routing groups, so that slicing never changes a result.
 */
#define _XOPEN_SOURCE 700
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <vmoe.h>

#include "commands.h"
#include "dial.h"
#include "files.h"
#include "interrupt.h"
#include "json.h"
#include "open_model.h"
#include "paths.h"
#include "picture_spec.h"
#include "progress.h"

#define SLICE_PICTURES 64u
#define DEFAULT_TOP 5u
#define TABLE_TOP 3u    /* columns of a table, if nothing else is said */
#define NAME_COLUMNS 48 /* of a table, at most */

struct job {
    const vmoe_model *model;
    vmoe_info info;
    vmoe_options dial;
    uint32_t top_count;
    bool as_json, as_text;
    int name_columns, label_columns; /* of a table; 0: a list for each picture */
    bool alone; /* every picture is a group of its own, so that one can fail by itself */
    bool failed;
    struct progress progress;
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

/* On stderr, and as a line of its own where programs read. */
static void report_picture(struct job *job, const char *name, const vmoe_error *error)
{
    progress_hide(&job->progress);
    error_print(name, error->text);
    job->failed = true;
    if (job->as_json) {
        struct json json = { stdout, false };

        json_open(&json, NULL, '{');
        json_text(&json, "file", name);
        json_text(&json, "error", error->text);
        json_close(&json, '}');
        putchar('\n');
    }
}

/* "-" is what comes through the pipe. */
static vmoe_status read_picture(const char *name, vmoe_picture *picture, vmoe_error *error)
{
    return strcmp(name, "-") == 0 ? picture_read_stdin(picture, error)
                                  : picture_read(name, picture, error);
}

/* Reads files into the slice.  A file that cannot be read is reported and left out. */
static void read_pictures(struct job *job, char *const *files, size_t count)
{
    for (size_t i = 0; i < count && (job->alone || !job->failed); i++) {
        vmoe_error error = VMOE_ERROR_INIT;

        if (read_picture(files[i], &job->pictures[job->count], &error) != VMOE_OK) {
            report_picture(job, files[i], &error);
            continue;
        }
        job->names[job->count++] = files[i];
    }
}

/* ---- Running and printing ------------------------------------------------------------------- */

/* `count` pictures of the slice from `first` on. */
static vmoe_status run_pictures(struct job *job, size_t first, size_t count, vmoe_error *error)
{
    vmoe_input input = VMOE_INPUT_INIT;
    vmoe_output output = VMOE_OUTPUT_INIT;

    input.pictures = job->pictures + first;
    input.images = count;
    output.top = job->top + first * job->top_count;
    output.top_count = job->top_count;
    output.top_length = count * job->top_count;
    return vmoe_run(job->model, &input, &job->dial, &output, error);
}

/* Columns that a terminal gives a text in UTF-8, more or less. */
static int columns_of(const char *text)
{
    int columns = 0;

    for (; *text != '\0'; text++)
        columns += ((unsigned char)*text & 0xc0) != 0x80;
    return columns;
}

static void print_class(const vmoe_class *class)
{
    if (class->label[0] != '\0')
        text_print(stdout, class->label);
    else
        printf("class %u", class->index);
}

static int class_columns(const vmoe_class *class)
{
    return class->label[0] != '\0' ? columns_of(class->label)
                                   : snprintf(NULL, 0, "class %u", class->index);
}

/* A name that is too long for its column loses its beginning. */
static void print_row(const struct job *job, const char *name, const vmoe_class *top)
{
    const int columns = columns_of(name);

    if (columns > job->name_columns) {
        for (int left = columns - job->name_columns + 3; left > 0 || ((unsigned char)*name & 0xc0) == 0x80;
             name++)
            left -= ((unsigned char)*name & 0xc0) != 0x80;
        fputs("...", stdout);
    }
    text_print(stdout, name);
    printf("%*s", columns > job->name_columns ? 0 : job->name_columns - columns, "");
    for (uint32_t i = 0; i < job->top_count; i++) {
        fputs("  ", stdout);
        print_class(&top[i]);
        printf("%*s%6.1f %%", job->label_columns - class_columns(&top[i]), "",
               100.0 * (double)top[i].probability);
    }
    putchar('\n');
}

static void print_text(const struct job *job, const char *name, const vmoe_class *top)
{
    text_print(stdout, name);
    putchar('\n');
    for (uint32_t i = 0; i < job->top_count; i++) {
        printf("  %5.1f %%  ", 100.0 * (double)top[i].probability);
        print_class(&top[i]);
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

static void print_pictures(struct job *job, size_t first, size_t count)
{
    progress_hide(&job->progress);
    for (size_t i = first; i < first + count; i++) {
        const vmoe_class *top = job->top + i * job->top_count;

        if (job->as_json)
            print_json(job, job->names[i], top);
        else if (job->name_columns > 0)
            print_row(job, job->names[i], top);
        else
            print_text(job, job->names[i], top);
    }
}

/* The picture that a call ended with; `count` if it was not a picture. */
static size_t bad_picture(const vmoe_error *error, size_t count)
{
    size_t index;

    return sscanf(error->where, "input.pictures[%zu]", &index) == 1 ? index : count;
}

static bool end_with(struct job *job, const vmoe_error *error)
{
    progress_hide(&job->progress);
    error_exit(error);
    return false;
}

/*
 * One slice from files to lines.  False if going on makes no sense; that has been reported.  What
 * stands before a bad picture can be decoded and is run without it, then what stands behind it.
 */
static bool classify_slice(struct job *job, char *const *files, size_t count)
{
    read_pictures(job, files, count);
    if (job->failed && !job->alone)
        return false;
    for (size_t first = 0; first < job->count;) {
        const size_t rest = job->count - first;
        vmoe_error error = VMOE_ERROR_INIT, again = VMOE_ERROR_INIT;
        size_t good = rest;

        if (run_pictures(job, first, rest, &error) != VMOE_OK) {
            good = bad_picture(&error, rest);
            if (good == rest)
                return end_with(job, &error);
            if (!job->alone) {
                report_picture(job, job->names[first + good], &error);
                return false;
            }
            if (run_pictures(job, first, good, &again) != VMOE_OK)
                return end_with(job, &again);
        }
        print_pictures(job, first, good);
        if (good < rest)
            report_picture(job, job->names[first + good], &error);
        first += good + 1;
    }
    free_pictures(job);
    return true;
}

/* ---- The command ---------------------------------------------------------------------------- */

/* Lists become a table where there is more than one picture. */
static void choose_columns(struct job *job, char *const *files, size_t count)
{
    if (job->as_json || count < 2)
        return;
    for (size_t i = 0; i < count; i++)
        if (columns_of(files[i]) > job->name_columns)
            job->name_columns = columns_of(files[i]);
    if (job->name_columns > NAME_COLUMNS)
        job->name_columns = NAME_COLUMNS;
    for (uint32_t i = 0; i < job->info.classes; i++) {
        const vmoe_class class = { .index = i, .label = vmoe_label(job->model, i) };

        if (class_columns(&class) > job->label_columns)
            job->label_columns = class_columns(&class);
    }
}

static int classify(struct job *job, char *const *files, size_t count)
{
    const uint32_t group = dial_group_images(&job->dial, &job->info);
    size_t slice = group < SLICE_PICTURES ? SLICE_PICTURES / group * group : group;
    vmoe_error error = VMOE_ERROR_INIT;

    if (slice > count)
        slice = count;
    job->alone = group == 1;
    job->dial.cancel = interrupt_flag();
    choose_columns(job, files, count);
    progress_begin(&job->progress, count, "pictures");
    if (make_slice(job, slice, &error) != VMOE_OK)
        return error_exit(&error);
    for (size_t done = 0; done < count; done += slice) {
        const size_t rest = count - done;

        if (!classify_slice(job, files + done, rest < slice ? rest : slice))
            return EXIT_FAILED;
        if (output_flush(&error) != VMOE_OK)
            return error_exit(&error);
        progress_show(&job->progress, done + (rest < slice ? rest : slice));
    }
    progress_hide(&job->progress);
    return job->failed ? EXIT_FAILED : EXIT_WORKED;
}

/* The group is often that of the file, which is not to be seen in the way the command was called. */
static vmoe_status check_dial(const struct job *job, size_t count, vmoe_error *error)
{
    const uint32_t group = dial_group_images(&job->dial, &job->info);

    if (group != VMOE_GROUP_ALL && count % group != 0)
        return error_set(error, VMOE_ERR_ARGUMENT, "options.group_images",
                         "%zu picture%s cannot be cut into groups of %u%s; '--group image' routes each "
                         "picture by itself",
                         count, count == 1 ? "" : "s", group,
                         job->dial.group_images == 0 ? ", which the model file asks for" : "");
    return dial_check(&job->dial, &job->info, count, error);
}

static int run(const struct command *self, int argc, char **argv)
{
    struct job job = { .dial = VMOE_OPTIONS_INIT };
    const struct cli_option options[] = {
        { 0, "top", "N", "classes to show; default 5, in a table 3", option_count, &job.top_count },
        { 0, "json", NULL, "print a JSON object a line, one for each picture", option_flag,
          &job.as_json },
        { 0, "text", NULL, "print for people, as on a terminal", option_flag, &job.as_text },
        DIAL_OPTIONS(&job.dial),
        OPTIONS_END,
    };
    vmoe_error error = VMOE_ERROR_INIT;
    struct paths paths = { 0 };
    vmoe_model *model;
    int operands, status = options_parse(self, options, argc, argv, &operands);

    if (status != PARSED)
        return status;
    if (job.as_json && job.as_text)
        return usage_error("classify", "--json and --text exclude each other");
    job.as_json = job.as_json || (!job.as_text && !isatty(STDOUT_FILENO));
    if (model_open(argv[0], &model, &job.info, &error) != VMOE_OK)
        return error_exit(&error);
    job.model = model;
    if (paths_add_operands(&paths, argv + 1, (size_t)operands - 1, &error) == VMOE_OK &&
        check_dial(&job, paths.count, &error) == VMOE_OK) {
        if (job.top_count == 0)
            job.top_count = job.as_json || paths.count < 2 ? DEFAULT_TOP : TABLE_TOP;
        if (job.top_count > job.info.classes)
            job.top_count = job.info.classes;
        status = classify(&job, paths.path, paths.count);
    } else {
        status = options_exit(self, options, &error);
    }
    free_slice(&job);
    paths_free(&paths);
    vmoe_free(model);
    return status;
}

const struct command command_classify = {
    .name = "classify",
    .operands = "FILE IMAGE...",
    .summary = "Shows the most probable classes of JPEG pictures",
    .notes =
        "An IMAGE is a file, a folder whose JPEG files are taken, or - for stdin.  A terminal\n"
        "gets text, anything else JSON.  What the dial leaves open is as the model file says.  A\n"
        "picture that cannot be read or decoded is reported on stderr and has a line with \"error\"\n"
        "in the JSON, the others are classified all the same, and the exit status is 1.  Only\n"
        "when pictures share a group, the first bad one ends the command, because the others of\n"
        "its group would be routed differently without it.",
    .example = "vmoe classify model.vmoe holiday/ -C 0.5 --priority bpr-max",
    .operands_min = 2,
    .operands_max = OPERANDS_ANY,
    .run = run,
};
