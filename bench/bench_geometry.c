/*
 * Times a model of any geometry, end to end and through the public interface.  The weights are
 * those of tests/support/formula.h, so nothing needs to be downloaded and the same geometry is
 * always the same model.  Its file is written to $TMPDIR (or /tmp) once and used again.
 */
#define _POSIX_C_SOURCE 200809L
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <vmoe.h>

#include "checkpoint/import.h"
#include "support/formula.h"

#define SEED 7u

static const char usage[] =
    "usage: bench_geometry [options]\n"
    "  the model, ViT-B/16 at 224 pixels and without experts by default:\n"
    "    --preset NAME                 the geometry, K and C of a released checkpoint\n"
    "    --image N --patch N --width N --heads N --mlp N --layers N --classes N\n"
    "    --experts N --moe every2|last2|none\n"
    "    --dtype f32|bf16|int8         of the stored weights, f32 by default\n"
    "    --keep FILE                   only write the model, to this file\n"
    "  the call:\n"
    "    -K N  -C RATIO  --priority vanilla|max|sum  --group N|all\n"
    "    --batch N  --threads N  --isa NAME  --repeat N\n"
    "Options are taken in their order, so what follows --preset changes it.\n";

enum placement { MOE_AS_IT_IS, MOE_EVERY_2, MOE_LAST_2, MOE_NONE };

struct setup {
    vmoe_info info; /* the geometry, and the type of the weights */
    vmoe_options options;
    uint32_t placement;
    uint32_t batch, repeat;
    const char *keep; /* or NULL */
};

struct timing {
    double first, best, median; /* seconds of a call */
    vmoe_report report;         /* of the best call */
};

static double seconds_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static bool complain(const vmoe_error *error)
{
    fprintf(stderr, "bench_geometry: %s: %s: %s\n", vmoe_status_name(error->status), error->where,
            error->text);
    return false;
}

/* ---- Options -------------------------------------------------------------------------------- */

struct word {
    const char *name;
    uint32_t value;
};

static const struct word dtypes[] = { { "f32", VMOE_PRECISION_F32 },
                                      { "bf16", VMOE_PRECISION_BF16 },
                                      { "int8", VMOE_PRECISION_INT8 },
                                      { NULL, 0 } };
static const struct word priorities[] = { { "vanilla", VMOE_PRIORITY_VANILLA },
                                          { "max", VMOE_PRIORITY_BPR_MAX },
                                          { "sum", VMOE_PRIORITY_BPR_SUM },
                                          { NULL, 0 } };
static const struct word placements[] = { { "every2", MOE_EVERY_2 },
                                          { "last2", MOE_LAST_2 },
                                          { "none", MOE_NONE },
                                          { NULL, 0 } };
static const struct word groups[] = { { "all", VMOE_GROUP_ALL }, { NULL, 0 } };

/* A word of the list, or, without a list, a number. */
static bool parse_value(const struct word *words, const char *text, uint32_t *value)
{
    char *end;
    unsigned long number;

    for (; words != NULL && words->name != NULL; words++) {
        if (strcmp(words->name, text) == 0) {
            *value = words->value;
            return true;
        }
    }
    number = strtoul(text, &end, 10);
    *value = (uint32_t)number;
    return text[0] >= '0' && text[0] <= '9' && *end == '\0' && number < UINT32_MAX;
}

static bool parse_ratio(const char *text, double *value)
{
    char *end;

    *value = strtod(text, &end);
    return end != text && *end == '\0';
}

static bool parse_isa(const char *text, uint32_t *value)
{
    const char *name;

    for (uint32_t isa = VMOE_ISA_DEFAULT + 1; (name = vmoe_isa_name(isa)) != NULL; isa++)
        if (strcmp(name, text) == 0) {
            *value = isa;
            return true;
        }
    return false;
}

/* The name of a value, as it is written on the command line. */
static const char *word_of(const struct word *words, uint32_t value)
{
    while (words->name != NULL && words->value != value)
        words++;
    return words->name != NULL ? words->name : "unknown";
}

static bool parse_preset(const char *name, struct setup *setup)
{
    const uint32_t precision = setup->info.precision;
    vmoe_error error = VMOE_ERROR_INIT;

    if (vmoe_preset(name, &setup->info, &error) != VMOE_OK)
        return complain(&error);
    setup->info.precision = precision;
    setup->options.experts_per_token = setup->info.experts_per_token;
    setup->options.capacity = setup->info.capacity;
    return true;
}

static bool parse_option(const char *name, const char *text, struct setup *setup)
{
    vmoe_info *info = &setup->info;
    vmoe_options *options = &setup->options;
    const struct {
        const char *name;
        uint32_t *value;
        const struct word *words;
    } table[] = {
        { "--image", &info->image_size, NULL },
        { "--patch", &info->patch_size, NULL },
        { "--width", &info->width, NULL },
        { "--heads", &info->heads, NULL },
        { "--mlp", &info->mlp, NULL },
        { "--layers", &info->layers, NULL },
        { "--classes", &info->classes, NULL },
        { "--experts", &info->experts, NULL },
        { "--moe", &setup->placement, placements },
        { "--dtype", &info->precision, dtypes },
        { "-K", &options->experts_per_token, NULL },
        { "--priority", &options->priority, priorities },
        { "--group", &options->group_images, groups },
        { "--batch", &setup->batch, NULL },
        { "--threads", &options->threads, NULL },
        { "--repeat", &setup->repeat, NULL },
    };

    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (strcmp(table[i].name, name) == 0)
            return parse_value(table[i].words, text, table[i].value);
    if (strcmp(name, "--isa") == 0)
        return parse_isa(text, &options->isa);
    if (strcmp(name, "--preset") == 0)
        return parse_preset(text, setup);
    if (strcmp(name, "-C") == 0)
        return parse_ratio(text, &options->capacity);
    setup->keep = text;
    return strcmp(name, "--keep") == 0;
}

/* Marks the blocks that have experts, and no others. */
static void place_experts(struct setup *setup)
{
    vmoe_info *info = &setup->info;
    const uint32_t layers = info->layers;
    bool marked = false;

    if (setup->placement == MOE_NONE)
        info->experts = 0;
    for (uint32_t i = 0; i < VMOE_MAX_LAYERS; i++)
        marked = marked || info->moe[i] != 0;
    if (setup->placement == MOE_AS_IT_IS && !marked)
        setup->placement = MOE_EVERY_2;
    for (uint32_t i = 0; i < VMOE_MAX_LAYERS; i++) {
        if (setup->placement == MOE_EVERY_2)
            info->moe[i] = i % 2;
        else if (setup->placement == MOE_LAST_2)
            info->moe[i] = i + 1 == layers || i + 3 == layers;
        if (i >= layers || info->experts == 0)
            info->moe[i] = 0;
    }
}

static bool parse(int count, char **words, struct setup *setup)
{
    const vmoe_info *info = &setup->info;

    for (int i = 1; i < count; i += 2)
        if (i + 1 == count || !parse_option(words[i], words[i + 1], setup))
            return false;
    /* The importer judges the geometry; the generator asks for no more than this. */
    if (info->patch_size == 0 || info->image_size % info->patch_size != 0 || info->heads == 0 ||
        info->width % info->heads != 0 || info->layers > VMOE_MAX_LAYERS ||
        setup->batch == 0 || setup->repeat == 0)
        return false;
    place_experts(setup);
    return true;
}

/* ---- The model ------------------------------------------------------------------------------ */

/* A name that tells the whole geometry, so that a file can be trusted for it. */
static void name_file(const vmoe_info *info, size_t size, char *path)
{
    const char *folder = getenv("TMPDIR");
    char moe[VMOE_MAX_LAYERS / 4 + 1] = "";

    for (uint32_t i = 0; i < info->layers; i += 4) {
        const int bits = info->moe[i] | info->moe[i + 1] << 1 | info->moe[i + 2] << 2 |
                         info->moe[i + 3] << 3;

        moe[i / 4] = "0123456789abcdef"[bits];
    }
    snprintf(path, size, "%s/vmoe-bench-i%u-p%u-d%u-h%u-f%u-l%u-c%u-r%u-e%u-%s-%s.vmoe",
             folder != NULL ? folder : "/tmp", info->image_size, info->patch_size, info->width,
             info->heads, info->mlp, info->layers, info->classes, info->pre_logits, info->experts,
             moe, word_of(dtypes, info->precision));
}

static bool write_model(const vmoe_info *info, const char *path)
{
    vmoe_import_options options = VMOE_IMPORT_OPTIONS_INIT;
    vmoe_error error = VMOE_ERROR_INIT;
    struct vmoe_source *source = formula_source(info, SEED);
    vmoe_status status;

    if (source == NULL) {
        fprintf(stderr, "bench_geometry: no memory\n");
        return false;
    }
    options.precision = info->precision;
    options.provenance = "weights by formula";
    status = vmoe_import_source(source, "formula", path, &options, &vmoe_memory_default, &error);
    source->close(source);
    return status == VMOE_OK || complain(&error);
}

/* A file that is missing, damaged or of an older format is written anew. */
static vmoe_model *open_model(const vmoe_info *info, double *load)
{
    char path[1024];
    vmoe_error error = VMOE_ERROR_INIT;
    vmoe_model *model;
    double start = seconds_now();

    name_file(info, sizeof path, path);
    if (vmoe_load_file(path, NULL, &model, NULL) != VMOE_OK) {
        if (!write_model(info, path))
            return NULL;
        start = seconds_now();
        if (vmoe_load_file(path, NULL, &model, &error) != VMOE_OK)
            complain(&error);
    }
    *load = seconds_now() - start;
    return model;
}

/* ---- Timing --------------------------------------------------------------------------------- */

static int compare_doubles(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static uint8_t *random_pixels(size_t count)
{
    uint8_t *pixels = malloc(count);
    uint32_t state = 1;

    for (size_t i = 0; pixels != NULL && i < count; i++) {
        state = state * 1664525u + 1013904223u;
        pixels[i] = (uint8_t)(state >> 24);
    }
    return pixels;
}

/* One call: its seconds, or a negative number if it failed. */
static double call(const vmoe_model *model, const vmoe_input *input, const vmoe_options *options,
                   float *logits, size_t length, vmoe_report *report)
{
    const double start = seconds_now();
    vmoe_error error = VMOE_ERROR_INIT;
    vmoe_output output = VMOE_OUTPUT_INIT;

    output.logits = logits;
    output.logits_length = length;
    output.report = report;
    if (vmoe_run(model, input, options, &output, &error) == VMOE_OK)
        return seconds_now() - start;
    complain(&error);
    return -1.0;
}

static bool measure(const vmoe_model *model, const vmoe_info *info, const struct setup *setup,
                    struct timing *timing)
{
    const size_t values = (size_t)3 * info->image_size * info->image_size * setup->batch;
    const size_t length = (size_t)info->classes * setup->batch;
    uint8_t *pixels = random_pixels(values);
    float *logits = malloc(length * sizeof *logits);
    double *samples = malloc((setup->repeat + 1u) * sizeof *samples);
    vmoe_report report = VMOE_REPORT_INIT;
    vmoe_input input = VMOE_INPUT_INIT;
    bool good = pixels != NULL && logits != NULL && samples != NULL;

    input.images = setup->batch;
    input.pixels = pixels;
    input.length = values;
    for (uint32_t i = 0; good && i <= setup->repeat; i++) {
        samples[i] = call(model, &input, &setup->options, logits, length, &report);
        good = samples[i] >= 0.0;
        if (i == 0 || samples[i] < timing->best) {
            timing->best = samples[i];
            timing->report = report;
        }
    }
    if (good) {
        timing->first = samples[0];
        qsort(samples + 1, setup->repeat, sizeof *samples, compare_doubles);
        timing->median = samples[1 + setup->repeat / 2];
    }
    free(pixels);
    free(logits);
    free(samples);
    return good;
}

/* ---- The report ----------------------------------------------------------------------------- */

static void print_model(const vmoe_info *info, const struct setup *setup, const vmoe_report *report)
{
    const vmoe_options *options = &setup->options;

    printf("image %u, patch %u, width %u, heads %u, mlp %u, layers %u, classes %u: %u tokens, "
           "%.1f M parameters, %s\n",
           info->image_size, info->patch_size, info->width, info->heads, info->mlp, info->layers,
           info->classes, info->tokens, 1e-6 * (double)info->parameters,
           word_of(dtypes, info->precision));
    if (info->experts > 0)
        printf("%u experts in %u blocks, K %u, C %g, priority %s, groups of %u: %llu slots, "
               "%llu pairs processed, %llu dropped\n",
               info->experts, info->moe_layers, report->experts_per_token,
               options->capacity != 0.0 ? options->capacity : info->capacity,
               options->priority != 0 ? word_of(priorities, options->priority) : "vanilla",
               report->group_images, (unsigned long long)report->capacity,
               (unsigned long long)report->processed, (unsigned long long)report->dropped);
    printf("batch %u, %u thread%s, %s\n\n", setup->batch, report->threads,
           report->threads > 1 ? "s" : "", vmoe_isa_name(report->isa));
}

static void print_times(const struct setup *setup, double load, const struct timing *timing)
{
    static const char *const stages[VMOE_STAGE_COUNT] = { "image", "embed", "attention", "mlp",
                                                          "routing", "experts", "head" };
    const double per_image = 1e3 / setup->batch;

    printf("load        %9.2f ms\n", 1e3 * load);
    printf("first call  %9.2f ms an image\n", per_image * timing->first);
    printf("best        %9.2f ms an image\n", per_image * timing->best);
    printf("median      %9.2f ms an image, of %u calls\n", per_image * timing->median,
           setup->repeat);
    for (int i = 0; i < VMOE_STAGE_COUNT; i++)
        if (timing->report.seconds[i] > 0.0)
            printf("  %-10s%9.2f ms  %4.1f %%\n", stages[i], per_image * timing->report.seconds[i],
                   100.0 * timing->report.seconds[i] / timing->best);
}

/* Rates are those of the best call. */
static void print_rates(const struct timing *timing, const vmoe_cost *cost)
{
    const vmoe_report *report = &timing->report;
    const double computed = 1e-9 * (double)(report->macs - report->macs_saved);

    printf("products    %9.2f GMAC as papers count, %.2f computed, %.1f GMAC/s\n",
           1e-9 * (double)report->macs, computed, computed / timing->best);
    printf("weights     %9.2f MB used of %.2f, %.1f GB/s\n", 1e-6 * (double)report->weight_bytes,
           1e-6 * (double)cost->weight_bytes, 1e-9 * (double)report->weight_bytes / timing->best);
    printf("workspace   %9.2f MB\n", 1e-6 * (double)cost->workspace_bytes);
}

static bool run(const struct setup *setup)
{
    vmoe_info info = VMOE_INFO_INIT;
    vmoe_cost cost = VMOE_COST_INIT;
    vmoe_error error = VMOE_ERROR_INIT;
    struct timing timing = { .report = VMOE_REPORT_INIT };
    double load;
    vmoe_model *model = open_model(&setup->info, &load);
    bool good = model != NULL;

    if (good && (vmoe_get_info(model, &info, &error) != VMOE_OK ||
                 vmoe_get_cost(&info, &setup->options, setup->batch, &cost, &error) != VMOE_OK))
        good = complain(&error);
    good = good && measure(model, &info, setup, &timing);
    if (good) {
        print_model(&info, setup, &timing.report);
        print_times(setup, load, &timing);
        print_rates(&timing, &cost);
    }
    vmoe_free(model);
    return good;
}

int main(int count, char **words)
{
    struct setup setup = { .info = VMOE_INFO_INIT,
                           .options = VMOE_OPTIONS_INIT,
                           .batch = 1,
                           .repeat = 20 };

    setup.info.image_size = 224;
    setup.info.patch_size = 16;
    setup.info.width = 768;
    setup.info.heads = 12;
    setup.info.mlp = 3072;
    setup.info.layers = 12;
    setup.info.classes = 1000;
    setup.info.classifier = VMOE_CLASSIFIER_TOKEN;
    setup.info.precision = VMOE_PRECISION_F32;
    if (!parse(count, words, &setup)) {
        fputs(usage, stderr);
        return 2;
    }
    if (setup.keep != NULL)
        return write_model(&setup.info, setup.keep) ? 0 : 1;
    return run(&setup) ? 0 : 1;
}
