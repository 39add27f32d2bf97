/*
 * vmoe bench: how long a model takes here: to load, to answer first, and then again and again over
 * the dial, with the stages of a call.  The images are noise, which costs what pictures cost but for
 * decoding; routing of noise may load experts less evenly.
 */
#define _XOPEN_SOURCE 700
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include <vmoe.h>

#include "commands.h"
#include "dial.h"
#include "interrupt.h"
#include "json.h"
#include "open_model.h"
#include "progress.h"
#include "run_totals.h"

#define CALLS_MAX 100000u

struct bench {
    vmoe_options dial;
    vmoe_info info;
    vmoe_model *model;
    uint32_t images;
    double seconds; /* for each setting */
    bool as_json;
    const char *capacities;
    vmoe_input input;
    uint8_t *pixels;
    double *times; /* of the calls of a setting */
};

/* What a setting took. */
struct result {
    double capacity;
    size_t calls;
    double first, median, p99, best;
    double stages[VMOE_STAGE_COUNT]; /* of the best call */
    vmoe_report report; /* of the last call */
};

/* ---- Loading -------------------------------------------------------------------------------- */

/* Asks the system to forget what it keeps of the file. */
static bool forget(const char *path)
{
    const int file = open(path, O_RDONLY);
    bool done = false;

    if (file >= 0) {
        done = fdatasync(file) == 0 && posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED) == 0;
        close(file);
    }
    return done;
}

/* Loads the model; the time, or a negative one after a failure. */
static double time_load(struct bench *bench, const char *path, vmoe_error *error)
{
    const double begin = clock_seconds();

    if (model_open(path, &bench->model, &bench->info, error) != VMOE_OK)
        return -1.0;
    return clock_seconds() - begin;
}

/* Of the process so far; 0: unknown. */
static uint64_t peak_bytes(void)
{
    struct rusage usage;

    return getrusage(RUSAGE_SELF, &usage) == 0 ? 1024 * (uint64_t)usage.ru_maxrss : 0;
}

/* ---- Calls ---------------------------------------------------------------------------------- */

static vmoe_status make_images(struct bench *bench, vmoe_error *error)
{
    const vmoe_input empty = VMOE_INPUT_INIT;
    const size_t values = (size_t)bench->images * bench->info.image_size * bench->info.image_size * 3;
    uint32_t state = 1;

    bench->pixels = malloc(values);
    bench->times = malloc(CALLS_MAX * sizeof *bench->times);
    if (bench->pixels == NULL || bench->times == NULL)
        return error_set(error, VMOE_ERR_MEMORY, "bench", "no memory for %u images", bench->images);
    for (size_t i = 0; i < values; i++) {
        state = state * 1664525u + 1013904223u;
        bench->pixels[i] = (uint8_t)(state >> 24);
    }
    bench->input = empty;
    bench->input.images = bench->images;
    bench->input.pixels = bench->pixels;
    bench->input.length = values;
    return VMOE_OK;
}

static int by_time(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static vmoe_status run_once(struct bench *bench, vmoe_report *report, double *seconds,
                            vmoe_error *error)
{
    const vmoe_report empty = VMOE_REPORT_INIT;
    vmoe_output output = VMOE_OUTPUT_INIT;
    vmoe_class top;
    const double begin = clock_seconds();

    *report = empty;
    output.report = report;
    if (bench->images == 1) {
        output.top = &top;
        output.top_count = output.top_length = 1;
    }
    if (vmoe_run(bench->model, &bench->input, &bench->dial, &output, error) == VMOE_OK)
        *seconds = clock_seconds() - begin;
    return error->status;
}

static vmoe_status run_setting(struct bench *bench, double capacity, struct result *result,
                               vmoe_error *error)
{
    double begin;
    size_t calls = 0;

    memset(result, 0, sizeof *result);
    result->capacity = bench->dial.capacity = capacity;
    if (run_once(bench, &result->report, &result->first, error) != VMOE_OK)
        return error->status;
    begin = clock_seconds();
    while (calls < CALLS_MAX && (calls < 3 || clock_seconds() - begin < bench->seconds)) {
        if (run_once(bench, &result->report, &bench->times[calls], error) != VMOE_OK)
            return error->status;
        if (calls == 0 || bench->times[calls] < result->best) {
            result->best = bench->times[calls];
            memcpy(result->stages, result->report.seconds, sizeof result->stages);
        }
        calls++;
    }
    qsort(bench->times, calls, sizeof *bench->times, by_time);
    result->calls = calls;
    result->median = bench->times[calls / 2];
    result->p99 = bench->times[(calls - 1) * 99 / 100];
    return VMOE_OK;
}

/* ---- Printing ------------------------------------------------------------------------------- */

static double share(const struct result *result, int stage)
{
    double sum = 0.0;

    for (int s = 0; s < VMOE_STAGE_COUNT; s++)
        sum += result->stages[s];
    return sum > 0.0 ? 100.0 * result->stages[stage] / sum : 0.0;
}

static void print_head(const struct bench *bench, double cold, double warm)
{
    char file[QUANTITY_BYTES], text[32];

    quantity_format(file, (double)bench->info.file_bytes, "B");
    snprintf(text, sizeof text, "%.1f ms", 1e3 * cold);
    printf("load      %.1f ms, %s from disk; %s\n", 1e3 * warm, cold >= 0.0 ? text : "unknown", file);
}

static void print_row(const struct bench *bench, const struct result *result, bool first)
{
    const vmoe_report *report = &result->report;
    const double rate = bench->images / result->median;
    char precision[WORD_BYTES];

    if (first) {
        word_format(precision, PRECISIONS, report->precision);
        printf("calls     %u image%s%s, %u thread%s, %s, %s; the first took %.2f ms\n\n", bench->images,
               bench->images == 1 ? "" : "s", bench->info.experts != 0 ? " in groups of 1" : "",
               report->threads, report->threads == 1 ? "" : "s", vmoe_isa_name(report->isa),
               precision, 1e3 * result->first);
        printf("     C   calls    best ms     p50 ms     p99 ms   images/s  GMAC/s  dropped");
        for (int s = 0; s < VMOE_STAGE_COUNT; s++)
            printf("  %s", stage_names[s]);
        putchar('\n');
    }
    if (bench->info.experts != 0)
        printf("%6g", result->capacity);
    else
        printf("     -");
    printf("  %6zu  %9.3f  %9.3f  %9.3f  %9.*f  %6.1f  %5.1f %%", result->calls, 1e3 * result->best,
           1e3 * result->median, 1e3 * result->p99, rate < 1000.0 ? 2 : 0, rate,
           1e-9 * (double)(report->macs - report->macs_saved) / result->median,
           report->assigned > 0 ? 100.0 * (double)report->dropped / (double)report->assigned : 0.0);
    for (int s = 0; s < VMOE_STAGE_COUNT; s++)
        printf("  %*.0f %%", (int)strlen(stage_names[s]) - 2, share(result, s));
    putchar('\n');
}

static void print_json(const struct bench *bench, const struct result *result, double cold,
                       double warm)
{
    struct json json = { stdout, false };
    char precision[WORD_BYTES];

    word_format(precision, PRECISIONS, result->report.precision);
    json_open(&json, NULL, '{');
    json_number(&json, "load_cold_seconds", cold >= 0.0 ? cold : (double)NAN);
    json_number(&json, "load_warm_seconds", warm);
    json_count(&json, "images", bench->images);
    json_count(&json, "threads", result->report.threads);
    json_text(&json, "isa", vmoe_isa_name(result->report.isa));
    json_text(&json, "precision", precision);
    json_number_or_null(&json, "capacity_ratio", result->capacity);
    json_count_or_null(&json, "slots", result->report.capacity);
    json_count_or_null(&json, "experts_per_token", result->report.experts_per_token);
    json_count_or_null(&json, "group_images",
                       bench->info.experts != 0 ? result->report.group_images : 0);
    json_count(&json, "calls", result->calls);
    json_number(&json, "first_seconds", result->first);
    json_number(&json, "best_seconds", result->best);
    json_number(&json, "p50_seconds", result->median);
    json_number(&json, "p99_seconds", result->p99);
    json_number(&json, "images_per_second", bench->images / result->median);
    json_count(&json, "macs", result->report.macs - result->report.macs_saved);
    json_count(&json, "assigned", result->report.assigned);
    json_count(&json, "dropped", result->report.dropped);
    json_count_or_null(&json, "peak_bytes", peak_bytes());
    json_open(&json, "seconds", '{');
    for (int s = 0; s < VMOE_STAGE_COUNT; s++)
        json_number(&json, stage_names[s], result->stages[s]);
    json_close(&json, '}');
    json_close(&json, '}');
    putchar('\n');
}

/* ---- The command ---------------------------------------------------------------------------- */

/* The values of the list, or the model's own C alone.  0 after a mistake. */
static size_t read_capacities(const struct bench *bench, double capacities[DIAL_LIST_MAX])
{
    capacities[0] = bench->info.capacity;
    if (bench->capacities == NULL || bench->info.experts == 0)
        return 1;
    return dial_list("bench", "capacity", bench->capacities, "X", dial_capacity, capacities, NULL);
}

/* Before anything is printed. */
static vmoe_status check_settings(struct bench *bench, const double *capacities, size_t count,
                                  vmoe_error *error)
{
    for (size_t i = 0; i < count && error->status == VMOE_OK; i++) {
        bench->dial.capacity = capacities[i];
        dial_check(&bench->dial, &bench->info, bench->images, error);
    }
    return error->status;
}

static vmoe_status bench_model(struct bench *bench, const char *path, const double *capacities,
                               size_t count, vmoe_error *error)
{
    double cold = -1.0, warm;
    char peak[QUANTITY_BYTES];

    if (forget(path)) {
        cold = time_load(bench, path, error);
        vmoe_free(bench->model);
        bench->model = NULL;
    }
    if (error->status != VMOE_OK || (warm = time_load(bench, path, error)) < 0.0 ||
        make_images(bench, error) != VMOE_OK)
        return error->status;
    bench->dial.cancel = interrupt_flag();
    if (!bench->as_json)
        print_head(bench, cold, warm);
    for (size_t i = 0; i < count; i++) {
        struct result result;

        if (run_setting(bench, capacities[i], &result, error) != VMOE_OK)
            return error->status;
        if (bench->as_json)
            print_json(bench, &result, cold, warm);
        else
            print_row(bench, &result, i == 0);
        if (output_flush(error) != VMOE_OK)
            return error->status;
    }
    quantity_format(peak, (double)peak_bytes(), "B");
    if (!bench->as_json)
        printf("\nmemory    %s at most\n", peak);
    return VMOE_OK;
}

static int run(const struct command *self, int argc, char **argv)
{
    struct bench bench = { .dial = VMOE_OPTIONS_INIT, .images = 1, .seconds = 2.0 };
    vmoe_options *dial = &bench.dial;
    const struct cli_option options[] = {
        { 0, "images", "N", "images of a call; default 1", option_count, &bench.images },
        { 0, "seconds", "X", "for each setting; default 2", option_ratio, &bench.seconds },
        { 0, "json", NULL, "print a JSON object a line, one for each setting", option_flag,
          &bench.as_json },
        { 'C', "capacity", "LIST", "values of C, such as 0.25,0.5,1.05", option_text,
          &bench.capacities },
        { 'K', "experts-per-token", "N", "experts that a token is sent to", dial_experts,
          &dial->experts_per_token },
        { 0, "priority", PRIORITIES, "who comes first when slots are scarce", option_choice,
          &dial->priority },
        MACHINE_OPTIONS(dial),
        OPTIONS_END,
    };
    vmoe_error error = VMOE_ERROR_INIT;
    double capacities[DIAL_LIST_MAX];
    size_t count;
    int operands, status = options_parse(self, options, argc, argv, &operands);

    if (status != PARSED)
        return status;
    if (model_open_header(argv[0], &bench.model, &bench.info, &error) != VMOE_OK)
        return error_exit(&error);
    vmoe_free(bench.model);
    bench.model = NULL;
    count = read_capacities(&bench, capacities);
    if (count == 0)
        return EXIT_USAGE;
    dial->group_images = 1;
    if (check_settings(&bench, capacities, count, &error) == VMOE_OK)
        bench_model(&bench, argv[0], capacities, count, &error);
    free(bench.pixels);
    free(bench.times);
    vmoe_free(bench.model);
    return error.status == VMOE_OK ? EXIT_WORKED : options_exit(self, options, &error);
}

const struct command command_bench = {
    .name = "bench",
    .operands = "FILE",
    .summary = "Measures load, first call, latency, throughput and stages",
    .notes =
        "The images are noise, so nothing is decoded, and routing may differ from that of pictures.\n"
        "Each is a routing group of its own, also where the file has larger groups.\n"
        "Loading from disk is asked for by making the system forget the file, which it may refuse\n"
        "to do.",
    .example = "vmoe bench model.vmoe -C 0.25,0.5,1.05 --images 8 --threads 1",
    .operands_min = 1,
    .operands_max = 1,
    .run = run,
};
