/*
 * Hand-made .safetensors files: everything that a writer may do, and then the lies: about lengths,
 * shapes, types and places.
 */
#define _GNU_SOURCE
#include "support/support.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "checkpoint/import.h"
#include "checkpoint/source.h"
#include "support/fault.h"
#include "support/formula.h"
#include "support/tiny.h"

static const char *path(void)
{
    return scratch_path("made.safetensors");
}

/*
 * Byte i of the data: 0, 1, 2, ... with a period that no size of a buffer is a multiple of, for then
 * pieces of a tensor would be alike.
 */
static uint8_t byte_at(size_t i)
{
    return (uint8_t)(i % 251);
}

/* Writes a header, whose length may be a lie, and data. */
static void write_lie(const char *header, int64_t lie, size_t data)
{
    const size_t length = strlen(header);
    const uint64_t said = length + (uint64_t)lie;
    uint8_t *file = malloc(8 + length + data);

    for (size_t i = 0; i < 8; i++)
        file[i] = (uint8_t)(said >> 8 * i);
    memcpy(file + 8, header, length);
    for (size_t i = 0; i < data; i++)
        file[8 + length + i] = byte_at(i);
    unlink(path());
    write_file(path(), file, 8 + length + data);
    free(file);
}

static struct vmoe_source *must_open(const char *header, size_t data)
{
    struct vmoe_source *source = NULL;
    vmoe_error error = VMOE_ERROR_INIT;

    write_lie(header, 0, data);
    if (vmoe_safetensors_open(path(), &vmoe_memory_default, &source, &error) != VMOE_OK)
        fail_msg("%s: %s: %s", header, error.where, error.text);
    return source;
}

static void accepted(const char *header, size_t data)
{
    struct vmoe_source *source = must_open(header, data);

    source->close(source);
}

static void expect_refusal(const char *header, vmoe_status status, const char *words)
{
    vmoe_error error = VMOE_ERROR_INIT;
    struct vmoe_source *source;
    struct fault fault;
    vmoe_status found;

    fault_init(&fault, 0, false);
    found = vmoe_safetensors_open(path(), &fault.allocator, &source, &error);
    if (found != status || strstr(error.text, words) == NULL)
        fail_msg("%s: found %s \"%s: %s\", expected %s \"%s\"", header, vmoe_status_name(found),
                 error.where, error.text, vmoe_status_name(status), words);
    assert_null(source);
    assert_int_equal(fault.live, 0);
}

static void refused(const char *header, size_t data, vmoe_status status, const char *words)
{
    write_lie(header, 0, data);
    expect_refusal(header, status, words);
}

/* ---- Files that are fine -------------------------------------------------------------------- */

#define TENSOR(name, dtype, shape, offsets) \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"

static void plain_files_read_back(void **state)
{
    struct vmoe_source *source = must_open("{" TENSOR("b/kernel", "U8", "[3,2]", "[0,6]") ","
                                           TENSOR("a", "U16", "[2]", "[6,10]") "}", 10);
    float values[6];

    (void)state;
    assert_int_equal(source->count, 2);
    assert_string_equal(source->arrays[0].name, "a");
    assert_string_equal(source->arrays[1].name, "b/kernel");
    assert_int_equal(source->arrays[1].rank, 2);
    assert_int_equal(source->arrays[1].dims[0], 3);
    assert_int_equal(source->arrays[1].dims[1], 2);
    for (uint64_t first = 0; first < 6; first++) {
        assert_int_equal(source->read(source, 1, first, 6 - first, values, NULL), VMOE_OK);
        for (uint64_t i = first; i < 6; i++)
            assert_true(values[i - first] == (float)i);
    }
    assert_int_equal(source->read(source, 0, 0, 2, values, NULL), VMOE_OK);
    assert_true(values[0] == 0x0706 && values[1] == 0x0908);
    assert_int_equal(source->read(source, 0, 1, 2, values, NULL), VMOE_ERR_ARGUMENT);
    assert_int_equal(source->read(source, 0, 1, UINT64_MAX, values, NULL), VMOE_ERR_ARGUMENT);
    source->close(source);
}

static void large_tensors_are_converted_piece_by_piece(void **state)
{
    const size_t count = 100001;
    float *values = malloc(count * sizeof *values);
    struct vmoe_source *source =
        must_open("{" TENSOR("a", "U16", "[100001]", "[0,200002]") "}", 2 * count);

    (void)state;
    assert_int_equal(source->read(source, 0, 0, count, values, NULL), VMOE_OK);
    for (size_t i = 0; i < count; i++)
        assert_true(values[i] == (float)(byte_at(2 * i) + 256 * byte_at(2 * i + 1)));
    source->close(source);
    free(values);
}

static void headers_in_all_spellings_are_read(void **state)
{
    static const char *const headers[] = {
        " {\n\t\"a\" : { \"shape\" : [ 2 , 3 ] ,\r\n \"data_offsets\":[0, 6],\"dtype\":\"U8\" } } ",
        "{" TENSOR("a", "I8", "[2,3]", "[0,6]") ",\"__metadata__\":{}}       ",
        "{\"__metadata__\":{\"format\":\"np\",\"a\":\"\\\"\\\\\\u00e9\303\251\\n\",\"\":\"\"},"
        TENSOR("a", "U8", "[2,3]", "[0,6]") "}",
        "{" TENSOR("a", "U8", "[2,3]", "[0,6]") "," TENSOR("b", "F32", "[7,0]", "[6,6]") "}",
        "{" TENSOR("b", "F64", "[0]", "[0,0]") "," TENSOR("a", "BOOL", "[6]", "[0,6]") "}",
        "{" TENSOR("a", "BOOL", "[6]", "[0,6]") "," TENSOR("b", "F64", "[0]", "[0,0]") "}",
        "{" TENSOR("c", "F4", "[1]", "[5,6]") "," TENSOR("a", "I8", "[5]", "[0,5]") "}",
        "{" TENSOR("a", "U8", "[]", "[0,1]") "," TENSOR("d", "F8_E4M3", "[5]", "[1,6]") "}",
        "{" TENSOR("a", "U8", "[1,1,1,1,1,1,2,3]", "[0,6]") "}",
    };

    (void)state;
    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++) {
        struct vmoe_source *source = must_open(headers[i], 6);
        float values[6];

        assert_string_equal(source->arrays[0].name, "a");
        assert_int_equal(source->read(source, 0, 0, source->arrays[0].elements, values, NULL),
                         VMOE_OK);
        assert_true(values[0] == 0.0f);
        source->close(source);
    }
    accepted("{}", 0);
}

static void slashes_and_quotes_of_names_may_be_escaped(void **state)
{
    struct vmoe_source *source =
        must_open("{" TENSOR("a\\/b\\\"c\\\\d", "U8", "[1]", "[0,1]") "}", 1);

    (void)state;
    assert_string_equal(source->arrays[0].name, "a/b\"c\\d");
    source->close(source);
}

static void other_types_matter_only_when_they_are_read(void **state)
{
    struct vmoe_source *source = must_open("{" TENSOR("a", "F8_E5M2", "[3]", "[0,3]") "}", 3);
    vmoe_error error = VMOE_ERROR_INIT;
    float values[3];

    (void)state;
    assert_int_equal(source->read(source, 0, 0, 3, values, &error), VMOE_ERR_UNSUPPORTED);
    assert_string_equal(error.where, "a");
    assert_non_null(strstr(error.text, "'F8_E5M2'"));
    source->close(source);
}

/* ---- Lies ----------------------------------------------------------------------------------- */

static void headers_of_another_form_are_refused(void **state)
{
    static const char *const headers[] = {
        "", " ", "[]", "{", "{}}", "{},", "{,}", "{\"a\"}", "{\"a\":}", "{\"a\":1}", "{\"a\":{}}",
        "{" TENSOR("a", "U8", "[2]", "[0,2]") ",}",
        "{" TENSOR("a", "U8", "[2]", "[0,2]") " " TENSOR("b", "U8", "[0]", "[2,2]") "}",
        "{" TENSOR("a", "U8", "[2,]", "[0,2]") "}", "{" TENSOR("a", "U8", "[,2]", "[0,2]") "}",
        "{" TENSOR("a", "U8", "[2", "[0,2]") "}", "{" TENSOR("a", "U8", "2", "[0,2]") "}",
        "{" TENSOR("a", "U8", "[02]", "[0,2]") "}", "{" TENSOR("a", "U8", "[-2]", "[0,2]") "}",
        "{" TENSOR("a", "U8", "[2.0]", "[0,2]") "}", "{" TENSOR("a", "U8", "[2e0]", "[0,2]") "}",
        "{" TENSOR("a", "U8", "[true]", "[0,2]") "}", "{" TENSOR("a", "U8", "[\"2\"]", "[0,2]") "}",
        "{" TENSOR("a", "U8", "[2]", "[2]") "}", "{" TENSOR("a", "U8", "[2]", "[]") "}",
        "{" TENSOR("a", "U8", "[2]", "[0,2,2]") "}", "{" TENSOR("a", "F4", "[0]", "[2,0]") "}",
        "{" TENSOR("a", "U8", "[3]", "[0,2]") "}", "{" TENSOR("a", "F32", "[2]", "[0,2]") "}",
        "{" TENSOR("a", "U8", "[]", "[0,2]") "}",
        "{\"a\":{\"dtype\":\"U8\",\"shape\":[2]}}",
        "{\"a\":{\"dtype\":\"U8\",\"data_offsets\":[0,2]}}",
        "{\"a\":{\"shape\":[2],\"data_offsets\":[0,2]}}",
        "{\"a\":{\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}",
        "{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"shape\":[2],\"data_offsets\":[0,2]}}",
        "{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2],\"x\":1}}",
        "{\"a\":{\"dtype\":1,\"shape\":[2],\"data_offsets\":[0,2]}}",
        "{\"__metadata__\":{\"a\":1}," TENSOR("a", "U8", "[2]", "[0,2]") "}",
        "{\"__metadata__\":{\"a\":\"b}," TENSOR("a", "U8", "[2]", "[0,2]") "}",
        "{\"__metadata__\":{},\"__metadata__\":{}," TENSOR("a", "U8", "[2]", "[0,2]") "}",
        "{'a':{'dtype':'U8','shape':[2],'data_offsets':[0,2]}}",
        "{\"a", "{\"__metadata__\":{\"\\",
    };

    (void)state;
    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++)
        refused(headers[i], 2, VMOE_ERR_FORMAT, " of its header: ");
}

static void names_are_checked(void **state)
{
    char header[400], name[300];

    (void)state;
    refused("{\"a\\", 2, VMOE_ERR_UNSUPPORTED, "at byte 3");
    refused("{" TENSOR("a\\u0062", "U8", "[2]", "[0,2]") "}", 2, VMOE_ERR_UNSUPPORTED, "at byte 3");
    refused("{" TENSOR("a\303\251", "U8", "[2]", "[0,2]") "}", 2, VMOE_ERR_UNSUPPORTED, "ASCII");
    refused("{" TENSOR("a\037", "U8", "[2]", "[0,2]") "}", 2, VMOE_ERR_UNSUPPORTED, "ASCII");
    refused("{" TENSOR("a\177", "U8", "[2]", "[0,2]") "}", 2, VMOE_ERR_UNSUPPORTED, "ASCII");
    refused("{" TENSOR("a", "U8", "[1]", "[0,1]") "," TENSOR("a", "U8", "[1]", "[1,2]") "}", 2,
            VMOE_ERR_FORMAT, "the array \"a\" comes twice");
    refused("{" TENSOR("a/b", "U8", "[1]", "[0,1]") "," TENSOR("a.b", "U8", "[1]", "[1,2]") "}", 2,
            VMOE_ERR_FORMAT, "the array \"a/b\" comes twice");
    refused("{\"__metadata__\":{}," TENSOR("__metadata__", "U8", "[2]", "[0,2]") "}", 2,
            VMOE_ERR_FORMAT, "\"__metadata__\" comes twice");
    memset(name, 'n', sizeof name);
    for (int length = 255; length <= 256; length++) {
        snprintf(header, sizeof header,
                 "{\"%.*s\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}", length,
                 name);
        if (length == 256)
            refused(header, 2, VMOE_ERR_LIMIT, "too long a name");
        else
            accepted(header, 2);
    }
}

static void tens_of_thousands_of_tensors_are_no_trouble(void **state)
{
    const size_t room = 80 * 65537 + 2;
    char *header = malloc(room);
    size_t length = 0;

    (void)state;
    for (unsigned i = 0; i < 65537; i++) {
        length += (size_t)snprintf(header + length, room - length,
                                   "%c\"%05u\":{\"dtype\":\"U8\",\"shape\":[0],"
                                   "\"data_offsets\":[0,0]}", i == 0 ? '{' : ',', i * 7919 % 65537);
        if (i < 65535)
            continue;
        strcpy(header + length, "}");
        if (i == 65535)
            accepted(header, 0);
        else
            refused(header, 0, VMOE_ERR_LIMIT, "too many tensors");
    }
    free(header);
}

static void shapes_beyond_the_limits_are_refused(void **state)
{
    (void)state;
    refused("{" TENSOR("a", "U8", "[1,1,1,1,1,1,1,1,2]", "[0,2]") "}", 2, VMOE_ERR_LIMIT, "axes");
    refused("{" TENSOR("a", "F4", "[2147483648,2147483648]", "[0,2]") "}", 2, VMOE_ERR_LIMIT,
            "elements");
    refused("{" TENSOR("a", "F4", "[2147483649]", "[0,2]") "}", 2, VMOE_ERR_LIMIT, "too large");
    refused("{" TENSOR("a", "U8", "[2]", "[0,18446744073709551618]") "}", 2, VMOE_ERR_LIMIT,
            "too large");
    refused("{" TENSOR("a", "U8", "[2]", "[9223372036854775808,2]") "}", 2, VMOE_ERR_LIMIT,
            "too large");
}

static void tensors_that_share_bytes_or_leave_holes_are_refused(void **state)
{
    (void)state;
    refused("{" TENSOR("a", "U8", "[2]", "[0,2]") "," TENSOR("b", "U8", "[2]", "[0,2]") "}", 2,
            VMOE_ERR_FORMAT, "it begins at byte 0 of the data, where 2 was expected");
    refused("{" TENSOR("a", "U8", "[3]", "[0,3]") "," TENSOR("b", "U8", "[2]", "[2,4]") "}", 4,
            VMOE_ERR_FORMAT, "where 3 was expected");
    refused("{" TENSOR("a", "U8", "[1]", "[0,1]") "," TENSOR("b", "U8", "[2]", "[2,4]") "}", 4,
            VMOE_ERR_FORMAT, "where 1 was expected");
    refused("{" TENSOR("a", "U8", "[2]", "[1,3]") "}", 3, VMOE_ERR_FORMAT, "where 0 was expected");
    refused("{" TENSOR("a", "U8", "[2]", "[0,2]") "," TENSOR("b", "U8", "[0]", "[1,1]") "}", 2,
            VMOE_ERR_FORMAT, "where 2 was expected");
    refused("{" TENSOR("a", "U8", "[2]", "[0,2]") "}", 3, VMOE_ERR_FORMAT, "but 3 follow");
    refused("{" TENSOR("a", "U8", "[2]", "[0,2]") "}", 1, VMOE_ERR_FORMAT, "but 1 follow");
    refused("{}", 1, VMOE_ERR_FORMAT, "the tensors have 0 bytes, but 1 follow the header");
}

static void lengths_of_headers_that_lie_are_refused(void **state)
{
    static const char header[] = "{" TENSOR("a", "U8", "[2]", "[0,2]") "}";
    const int64_t length = (int64_t)strlen(header);

    (void)state;
    for (int64_t lie = -length; lie <= 2; lie++) {
        write_lie(header, lie, 2);
        if (lie != 0)
            expect_refusal(header, VMOE_ERR_FORMAT, "");
    }
    write_lie(header, 3, 2);
    expect_refusal(header, VMOE_ERR_FORMAT, "is longer than the file");
    write_lie(header, INT64_MAX, 2);
    expect_refusal(header, VMOE_ERR_FORMAT, "is longer than the file");
    write_lie(header, (64 << 20) - length + 1, 2);
    assert_int_equal(truncate(path(), 65 << 20), 0);
    expect_refusal(header, VMOE_ERR_LIMIT, "the limit is 67108864");
    for (off_t bytes = 0; bytes < 8; bytes++) {
        write_lie(header, 0, 2);
        assert_int_equal(truncate(path(), bytes), 0);
        expect_refusal(header, VMOE_ERR_FORMAT, "the file ends at byte");
    }
}

/* ---- Large files ---------------------------------------------------------------------------- */

static void tensors_beyond_four_gibibytes_are_read(void **state)
{
    static const char header[] =
        "{" TENSOR("a", "F32", "[1400,1000000]", "[0,5600000000]") ","
        TENSOR("b", "BF16", "[2]", "[5600000000,5600000004]") "}";
    const off_t data = 8 + (off_t)strlen(header);
    struct vmoe_source *source;
    float values[2];
    int file;

    (void)state;
    write_lie(header, 0, 0);
    file = open(path(), O_WRONLY);
    assert_int_equal(pwrite(file, "\0\0\x80\x3f", 4, data + 5599999996), 4);
    assert_int_equal(pwrite(file, "\0\x40\x80\xbf", 4, data + 5600000000), 4);
    close(file);
    assert_int_equal(vmoe_safetensors_open(path(), &vmoe_memory_default, &source, NULL), VMOE_OK);
    assert_int_equal(source->read(source, 0, 1399999998, 2, values, NULL), VMOE_OK);
    assert_true(values[0] == 0.0f && values[1] == 1.0f);
    assert_int_equal(source->read(source, 1, 0, 2, values, NULL), VMOE_OK);
    assert_true(values[0] == 2.0f && values[1] == -1.0f);
    source->close(source);
    unlink(path());
}

/* ---- Importing ------------------------------------------------------------------------------ */

/* Writes the arrays of a source, as float32, with `prefix` before and `slash` within the names. */
static void write_arrays(struct vmoe_source *source, const char *prefix, char slash)
{
    size_t capacity = 512 * (source->count + 1), length = 1;
    char *header = malloc(capacity);
    uint64_t begin = 0;
    FILE *file;

    header[0] = '{';
    for (size_t i = source->count; i-- > 0;) {
        const struct vmoe_array *array = &source->arrays[i];

        length += (size_t)snprintf(header + length, capacity - length,
                                   "\"%s%s\":{\"dtype\":\"F32\",\"shape\":[", prefix, array->name);
        for (uint32_t axis = 0; axis < array->rank; axis++)
            length += (size_t)snprintf(header + length, capacity - length, "%s%llu",
                                       axis == 0 ? "" : ",",
                                       (unsigned long long)array->dims[axis]);
        length += (size_t)snprintf(header + length, capacity - length,
                                   "],\"data_offsets\":[%llu,%llu]}%c", (unsigned long long)begin,
                                   (unsigned long long)(begin + 4 * array->elements),
                                   i == 0 ? '}' : ',');
        begin += 4 * array->elements;
    }
    header[length] = '\0';
    for (size_t i = 0; i < length; i++)
        header[i] = header[i] == '/' ? slash : header[i];
    write_lie(header, 0, 0);
    free(header);
    file = fopen(path(), "ab");
    assert_non_null(file);
    for (size_t i = source->count; i-- > 0;) {
        const size_t elements = (size_t)source->arrays[i].elements;
        float *values = malloc(elements * sizeof *values + 1);

        assert_int_equal(source->read(source, i, 0, elements, values, NULL), VMOE_OK);
        assert_int_equal(fwrite(values, sizeof *values, elements, file), elements);
        free(values);
    }
    assert_int_equal(fclose(file), 0);
}

/* Imports the written file, and demands what importing `source` gives, byte for byte. */
static void compare_imports(struct vmoe_source *source, uint32_t precision)
{
    vmoe_import_options options = VMOE_IMPORT_OPTIONS_INIT;
    vmoe_error error = VMOE_ERROR_INIT;
    uint8_t *expected, *found;
    size_t bytes, found_bytes;

    options.precision = precision;
    options.provenance = "the same";
    if (vmoe_import_source(source, "test", scratch_path("expected.vmoe"), &options,
                           &vmoe_memory_default, &error) != VMOE_OK ||
        vmoe_import(path(), scratch_path("found.vmoe"), &options, &error) != VMOE_OK)
        fail_msg("%s: %s", error.where, error.text);
    expected = read_file(scratch_path("expected.vmoe"), &bytes);
    found = read_file(scratch_path("found.vmoe"), &found_bytes);
    assert_int_equal(found_bytes, bytes);
    assert_memory_equal(found, expected, bytes);
    free(expected);
    free(found);
}

static void a_model_is_imported_as_from_any_other_source(void **state)
{
    static const uint32_t classifiers[] = { VMOE_CLASSIFIER_TOKEN, VMOE_CLASSIFIER_GAP,
                                            VMOE_CLASSIFIER_MAP };

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        const vmoe_info info = tiny_info(classifiers[i]);
        struct vmoe_source *source = formula_source(&info, 5);

        write_arrays(source, i == 0 ? "params/" : "", i == 2 ? '/' : '.');
        compare_imports(source, VMOE_PRECISION_F32);
        compare_imports(source, VMOE_PRECISION_INT8);
        source->close(source);
    }
}

static void upstreams_checkpoint_is_the_same_model_in_this_form(void **state)
{
    struct vmoe_source *source;

    (void)state;
    if (!golden_has("models/last2/model.index"))
        skip_because("not among the golden data here");
    assert_int_equal(vmoe_shards_open(golden_path("models/last2/model"), &vmoe_memory_default,
                                      &source, NULL), VMOE_OK);
    write_arrays(source, "", '/');
    compare_imports(source, VMOE_PRECISION_BF16);
    source->close(source);
}

static void names_of_another_model_are_shown(void **state)
{
    vmoe_error error = VMOE_ERROR_INIT;

    (void)state;
    write_lie("{" TENSOR("blocks.0.bias", "U8", "[1]", "[0,1]") "}", 0, 1);
    assert_int_equal(vmoe_import(path(), scratch_path("found.vmoe"), NULL, &error),
                     VMOE_ERR_FORMAT);
    assert_non_null(strstr(error.text, "its 1 arrays, the first of which is \"blocks/0/bias\""));
    write_lie("{}", 0, 0);
    assert_int_equal(vmoe_import(path(), scratch_path("found.vmoe"), NULL, &error),
                     VMOE_ERR_FORMAT);
    assert_non_null(strstr(error.text, "its 0 arrays"));
}

static void a_file_is_not_imported_into_itself(void **state)
{
    const vmoe_info info = tiny_info(VMOE_CLASSIFIER_TOKEN);
    struct vmoe_source *source = formula_source(&info, 5);
    vmoe_error error = VMOE_ERROR_INIT;

    (void)state;
    write_arrays(source, "", '/');
    source->close(source);
    assert_int_equal(vmoe_import(path(), path(), NULL, &error), VMOE_ERR_ARGUMENT);
    assert_string_equal(error.where, "destination");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_files_read_back),
        cmocka_unit_test(large_tensors_are_converted_piece_by_piece),
        cmocka_unit_test(headers_in_all_spellings_are_read),
        cmocka_unit_test(slashes_and_quotes_of_names_may_be_escaped),
        cmocka_unit_test(other_types_matter_only_when_they_are_read),
        cmocka_unit_test(headers_of_another_form_are_refused),
        cmocka_unit_test(names_are_checked),
        cmocka_unit_test(tens_of_thousands_of_tensors_are_no_trouble),
        cmocka_unit_test(shapes_beyond_the_limits_are_refused),
        cmocka_unit_test(tensors_that_share_bytes_or_leave_holes_are_refused),
        cmocka_unit_test(lengths_of_headers_that_lie_are_refused),
        cmocka_unit_test(tensors_beyond_four_gibibytes_are_read),
        cmocka_unit_test(a_model_is_imported_as_from_any_other_source),
        cmocka_unit_test(upstreams_checkpoint_is_the_same_model_in_this_form),
        cmocka_unit_test(names_of_another_model_are_shown),
        cmocka_unit_test(a_file_is_not_imported_into_itself),
    };

    return cmocka_run_group_tests_name("safetensors", tests, NULL, NULL);
}
