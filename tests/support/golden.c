/* Four kinds of golden models behind one set of functions. */
#include "support/golden.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "checkpoint/source.h"
#include "support/formula.h"
#include "support/tiny.h"

static bool is_kind(const struct golden *golden, const char *kind)
{
    return strcmp(golden->kind, kind) == 0;
}

bool golden_is_here(const char *path)
{
    char file[80];

    if (strcmp(path, "dense") == 0)
        return golden_has("dense/vit.npz");
    snprintf(file, sizeof file, "%s%s", path,
             strncmp(path, "geometry/", 9) == 0 ? ".images.npy" : "/model.index");
    return golden_has(file);
}

/* The rows of the table that belong to the model. */
static void find_cases(struct golden *golden)
{
    golden->rows = malloc(golden->table.rows * sizeof *golden->rows);
    for (size_t row = 0; row < golden->table.rows; row++)
        if (!is_kind(golden, "geometry") ||
            strcmp(table_cell(&golden->table, row, "model"), golden->name) == 0)
            golden->rows[golden->cases++] = row;
}

struct golden golden_open(const char *path)
{
    struct golden golden = { .cases = 0 };

    /* A kind without models of its own is one. */
    if (sscanf(path, "%15[^/]/%31s", golden.kind, golden.name) == 1)
        strcpy(golden.name, golden.kind);
    if (is_kind(&golden, "geometry")) {
        golden.pixels = npy_load(golden_path("%s.images.npy", path));
        golden.table = table_load(golden_path("geometry/cases.tsv"));
    } else {
        golden.pixels = npy_load(golden_path("%s/images.npy", path));
        golden.logits = npy_load(golden_path("%s/logits.npy", path));
    }
    if (is_kind(&golden, "models") || is_kind(&golden, "e3"))
        golden.table = table_load(golden_path("%s/cases.tsv", path));
    if (is_kind(&golden, "models"))
        golden.load = npy_load(golden_path("%s/load.npy", path));
    if (golden.table.rows != 0)
        find_cases(&golden);
    else
        golden.cases = 1;
    return golden;
}

void golden_close(struct golden *golden)
{
    npy_free(&golden->pixels);
    npy_free(&golden->logits);
    npy_free(&golden->load);
    table_free(&golden->table);
    free(golden->rows);
}

/* ---- Models --------------------------------------------------------------------------------- */

/* The geometry tables have no header: their first line is a pair like the others. */
static const char *value_of(const struct table *table, const char *key)
{
    for (size_t i = 0; i <= table->rows; i++)
        if (strcmp(table->cells[2 * i], key) == 0)
            return table->cells[2 * i + 1];
    return NULL;
}

/* 0 if the table lacks the key or has "None" there. */
static uint32_t number(const struct table *table, const char *key)
{
    const char *value = value_of(table, key);

    return value != NULL ? (uint32_t)strtoul(value, NULL, 10) : 0;
}

static uint32_t classifier_of(const struct table *table)
{
    const char *value = value_of(table, "classifier");

    if (value != NULL && strcmp(value, "map") == 0)
        return VMOE_CLASSIFIER_MAP;
    return value != NULL && strcmp(value, "gap") == 0 ? VMOE_CLASSIFIER_GAP
                                                      : VMOE_CLASSIFIER_TOKEN;
}

static vmoe_info load_geometry(const struct golden *golden)
{
    const bool formula = is_kind(golden, "geometry");
    const bool single = strcmp(golden->kind, golden->name) == 0;
    struct table table =
        table_load(formula  ? golden_path("geometry/%s.geometry.tsv", golden->name)
                   : single ? golden_path("%s/geometry.tsv", golden->kind)
                            : golden_path("%s/%s/geometry.tsv", golden->kind, golden->name));
    const char *moe = value_of(&table, "moe");
    vmoe_info info = VMOE_INFO_INIT;

    info.image_size = number(&table, "px");
    info.patch_size = number(&table, "patch");
    info.width = number(&table, "D");
    info.mlp = number(&table, "F");
    info.heads = number(&table, "H");
    info.layers = number(&table, "L");
    info.experts = number(&table, "E");
    info.members = number(&table, "M") != 0 ? number(&table, "M") : 1;
    info.classes = number(&table, "classes");
    info.pre_logits = number(&table, "rep");
    info.classifier = classifier_of(&table);
    for (const char *block = moe; block != NULL; block = strchr(block, ',')) {
        block += *block == ',';
        info.moe[strtoul(block, NULL, 10)] = 1;
    }
    table_free(&table);
    return info;
}

/* What the importer found in the shapes of the arrays is what they were made with. */
static void check_geometry(const struct golden *golden, const vmoe_model *model)
{
    const vmoe_info expected = load_geometry(golden), found = info_of(model);

    assert_int_equal(found.image_size, expected.image_size);
    assert_int_equal(found.patch_size, expected.patch_size);
    assert_int_equal(found.width, expected.width);
    assert_int_equal(found.mlp, expected.mlp);
    assert_int_equal(found.heads, expected.heads);
    assert_int_equal(found.layers, expected.layers);
    assert_int_equal(found.experts, expected.experts);
    assert_int_equal(found.members, expected.members);
    assert_int_equal(found.classes, expected.classes);
    assert_int_equal(found.pre_logits, expected.pre_logits);
    assert_int_equal(found.classifier, expected.classifier);
    assert_memory_equal(found.moe, expected.moe, sizeof found.moe);
}

/* The generator must be right before the model can be judged. */
static void check_generator(const char *name, struct vmoe_source *source)
{
    struct table table = table_load(golden_path("geometry/%s.tensors.tsv", name));

    assert_int_equal(table.rows, source->count);
    for (size_t i = 0; i < source->count; i++) {
        const struct vmoe_array *array = &source->arrays[i];
        float first, last;

        assert_string_equal(table_cell(&table, i, "name"), array->name);
        source->read(source, i, 0, 1, &first, NULL);
        source->read(source, i, array->elements - 1, 1, &last, NULL);
        assert_true(first == strtof(table_cell(&table, i, "first"), NULL));
        assert_true(last == strtof(table_cell(&table, i, "last"), NULL));
    }
    table_free(&table);
}

vmoe_model *golden_model(const struct golden *golden, uint32_t precision)
{
    const char *path = scratch_path("golden.vmoe");
    vmoe_import_options options = VMOE_IMPORT_OPTIONS_INIT;
    vmoe_error error = VMOE_ERROR_INIT;
    vmoe_model *model;

    options.precision = precision;
    if (is_kind(golden, "geometry")) {
        const vmoe_info info = load_geometry(golden);
        struct vmoe_source *source = formula_source(&info, 7);

        check_generator(golden->name, source);
        write_source(source, &options, path);
    } else {
        const char *from = is_kind(golden, "dense") ? golden_path("dense/vit.npz")
                           : is_kind(golden, "e3")  ? golden_path("e3/model")
                                                    : golden_path("models/%s/model", golden->name);

        assert_ok(vmoe_import(from, path, &options, &error), error);
    }
    model = must_load(path, NULL);
    unlink(path);
    check_geometry(golden, model);
    return model;
}

/* ---- Cases ---------------------------------------------------------------------------------- */

float *golden_tensor(const struct golden *golden)
{
    float *tensor = malloc(golden->pixels.elements * sizeof *tensor);

    for (size_t i = 0; i < golden->pixels.elements; i++)
        tensor[i] = (float)((const uint8_t *)golden->pixels.data)[i] / 255.0f * 2.0f - 1.0f;
    return tensor;
}

static const char *cell(const struct golden *golden, size_t i, const char *column)
{
    return table_cell(&golden->table, golden->rows[i], column);
}

void golden_dial(const struct golden *golden, size_t i, vmoe_options *options)
{
    if (is_kind(golden, "dense"))
        return;
    options->capacity = strtod(cell(golden, i, "C"), NULL);
    options->experts_per_token = (uint32_t)atoi(cell(golden, i, "K"));
    options->priority =
        atoi(cell(golden, i, "bpr")) ? VMOE_PRIORITY_BPR_MAX : VMOE_PRIORITY_VANILLA;
    options->group_images = (uint32_t)atoi(cell(golden, i, "group_images"));
    if (is_kind(golden, "geometry"))
        return;
    options->capacity_rule = strcmp(cell(golden, i, "rule"), "round") == 0 ? VMOE_CAPACITY_ROUND
                                                                           : VMOE_CAPACITY_CEIL;
    options->capacity_multiple = (uint32_t)atoi(cell(golden, i, "multiple"));
}

float *golden_logits(const struct golden *golden, size_t i)
{
    const size_t count = golden->logits.elements / golden->cases;
    struct npy logits;
    float *copy;

    if (is_kind(golden, "geometry")) {
        logits = npy_load(golden_path("geometry/%s", cell(golden, i, "logits")));
        return logits.data;
    }
    copy = malloc(count * sizeof *copy);
    memcpy(copy, (const float *)golden->logits.data + i * count, count * sizeof *copy);
    return copy;
}

/* Upstream's number of slots, and of pairs that each expert kept. */
static void check_report(const struct golden *golden, size_t i, const vmoe_report *report)
{
    const size_t loads = golden->load.elements / golden->cases;
    const int32_t *load = (const int32_t *)golden->load.data + i * loads;

    if (golden->rows == NULL)
        return;
    assert_int_equal(report->capacity, strtoul(cell(golden, i, "capacity"), NULL, 10));
    for (size_t e = 0; e < loads; e++)
        if (report->load[e] != (uint64_t)load[e])
            fail_msg("%s case %zu: expert %zu has %llu tokens, upstream's has %d", golden->name, i,
                     e, (unsigned long long)report->load[e], load[e]);
}

double golden_difference(const struct golden *golden, const vmoe_model *model, size_t i,
                         uint32_t isa)
{
    const vmoe_info info = info_of(model);
    const size_t images = golden->pixels.dims[0];
    vmoe_error error = VMOE_ERROR_INIT;
    vmoe_options options = VMOE_OPTIONS_INIT;
    vmoe_input input = VMOE_INPUT_INIT;
    vmoe_output output = VMOE_OUTPUT_INIT;
    vmoe_report report = VMOE_REPORT_INIT;
    float *expected = golden_logits(golden, i);
    double difference;

    golden_dial(golden, i, &options);
    options.isa = isa;
    input.images = images;
    input.pixels = golden->pixels.data;
    input.length = golden->pixels.elements;
    output.member_logits_length = images * info.members * info.classes;
    output.member_logits = malloc(output.member_logits_length * sizeof(float));
    output.report = &report;
    report.load_length = (size_t)info.moe_layers * info.experts;
    report.load = malloc((report.load_length + 1) * sizeof(uint64_t));
    assert_ok(vmoe_run(model, &input, &options, &output, &error), error);
    check_report(golden, i, &report);
    difference = max_difference(output.member_logits, expected, output.member_logits_length);
    free(output.member_logits);
    free(report.load);
    free(expected);
    return difference;
}
