/*
 * Counts the correct answers on the 10,000 test pictures of Fashion-MNIST at many settings of the
 * dial, and compares them with the counts of the original implementation.
 *
 *     accuracy [OPTION VALUE]... MODEL.vmoe IMAGES.gz LABELS.gz TABLE.tsv...
 *
 * IMAGES and LABELS are the files t10k-images-idx3-ubyte.gz and t10k-labels-idx1-ubyte.gz.  The
 * tables have the columns C K bpr group_images rule multiple capacity correct_of_10000; a row
 * `dense` needs the dense model.  The exit status is 1 if a capacity differs, or a count by more than
 * 3 pictures (with float32 weights, as the original had) or 30 (with narrower ones).
 *
 *     --dense DENSE.vmoe      the dense model
 *     --isa NAME              as vmoe_isa_name spells it
 *     --precision NAME        f32, bf16 or int8: the least exact that is permitted
 *     --threads N
 *     --keep TABLE.tsv        writes the counts as one more table, to compare others with
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

#define ROWS_MAX 1000

struct comparison {
    const vmoe_model *model, *dense; /* dense may be NULL */
    const vmoe_options *how;         /* threads, instruction set, precision */
    struct test_set set;
    vmoe_class *top; /* of each picture */
    FILE *keep;      /* or NULL */
    long tolerance;  /* pictures that a count may differ by */
    struct row done[ROWS_MAX]; /* with our own counts */
    int rows, skipped, failed;
    long largest;
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
    row->capacity = 0;
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
static long count_correct(const struct comparison *c, const struct row *row)
{
    vmoe_error error = VMOE_ERROR_INIT;
    vmoe_input input = VMOE_INPUT_INIT;
    vmoe_output output = VMOE_OUTPUT_INIT;
    vmoe_options options = row->dial;
    long correct = 0;

    options.threads = c->how->threads;
    options.isa = c->how->isa;
    options.precision = c->how->precision;
    input.images = c->set.count;
    input.pixels = c->set.pixels;
    input.length = 3 * c->set.count * IMAGE_BYTES;
    output.top = c->top;
    output.top_count = 1;
    output.top_length = c->set.count;
    if (vmoe_run(row->dense ? c->dense : c->model, &input, &options, &output, &error) != VMOE_OK) {
        fprintf(stderr, "accuracy: %s: %s\n", error.where, error.text);
        return -1;
    }
    for (size_t i = 0; i < c->set.count; i++)
        correct += c->top[i].index == c->set.labels[i];
    return correct;
}

/* The count of a setting that was another way to say this one: slots are what C comes down to. */
static long count_known(const struct comparison *c, const struct row *row)
{
    for (int i = 0; i < c->rows; i++) {
        const struct row *done = &c->done[i];

        if (done->dense == row->dense && done->capacity == row->capacity &&
            done->dial.experts_per_token == row->dial.experts_per_token &&
            done->dial.priority == row->dial.priority &&
            done->dial.group_images == row->dial.group_images)
            return (long)done->correct;
    }
    return -1;
}

/* The slots that an expert has in a group; 0 after an error. */
static unsigned long slots_of(const struct comparison *c, const struct row *row)
{
    vmoe_error error = VMOE_ERROR_INIT;
    vmoe_info info = VMOE_INFO_INIT;
    vmoe_cost cost = VMOE_COST_INIT;

    if (vmoe_get_info(c->model, &info, &error) == VMOE_OK &&
        vmoe_get_cost(&info, &row->dial, c->set.count, &cost, &error) == VMOE_OK)
        return (unsigned long)cost.capacity;
    fprintf(stderr, "accuracy: %s: %s\n", error.where, error.text);
    return 0;
}

static void compare_row(struct comparison *c, const struct row *row)
{
    const unsigned long slots = row->dense ? 0 : slots_of(c, row);
    const long known = slots == row->capacity ? count_known(c, row) : -1;
    const long ours = known >= 0 ? known : count_correct(c, row);
    const long difference = ours - (long)row->correct;
    const int good = ours >= 0 && labs(difference) <= c->tolerance && slots == row->capacity;
    const vmoe_options *dial = &row->dial;
    const char *rule = dial->capacity_rule == VMOE_CAPACITY_CEIL ? "ceil" : "round";
    const int bpr = dial->priority == VMOE_PRIORITY_BPR_MAX;

    if (row->dense)
        printf("dense                                ");
    else
        printf("%5.2f  %u  %-7s  %3u  %-5s  %2u  %5lu", dial->capacity, dial->experts_per_token,
               bpr ? "BPR" : "vanilla", dial->group_images, rule, dial->capacity_multiple, slots);
    printf("  %6ld  %8lu  %+4ld%s\n", ours, row->correct, difference, good ? "" : "  WRONG");
    fflush(stdout);
    if (c->keep != NULL && row->dense)
        fprintf(c->keep, "dense\t-\t-\t-\t-\t-\t-\t%ld\n", ours);
    else if (c->keep != NULL)
        fprintf(c->keep, "%g\t%u\t%d\t%u\t%s\t%u\t%lu\t%ld\n", dial->capacity,
                dial->experts_per_token, bpr, dial->group_images, rule, dial->capacity_multiple,
                slots, ours);
    c->done[c->rows] = *row;
    c->done[c->rows++].correct = (unsigned long)ours;
    c->failed += !good;
    if (labs(difference) > c->largest)
        c->largest = labs(difference);
}

/* Works through a table.  0 if it cannot be read. */
static int compare_table(const char *path, struct comparison *c)
{
    char line[256];
    struct row row;
    FILE *file = fopen(path, "r");
    int good = file != NULL && fgets(line, sizeof line, file) != NULL;

    while (good && fgets(line, sizeof line, file) != NULL) {
        good = parse_row(line, &row) && c->rows < ROWS_MAX;
        if (good && row.dense && c->dense == NULL)
            c->skipped++;
        else if (good)
            compare_row(c, &row);
    }
    if (!good)
        fprintf(stderr, "accuracy: %s: cannot read this table\n", path);
    if (file != NULL)
        fclose(file);
    return good;
}

static int compare(char **paths, int count, const char *dense_path, const char *keep_path,
                   const vmoe_options *how)
{
    static struct comparison c;
    vmoe_model *model, *dense = NULL;
    int good;

    c.how = how;
    c.tolerance = TOLERANCE_F32;
    c.model = model = load(paths[0], &c.tolerance);
    if (dense_path != NULL)
        c.dense = dense = load(dense_path, &c.tolerance);
    good = model != NULL && (dense != NULL || dense_path == NULL) &&
           read_test_set(paths[1], paths[2], &c.set);
    c.top = good ? calloc(c.set.count, sizeof *c.top) : NULL;
    c.keep = good && keep_path != NULL ? fopen(keep_path, "w") : NULL;
    good = c.top != NULL && (c.keep != NULL || keep_path == NULL);
    if (c.keep != NULL)
        fprintf(c.keep, "C\tK\tbpr\tgroup_images\trule\tmultiple\tcapacity\tcorrect_of_10000\n");
    if (good) {
        printf("    C  K  order  group  round  to  slots  correct     table  difference\n");
        for (int i = 3; i < count && good; i++)
            good = compare_table(paths[i], &c);
        printf("%d settings of %zu pictures: the largest difference is %ld; %d wrong, %d skipped\n",
               c.rows, c.set.count, c.largest, c.failed, c.skipped);
    }
    if (c.keep != NULL)
        good = fclose(c.keep) == 0 && good;
    free(c.top);
    free(c.set.pixels);
    free(c.set.labels);
    vmoe_free(dense);
    vmoe_free(model);
    return good && c.failed == 0 && c.rows > 0 ? 0 : 1;
}

/* ---- Options -------------------------------------------------------------------------------- */

/* 0 if there is no such instruction set or precision. */
static int parse_isa(const char *name, uint32_t *isa)
{
    for (*isa = 1; vmoe_isa_name(*isa) != NULL; ++*isa)
        if (strcmp(name, vmoe_isa_name(*isa)) == 0)
            return 1;
    return 0;
}

static int parse_precision(const char *name, uint32_t *precision)
{
    static const char *const names[] = { "auto", "f32", "bf16", "int8" };

    for (*precision = 0; *precision < sizeof names / sizeof names[0]; ++*precision)
        if (strcmp(name, names[*precision]) == 0)
            return 1;
    return 0;
}

int main(int argc, char **argv)
{
    vmoe_options how = VMOE_OPTIONS_INIT;
    const char *dense = NULL, *keep = NULL;
    int good = 1;

    for (; good && argc > 2 && strncmp(argv[1], "--", 2) == 0; argc -= 2, argv += 2) {
        if (strcmp(argv[1], "--threads") == 0)
            how.threads = (uint32_t)strtoul(argv[2], NULL, 10);
        else if (strcmp(argv[1], "--dense") == 0)
            dense = argv[2];
        else if (strcmp(argv[1], "--keep") == 0)
            keep = argv[2];
        else if (strcmp(argv[1], "--isa") == 0)
            good = parse_isa(argv[2], &how.isa);
        else
            good = strcmp(argv[1], "--precision") == 0 && parse_precision(argv[2], &how.precision);
    }
    if (!good || argc < 5 || argv[1][0] == '-') {
        fprintf(stderr, "usage: accuracy [--dense DENSE.vmoe] [--isa NAME] [--precision NAME] "
                        "[--threads N] [--keep TABLE.tsv]\n"
                        "                MODEL.vmoe IMAGES.gz LABELS.gz TABLE.tsv...\n");
        return 2;
    }
    return compare(argv + 1, argc - 1, dense, keep, &how);
}
