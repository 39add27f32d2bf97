/*
 * vmoe sweep: what the dial does to accuracy, work and time, on pictures whose classes are known.
 *
 * Every batch of pictures is run at all settings in turn, so the settings share the good and the bad
 * minutes of the machine.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vmoe.h>

#include "chart.h"
#include "commands.h"
#include "dial.h"
#include "files.h"
#include "interrupt.h"
#include "labelled.h"
#include "open_model.h"
#include "paths.h"
#include "progress.h"
#include "svg.h"

#define SETTINGS_MAX 256u
#define LEGEND_TOP 70.0
#define LEGEND_LINE 24.0

struct setting {
    vmoe_options dial;
    uint64_t correct, images, assigned, dropped, macs;
    double seconds; /* of an image, in the fastest batch */
};

struct sweep {
    vmoe_options dial; /* what all settings share */
    const char *data, *output;
    const char *capacities, *experts, *priorities;
    uint32_t most; /* pictures */
    vmoe_model *model;
    vmoe_info info;
    struct labelled labelled;
    struct output_file table, curve;
    vmoe_class *top; /* of a batch */
    struct setting settings[SETTINGS_MAX];
    size_t count;
};

/* ---- Settings ------------------------------------------------------------------------------- */

static bool add_setting(struct sweep *sweep, double capacity, uint32_t experts, uint32_t priority)
{
    struct setting *setting = &sweep->settings[sweep->count];

    if (sweep->count == SETTINGS_MAX) {
        usage_error("sweep", "there are more than %u settings", SETTINGS_MAX);
        return false;
    }
    memset(setting, 0, sizeof *setting);
    setting->dial = sweep->dial;
    setting->dial.capacity = capacity;
    setting->dial.experts_per_token = experts;
    setting->dial.priority = priority;
    sweep->count++;
    return true;
}

static bool make_settings(struct sweep *sweep)
{
    double capacities[DIAL_LIST_MAX] = { 0.0 };
    uint32_t experts[DIAL_LIST_MAX] = { sweep->info.experts_per_token };
    uint32_t priorities[DIAL_LIST_MAX] = { VMOE_PRIORITY_VANILLA };
    size_t some_capacities = 1, some_experts = 1, some_priorities = 1;

    if (sweep->info.experts == 0)
        return add_setting(sweep, 0.0, 0, 0);
    some_capacities =
        dial_list("sweep", "capacity", sweep->capacities, "X", dial_capacity, capacities, NULL);
    if (some_capacities != 0 && sweep->experts != NULL)
        some_experts = dial_list("sweep", "experts-per-token", sweep->experts, "N",
                                 dial_experts, NULL, experts);
    if (some_capacities != 0 && some_experts != 0)
        some_priorities = dial_list("sweep", "priority", sweep->priorities, PRIORITIES,
                                    option_choice, NULL, priorities);
    if (some_capacities == 0 || some_experts == 0 || some_priorities == 0)
        return false;
    for (size_t p = 0; p < some_priorities; p++)
        for (size_t k = 0; k < some_experts; k++)
            for (size_t c = 0; c < some_capacities; c++)
                if (!add_setting(sweep, capacities[c], experts[k], priorities[p]))
                    return false;
    return true;
}

/* Before the first of them is run, which may take long. */
static vmoe_status check_settings(const struct sweep *sweep, vmoe_error *error)
{
    const uint32_t group = dial_group_images(&sweep->dial, &sweep->info);

    for (size_t i = 0; i < sweep->count && error->status == VMOE_OK; i++)
        dial_check(&sweep->settings[i].dial, &sweep->info, group, error);
    return error->status;
}

/* ---- Running -------------------------------------------------------------------------------- */

/* One batch at one setting; without a count of its answers to warm up. */
static vmoe_status run_batch(struct sweep *sweep, struct setting *setting, bool count,
                             vmoe_error *error)
{
    const struct labelled *labelled = &sweep->labelled;
    vmoe_output output = VMOE_OUTPUT_INIT;
    vmoe_report report = VMOE_REPORT_INIT;
    const double begin = clock_seconds();
    double seconds;

    output.top = sweep->top;
    output.top_count = 1;
    output.top_length = labelled->input.images;
    output.report = &report;
    if (vmoe_run(sweep->model, &labelled->input, &setting->dial, &output, error) != VMOE_OK ||
        !count)
        return error->status;
    seconds = (clock_seconds() - begin) / (double)labelled->input.images;
    setting->seconds =
        setting->images == 0 || seconds < setting->seconds ? seconds : setting->seconds;
    setting->images += labelled->input.images;
    setting->assigned += report.assigned;
    setting->dropped += report.dropped;
    setting->macs += report.macs - report.macs_saved;
    for (size_t i = 0; i < labelled->input.images; i++)
        setting->correct += sweep->top[i].index == labelled->batch_labels[i];
    return VMOE_OK;
}

static vmoe_status run_all(struct sweep *sweep, vmoe_error *error)
{
    struct labelled *labelled = &sweep->labelled;
    const uint32_t group = dial_group_images(&sweep->dial, &sweep->info);
    struct progress progress;

    progress_begin(&progress, (uint64_t)labelled->count * sweep->count, "runs");
    for (bool first = true; error->status == VMOE_OK; first = false) {
        const uint64_t before = (uint64_t)labelled->next * sweep->count;

        if (labelled_next(labelled, group, error) != VMOE_OK || labelled->input.images == 0)
            break;
        for (size_t i = 0; i < sweep->count && error->status == VMOE_OK; i++) {
            if (first)
                run_batch(sweep, &sweep->settings[i], false, error);
            if (error->status == VMOE_OK)
                run_batch(sweep, &sweep->settings[i], true, error);
            progress_show(&progress, before + (i + 1) * labelled->input.images);
        }
    }
    progress_hide(&progress);
    return error->status;
}

/* Pictures that fill no group have not been run; without a word the counts would be a riddle. */
static vmoe_status tell_rest(const struct sweep *sweep, vmoe_error *error)
{
    const size_t read = sweep->labelled.count - sweep->labelled.broken;
    const uint64_t rest = read - sweep->settings[0].images;
    const uint32_t group = dial_group_images(&sweep->dial, &sweep->info);
    char text[160];

    if (read == 0)
        return error_set(error, VMOE_ERR_IMAGE, sweep->data, "none of the pictures could be read");
    if (rest == read)
        return error_set(error, VMOE_ERR_ARGUMENT, "options.group_images",
                         "%zu picture%s cannot fill a group of %u", read, read == 1 ? "" : "s",
                         group);
    if (rest > 0) {
        snprintf(text, sizeof text, "%" PRIu64 " of %zu pictures left out: they do not fill a group of %u",
                 rest, read, group);
        error_print(sweep->data, text);
    }
    return VMOE_OK;
}

/* ---- The table ------------------------------------------------------------------------------ */

static double percent(uint64_t part, uint64_t whole)
{
    return whole > 0 ? 100.0 * (double)part / (double)whole : 0.0;
}

/* Billions of multiply-adds of an image. */
static double gmac_of(const struct setting *setting)
{
    return 1e-9 * (double)setting->macs / (double)setting->images;
}

static void write_table(const struct sweep *sweep, FILE *stream)
{
    fputs("C\tK\tpriority\tgroup_images\timages\tcorrect\taccuracy_percent\tdropped_percent\t"
          "gmac_per_image\tms_per_image\n", stream);
    for (size_t i = 0; i < sweep->count; i++) {
        const struct setting *s = &sweep->settings[i];
        char priority[WORD_BYTES];

        word_format(priority, PRIORITIES, s->dial.priority);
        if (sweep->info.experts == 0)
            fputs("-\t-\t-\t-", stream);
        else
            fprintf(stream, "%g\t%u\t%s\t%u", s->dial.capacity, s->dial.experts_per_token, priority,
                    dial_group_images(&sweep->dial, &sweep->info));
        fprintf(stream, "\t%" PRIu64 "\t%" PRIu64 "\t%.2f\t%.2f\t%.4g\t%.4g\n", s->images,
                s->correct, percent(s->correct, s->images), percent(s->dropped, s->assigned),
                gmac_of(s), 1e3 * s->seconds);
    }
}

/* ---- The curve ------------------------------------------------------------------------------ */

static bool same_series(const struct setting *a, const struct setting *b)
{
    return a->dial.experts_per_token == b->dial.experts_per_token &&
           a->dial.priority == b->dial.priority;
}

static bool begins_series(const struct sweep *sweep, size_t i)
{
    return i == 0 || !same_series(&sweep->settings[i - 1], &sweep->settings[i]);
}

/* Accuracy against work (0) or time (1). */
static double abscissa(const struct setting *s, int against)
{
    return against == 0 ? gmac_of(s) : 1e3 * s->seconds;
}

/* Small models are told in smaller units. */
static double unit_of(const struct sweep *sweep, int against)
{
    double most = 0.0;

    for (size_t i = 0; i < sweep->count; i++)
        most = fmax(most, abscissa(&sweep->settings[i], against));
    return most < 0.5 ? 1e3 : 1.0;
}

static int by_capacity(const void *a, const void *b)
{
    const double x = (*(const struct setting *const *)a)->dial.capacity;
    const double y = (*(const struct setting *const *)b)->dial.capacity;

    return (x > y) - (x < y);
}

/* A line goes from the least C to the largest, in whatever order they were listed. */
static void draw_series(const struct sweep *sweep, const struct chart *chart, int against,
                        size_t begin, unsigned number)
{
    const double unit = unit_of(sweep, against);
    const struct setting *series[SETTINGS_MAX];
    double points[2 * SETTINGS_MAX];
    char texts[SETTINGS_MAX][80];
    const char *titles[SETTINGS_MAX];
    size_t count = 0;

    for (size_t i = begin;
         i < sweep->count && same_series(&sweep->settings[begin], &sweep->settings[i]); i++)
        series[count++] = &sweep->settings[i];
    qsort(series, count, sizeof *series, by_capacity);
    for (size_t i = 0; i < count; i++) {
        points[2 * i] = unit * abscissa(series[i], against);
        points[2 * i + 1] = percent(series[i]->correct, series[i]->images);
        snprintf(texts[i], sizeof texts[i], "C = %g: %.2f %%", series[i]->dial.capacity,
                 points[2 * i + 1]);
        titles[i] = texts[i];
    }
    chart_series(chart, points, count, number, titles);
}

static void draw_chart(const struct sweep *sweep, FILE *stream, int against, double left)
{
    static const char *const names[2][2] = { { "GMAC an image", "MMAC an image" },
                                             { "ms an image, measured", "\xc2\xb5s an image, measured" } };
    const double unit = unit_of(sweep, against);
    struct chart chart = { stream, left, 52, 330, 300, { NULL, 1, 0, 0 }, { NULL, 1, 0, 0 } };
    unsigned number = 0;

    chart.x.title = names[against][unit > 1.0];
    chart.y.title = "accuracy, % of pictures";
    for (size_t i = 0; i < sweep->count; i++) {
        const struct setting *s = &sweep->settings[i];

        chart_extend(&chart.x, unit * abscissa(s, against));
        chart_extend(&chart.y, percent(s->correct, s->images));
    }
    if (chart.y.low == chart.y.high) {
        chart_extend(&chart.y, fmax(chart.y.low - 1.0, 0.0));
        chart_extend(&chart.y, fmin(chart.y.high + 1.0, 100.0));
    }
    chart_axes(&chart);
    for (size_t i = 0; i < sweep->count; i++)
        if (begins_series(sweep, i))
            draw_series(sweep, &chart, against, i, number++);
}

/* The name of a series, beside both charts. */
static void draw_legend(const struct sweep *sweep, FILE *stream)
{
    const struct chart chart = { .stream = stream };
    unsigned number = 0;
    char name[80], text[120];

    for (size_t i = 0; i < sweep->count; i++) {
        const vmoe_options *dial = &sweep->settings[i].dial;

        if (!begins_series(sweep, i))
            continue;
        word_format(name, PRIORITIES, dial->priority);
        snprintf(text, sizeof text, "%s, K = %u", name, dial->experts_per_token);
        chart_legend(&chart, 880, LEGEND_TOP + LEGEND_LINE * number, number,
                     sweep->info.experts == 0 ? "dense" : text);
        number++;
    }
    if (sweep->info.experts != 0)
        svg_text(stream, 880, LEGEND_TOP + 12 + LEGEND_LINE * number, "start", 12,
                 "along a line: C");
}

static void write_curve(const struct sweep *sweep, FILE *stream)
{
    double legend = LEGEND_TOP + LEGEND_LINE;
    char title[160];

    for (size_t i = 0; i < sweep->count; i++)
        legend += begins_series(sweep, i) ? LEGEND_LINE : 0.0;
    svg_open(stream, 1080, fmax(420, legend));
    snprintf(title, sizeof title, "%" PRIu64 " picture%s: accuracy against work and time",
             sweep->settings[0].images, sweep->settings[0].images == 1 ? "" : "s");
    svg_text(stream, 74, 28, "start", 16, title);
    draw_chart(sweep, stream, 0, 74);
    draw_chart(sweep, stream, 1, 500);
    draw_legend(sweep, stream);
    svg_close(stream);
}

/* ---- The command ---------------------------------------------------------------------------- */

static vmoe_status open_file(const struct sweep *sweep, const char *ending,
                             struct output_file *file, vmoe_error *error)
{
    const size_t bytes = strlen(sweep->output) + strlen(ending) + 1;
    char *path = malloc(bytes);

    if (path == NULL)
        return error_set(error, VMOE_ERR_MEMORY, sweep->output, "no memory for its name");
    snprintf(path, bytes, "%s%s", sweep->output, ending);
    output_open(file, path, error);
    free(path);
    return error->status;
}

static vmoe_status sweep_all(struct sweep *sweep, vmoe_error *error)
{
    if (labelled_open(&sweep->labelled, sweep->model, sweep->data, sweep->most, error) != VMOE_OK)
        return error->status;
    /* Before the work, which may take hours. */
    if (sweep->output != NULL && (open_file(sweep, ".tsv", &sweep->table, error) != VMOE_OK ||
                                  open_file(sweep, ".svg", &sweep->curve, error) != VMOE_OK))
        return error->status;
    sweep->top = calloc(sweep->labelled.room, sizeof *sweep->top);
    if (sweep->top == NULL)
        return error_set(error, VMOE_ERR_MEMORY, "sweep", "no memory for the answers");
    if (run_all(sweep, error) != VMOE_OK || tell_rest(sweep, error) != VMOE_OK)
        return error->status;
    if (sweep->output == NULL) {
        write_table(sweep, stdout);
        return VMOE_OK;
    }
    write_table(sweep, sweep->table.stream);
    write_curve(sweep, sweep->curve.stream);
    if (output_commit(&sweep->table, error) == VMOE_OK)
        output_commit(&sweep->curve, error);
    return error->status;
}

static int run(const struct command *self, int argc, char **argv)
{
    static struct sweep sweep = { .dial = VMOE_OPTIONS_INIT,
                                  .capacities = "0.1,0.25,0.5,0.75,1.05,1.5",
                                  .priorities = "vanilla,bpr-max" };
    vmoe_options *dial = &sweep.dial;
    const struct cli_option options[] = {
        { 0, "data", "PATH", "labelled pictures: a folder or idx files", option_text, &sweep.data },
        { 'o', "out", "NAME", "write NAME.tsv and NAME.svg instead of a table to stdout",
          option_text, &sweep.output },
        { 'C', "capacity", "LIST", "values of C; default 0.1,0.25,0.5,0.75,1.05,1.5", option_text,
          &sweep.capacities },
        { 'K', "experts-per-token", "LIST", "values of K; default that of the model", option_text,
          &sweep.experts },
        { 0, "priority", "LIST", "default vanilla,bpr-max; also bpr-sum", option_text,
          &sweep.priorities },
        { 0, "pictures", "N", "take N pictures, evenly spread; default all", option_count,
          &sweep.most },
        { 0, "group", "image|N", "images that compete for slots; a rest is left out", dial_group,
          &dial->group_images },
        { 0, "capacity-multiple", "N", "capacities are multiples of N; 1 makes a finer dial",
          dial_multiple, &dial->capacity_multiple },
        MACHINE_OPTIONS(dial),
        OPTIONS_END,
    };
    vmoe_error error = VMOE_ERROR_INIT;
    int operands, status = options_parse(self, options, argc, argv, &operands);

    if (status != PARSED)
        return status;
    if (sweep.data == NULL)
        return usage_error("sweep", "--data is missing: where are the labelled pictures?");
    if (dial->group_images == VMOE_GROUP_ALL)
        return usage_error("sweep", "--group: expected 'image' or a number of images");
    if (sweep.output != NULL && (sweep.output[0] == '\0' || path_ends_with(sweep.output, ".svg") ||
                                 path_ends_with(sweep.output, ".tsv")))
        return usage_error("sweep", "option --out: expected a name without .svg or .tsv, "
                                    "found '%s'", sweep.output);
    if (model_open(argv[0], &sweep.model, &sweep.info, &error) != VMOE_OK)
        return error_exit(&error);
    sweep.dial.cancel = interrupt_flag();
    if (!make_settings(&sweep))
        status = EXIT_USAGE;
    else if (check_settings(&sweep, &error) != VMOE_OK || sweep_all(&sweep, &error) != VMOE_OK)
        status = options_exit(self, options, &error);
    else
        status = sweep.labelled.broken > 0 ? EXIT_FAILED : EXIT_WORKED;
    free(sweep.top);
    output_abandon(&sweep.table);
    output_abandon(&sweep.curve);
    labelled_close(&sweep.labelled);
    vmoe_free(sweep.model);
    return status;
}

const struct command command_sweep = {
    .name = "sweep",
    .operands = "FILE --data PATH",
    .summary = "Measures accuracy and time over the dial",
    .notes =
        "PATH is a folder with a folder of JPEG pictures for each class, named by label or number;\n"
        "or an idx file of pictures as MNIST has them, beside the one of their labels; or a folder\n"
        "with such a test set.  In the name of a folder, '-' or '_' stands for a '/' of the label,\n"
        "and case does not matter.  Settings are run in turn; times are those of the fastest batch.",
    .example = "vmoe sweep model.vmoe --data validation -C 0.25,0.5,1.05 -K 1,2 -o sweep",
    .operands_min = 1,
    .operands_max = 1,
    .run = run,
};
