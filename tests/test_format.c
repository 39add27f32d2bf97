/*
 * The `.vmoe` file: what is written is what is loaded, in every precision, coding and way of
 * loading; and no file that was cut short or changed by one bit is loaded at all.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "model/config.h"
#include "support/answer.h"
#include "support/fault.h"
#include "support/forge.h"
#include "support/formula.h"
#include "support/support.h"
#include "support/tiny.h"

#define IMAGES 4u

static const char *const labels[] = { "cat", "dog", "gr\xc3\xbcn", "\xe7\x8c\xab",
                                      "\xf0\x9f\x90\x88 & more" };

static vmoe_import_options import_as(uint32_t precision, bool compact)
{
    vmoe_import_options options = VMOE_IMPORT_OPTIONS_INIT;

    options.precision = precision;
    options.compact = compact;
    return options;
}

/* ---- What is written is what is loaded ------------------------------------------------------ */

/* Loads from memory that is aligned as `flags` demand; the buffer is freed after the model. */
static vmoe_model *load_memory(const char *path, uint32_t flags, void **buffer)
{
    vmoe_load_options options = VMOE_LOAD_OPTIONS_INIT;
    vmoe_error error = VMOE_ERROR_INIT;
    vmoe_model *model;
    size_t bytes;
    void *file = read_file(path, &bytes);
    uint8_t *block;

    assert_int_equal(posix_memalign(buffer, 64, bytes + 1), 0);
    /* What is copied may begin anywhere; what is used in place may not. */
    block = (uint8_t *)*buffer + ((flags & VMOE_LOAD_MMAP) ? 0 : 1);
    memcpy(block, file, bytes);
    free(file);
    options.flags = flags;
    assert_ok(vmoe_load_memory(block, bytes, &options, &model, &error), error);
    if (!(flags & VMOE_LOAD_MMAP))
        memset(*buffer, 0xA5, bytes + 1);
    return model;
}

static void assert_same_info(const vmoe_info *a, const vmoe_info *b, bool same_file)
{
    vmoe_info x = *a, y = *b;

    if (!same_file) {
        assert_memory_not_equal(x.id, y.id, sizeof x.id);
        x.compact = y.compact = 0;
        x.file_bytes = y.file_bytes = 0;
        memset(x.id, 0, sizeof x.id);
        memset(y.id, 0, sizeof y.id);
    }
    assert_memory_equal(&x, &y, sizeof x);
}

/* Every way of loading `path` gives the answer of `expected`, which it frees. */
static void check_loads(const char *path, vmoe_model *expected, const float *images, bool same_file)
{
    static const uint32_t flags[] = { 0, VMOE_LOAD_MMAP, VMOE_LOAD_HEADER_ONLY,
                                      VMOE_LOAD_MMAP | VMOE_LOAD_HEADER_ONLY };
    const vmoe_info info = info_of(expected);
    struct answer answer = must_answer(expected, images, IMAGES, NULL);
    vmoe_error error = VMOE_ERROR_INIT;

    assert_ok(vmoe_verify_file(path, &error), error);
    for (size_t i = 0; i < 2 * sizeof flags / sizeof flags[0]; i++) {
        vmoe_load_options options = VMOE_LOAD_OPTIONS_INIT;
        void *buffer = NULL;
        vmoe_model *model;
        vmoe_info found;
        struct answer again;

        options.flags = flags[i / 2];
        model = i % 2 ? load_memory(path, options.flags, &buffer) : must_load(path, &options);
        found = info_of(model);
        assert_same_info(&info, &found, same_file);
        again = must_answer(model, images, IMAGES, NULL);
        assert_same_answer(&answer, &again);
        for (uint32_t c = 0; c <= info.classes; c++)
            assert_string_equal(vmoe_label(model, c), c < info.classes ? labels[c] : "");
        assert_string_equal(vmoe_provenance(model), "from nowhere");
        answer_free(&again);
        vmoe_free(model);
        free(buffer);
    }
    answer_free(&answer);
    vmoe_free(expected);
}

static void check_round_trip(const vmoe_info *geometry, uint32_t precision)
{
    float *images = make_images(geometry, IMAGES);
    vmoe_import_options options = import_as(precision, false);
    const char *raw = scratch_path("raw.vmoe"), *compact = scratch_path("compact.vmoe");

    options.labels = labels;
    options.label_count = 5;
    options.provenance = "from nowhere";
    write_model(geometry, &options, raw);
    options.compact = 1;
    write_model(geometry, &options, compact);
    check_loads(raw, must_load(raw, NULL), images, true);
    check_loads(compact, must_load(compact, NULL), images, true);
    check_loads(compact, must_load(raw, NULL), images, false);
    free(images);
}

static void every_way_of_loading_gives_the_same_bits(void **state)
{
    (void)state;
    for (uint32_t classifier = VMOE_CLASSIFIER_TOKEN; classifier <= VMOE_CLASSIFIER_MAP;
         classifier++) {
        vmoe_info geometry = tiny_info(classifier);

        geometry.pre_logits = classifier == VMOE_CLASSIFIER_GAP ? 7 : 0;
        geometry.members = classifier == VMOE_CLASSIFIER_MAP ? 2 : 1;
        for (uint32_t p = VMOE_PRECISION_F32; p <= VMOE_PRECISION_INT8; p++)
            check_round_trip(&geometry, p);
    }
}

static void a_dense_model_makes_the_round_trip(void **state)
{
    vmoe_info geometry = tiny_info(VMOE_CLASSIFIER_TOKEN);

    (void)state;
    geometry.experts = 0;
    memset(geometry.moe, 0, sizeof geometry.moe);
    check_round_trip(&geometry, VMOE_PRECISION_BF16);
}

/* Tensors of more than one chunk of 1 MiB, with a shorter last one. */
static void tensors_of_several_chunks_make_the_round_trip(void **state)
{
    vmoe_info geometry = tiny_info(VMOE_CLASSIFIER_TOKEN);
    struct forged file;

    (void)state;
    geometry.mlp = 9000;
    geometry.layers = 2;
    geometry.moe[2] = 0;
    geometry.experts = 2;
    check_round_trip(&geometry, VMOE_PRECISION_F32);
    file = forge_read(scratch_path("compact.vmoe"));
    assert_int_equal(forge_get_u32(&file, forge_entry(&file, "block.1.expert.1.fc2.weight") + 68),
                     2);
    forge_free(&file);
}

static void info_tells_what_was_imported(void **state)
{
    vmoe_info geometry = tiny_info(VMOE_CLASSIFIER_MAP);
    vmoe_import_options options = import_as(VMOE_PRECISION_INT8, true);
    const char *path = scratch_path("info.vmoe");
    struct vmoe_source *source;
    uint64_t parameters = 0;
    struct stat status;
    vmoe_model *model;
    vmoe_info info;

    (void)state;
    geometry.pre_logits = 6;
    options.experts_per_token = 3;
    options.capacity = 0.75;
    options.capacity_rule = VMOE_CAPACITY_ROUND;
    options.capacity_multiple = 2;
    options.group_images = 8;
    options.gelu = VMOE_GELU_ERF;
    options.output = VMOE_OUTPUT_SIGMOID;
    options.preprocessing = (vmoe_preprocessing){ VMOE_PREPROCESS_SMALL_CROP, 14, 12 };
    write_model(&geometry, &options, path);
    assert_int_equal(stat(path, &status), 0);
    model = must_load(path, NULL);
    info = info_of(model);
    vmoe_free(model);
    source = formula_source(&geometry, 0);
    for (size_t i = 0; i < source->count; i++)
        parameters += source->arrays[i].elements;
    source->close(source);

    assert_int_equal(info.size, sizeof info);
    assert_int_equal(info.image_size, 12);
    assert_int_equal(info.patch_size, 4);
    assert_int_equal(info.tokens, 9);
    assert_int_equal(info.width, 12);
    assert_int_equal(info.heads, 2);
    assert_int_equal(info.mlp, 20);
    assert_int_equal(info.layers, 3);
    assert_int_equal(info.classes, 5);
    assert_int_equal(info.pre_logits, 6);
    assert_int_equal(info.features, 6);
    assert_int_equal(info.classifier, VMOE_CLASSIFIER_MAP);
    assert_int_equal(info.gelu, VMOE_GELU_ERF);
    assert_int_equal(info.output, VMOE_OUTPUT_SIGMOID);
    assert_int_equal(info.experts, 4);
    assert_int_equal(info.members, 1);
    assert_int_equal(info.moe_layers, 2);
    assert_memory_equal(info.moe, geometry.moe, sizeof info.moe);
    assert_int_equal(info.experts_per_token, 3);
    assert_int_equal(info.group_images, 8);
    assert_true(info.capacity == 0.75);
    assert_int_equal(info.capacity_rule, VMOE_CAPACITY_ROUND);
    assert_int_equal(info.capacity_multiple, 2);
    assert_int_equal(info.preprocessing.kind, VMOE_PREPROCESS_SMALL_CROP);
    assert_int_equal(info.preprocessing.side, 14);
    assert_int_equal(info.preprocessing.crop, 12);
    assert_int_equal(info.precision, VMOE_PRECISION_INT8);
    assert_int_equal(info.compact, 1);
    assert_int_equal(info.labels, 0);
    assert_int_equal(info.parameters, parameters);
    assert_int_equal(info.file_bytes, status.st_size);
    assert_true(info.weight_bytes > parameters);
}

/* Without options: bf16, raw, K = 2, C = 1.05 rounded up to fours, every image routed alone. */
static void the_defaults_are_those_of_the_header(void **state)
{
    const vmoe_info geometry = tiny_info(VMOE_CLASSIFIER_TOKEN);
    const vmoe_import_options options = VMOE_IMPORT_OPTIONS_INIT;
    const char *path = scratch_path("defaults.vmoe");
    vmoe_model *model;
    vmoe_info info;

    (void)state;
    write_model(&geometry, &options, path);
    model = must_load(path, NULL);
    info = info_of(model);
    assert_int_equal(info.precision, VMOE_PRECISION_BF16);
    assert_int_equal(info.compact, 0);
    assert_int_equal(info.experts_per_token, 2);
    assert_true(info.capacity == 1.05);
    assert_int_equal(info.capacity_rule, VMOE_CAPACITY_CEIL);
    assert_int_equal(info.capacity_multiple, 4);
    assert_int_equal(info.group_images, 1);
    assert_int_equal(info.gelu, VMOE_GELU_TANH);
    assert_int_equal(info.output, VMOE_OUTPUT_SOFTMAX);
    assert_int_equal(info.preprocessing.kind, VMOE_PREPROCESS_RESIZE);
    assert_int_equal(info.preprocessing.side, 12);
    assert_string_equal(vmoe_label(model, 0), "");
    assert_string_equal(vmoe_provenance(model), "formula");
    vmoe_free(model);
}

/* ---- Sizes ---------------------------------------------------------------------------------- */

static uint64_t round_up(uint64_t value, uint64_t to)
{
    return (value + to - 1) / to * to;
}

/* Adds a tensor of docs/format.md to the end of the data; entries and chunks go to the header. */
static void add_tensor(uint64_t bytes, uint64_t *end, uint64_t *header)
{
    *end = round_up(*end, 64) + bytes;
    *header += 96 + 16 * ((bytes + (1 << 20) - 1) >> 20);
}

static void add_linear(uint32_t precision, uint64_t rows, uint64_t columns, uint64_t *end,
                       uint64_t *header)
{
    static const uint64_t width[] = { 0, 4, 2, 1 };

    add_tensor(round_up(rows, 64 / width[precision]) * round_up(columns, 32) * width[precision],
               end, header);
    if (precision == VMOE_PRECISION_INT8) {
        add_tensor(4 * columns, end, header);
        add_tensor(4 * columns, end, header);
    }
    add_tensor(4 * columns, end, header);
}

static void add_norm(uint64_t width, uint64_t *end, uint64_t *header)
{
    add_tensor(4 * width, end, header);
    add_tensor(4 * width, end, header);
}

static void add_mlp(const vmoe_info *info, uint32_t precision, uint64_t *end, uint64_t *header)
{
    add_linear(precision, info->width, info->mlp, end, header);
    add_linear(precision, info->mlp, info->width, end, header);
}

/*
 * Bytes of a raw file with strings of `string_bytes`, by section 9 of docs/format.md.  Data and
 * header are added up apart, as if the data began at 0.
 */
static uint64_t file_bytes(const vmoe_info *info, uint64_t string_bytes)
{
    uint32_t precision = info->precision;
    uint32_t ends = precision == VMOE_PRECISION_INT8 ? VMOE_PRECISION_BF16 : precision;
    uint64_t d = info->width, end = 0, header = 224 + string_bytes;

    add_linear(ends, 3 * (uint64_t)info->patch_size * info->patch_size, d, &end, &header);
    if (info->classifier == VMOE_CLASSIFIER_TOKEN)
        add_tensor(4 * d, &end, &header);
    add_tensor(4 * d * info->tokens, &end, &header);
    for (uint32_t i = 0; i < info->layers; i++) {
        add_norm(d, &end, &header);
        add_linear(precision, d, 3 * d, &end, &header);
        add_linear(precision, d, d, &end, &header);
        add_norm(d, &end, &header);
        if (info->moe[i])
            add_tensor(4 * d * info->experts, &end, &header);
        for (uint32_t e = 0; e < (info->moe[i] ? info->experts : 1); e++)
            add_mlp(info, precision, &end, &header);
    }
    add_norm(d, &end, &header);
    if (info->classifier == VMOE_CLASSIFIER_MAP) {
        add_tensor(4 * d, &end, &header);
        add_linear(ends, d, d, &end, &header);
        add_linear(ends, d, 2 * d, &end, &header);
        add_linear(ends, d, d, &end, &header);
        add_norm(d, &end, &header);
        add_mlp(info, ends, &end, &header);
    }
    if (info->pre_logits != 0)
        add_linear(ends, d, info->pre_logits, &end, &header);
    add_linear(ends, info->features, info->classes, &end, &header);
    return round_up(header, 4096) + end;
}

static void raw_files_have_the_size_that_the_format_implies(void **state)
{
    const char *path = scratch_path("size.vmoe");

    (void)state;
    for (uint32_t classifier = VMOE_CLASSIFIER_TOKEN; classifier <= VMOE_CLASSIFIER_MAP;
         classifier++) {
        for (uint32_t p = VMOE_PRECISION_F32; p <= VMOE_PRECISION_INT8; p++) {
            const vmoe_info geometry = medium_info(classifier);
            const vmoe_import_options options = import_as(p, false);
            vmoe_model *model;
            vmoe_info info;

            write_model(&geometry, &options, path);
            model = must_load(path, NULL);
            info = info_of(model);
            assert_int_equal(info.file_bytes, file_bytes(&info, 8)); /* "formula" and a zero */
            vmoe_free(model);
        }
    }
}

/* Of files without labels and with a provenance of up to 7 bytes. */
static void the_released_checkpoints_have_these_sizes(void **state)
{
    static const uint64_t expected[5][3] = { { 228071328, 114296736, 60364704 },
                                             { 228071328, 114296736, 60364704 },
                                             { 227215264, 113964960, 60032928 },
                                             { 1203992908, 603003212, 321870156 },
                                             { 1141080992, 572089248, 290956192 } };
    vmoe_error error = VMOE_ERROR_INIT;

    (void)state;
    for (size_t i = 0; i < 5; i++) {
        vmoe_info info = VMOE_INFO_INIT;
        uint64_t found[3];

        assert_ok(vmoe_preset(vmoe_preset_name(i), &info, &error), error);
        for (uint32_t p = 0; p < 3; p++) {
            info.precision = VMOE_PRECISION_F32 + p;
            assert_ok(vmoe_config_complete(&info, "info", VMOE_ERR_ARGUMENT, &error), error);
            found[p] = file_bytes(&info, 8);
            /* The file is the weights, the header, and at most 63 bytes between two tensors. */
            assert_true(found[p] > info.weight_bytes);
            assert_true(found[p] - info.weight_bytes < 256 << 10);
            assert_int_equal(found[p], expected[i][p]);
        }
        print_message("  %-54s raw: f32 %llu, bf16 %llu, int8 %llu bytes\n", vmoe_preset_name(i),
                      (unsigned long long)found[0], (unsigned long long)found[1],
                      (unsigned long long)found[2]);
    }
}

/* ---- Damage --------------------------------------------------------------------------------- */

static void every_truncation_is_refused(void **state)
{
    const vmoe_info geometry = smallest_info();
    const char *path = scratch_path("cut.vmoe");
    size_t refused = 0;

    (void)state;
    for (int compact = 0; compact <= 1; compact++) {
        const vmoe_import_options options = import_as(VMOE_PRECISION_BF16, compact);
        struct forged file;

        write_model(&geometry, &options, path);
        file = forge_read(path);
        for (size_t bytes = file.size; bytes-- > 0;) {
            /* With 8 bytes there is a magic number, but the version reads as 0.0. */
            const vmoe_status expected = bytes == 8 ? VMOE_ERR_VERSION : VMOE_ERR_FORMAT;
            vmoe_load_options load = VMOE_LOAD_OPTIONS_INIT;
            vmoe_error error = VMOE_ERROR_INIT;
            vmoe_model *model = (vmoe_model *)&load;

            assert_refused(vmoe_load_memory(file.bytes, bytes, NULL, &model, &error), error,
                           expected, "memory");
            assert_null(model);
            assert_int_equal(truncate(path, (off_t)bytes), 0);
            assert_refused(vmoe_load_file(path, NULL, &model, &error), error, expected, path);
            load.flags = VMOE_LOAD_MMAP | VMOE_LOAD_HEADER_ONLY;
            assert_refused(vmoe_load_file(path, &load, &model, &error), error, expected, path);
            assert_refused(vmoe_verify_file(path, &error), error, expected, path);
            refused++;
        }
        forge_free(&file);
    }
    print_message("  %zu truncations, each refused by four ways of reading\n", refused);
}

/* A file with int8 weights has float32 arrays and bfloat16 ends too, so it holds all there is. */
static void check_flips(uint32_t precision, bool compact)
{
    const vmoe_info geometry = smallest_info();
    vmoe_import_options options = import_as(precision, compact);
    const char *path = scratch_path("flip.vmoe");
    size_t counts[VMOE_ERR_THREAD + 1] = { 0 };
    struct forged file;

    options.provenance = "bit rot";
    options.labels = labels;
    options.label_count = 5;
    write_model(&geometry, &options, path);
    file = forge_read(path);
    for (size_t bit = 0; bit < 8 * file.size; bit++) {
        vmoe_model *model = NULL;
        vmoe_status status;

        file.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        status = vmoe_load_memory(file.bytes, file.size, NULL, &model, NULL);
        file.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        if (status != VMOE_ERR_CHECKSUM && status != VMOE_ERR_FORMAT && status != VMOE_ERR_VERSION)
            fail_msg("bit %zu of byte %zu: %s", bit % 8, bit / 8, vmoe_status_name(status));
        counts[status]++;
    }
    assert_int_equal(counts[VMOE_ERR_VERSION], 32);
    print_message("  precision %u, %s: %zu flips, %zu by checksum, %zu by format, %zu by version\n",
                  precision, compact ? "compact" : "raw", 8 * file.size,
                  counts[VMOE_ERR_CHECKSUM], counts[VMOE_ERR_FORMAT], counts[VMOE_ERR_VERSION]);
    forge_free(&file);
}

static void every_flipped_bit_of_a_raw_file_is_refused(void **state)
{
    (void)state;
    check_flips(VMOE_PRECISION_BF16, false);
    check_flips(VMOE_PRECISION_INT8, false);
}

static void every_flipped_bit_of_a_compact_file_is_refused(void **state)
{
    (void)state;
    check_flips(VMOE_PRECISION_BF16, true);
    check_flips(VMOE_PRECISION_INT8, true);
}

/* The other ways of reading look at the same bytes; one flip in each part of the file shows it. */
static void every_way_of_reading_sees_the_damage(void **state)
{
    const vmoe_info geometry = smallest_info();
    const vmoe_import_options options = import_as(VMOE_PRECISION_F32, false);
    const char *path = scratch_path("damaged.vmoe");
    struct forged file;

    (void)state;
    write_model(&geometry, &options, path);
    file = forge_read(path);
    for (size_t at = 20; at < file.size; at += 97) {
        vmoe_load_options load = VMOE_LOAD_OPTIONS_INIT;
        vmoe_model *model = NULL;

        file.bytes[at] ^= 0x10;
        write_file(path, file.bytes, file.size);
        file.bytes[at] ^= 0x10;
        assert_int_not_equal(vmoe_verify_file(path, NULL), VMOE_OK);
        assert_int_not_equal(vmoe_load_file(path, NULL, &model, NULL), VMOE_OK);
        load.flags = VMOE_LOAD_MMAP;
        assert_int_not_equal(vmoe_load_file(path, &load, &model, NULL), VMOE_OK);
        /* Trusting the disk means to look at the header alone. */
        load.flags = VMOE_LOAD_MMAP | VMOE_LOAD_HEADER_ONLY;
        assert_int_equal(vmoe_load_file(path, &load, &model, NULL) == VMOE_OK,
                         at >= file.header_bytes);
        vmoe_free(model);
        model = NULL;
    }
    forge_free(&file);
}

/* ---- What is not a file of ours ------------------------------------------------------------- */

static void what_is_no_regular_file_is_refused(void **state)
{
    const char *fifo = scratch_path("fifo");
    vmoe_error error = VMOE_ERROR_INIT;
    vmoe_model *model = NULL;

    (void)state;
    assert_refused(vmoe_load_file("/nowhere/at/all.vmoe", NULL, &model, &error), error, VMOE_ERR_IO,
                   "/nowhere/at/all.vmoe");
    assert_refused(vmoe_load_file(scratch_folder(), NULL, &model, &error), error, VMOE_ERR_IO,
                   scratch_folder());
    assert_refused(vmoe_load_file("/dev/zero", NULL, &model, &error), error, VMOE_ERR_IO, "zero");
    assert_refused(vmoe_load_file("", NULL, &model, &error), error, VMOE_ERR_IO,
                   "(no name)");
    assert_int_equal(mkfifo(fifo, 0600), 0);
    assert_refused(vmoe_load_file(fifo, NULL, &model, &error), error, VMOE_ERR_IO, fifo);
    assert_refused(vmoe_verify_file(fifo, &error), error, VMOE_ERR_IO, fifo);
    unlink(fifo);
}

/* Its writer would take the library for a reader, and end when that goes away. */
static void what_is_no_regular_file_is_not_even_opened(void **state)
{
    const char *fifo = scratch_path("watched");
    const int watch = inotify_init1(IN_NONBLOCK);
    vmoe_error error = VMOE_ERROR_INIT;
    vmoe_model *model = NULL;
    char event[512];

    (void)state;
    assert_int_equal(mkfifo(fifo, 0600), 0);
    if (watch < 0 || inotify_add_watch(watch, fifo, IN_OPEN) < 0)
        skip_because("files cannot be watched here");
    assert_refused(vmoe_load_file(fifo, NULL, &model, &error), error, VMOE_ERR_IO, fifo);
    assert_true(read(watch, event, sizeof event) < 0);
    close(open(fifo, O_RDONLY | O_NONBLOCK));
    assert_true(read(watch, event, sizeof event) > 0);
    close(watch);
    unlink(fifo);
}

static void other_kinds_of_files_are_refused_by_name(void **state)
{
    static const char text[] = "\x89VME\n\x1a\n a file whose line ends were changed";
    vmoe_error error = VMOE_ERROR_INIT;
    vmoe_model *model = NULL;

    (void)state;
    assert_refused(vmoe_load_memory("PK\3\4 this is a zip archive", 26, NULL, &model, &error),
                   error, VMOE_ERR_FORMAT, "memory");
    assert_non_null(strstr(error.text, "not a .vmoe file"));
    assert_refused(vmoe_load_memory(text, sizeof text, NULL, &model, &error), error,
                   VMOE_ERR_FORMAT, "memory");
    assert_non_null(strstr(error.text, "as text"));
}

static void data_used_in_place_must_be_aligned(void **state)
{
    const vmoe_info geometry = smallest_info();
    const char *path = scratch_path("aligned.vmoe");
    vmoe_load_options options = VMOE_LOAD_OPTIONS_INIT;
    vmoe_error error = VMOE_ERROR_INIT;
    vmoe_model *model = NULL;
    struct forged file;
    uint8_t *block;

    (void)state;
    write_model(&geometry, NULL, path);
    file = forge_read(path);
    block = aligned_alloc(64, (file.size + 128) / 64 * 64);
    memcpy(block + 32, file.bytes, file.size);
    options.flags = VMOE_LOAD_MMAP;
    assert_refused(vmoe_load_memory(block + 32, file.size, &options, &model, &error), error,
                   VMOE_ERR_ARGUMENT, "memory");
    free(block);
    forge_free(&file);
}

static void the_callers_limit_counts_the_weights(void **state)
{
    const vmoe_info geometry = smallest_info();
    const char *path = scratch_path("limit.vmoe");

    (void)state;
    for (int compact = 0; compact <= 1; compact++) {
        vmoe_import_options as = import_as(VMOE_PRECISION_F32, compact);
        vmoe_load_options options = VMOE_LOAD_OPTIONS_INIT;
        vmoe_error error = VMOE_ERROR_INIT;
        vmoe_model *model;
        vmoe_info info;

        write_model(&geometry, &as, path);
        model = must_load(path, NULL);
        info = info_of(model);
        vmoe_free(model);
        for (uint32_t flags = 0; flags <= VMOE_LOAD_MMAP; flags++) {
            options.flags = flags;
            options.max_bytes = info.weight_bytes - 1;
            assert_refused(vmoe_load_file(path, &options, &model, &error), error, VMOE_ERR_LIMIT,
                           path);
            assert_non_null(strstr(error.text, "bytes, the limit is ")); /* whosoever it is */
            options.max_bytes = info.weight_bytes;
            vmoe_free(must_load(path, &options));
        }
    }
}

/* A file of 2^40 bytes takes no room, but not every file system has a place for it. */
static void a_file_has_a_limit_of_bytes(void **state)
{
    const char *path = scratch_path("huge.vmoe");
    vmoe_error error = VMOE_ERROR_INIT;
    vmoe_model *model;

    (void)state;
    write_file(path, "", 0);
    if (truncate(path, ((off_t)1 << 40) + 1) != 0)
        skip_because("the file system has no room for a hole of 2^40 bytes");
    assert_refused(vmoe_load_file(path, NULL, &model, &error), error, VMOE_ERR_LIMIT, path);
    assert_non_null(strstr(error.text, "1099511627777 bytes"));
    assert_int_equal(truncate(path, (off_t)1 << 40), 0);
    assert_refused(vmoe_load_file(path, NULL, &model, &error), error, VMOE_ERR_FORMAT, path);
    assert_int_equal(truncate(path, 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_way_of_loading_gives_the_same_bits),
        cmocka_unit_test(a_dense_model_makes_the_round_trip),
        cmocka_unit_test(tensors_of_several_chunks_make_the_round_trip),
        cmocka_unit_test(info_tells_what_was_imported),
        cmocka_unit_test(the_defaults_are_those_of_the_header),
        cmocka_unit_test(raw_files_have_the_size_that_the_format_implies),
        cmocka_unit_test(the_released_checkpoints_have_these_sizes),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(every_flipped_bit_of_a_raw_file_is_refused),
        cmocka_unit_test(every_flipped_bit_of_a_compact_file_is_refused),
        cmocka_unit_test(every_way_of_reading_sees_the_damage),
        cmocka_unit_test(what_is_no_regular_file_is_refused),
        cmocka_unit_test(what_is_no_regular_file_is_not_even_opened),
        cmocka_unit_test(other_kinds_of_files_are_refused_by_name),
        cmocka_unit_test(data_used_in_place_must_be_aligned),
        cmocka_unit_test(the_callers_limit_counts_the_weights),
        cmocka_unit_test(a_file_has_a_limit_of_bytes),
    };

#ifdef M_MMAP_THRESHOLD
    /* A million loads: the C library should not ask the kernel for each. */
    mallopt(M_MMAP_THRESHOLD, 64 << 20);
    mallopt(M_TRIM_THRESHOLD, 64 << 20);
#endif
    return cmocka_run_group_tests_name("the .vmoe file", tests, NULL, NULL);
}
