/*
 * A model of 9.0 GB whose two large matrices have more than 4 GiB each.  Its file, written from
 * docs/format.md alone, is mostly hole; the few weights that are not zero lie at the far ends, and
 * each of them shows in the logits.  The oracle computes with these few in double.
 *
 *     large
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <vmoe.h>

#include "support/figures.h"
#include "support/forge.h"
#include "support/support.h"
#include "support/tiny.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#define WIDTH 4160u
#define MLP 262144u
#define CLASSES 2u
#define CHUNK ((size_t)1 << 20) /* 1 MiB */
#define GIB ((uint64_t)1 << 30)
#define MEMORY (12 * GIB) /* that must be free to read the file */

/* ---- Weights -------------------------------------------------------------------------------- */

struct weight {
    uint32_t row, column;
    float value;
};

/* Hidden units at both ends of the MLP see and change the ends of the stream. */
static const struct weight fc1[] = {
    { 0, 0, 0.75f }, { WIDTH - 1, 0, -0.5f }, { 2047, 131071, 0.625f }, { 1, MLP - 1, -1.25f },
    { WIDTH - 1, MLP - 1, 0.875f }, { 0, MLP - 33, 0.375f },
};
static const struct weight fc2[] = {
    { 0, 0, 1.5f }, { 131071, 1, -0.75f }, { MLP - 33, WIDTH - 1, 2.0f }, { MLP - 1, 0, 0.5f },
    { MLP - 1, WIDTH - 1, -1.75f },
};
static const struct weight head[] = {
    { 0, 0, 1.0f }, { 1, 0, -0.5f }, { WIDTH - 1, 0, 0.25f }, { 1, 1, 2.0f },
    { WIDTH - 1, 1, -1.5f },
};

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static float position_at(size_t d)
{
    return (float)((int)(d * 7919 % 2003) - 1001) / 512.0f;
}

static void normalize(const double x[WIDTH], double y[WIDTH])
{
    double mean = 0.0, variance = 0.0;

    for (size_t d = 0; d < WIDTH; d++)
        mean += x[d] / WIDTH;
    for (size_t d = 0; d < WIDTH; d++)
        variance += (x[d] - mean) * (x[d] - mean) / WIDTH;
    for (size_t d = 0; d < WIDTH; d++)
        y[d] = (x[d] - mean) / sqrt(variance + 1e-6);
}

static double gelu(double h)
{
    return 0.5 * h * (1.0 + tanh(0.7978845608028654 * (h + 0.044715 * h * h * h)));
}

/* The activation of a hidden unit. */
static double hidden_of(uint32_t unit, const double y[WIDTH], const struct weight *left_out)
{
    double sum = 0.0;

    for (size_t i = 0; i < COUNT(fc1); i++)
        if (fc1[i].column == unit && &fc1[i] != left_out)
            sum += y[fc1[i].row] * (double)fc1[i].value;
    return gelu(sum);
}

/* One token: the picture has one pixel, and the weights of its patch are zero. */
static void compute(const struct weight *left_out, double logits[CLASSES])
{
    static double x[WIDTH], y[WIDTH];

    for (size_t d = 0; d < WIDTH; d++)
        x[d] = (double)position_at(d);
    normalize(x, y);
    for (size_t i = 0; i < COUNT(fc2); i++)
        if (&fc2[i] != left_out)
            x[fc2[i].column] += hidden_of(fc2[i].row, y, left_out) * (double)fc2[i].value;
    normalize(x, y);
    for (size_t c = 0; c < CLASSES; c++)
        logits[c] = 0.0;
    for (size_t i = 0; i < COUNT(head); i++)
        if (&head[i] != left_out)
            logits[head[i].column] += y[head[i].row] * (double)head[i].value;
}

/* ---- The file ------------------------------------------------------------------------------- */

struct tensor {
    const char *name;
    uint32_t packed, rows, columns;
    uint64_t bytes, offset; /* filled in by lay_out */
    uint32_t first, chunks;
};

static struct tensor tensors[] = {
    { .name = "embedding.weight", .packed = 1, .rows = 3, .columns = WIDTH },
    { .name = "embedding.bias", .rows = 1, .columns = WIDTH },
    { .name = "position", .rows = 1, .columns = WIDTH },
    { .name = "block.0.norm_0.scale", .rows = 1, .columns = WIDTH },
    { .name = "block.0.norm_0.bias", .rows = 1, .columns = WIDTH },
    { .name = "block.0.attention.qkv.weight", .packed = 1, .rows = WIDTH, .columns = 3 * WIDTH },
    { .name = "block.0.attention.qkv.bias", .rows = 1, .columns = 3 * WIDTH },
    { .name = "block.0.attention.out.weight", .packed = 1, .rows = WIDTH, .columns = WIDTH },
    { .name = "block.0.attention.out.bias", .rows = 1, .columns = WIDTH },
    { .name = "block.0.norm_1.scale", .rows = 1, .columns = WIDTH },
    { .name = "block.0.norm_1.bias", .rows = 1, .columns = WIDTH },
    { .name = "block.0.mlp.fc1.weight", .packed = 1, .rows = WIDTH, .columns = MLP },
    { .name = "block.0.mlp.fc1.bias", .rows = 1, .columns = MLP },
    { .name = "block.0.mlp.fc2.weight", .packed = 1, .rows = MLP, .columns = WIDTH },
    { .name = "block.0.mlp.fc2.bias", .rows = 1, .columns = WIDTH },
    { .name = "norm.scale", .rows = 1, .columns = WIDTH },
    { .name = "norm.bias", .rows = 1, .columns = WIDTH },
    { .name = "head.weight", .packed = 1, .rows = WIDTH, .columns = CLASSES },
    { .name = "head.bias", .rows = 1, .columns = CLASSES },
};

static struct tensor *tensor_of(const char *name)
{
    for (size_t i = 0; i < COUNT(tensors); i++)
        if (strcmp(tensors[i].name, name) == 0)
            return &tensors[i];
    fail_msg("no tensor %s", name);
    return NULL;
}

static uint64_t round_up(uint64_t n, uint64_t multiple)
{
    return (n + multiple - 1) / multiple * multiple;
}

/* Sections 2, 6 and 8 of the format. */
static void lay_out(struct forged *file)
{
    uint64_t at;

    *file = (struct forged){ .strings = FORGE_STRINGS, .tensors = COUNT(tensors) };
    for (size_t i = 0; i < COUNT(tensors); i++) {
        struct tensor *t = &tensors[i];

        t->bytes = t->packed ? round_up(t->rows, 16) * round_up(t->columns, 32) * 4
                             : (uint64_t)t->rows * t->columns * 4;
        t->first = file->chunks;
        t->chunks = (uint32_t)((t->bytes + CHUNK - 1) / CHUNK);
        file->chunks += t->chunks;
    }
    file->directory = file->strings + 8; /* no provenance: one zero byte, filled up to eight */
    file->chunk_table = file->directory + COUNT(tensors) * FORGE_ENTRY_BYTES;
    file->header_bytes = file->size = file->chunk_table + file->chunks * FORGE_CHUNK_BYTES;
    at = round_up(file->header_bytes, 4096);
    for (size_t i = 0; i < COUNT(tensors); i++) {
        tensors[i].offset = at;
        at = round_up(at + tensors[i].bytes, 64);
    }
    file->bytes = calloc(1, file->header_bytes);
    assert_non_null(file->bytes);
}

static uint64_t file_bytes(void)
{
    const struct tensor *last = &tensors[COUNT(tensors) - 1];

    return last->offset + last->bytes;
}

/* Where a number of a matrix is, in bytes of the file. */
static uint64_t offset_of(const struct tensor *t, uint64_t k, uint64_t n)
{
    const uint64_t block = (n / 32 * (round_up(t->rows, 16) / 16) + k / 16) * 2 + n % 32 / 16;

    return t->offset + ((block * 16 + k % 16) * 16 + n % 16) * 4;
}

static void put_weights(int descriptor, const char *name, const struct weight *weights, size_t count)
{
    const struct tensor *t = tensor_of(name);

    for (size_t i = 0; i < count; i++)
        assert_int_equal(pwrite(descriptor, &weights[i].value, 4,
                                (off_t)offset_of(t, weights[i].row, weights[i].column)), 4);
}

static void put_array(int descriptor, const char *name, float (*value)(size_t))
{
    const struct tensor *t = tensor_of(name);

    for (size_t i = 0; i < t->columns; i++) {
        const float number = value(i);

        assert_int_equal(pwrite(descriptor, &number, 4, (off_t)(t->offset + 4 * i)), 4);
    }
}

static float one(size_t i)
{
    (void)i;
    return 1.0f;
}

static void put_config(struct forged *file)
{
    static const struct {
        size_t offset;
        uint32_t value;
    } fields[] = {
        { 0, 1 },  { 4, 1 },   { 8, WIDTH }, { 12, 64 }, { 16, MLP }, { 20, 1 }, { 24, CLASSES },
        { 32, 2 }, { 36, 1 },  { 40, 1 },    { 64, 1 },  { 68, 1 },   { 76, 1 },
    };

    memcpy(file->bytes, "\x89VME\r\n\x1a\n\1", 9);
    forge_put_u64(file, 16, file_bytes());
    forge_put_u32(file, 24, (uint32_t)file->header_bytes);
    forge_put_u32(file, 28, file->tensors);
    forge_put_u32(file, 32, file->chunks);
    forge_put_u32(file, 36, 8);
    for (size_t i = 0; i < COUNT(fields); i++)
        forge_put_u32(file, FORGE_CONFIG + fields[i].offset, fields[i].value);
}

/* The directory, and the hash of every chunk as it is in the file now. */
static void put_tables(int descriptor, struct forged *file)
{
    uint8_t *chunk = malloc(CHUNK);

    assert_non_null(chunk);
    for (size_t i = 0; i < COUNT(tensors); i++) {
        const struct tensor *t = &tensors[i];
        const size_t entry = file->directory + i * FORGE_ENTRY_BYTES;

        memcpy(file->bytes + entry, t->name, strlen(t->name));
        forge_put_u32(file, entry + 48, 1);
        forge_put_u32(file, entry + 52, t->packed);
        forge_put_u32(file, entry + 56, t->rows);
        forge_put_u32(file, entry + 60, t->columns);
        forge_put_u32(file, entry + 64, t->first);
        forge_put_u32(file, entry + 68, t->chunks);
        forge_put_u64(file, entry + 72, t->bytes);
        forge_put_u64(file, entry + 80, t->offset);
        forge_put_u64(file, entry + 88, t->bytes);
        for (uint64_t c = 0; c < t->chunks; c++) {
            const uint64_t left = t->bytes - c * CHUNK;
            const size_t stored = left < CHUNK ? (size_t)left : CHUNK;
            const size_t at = file->chunk_table + (t->first + c) * FORGE_CHUNK_BYTES;

            assert_int_equal(pread(descriptor, chunk, stored, (off_t)(t->offset + c * CHUNK)),
                             stored);
            forge_put_u32(file, at, (uint32_t)stored);
            forge_put_u64(file, at + 8, XXH3_64bits(chunk, stored));
        }
    }
    free(chunk);
}

static const char *model_path;

static int write_file_with_holes(void **state)
{
    struct forged file;
    int descriptor;

    (void)state;
    model_path = strdup(scratch_path("large.vmoe"));
    lay_out(&file);
    descriptor = open(model_path, O_RDWR | O_CREAT | O_EXCL, 0600);
    assert_true(descriptor >= 0);
    assert_int_equal(ftruncate(descriptor, (off_t)file_bytes()), 0);
    put_array(descriptor, "position", position_at);
    put_array(descriptor, "block.0.norm_1.scale", one);
    put_array(descriptor, "norm.scale", one);
    put_weights(descriptor, "block.0.mlp.fc1.weight", fc1, COUNT(fc1));
    put_weights(descriptor, "block.0.mlp.fc2.weight", fc2, COUNT(fc2));
    put_weights(descriptor, "head.weight", head, COUNT(head));
    put_config(&file);
    put_tables(descriptor, &file);
    forge_sign(&file);
    assert_int_equal(pwrite(descriptor, file.bytes, file.header_bytes, 0), file.header_bytes);
    close(descriptor);
    forge_free(&file);
    return 0;
}

/* ---- Tests ---------------------------------------------------------------------------------- */

static void both_matrices_have_more_than_four_gibibytes(void **state)
{
    (void)state;
    assert_true(tensor_of("block.0.mlp.fc1.weight")->bytes > 4 * GIB);
    assert_true(tensor_of("block.0.mlp.fc2.weight")->bytes > 4 * GIB);
    assert_true(file_bytes() > 8 * GIB);
}

/* Without any one of the weights, the oracle answers something else by far more than the error. */
static void each_weight_shows_in_the_logits(void **state)
{
    static const struct {
        const struct weight *weights;
        size_t count;
    } all[] = { { fc1, COUNT(fc1) }, { fc2, COUNT(fc2) }, { head, COUNT(head) } };
    double logits[CLASSES], others[CLASSES];

    (void)state;
    compute(NULL, logits);
    for (size_t i = 0; i < COUNT(all); i++)
        for (size_t w = 0; w < all[i].count; w++) {
            double change = 0.0;

            compute(&all[i].weights[w], others);
            for (size_t c = 0; c < CLASSES; c++)
                change = fmax(change, fabs(others[c] - logits[c]));
            if (change < 1e-2)
                fail_msg("weight %zu of matrix %zu changes the logits by %g", w, i, change);
        }
}

static void answer(const vmoe_model *model, float logits[CLASSES])
{
    const float pixel[3] = { 0.5f, -0.25f, 1.0f };
    vmoe_options options = VMOE_OPTIONS_INIT;
    vmoe_error error = VMOE_ERROR_INIT;
    double expected[CLASSES];
    float again[CLASSES];

    compute(NULL, expected);
    options.threads = 1;
    assert_ok(vmoe_logits_f32(model, pixel, 1, &options, logits, &error), error);
    for (size_t c = 0; c < CLASSES; c++)
        if (!(fabs((double)logits[c] - expected[c]) < 1e-4))
            fail_msg("logit %zu is %g, not %g", c, (double)logits[c], expected[c]);
    options.threads = 2;
    assert_ok(vmoe_logits_f32(model, pixel, 1, &options, again, &error), error);
    assert_memory_equal(again, logits, sizeof again);
}

static void a_mapped_model_answers(void **state)
{
    vmoe_load_options options = VMOE_LOAD_OPTIONS_INIT;
    vmoe_model *model;
    float logits[CLASSES];
    vmoe_info info;

    (void)state;
    options.flags = VMOE_LOAD_MMAP;
    model = must_load(model_path, &options);
    info = info_of(model);
    assert_true(info.file_bytes == file_bytes());
    assert_true(info.weight_bytes > 8 * GIB);
    answer(model, logits);
    print_message("  %.2f GB mapped: logits %g %g\n", 1e-9 * (double)info.file_bytes,
                  (double)logits[0], (double)logits[1]);
    vmoe_free(model);
}

/* Bytes that the system would hand out without swapping. */
static uint64_t available_memory(void)
{
    FILE *const file = fopen("/proc/meminfo", "r");
    unsigned long long kib = 0;
    char line[128];

    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "MemAvailable: %llu kB", &kib) == 1)
            break;
    if (file != NULL)
        fclose(file);
    return kib << 10;
}

static void a_model_in_memory_answers(void **state)
{
    const struct figures before = figures_now();
    struct figures after;
    vmoe_model *model;
    float logits[CLASSES];

    (void)state;
    if (available_memory() < MEMORY)
        skip_because("12 GiB of memory are not free");
    model = must_load(model_path, NULL);
    after = figures_now();
    answer(model, logits);
    vmoe_free(model);
    print_message("  read: %.2f GB more memory\n",
                  1e-9 * (double)(after.resident - before.resident));
    assert_true(after.resident - before.resident < file_bytes() + 16 * CHUNK);
}

static void the_limit_counts_beyond_four_gibibytes(void **state)
{
    vmoe_load_options options = VMOE_LOAD_OPTIONS_INIT;
    vmoe_error error = VMOE_ERROR_INIT;
    vmoe_model *model;
    uint64_t bytes;

    (void)state;
    options.flags = VMOE_LOAD_MMAP | VMOE_LOAD_HEADER_ONLY;
    model = must_load(model_path, &options);
    bytes = info_of(model).weight_bytes;
    vmoe_free(model);
    for (uint64_t limit = bytes - 1; limit > 0; limit >>= 1) {
        options.max_bytes = limit;
        assert_refused(vmoe_load_file(model_path, &options, &model, &error), error, VMOE_ERR_LIMIT,
                       "large.vmoe");
        assert_null(model);
    }
    options.max_bytes = bytes;
    vmoe_free(must_load(model_path, &options));
}

static void flip_bit(uint64_t offset)
{
    const int descriptor = open(model_path, O_RDWR);
    uint8_t byte;

    assert_int_equal(pread(descriptor, &byte, 1, (off_t)offset), 1);
    byte ^= 0x10;
    assert_int_equal(pwrite(descriptor, &byte, 1, (off_t)offset), 1);
    close(descriptor);
}

static void damage_at_the_far_ends_is_found(void **state)
{
    static const char *const names[] = { "block.0.mlp.fc1.weight", "block.0.mlp.fc2.weight" };
    vmoe_load_options options = VMOE_LOAD_OPTIONS_INIT;
    vmoe_error error = VMOE_ERROR_INIT;
    vmoe_model *model;

    (void)state;
    options.flags = VMOE_LOAD_MMAP;
    for (size_t i = 0; i < COUNT(names); i++) {
        const struct tensor *t = tensor_of(names[i]);
        const uint64_t places[] = { t->offset, t->offset + 4 * GIB, t->offset + t->bytes - 1 };

        for (size_t p = 0; p < COUNT(places); p++) {
            flip_bit(places[p]);
            assert_refused(vmoe_load_file(model_path, &options, &model, &error), error,
                           VMOE_ERR_CHECKSUM, names[i]);
            flip_bit(places[p]);
        }
        flip_bit(t->offset + t->bytes - 1);
        assert_refused(vmoe_verify_file(model_path, &error), error, VMOE_ERR_CHECKSUM, names[i]);
        flip_bit(t->offset + t->bytes - 1);
    }
    assert_ok(vmoe_verify_file(model_path, &error), error);
    assert_int_equal(truncate(model_path, (off_t)(file_bytes() - 4 * GIB)), 0);
    assert_refused(vmoe_load_file(model_path, &options, &model, &error), error, VMOE_ERR_FORMAT,
                   "large.vmoe");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_matrices_have_more_than_four_gibibytes),
        cmocka_unit_test(each_weight_shows_in_the_logits),
        cmocka_unit_test(a_mapped_model_answers),
        cmocka_unit_test(a_model_in_memory_answers),
        cmocka_unit_test(the_limit_counts_beyond_four_gibibytes),
        cmocka_unit_test(damage_at_the_far_ends_is_found),
    };

    return cmocka_run_group_tests_name("large", tests, write_file_with_holes, NULL);
}
