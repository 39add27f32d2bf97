/*
 * Foreign checkpoints as named arrays: everything the golden checkpoints hold is compared with what
 * numpy sees (tests/data/sources.tsv), then damaged in all ways that are cheap.
 */
#define _GNU_SOURCE
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "checkpoint/import.h"
#include "support/fault.h"
#include "support/random.h"

#define DATA "tests/data/"

static const char *const golden_sources[] = {
    "models/token/model", "models/odd/model", "models/last2/model", "models/gap/model",
    "models/map/model",   "e3/model",         "../demo/model",      "../demo/dense",
    "dense/vit.npz",
};

#define GOLDEN_SOURCES (sizeof golden_sources / sizeof golden_sources[0])

/* Fewer than all where the repository stands alone. */
static bool has_source(const char *name)
{
    char file[128];

    snprintf(file, sizeof file, "%s%s", name, strstr(name, ".npz") != NULL ? "" : ".index");
    return golden_has(file);
}

static struct vmoe_source *must_open(const char *path)
{
    vmoe_error error = VMOE_ERROR_INIT;
    struct vmoe_source *source = NULL;

    if (vmoe_import_open(path, &vmoe_memory_default, &source, &error) != VMOE_OK)
        fail_msg("%s: %s: %s", path, error.where, error.text);
    return source;
}

static float *must_read(struct vmoe_source *source, size_t array)
{
    const uint64_t elements = source->arrays[array].elements;
    vmoe_error error = VMOE_ERROR_INIT;
    float *values = malloc((size_t)elements * sizeof *values);

    if (source->read(source, array, 0, elements, values, &error) != VMOE_OK)
        fail_msg("%s: %s: %s", source->arrays[array].name, error.where, error.text);
    return values;
}

/* ---- Against numpy -------------------------------------------------------------------------- */

static void shape_text(const struct vmoe_array *array, char text[128])
{
    size_t length = 0;

    strcpy(text, "-");
    for (uint32_t axis = 0; axis < array->rank; axis++)
        length += (size_t)sprintf(text + length, "%s%u", axis == 0 ? "" : ",",
                                  (unsigned)array->dims[axis]);
}

/* Compares with the rows of the table from `row` on; returns how many rows there were. */
static size_t compare_source(const struct table *table, size_t row, const char *path)
{
    struct vmoe_source *source = must_open(path);
    const char *name = table_cell(table, row, "source");
    bool each = strcmp(table_cell(table, row, "name"), "*") != 0;
    uLong total = 0;
    char text[128];

    for (size_t i = 0; i < source->count; i++) {
        const struct vmoe_array *array = &source->arrays[i];
        float *values = must_read(source, i);
        size_t bytes = (size_t)array->elements * sizeof *values;

        total = crc32_z(total, (const Bytef *)values, bytes);
        if (each) {
            sprintf(text, "%08lx", crc32_z(0, (const Bytef *)values, bytes));
            assert_string_equal(table_cell(table, row + i, "source"), name);
            assert_string_equal(table_cell(table, row + i, "name"), array->name);
            assert_string_equal(table_cell(table, row + i, "crc32"), text);
            shape_text(array, text);
            assert_string_equal(table_cell(table, row + i, "shape"), text);
        }
        if (i > 0)
            assert_true(strcmp(source->arrays[i - 1].name, array->name) < 0);
        free(values);
    }
    row += each ? source->count : 0;
    assert_string_equal(table_cell(table, row, "source"), name);
    assert_string_equal(table_cell(table, row, "name"), "*");
    sprintf(text, "%zu", source->count);
    assert_string_equal(table_cell(table, row, "shape"), text);
    sprintf(text, "%08lx", total);
    assert_string_equal(table_cell(table, row, "crc32"), text);
    source->close(source);
    return row + 1;
}

/* Compares every source of the table that is, or is not, in tests/data. */
static size_t compare_table(bool own)
{
    struct table table = table_load(DATA "sources.tsv");
    size_t compared = 0;

    for (size_t row = 0; row < table.rows;) {
        const char *name = table_cell(&table, row, "source");
        char path[256];

        if ((strncmp(name, "types", 5) == 0) != own || (!own && !has_source(name))) {
            row++;
            continue;
        }
        snprintf(path, sizeof path, "%s%s", own ? DATA : golden_path("%s", ""), name);
        row = compare_source(&table, row, path);
        compared++;
    }
    table_free(&table);
    return compared;
}

static void every_array_of_every_golden_checkpoint_is_what_numpy_reads(void **state)
{
    size_t compared = compare_table(false), expected = 0;

    (void)state;
    for (size_t i = 0; i < GOLDEN_SOURCES; i++)
        expected += has_source(golden_sources[i]);
    if (expected == 0)
        skip_because("not among the golden data here");
    assert_int_equal(compared, expected);
}

static void every_number_type_is_converted_as_numpy_does(void **state)
{
    (void)state;
    assert_int_equal(compare_table(true), 3);
}

/* ---- Ranges --------------------------------------------------------------------------------- */

static void compare_ranges(const char *path, int ranges)
{
    struct vmoe_source *source = must_open(path);

    random_seed(1);
    for (size_t i = 0; i < source->count; i++) {
        const size_t elements = (size_t)source->arrays[i].elements;
        float *whole = must_read(source, i);
        float *part = malloc((elements + 2) * sizeof *part);

        for (int j = 0; j < ranges; j++) {
            size_t first = random_u32() % (elements + 1);
            size_t count = random_u32() % (elements - first + 1);

            for (size_t k = 0; k < count + 2; k++)
                part[k] = 12345.0f;
            assert_int_equal(source->read(source, i, first, count, part + 1, NULL), VMOE_OK);
            assert_memory_equal(part + 1, whole + first, count * sizeof *part);
            assert_true(part[0] == 12345.0f && part[count + 1] == 12345.0f);
        }
        assert_int_equal(source->read(source, i, elements, 0, part, NULL), VMOE_OK);
        assert_int_equal(source->read(source, i, elements, 1, part, NULL), VMOE_ERR_ARGUMENT);
        assert_int_equal(source->read(source, i, 1, UINT64_MAX, part, NULL), VMOE_ERR_ARGUMENT);
        free(part);
        free(whole);
    }
    source->close(source);
}

static void any_range_of_an_array_equals_that_range_of_the_whole(void **state)
{
    (void)state;
    compare_ranges(DATA "types_deflated.npz", 30);
    compare_ranges(DATA "types_stored.npz", 30);
    compare_ranges(DATA "types.safetensors", 30);
    for (size_t i = 0; i < GOLDEN_SOURCES; i++)
        if (has_source(golden_sources[i]))
            compare_ranges(golden_path("%s", golden_sources[i]), 10);
}

static void reading_piece_by_piece_inflates_an_array_once(void **state)
{
    struct fault fault;
    struct vmoe_source *source;
    size_t vector = 0, calls;
    float values[100];

    (void)state;
    fault_init(&fault, 0, false);
    assert_int_equal(vmoe_npz_open(DATA "types_deflated.npz", &fault.allocator, &source, NULL),
                     VMOE_OK);
    while (strcmp(source->arrays[vector].name, "vector") != 0)
        vector++;
    calls = fault.calls;
    for (size_t first = 0; first < 20000; first += 100) {
        assert_int_equal(source->read(source, vector, first, 100, values, NULL), VMOE_OK);
        for (size_t i = 0; i < 100; i++)
            assert_true(values[i] == (float)((first + i) / 70));
    }
    /* A stream takes its state and, once it has to look back, its window. */
    assert_in_range(fault.calls - calls, 0, 2);
    source->close(source);
    assert_int_equal(fault.live, 0);
}

/* ---- Failing allocations -------------------------------------------------------------------- */

/* Opens and reads everything; returns the status of the first failure. */
static vmoe_status open_and_read(const char *path, const vmoe_allocator *allocator)
{
    struct vmoe_source *source = NULL;
    vmoe_error error = VMOE_ERROR_INIT;
    vmoe_status status = vmoe_import_open(path, allocator, &source, &error);

    assert_int_equal(error.status, status);
    assert_true((source != NULL) == (status == VMOE_OK));
    if (status != VMOE_OK) {
        assert_true(error.where[0] != '\0' && error.text[0] != '\0');
        return status;
    }
    for (size_t i = 0; i < source->count && status == VMOE_OK; i++) {
        const uint64_t elements = source->arrays[i].elements;
        float *values;

        /* A damaged index may name a size that nothing confirms until it is read. */
        assert_true(elements < (UINT64_C(1) << 24));
        values = malloc((size_t)elements * sizeof *values);
        memset(values, 0x5A, (size_t)elements * sizeof *values);
        status = source->read(source, i, 0, elements, values, &error);
        free(values);
    }
    source->close(source);
    return status;
}

static void fail_every_allocation(const char *path)
{
    const size_t files = fault_open_files();
    struct fault fault;
    size_t calls;

    fault_init(&fault, 0, false);
    assert_int_equal(open_and_read(path, &fault.allocator), VMOE_OK);
    assert_int_equal(fault.live, 0);
    calls = fault.calls;
    assert_true(calls > 5);
    for (size_t i = 1; i <= calls; i++) {
        for (int persistent = 0; persistent < 2; persistent++) {
            fault_init(&fault, i, persistent != 0);
            assert_int_equal(open_and_read(path, &fault.allocator), VMOE_ERR_MEMORY);
            assert_int_equal(fault.live, 0);
        }
    }
    assert_int_equal(fault_open_files(), files);
    fault_init(&fault, calls + 1, true);
    assert_int_equal(open_and_read(path, &fault.allocator), VMOE_OK);
}

static void every_failing_allocation_is_reported_and_leaks_nothing(void **state)
{
    (void)state;
    fail_every_allocation(DATA "types_deflated.npz");
    fail_every_allocation(DATA "types_stored.npz");
    fail_every_allocation(DATA "types.safetensors");
    for (size_t i = 0; i < GOLDEN_SOURCES; i++)
        if (has_source(golden_sources[i]))
            fail_every_allocation(golden_path("%s", golden_sources[i]));
}

static void opening_takes_little_memory(void **state)
{
    (void)state;
    for (size_t i = 0; i < GOLDEN_SOURCES; i++) {
        struct fault fault;
        struct vmoe_source *source;

        if (!has_source(golden_sources[i]))
            continue;
        fault_init(&fault, 0, false);
        assert_int_equal(vmoe_import_open(golden_path("%s", golden_sources[i]), &fault.allocator,
                                          &source, NULL), VMOE_OK);
        assert_in_range(fault.peak, 1, 512 << 10);
        source->close(source);
    }
}

/* ---- Damage --------------------------------------------------------------------------------- */

struct copy {
    uint8_t *data;
    size_t bytes;
    char path[512]; /* in the scratch folder */
};

static struct copy copy_of(const char *from, const char *to)
{
    struct copy copy;

    copy.data = read_file(from, &copy.bytes);
    snprintf(copy.path, sizeof copy.path, "%s", scratch_path(to));
    write_file(copy.path, copy.data, copy.bytes);
    return copy;
}

/* Changes one byte of the file; rewriting all of it each time would wait for the disk. */
static void poke(const struct copy *copy, size_t at, uint8_t byte)
{
    FILE *file = fopen(copy->path, "r+b");

    if (file == NULL || fseek(file, (long)at, SEEK_SET) != 0 || fputc(byte, file) != byte ||
        fclose(file) != 0)
        fail_msg("cannot write %s", copy->path);
}

/* Inverts every `step`-th byte, then flips single bits.  Returns how many of these files load. */
static size_t damage(struct copy *copy, const char *source, size_t step, int flips)
{
    size_t loaded = 0;

    random_seed(2);
    for (size_t i = 0; i < copy->bytes; i += step) {
        poke(copy, i, copy->data[i] ^ 0xFF);
        loaded += open_and_read(source, &vmoe_memory_default) == VMOE_OK;
        poke(copy, i, copy->data[i]);
    }
    for (int i = 0; i < flips; i++) {
        size_t at = random_u32() % copy->bytes;
        uint8_t bit = (uint8_t)(1u << random_u32() % 8);

        poke(copy, at, copy->data[at] ^ bit);
        loaded += open_and_read(source, &vmoe_memory_default) == VMOE_OK;
        poke(copy, at, copy->data[at]);
    }
    return loaded;
}

static void truncate_everywhere(struct copy *copy, const char *source, size_t step)
{
    for (size_t cut = 1; cut <= copy->bytes; cut += step) {
        size_t bytes = copy->bytes - cut;

        assert_int_equal(truncate(copy->path, (off_t)bytes), 0);
        if (open_and_read(source, &vmoe_memory_default) == VMOE_OK)
            fail_msg("%s loads with its first %zu bytes", source, bytes);
    }
    write_file(copy->path, copy->data, copy->bytes);
}

static void a_damaged_index_loads_or_is_a_clean_error(void **state)
{
    struct copy index, shard;
    char prefix[512];

    (void)state;
    if (!has_source("models/gap/model"))
        skip_because("not among the golden data here");
    snprintf(prefix, sizeof prefix, "%s", scratch_path("gap"));
    index = copy_of(golden_path("models/gap/model.index"), "gap.index");
    shard = copy_of(golden_path("models/gap/model.data-00000-of-00001"),
                    "gap.data-00000-of-00001");
    assert_int_equal(open_and_read(prefix, &vmoe_memory_default), VMOE_OK);
    truncate_everywhere(&index, prefix, 1);
    /* What still loads has another letter in a name, as long as the order stays. */
    assert_in_range(damage(&index, prefix, 1, 5000), 1, 2000);
    truncate_everywhere(&shard, prefix, 1009);
    free(index.data);
    free(shard.data);
}

static void a_damaged_npz_loads_or_is_a_clean_error(void **state)
{
    static const char *const names[] = { "types_deflated.npz", "types_stored.npz" };

    (void)state;
    for (int i = 0; i < 2; i++) {
        char from[256], source[512];
        struct copy copy;

        snprintf(from, sizeof from, DATA "%s", names[i]);
        snprintf(source, sizeof source, "%s", scratch_path(names[i]));
        copy = copy_of(from, names[i]);
        truncate_everywhere(&copy, source, 1);
        /* What still loads differs in a time or a version, of which each member has some bytes. */
        assert_in_range(damage(&copy, source, 1, 5000), 1, copy.bytes / 10);
        free(copy.data);
    }
}

static void a_damaged_safetensors_loads_or_is_a_clean_error(void **state)
{
    char source[512];
    struct copy copy;
    size_t numbers;

    (void)state;
    snprintf(source, sizeof source, "%s", scratch_path("types.safetensors"));
    copy = copy_of(DATA "types.safetensors", "types.safetensors");
    numbers = copy.bytes - 8 - (copy.data[0] | (size_t)copy.data[1] << 8);
    truncate_everywhere(&copy, source, 1);
    /* The numbers have no checksum, and of the header what still loads has other names. */
    assert_in_range(damage(&copy, source, 1, 0), numbers, numbers + copy.bytes / 10);
    free(copy.data);
}

static void a_missing_file_is_an_io_error_that_names_it(void **state)
{
    vmoe_error error = VMOE_ERROR_INIT;
    struct vmoe_source *source;
    struct copy index;

    (void)state;
    assert_int_equal(vmoe_shards_open(scratch_path("none"), &vmoe_memory_default, &source, &error),
                     VMOE_ERR_IO);
    assert_non_null(strstr(error.where, "none.index"));
    assert_non_null(strstr(error.text, "No such file"));
    assert_non_null(strstr(error.text, "the prefix of PREFIX.index"));
    assert_int_equal(vmoe_npz_open(scratch_path("none.npz"), &vmoe_memory_default, &source, &error),
                     VMOE_ERR_IO);
    assert_non_null(strstr(error.where, "none.npz"));
    assert_int_equal(vmoe_npz_open(scratch_folder(), &vmoe_memory_default, &source, &error),
                     VMOE_ERR_IO);
    if (!has_source("models/gap/model"))
        skip_because("not among the golden data here");
    index = copy_of(golden_path("models/gap/model.index"), "alone.index");
    assert_int_equal(vmoe_shards_open(scratch_path("alone"), &vmoe_memory_default, &source, &error),
                     VMOE_ERR_IO);
    assert_non_null(strstr(error.where, "alone.data-00000-of-00001"));
    free(index.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_array_of_every_golden_checkpoint_is_what_numpy_reads),
        cmocka_unit_test(every_number_type_is_converted_as_numpy_does),
        cmocka_unit_test(any_range_of_an_array_equals_that_range_of_the_whole),
        cmocka_unit_test(reading_piece_by_piece_inflates_an_array_once),
        cmocka_unit_test(every_failing_allocation_is_reported_and_leaks_nothing),
        cmocka_unit_test(opening_takes_little_memory),
        cmocka_unit_test(a_damaged_index_loads_or_is_a_clean_error),
        cmocka_unit_test(a_damaged_npz_loads_or_is_a_clean_error),
        cmocka_unit_test(a_damaged_safetensors_loads_or_is_a_clean_error),
        cmocka_unit_test(a_missing_file_is_an_io_error_that_names_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
