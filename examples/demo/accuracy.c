/*
 * Counts the correct answers on the 10,000 test pictures of Fashion-MNIST at many settings of the
 * dial, and compares them with the counts of the original implementation.
 *
 *     accuracy [--threads N] [--dense DENSE.vmoe] MODEL.vmoe IMAGES.gz LABELS.gz TABLE.tsv...
 *
 * IMAGES and LABELS are the files t10k-images-idx3-ubyte.gz and t10k-labels-idx1-ubyte.gz.  The
 * tables have the columns C K bpr group_images rule multiple capacity correct_of_10000; a row
 * `dense` needs the dense model.  The exit status is 1 if a capacity differs, or a count by more than
 * 3 pictures (with float32 weights, as the original had) or 30 (with narrower ones).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vmoe.h>
#include <zlib.h>

#define SIDE 28u
#define IMAGE_BYTES (SIDE * SIDE)
/* Pictures: near-ties may fall either way in the last bit of a float, and more so in narrow weights. */
#define TOLERANCE_F32 3
#define TOLERANCE_NARROW 30

struct test_set {
    size_t count;
    uint8_t *pixels; /* (count, 28, 28, 3) */
    uint8_t *labels;
};

struct row {
    vmoe_options dial;
    int dense;
    unsigned long capacity, correct;
};

struct summary {
    int rows, skipped, failed;
    long largest;
    long tolerance; /* pictures that a count may differ by */
};

/* ---- Input ---------------------------------------------------------------------------------- */

/* Reads an idx file of bytes: a magic number, `rank` sizes, the elements.  NULL after an error. */
static uint8_t *read_idx(const char *path, unsigned rank, size_t *count, size_t item_bytes)
{
    uint8_t header[16];
    uint8_t *items = NULL;
    gzFile file = gzopen(path, "rb");
    const unsigned header_bytes = 4 * (rank + 1);

    *count = 0;
    if (file != NULL && gzread(file, header, header_bytes) == (int)header_bytes &&
        header[2] == 8 && header[3] == rank) {
        *count = (size_t)header[4] << 24 | (size_t)header[5] << 16 | (size_t)header[6] << 8 |
                 (size_t)header[7];
        if (*count > 0 && *count <= 100000)
            items = malloc(*count * item_bytes);
        if (items != NULL &&
            gzread(file, items, (unsigned)(*count * item_bytes)) != (int)(*count * item_bytes)) {
            free(items);
            items = NULL;
        }
    }
    if (file != NULL)
        gzclose(file);
    if (items == NULL)
        fprintf(stderr, "accuracy: %s: not an idx file of the expected shape\n", path);
    return items;
}

/* Reads pictures and labels, and makes RGB of gray.  0 after an error, which has been reported. */
static int read_test_set(const char *images, const char *labels, struct test_set *set)
{
    size_t label_count;
    uint8_t *gray = read_idx(images, 3, &set->count, IMAGE_BYTES);

    set->labels = read_idx(labels, 1, &label_count, 1);
    set->pixels = gray != NULL ? malloc(3 * set->count * IMAGE_BYTES) : NULL;
    if (set->pixels != NULL)
        for (size_t i = 0; i < set->count * IMAGE_BYTES; i++)
            memset(set->pixels + 3 * i, gray[i], 3);
    free(gray);
    if (set->pixels != NULL && set->labels != NULL && set->count != label_count)
        fprintf(stderr, "accuracy: %zu pictures, but %zu labels\n", set->count, label_count);
    return set->pixels != NULL && set->labels != NULL && set->count == label_count;
}

/* A line of the table. */
static int parse_row(const char *line, struct row *row)
{
    const vmoe_options none = VMOE_OPTIONS_INIT;
    char rule[8];
    unsigned bpr;

    row->dial = none;
    row->dense = strncmp(line, "dense\t", 6) == 0;
    if (row->dense)
        return sscanf(line, "dense\t-\t-\t-\t-\t-\t-\t%lu", &row->correct) == 1;
    if (sscanf(line, "%lf %u %u %u %7s %u %lu %lu", &row->dial.capacity,
               &row->dial.experts_per_token, &bpr, &row->dial.group_images, rule,
               &row->dial.capacity_multiple, &row->capacity, &row->correct) != 8)
        return 0;
    row->dial.priority = bpr ? VMOE_PRIORITY_BPR_MAX : VMOE_PRIORITY_VANILLA;
    row->dial.capacity_rule = strcmp(rule, "ceil") == 0 ? VMOE_CAPACITY_CEIL : VMOE_CAPACITY_ROUND;
    return 1;
}

/* Loads a model and checks that it can be compared.  NULL after an error, already reported. */
static vmoe_model *load(const char *path, long *tolerance)
{
    vmoe_error error = VMOE_ERROR_INIT;
    vmoe_info info = VMOE_INFO_INIT;
    vmoe_model *model = NULL;

    if (vmoe_load_file(path, NULL, &model, &error) != VMOE_OK ||
        vmoe_get_info(model, &info, &error) != VMOE_OK) {
        fprintf(stderr, "accuracy: %s: %s\n", error.where, error.text);
    } else if (info.image_size == SIDE) {
        if (info.precision != VMOE_PRECISION_F32)
            *tolerance = TOLERANCE_NARROW;
        return model;
    } else {
        fprintf(stderr, "accuracy: %s: the input has %u pixels, expected %u\n", path,
                info.image_size, SIDE);
    }
    vmoe_free(model);
    return NULL;
}

/* ---- The comparison ------------------------------------------------------------------------- */

/* Counts the pictures whose most probable class is their label.  -1 after an error. */
static long count_correct(const vmoe_model *model, const struct test_set *set,
                          const vmoe_options *dial, vmoe_report *report, vmoe_class *top)
{
    vmoe_error error = VMOE_ERROR_INIT;
    vmoe_input input = VMOE_INPUT_INIT;
    vmoe_output output = VMOE_OUTPUT_INIT;
    long correct = 0;

    input.images = set->count;
    input.pixels = set->pixels;
    input.length = 3 * set->count * IMAGE_BYTES;
    output.top = top;
    output.top_count = 1;
    output.top_length = set->count;
    output.report = report;
    if (vmoe_run(model, &input, dial, &output, &error) != VMOE_OK) {
        fprintf(stderr, "accuracy: %s: %s\n", error.where, error.text);
        return -1;
    }
    for (size_t i = 0; i < set->count; i++)
        correct += top[i].index == set->labels[i];
    return correct;
}

static void compare_row(const vmoe_model *model, const struct test_set *set, const struct row *row,
                        vmoe_class *top, struct summary *summary)
{
    vmoe_report report = VMOE_REPORT_INIT;
    const long ours = count_correct(model, set, &row->dial, &report, top);
    const long difference = ours - (long)row->correct;
    const int good = ours >= 0 && labs(difference) <= summary->tolerance &&
                     (row->dense || report.capacity == row->capacity);

    if (row->dense)
        printf("dense                                ");
    else
        printf("%5.2f  %u  %-7s  %3u  %-5s  %2u  %5llu", row->dial.capacity,
               row->dial.experts_per_token,
               row->dial.priority == VMOE_PRIORITY_VANILLA ? "vanilla" : "BPR",
               row->dial.group_images,
               row->dial.capacity_rule == VMOE_CAPACITY_CEIL ? "ceil" : "round",
               row->dial.capacity_multiple, (unsigned long long)report.capacity);
    printf("  %6ld  %8lu  %+4ld%s\n", ours, row->correct, difference, good ? "" : "  WRONG");
    fflush(stdout);
    summary->rows++;
    summary->failed += !good;
    if (labs(difference) > summary->largest)
        summary->largest = labs(difference);
}

/* Works through a table.  0 if it cannot be read. */
static int compare_table(const char *path, const vmoe_model *model, const vmoe_model *dense,
                         const struct test_set *set, uint32_t threads, struct summary *summary)
{
    char line[256];
    struct row row;
    FILE *file = fopen(path, "r");
    vmoe_class *top = calloc(set->count, sizeof *top);
    int good = file != NULL && top != NULL && fgets(line, sizeof line, file) != NULL;

    while (good && fgets(line, sizeof line, file) != NULL) {
        good = parse_row(line, &row);
        row.dial.threads = threads;
        if (good && row.dense && dense == NULL)
            summary->skipped++;
        else if (good)
            compare_row(row.dense ? dense : model, set, &row, top, summary);
    }
    if (!good)
        fprintf(stderr, "accuracy: %s: cannot read this table\n", path);
    if (file != NULL)
        fclose(file);
    free(top);
    return good;
}

static int compare(char **paths, int count, const char *dense_path, uint32_t threads)
{
    struct test_set set = { 0, NULL, NULL };
    struct summary summary = { .tolerance = TOLERANCE_F32 };
    vmoe_model *model = load(paths[0], &summary.tolerance);
    vmoe_model *dense = dense_path != NULL ? load(dense_path, &summary.tolerance) : NULL;
    int good = model != NULL && (dense != NULL || dense_path == NULL) &&
               read_test_set(paths[1], paths[2], &set);

    if (good) {
        printf("    C  K  order  group  round  to  slots  correct  original  difference\n");
        for (int i = 3; i < count && good; i++)
            good = compare_table(paths[i], model, dense, &set, threads, &summary);
        printf("%d settings of %zu pictures: the largest difference is %ld; %d wrong, %d skipped\n",
               summary.rows, set.count, summary.largest, summary.failed, summary.skipped);
    }
    free(set.pixels);
    free(set.labels);
    vmoe_free(dense);
    vmoe_free(model);
    return good && summary.failed == 0 && summary.rows > 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    const char *dense = NULL;
    uint32_t threads = 0;

    while (argc > 2 && strncmp(argv[1], "--", 2) == 0) {
        if (strcmp(argv[1], "--threads") == 0)
            threads = (uint32_t)strtoul(argv[2], NULL, 10);
        else if (strcmp(argv[1], "--dense") == 0)
            dense = argv[2];
        else
            break;
        argc -= 2;
        argv += 2;
    }
    if (argc < 5 || argv[1][0] == '-') {
        fprintf(stderr, "usage: accuracy [--threads N] [--dense DENSE.vmoe] MODEL.vmoe "
                        "IMAGES.gz LABELS.gz TABLE.tsv...\n");
        return 2;
    }
    return compare(argv + 1, argc - 1, dense, threads);
}
