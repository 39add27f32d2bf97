/*
 * Files that lie, with every checksum in order: each field of the header, each number of the
 * directory and of the chunk table, texts and padding.  The answer is an exact status, and no more
 * memory is asked for than the file can justify.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint/format.h"
#include "model/config.h"
#include "support/answer.h"
#include "support/fault.h"
#include "support/forge.h"
#include "support/support.h"
#include "support/tiny.h"

/* Two chunk buffers and zlib's own memory, which a compact file needs whatever its size. */
#define CODER_BYTES ((size_t)(2 << 20) + (64 << 10))
#define SLACK_BYTES ((size_t)64 << 10)

static const char *const labels[] = { "a", "b", "c", "d", "e" };

/* Lies told so far; each test states how many it told. */
static size_t lies;

static struct forged honest_file(uint32_t precision, bool compact)
{
    const vmoe_info geometry = smallest_info();
    vmoe_import_options options = VMOE_IMPORT_OPTIONS_INIT;
    const char *path = scratch_path("honest.vmoe");

    options.precision = precision;
    options.compact = compact;
    options.labels = labels;
    options.label_count = 5;
    options.provenance = "lies"; /* with the labels 15 bytes, so that one of padding follows */
    write_model(&geometry, &options, path);
    return forge_read(path);
}

/* Loads a file with an allocator that counts; checks memory whatever the outcome. */
static vmoe_status load_counted(const struct forged *file, bool compact, vmoe_error *error)
{
    vmoe_load_options options = VMOE_LOAD_OPTIONS_INIT;
    vmoe_model *model = NULL;
    const size_t limit = SLACK_BYTES + 2 * file->size + (compact ? CODER_BYTES : 0);
    struct fault fault;
    vmoe_status status;

    fault_init(&fault, 0, false);
    options.allocator = &fault.allocator;
    status = vmoe_load_memory(file->bytes, file->size, &options, &model, error);
    assert_int_equal(model == NULL, status != VMOE_OK);
    vmoe_free(model);
    assert_int_equal(fault.live, 0);
    if (status != VMOE_OK && fault.peak > limit)
        fail_msg("%zu bytes were allocated for a bad file of %zu bytes: %s: %s", fault.peak,
                 file->size, error->where, error->text);
    lies++;
    return status;
}

static void expect(struct forged *file, bool compact, vmoe_status expected, const char *lie,
                   uint64_t value)
{
    vmoe_error error = VMOE_ERROR_INIT;
    vmoe_status status;

    forge_sign(file);
    status = load_counted(file, compact, &error);
    if (status != expected)
        fail_msg("%s = %llu: expected %s, found %s: %s: %s", lie, (unsigned long long)value,
                 vmoe_status_name(expected), vmoe_status_name(status), error.where, error.text);
    if (status != VMOE_OK)
        assert_refused(status, error, expected, "");
}

/* One lie in a 32-bit or 64-bit number of a copy. */
static void lie_u32(const struct forged *honest, size_t offset, uint32_t value, bool compact,
                    vmoe_status expected, const char *lie)
{
    struct forged file = forge_copy(honest);

    if (forge_get_u32(&file, offset) != value) {
        forge_put_u32(&file, offset, value);
        expect(&file, compact, expected, lie, value);
    }
    forge_free(&file);
}

static void lie_u64(const struct forged *honest, size_t offset, uint64_t value, bool compact,
                    vmoe_status expected, const char *lie)
{
    struct forged file = forge_copy(honest);

    if (forge_get_u64(&file, offset) != value) {
        forge_put_u64(&file, offset, value);
        expect(&file, compact, expected, lie, value);
    }
    forge_free(&file);
}

static void told(void)
{
    print_message("  %zu lies\n", lies);
    lies = 0;
}

/* ---- Preamble ------------------------------------------------------------------------------- */

static void the_preamble_cannot_lie(void **state)
{
    static const struct {
        const char *name;
        uint32_t offset;
    } sizes[] = { { "file_bytes", 16 },  { "file_bytes, high half", 20 }, { "header_bytes", 24 },
                  { "tensors", 28 },     { "chunks", 32 },                { "string_bytes", 36 } };
    static const uint32_t reserved[] = { 12, 13, 14, 15, 40, 41, 42, 43, 44, 45, 46, 47 };
    struct forged honest = honest_file(VMOE_PRECISION_F32, false);

    (void)state;
    for (uint32_t byte = 0; byte < 8; byte++)
        lie_u32(&honest, byte & ~3u, forge_get_u32(&honest, byte & ~3u) ^ 1u << 8 * (byte % 4),
                false, VMOE_ERR_FORMAT, "magic");
    for (uint32_t version = 0; version <= 0xffff; version += 0x101) {
        lie_u32(&honest, 8, version, false, version == 1 ? VMOE_OK : VMOE_ERR_VERSION, "major");
        if (version != 0)
            lie_u32(&honest, 8, 1 | version << 16, false, VMOE_ERR_VERSION, "minor");
    }
    lie_u32(&honest, 8, 2, false, VMOE_ERR_VERSION, "version 2.0");
    lie_u32(&honest, 8, 1 | 1 << 16, false, VMOE_ERR_VERSION, "version 1.1");
    for (size_t i = 0; i < sizeof reserved / sizeof reserved[0]; i++)
        lie_u32(&honest, reserved[i] & ~3u, 1u << 8 * (reserved[i] % 4), false, VMOE_ERR_FORMAT,
                "reserved");
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        const uint32_t value = forge_get_u32(&honest, sizes[i].offset);
        const uint32_t values[] = { 0,           1,          63,         64,        223,
                                    224,         225,        value - 1,  value + 1, value + 8,
                                    value + 96,  value * 2,  0xffff,     0x10000,   0x10001,
                                    0x1000000,   0x1000001,  0x7fffffff, 0x80000000, 0xffffffff,
                                    (uint32_t)honest.size - 1, (uint32_t)honest.size,
                                    (uint32_t)honest.size + 1 };

        for (size_t v = 0; v < sizeof values / sizeof values[0]; v++)
            lie_u32(&honest, sizes[i].offset, values[v], false, VMOE_ERR_FORMAT, sizes[i].name);
    }
    told();
    forge_free(&honest);
}

/* A header above the limit is refused before it is read; the file is large enough to hold it. */
static void a_header_above_the_limit_is_refused(void **state)
{
    struct forged honest = honest_file(VMOE_PRECISION_F32, false);
    struct forged file = { .size = 32 << 20 };
    vmoe_error error = VMOE_ERROR_INIT;

    (void)state;
    file.bytes = calloc(1, file.size);
    memcpy(file.bytes, honest.bytes, honest.header_bytes);
    forge_put_u64(&file, 16, file.size);
    forge_put_u32(&file, 24, (16 << 20) + 1);
    forge_sign(&file);
    assert_refused(load_counted(&file, false, &error), error, VMOE_ERR_LIMIT, "memory");
    forge_put_u32(&file, 24, 16 << 20);
    forge_sign(&file);
    assert_refused(load_counted(&file, false, &error), error, VMOE_ERR_FORMAT, "memory");
    forge_free(&file);
    forge_free(&honest);
    told();
}

/* ---- Config --------------------------------------------------------------------------------- */

struct field {
    const char *name;
    uint32_t offset; /* in the config */
    uint64_t least, most;
    bool choice; /* one of a few values: a larger one is wrong, not too large */
};

static const struct field fields[] = {
    { "image_size", 0, 1, 4096, false },
    { "patch_size", 4, 1, 4096, false },
    { "width", 8, 1, 65536, false },
    { "heads", 12, 1, 256, false },
    { "mlp", 16, 1, 262144, false },
    { "layers", 20, 1, 256, false },
    { "classes", 24, 1, 1048576, false },
    { "pre_logits", 28, 0, 65536, false },
    { "classifier", 32, 1, 3, true },
    { "gelu", 36, 1, 2, true },
    { "output", 40, 1, 2, true },
    { "experts", 44, 0, 4096, false },
    { "experts_per_token", 48, 1, 16, false },
    { "group_images", 52, 1, 1048576, false },
    { "capacity_rule", 56, 1, 2, true },
    { "capacity_multiple", 60, 1, 4096, false },
    { "preprocessing.kind", 64, 1, 2, true },
    { "preprocessing.side", 68, 1, 4096, false },
    { "precision", 76, 1, 3, true },
    { "compact", 80, 0, 1, true },
    { "labels", 84, 0, 1, true },
    { "members", 88, 0, 64, false },
};

static void every_field_of_the_config_has_its_bounds(void **state)
{
    struct forged honest = honest_file(VMOE_PRECISION_F32, false);

    (void)state;
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        const struct field *f = &fields[i];
        const uint64_t above[] = { f->most + 1, 0x7fffffff, 0x80000000, 0x80000001, 0xffffffff };

        if (f->least > 0)
            lie_u32(&honest, FORGE_CONFIG + f->offset, 0, false, VMOE_ERR_FORMAT, f->name);
        for (size_t v = 0; v < sizeof above / sizeof above[0]; v++)
            lie_u32(&honest, FORGE_CONFIG + f->offset, (uint32_t)above[v], false,
                    f->choice ? VMOE_ERR_FORMAT : VMOE_ERR_LIMIT, f->name);
    }
    for (uint32_t byte = 92; byte < 128; byte++) {
        if (byte == 96)
            byte = 104; /* the capacity */
        lie_u32(&honest, FORGE_CONFIG + (byte & ~3u), 1u << 8 * (byte % 4), false, VMOE_ERR_FORMAT,
                "reserved");
    }
    told();
    forge_free(&honest);
}

/* Values within their bounds that do not fit the rest of the file, and the few that do. */
static void the_config_must_fit_itself_and_the_tensors(void **state)
{
    static const struct {
        const char *name;
        uint32_t offset, value;
        vmoe_status expected;
    } cases[] = {
        { "image_size, not divided by patches", 0, 5, VMOE_ERR_FORMAT },
        { "image_size, not what preprocessing makes", 0, 6, VMOE_ERR_FORMAT },
        { "image_size, too many tokens", 0, 4096, VMOE_ERR_LIMIT },
        { "patch_size, other tensors", 4, 1, VMOE_ERR_FORMAT },
        { "patch_size, other tensors", 4, 4, VMOE_ERR_FORMAT },
        { "patch_size, larger than the image", 4, 8, VMOE_ERR_FORMAT },
        { "width, other tensors", 8, 14, VMOE_ERR_FORMAT },
        { "width, not divided by heads", 8, 13, VMOE_ERR_FORMAT },
        { "width, not divided by heads", 8, 1, VMOE_ERR_FORMAT },
        { "width, most", 8, 65536, VMOE_ERR_FORMAT },
        { "heads, do not divide", 12, 5, VMOE_ERR_FORMAT },
        { "heads, do not divide", 12, 24, VMOE_ERR_FORMAT },
        { "heads, another number that divides", 12, 3, VMOE_OK },
        { "mlp, other tensors", 16, 19, VMOE_ERR_FORMAT },
        { "mlp, other tensors", 16, 21, VMOE_ERR_FORMAT },
        { "mlp, most", 16, 262144, VMOE_ERR_FORMAT },
        { "layers, other tensors", 20, 2, VMOE_ERR_FORMAT },
        { "layers, most", 20, 256, VMOE_ERR_FORMAT },
        { "classes, other tensors", 24, 4, VMOE_ERR_FORMAT },
        { "classes, other tensors", 24, 6, VMOE_ERR_FORMAT },
        { "classes, most", 24, 1048576, VMOE_ERR_FORMAT },
        { "pre_logits, other tensors", 28, 1, VMOE_ERR_FORMAT },
        { "pre_logits, most", 28, 65536, VMOE_ERR_FORMAT },
        { "classifier, other tensors", 32, 2, VMOE_ERR_FORMAT },
        { "classifier, other tensors", 32, 3, VMOE_ERR_FORMAT },
        { "gelu, the other one", 36, 2, VMOE_OK },
        { "output, the other one", 40, 2, VMOE_OK },
        { "experts, none in a MoE block", 44, 0, VMOE_ERR_FORMAT },
        { "experts, fewer than K", 44, 1, VMOE_ERR_FORMAT },
        { "experts, other tensors", 44, 3, VMOE_ERR_FORMAT },
        { "experts, most", 44, 4096, VMOE_ERR_FORMAT },
        { "experts_per_token, fewer", 48, 1, VMOE_OK },
        { "experts_per_token, more than E", 48, 3, VMOE_ERR_FORMAT },
        { "experts_per_token, more than E", 48, 16, VMOE_ERR_FORMAT },
        { "group_images, most", 52, 1048576, VMOE_OK },
        { "capacity_rule, the other one", 56, 2, VMOE_OK },
        { "capacity_multiple, most", 60, 4096, VMOE_OK },
        { "preprocessing.kind, without a crop", 64, 2, VMOE_ERR_FORMAT },
        { "preprocessing.side, not the image's", 68, 5, VMOE_ERR_FORMAT },
        { "preprocessing.crop, in a resize", 72, 4, VMOE_ERR_FORMAT },
        { "precision, other tensors", 76, 2, VMOE_ERR_FORMAT },
        { "precision, other tensors", 76, 3, VMOE_ERR_FORMAT },
        { "compact, with no chunk that is", 80, 1, VMOE_OK },
        { "labels, none but there", 84, 0, VMOE_ERR_FORMAT },
        { "members, 1 that is not stored as 0", 88, 1, VMOE_ERR_FORMAT },
        { "members, with fewer experts than K", 88, 2, VMOE_ERR_FORMAT },
        { "members, more than experts", 88, 4, VMOE_ERR_FORMAT },
        { "members, most", 88, 64, VMOE_ERR_FORMAT },
        { "moe, no block", 128, 0, VMOE_ERR_FORMAT },
        { "moe, a block that is not there", 128, 3, VMOE_ERR_FORMAT },
        { "moe, the last bit", 156, 0x80000000, VMOE_ERR_FORMAT },
    };
    static const double ratios[] = { 0.0, -0.0, -1.0, 64.0000001, 1e300, INFINITY, -INFINITY, NAN };
    static const double fine[] = { 5e-324, 1e-9, 0.5, 64.0 };
    struct forged honest = honest_file(VMOE_PRECISION_F32, false);

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        lie_u32(&honest, FORGE_CONFIG + cases[i].offset, cases[i].value, false, cases[i].expected,
                cases[i].name);
    for (size_t i = 0; i < sizeof ratios / sizeof ratios[0]; i++) {
        forge_put_f64(&honest, FORGE_CONFIG + 96, ratios[i]);
        expect(&honest, false, VMOE_ERR_FORMAT, "capacity", i);
    }
    for (size_t i = 0; i < sizeof fine / sizeof fine[0]; i++) {
        forge_put_f64(&honest, FORGE_CONFIG + 96, fine[i]);
        expect(&honest, false, VMOE_OK, "capacity", i);
    }
    told();
    forge_free(&honest);
}

static void a_dense_model_has_no_dial(void **state)
{
    static const uint32_t offsets[] = { 48, 52, 56, 60, 96, 100 };
    vmoe_info geometry = smallest_info();
    struct forged honest;

    (void)state;
    geometry.experts = 0;
    geometry.moe[0] = 0;
    write_model(&geometry, NULL, scratch_path("dense.vmoe"));
    honest = forge_read(scratch_path("dense.vmoe"));
    for (size_t i = 0; i < sizeof offsets / sizeof offsets[0]; i++)
        for (uint32_t value = 1; value <= 0x80000000 && value != 0; value <<= 31)
            lie_u32(&honest, FORGE_CONFIG + offsets[i], value, false, VMOE_ERR_FORMAT, "dial");
    lie_u32(&honest, FORGE_CONFIG + 44, 2, false, VMOE_ERR_FORMAT, "experts without a block");
    lie_u32(&honest, FORGE_CONFIG + 128, 1, false, VMOE_ERR_FORMAT, "a block without experts");
    lie_u32(&honest, FORGE_CONFIG + 88, 2, false, VMOE_ERR_FORMAT, "members without experts");
    told();
    forge_free(&honest);
}

/* ---- Directory and chunk table -------------------------------------------------------------- */

static void check_directory(uint32_t precision, bool compact)
{
    struct forged honest = honest_file(precision, compact);

    for (size_t at = honest.directory; at < honest.chunk_table; at += 4) {
        const uint32_t value = forge_get_u32(&honest, at);
        const uint32_t values[] = { 0, value - 1, value + 1, value + 64, value ^ 0x80000000,
                                    0xffffffff };

        for (size_t v = 0; v < sizeof values / sizeof values[0]; v++)
            lie_u32(&honest, at, values[v], compact, VMOE_ERR_FORMAT, "directory");
    }
    for (size_t at = honest.chunk_table; at < honest.header_bytes; at += FORGE_CHUNK_BYTES) {
        const uint32_t stored = forge_get_u32(&honest, at), coding = forge_get_u32(&honest, at + 4);
        const uint32_t sizes[] = { 0, 1, stored - 1, stored + 1, 1 << 20, 0xffffffff };
        const uint32_t codings[] = { coding ^ 1, 2, 0x100, 0xffffffff };

        for (size_t v = 0; v < sizeof sizes / sizeof sizes[0]; v++)
            lie_u32(&honest, at, sizes[v], compact, VMOE_ERR_FORMAT, "stored");
        for (size_t v = 0; v < sizeof codings / sizeof codings[0]; v++) {
            /* What a compact file keeps raw has the size of a raw chunk: it cannot be zlib. */
            lie_u32(&honest, at + 4, codings[v], compact, VMOE_ERR_FORMAT, "coding");
        }
        lie_u64(&honest, at + 8, forge_get_u64(&honest, at + 8) ^ 1, compact, VMOE_ERR_CHECKSUM,
                "hash");
        lie_u64(&honest, at + 8, 0, compact, VMOE_ERR_CHECKSUM, "hash");
    }
    forge_free(&honest);
}

static void the_directory_cannot_lie(void **state)
{
    (void)state;
    check_directory(VMOE_PRECISION_F32, false);
    check_directory(VMOE_PRECISION_INT8, true);
    told();
}

/* The last chunk says that it is coded, in so many bytes, and all other numbers agree with it. */
static void code_last_chunk(const struct forged *honest, bool compact, uint32_t stored)
{
    const size_t entry = honest->directory + (size_t)(honest->tensors - 1) * FORGE_ENTRY_BYTES;
    const size_t chunk = honest->chunk_table + (size_t)(honest->chunks - 1) * FORGE_CHUNK_BYTES;
    const size_t begin = (size_t)forge_get_u64(honest, entry + 80);
    struct forged file = *honest;
    vmoe_error error = VMOE_ERROR_INIT;

    file.size = begin + stored;
    file.bytes = calloc(1, file.size);
    memcpy(file.bytes, honest->bytes, begin);
    forge_put_u64(&file, 16, file.size);
    forge_put_u64(&file, entry + 88, stored);
    forge_put_u32(&file, chunk, stored);
    forge_put_u32(&file, chunk + 4, 1);
    forge_hash_chunks(&file, entry);
    forge_sign(&file);
    assert_refused(load_counted(&file, compact, &error), error, VMOE_ERR_FORMAT, "head.bias");
    assert_non_null(strstr(error.text, "coding 1"));
    forge_free(&file);
}

/* The first would be decoded without a decoder, the last be read to a buffer of 1 MiB. */
static void chunks_are_coded_where_it_makes_them_shorter(void **state)
{
    struct forged raw = honest_file(VMOE_PRECISION_F32, false);
    struct forged compact = honest_file(VMOE_PRECISION_F32, true);

    (void)state;
    code_last_chunk(&raw, false, 19);
    for (uint32_t stored = 20; stored <= 4 << 20; stored += stored < 24 ? 1 : stored)
        code_last_chunk(&compact, true, stored);
    told();
    forge_free(&raw);
    forge_free(&compact);
}

static void tensors_cannot_change_places(void **state)
{
    struct forged file = honest_file(VMOE_PRECISION_BF16, false);
    size_t a = forge_entry(&file, "block.0.expert.0.fc1.weight");
    size_t b = forge_entry(&file, "block.0.expert.1.fc1.weight");
    uint8_t entry[FORGE_ENTRY_BYTES];

    (void)state;
    memcpy(entry, file.bytes + a, sizeof entry);
    memcpy(file.bytes + a, file.bytes + b, sizeof entry);
    memcpy(file.bytes + b, entry, sizeof entry);
    expect(&file, false, VMOE_ERR_FORMAT, "entries exchanged", 0);
    memcpy(file.bytes + a, file.bytes + b, sizeof entry);
    expect(&file, false, VMOE_ERR_FORMAT, "an entry twice", 0);
    told();
    forge_free(&file);
}

static void nothing_may_stand_before_or_behind_the_file(void **state)
{
    struct forged honest = honest_file(VMOE_PRECISION_F32, false);
    struct forged longer = honest;

    (void)state;
    longer.bytes = calloc(1, honest.size + 64);
    memcpy(longer.bytes, honest.bytes, honest.size);
    for (size_t extra = 1; extra <= 64; extra *= 4) {
        longer.size = honest.size + extra;
        forge_put_u64(&longer, 16, honest.size);
        expect(&longer, false, VMOE_ERR_FORMAT, "trailing bytes", extra);
        forge_put_u64(&longer, 16, longer.size);
        expect(&longer, false, VMOE_ERR_FORMAT, "trailing bytes that are owned to", extra);
    }
    memmove(longer.bytes + 64, honest.bytes, honest.size);
    expect(&longer, false, VMOE_ERR_FORMAT, "leading bytes", 64);
    told();
    forge_free(&longer);
    forge_free(&honest);
}

/* ---- Texts ---------------------------------------------------------------------------------- */

/* The strings are l i e s 0 a 0 b 0 c 0 d 0 e 0 0. */
static void texts_must_be_clean(void **state)
{
    static const struct {
        const char *name;
        uint32_t at;
        const char *bytes;
    } cases[] = {
        { "a control character", 0, "\x1f" },  { "a line end", 1, "\n" },
        { "a delete", 2, "\x7f" },             { "a lone continuation", 0, "\x80" },
        { "a bare lead byte", 3, "\xc3" },     { "an overlong slash", 0, "\xc0\xaf" },
        { "an overlong slash", 0, "\xe0\x80\xaf" }, { "a surrogate", 0, "\xed\xa0\x80" },
        { "beyond Unicode", 0, "\xf4\x90\x80\x80" }, { "no lead byte at all", 0, "\xff" },
        { "a C1 control", 0, "\xc2\x9f" },     { "padding that is not zero", 15, "x" },
        { "a control character in a label", 5, "\x01" },
        { "a label in the place of an end", 14, "\xff" },
    };
    struct forged honest = honest_file(VMOE_PRECISION_F32, false);

    (void)state;
    assert_memory_equal(honest.bytes + FORGE_STRINGS, "lies\0a\0b\0c\0d\0e\0", 16);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct forged file = forge_copy(&honest);

        memcpy(file.bytes + FORGE_STRINGS + cases[i].at, cases[i].bytes, strlen(cases[i].bytes));
        expect(&file, false, VMOE_ERR_FORMAT, cases[i].name, i);
        forge_free(&file);
    }
    /* An empty label, a label too few, and texts that never end. */
    for (uint32_t at = 5; at < 15; at += 2) {
        struct forged file = forge_copy(&honest);

        file.bytes[FORGE_STRINGS + at] = 0;
        expect(&file, false, VMOE_ERR_FORMAT, "an empty label", at);
        forge_free(&file);
    }
    memset(honest.bytes + FORGE_STRINGS, 'x', 16);
    expect(&honest, false, VMOE_ERR_FORMAT, "no ends", 0);
    told();
    forge_free(&honest);
}

/* A byte of padding too few and eight too many; what is behind it in the header moves with it. */
static void texts_are_padded_as_they_need(void **state)
{
    static const uint32_t bytes[] = { 15, 24 };

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct forged file = honest_file(VMOE_PRECISION_F32, false);
        uint8_t *strings = file.bytes + FORGE_STRINGS;
        const size_t behind = file.header_bytes - FORGE_STRINGS - 16;

        assert_true(file.header_bytes + 8 <= 4096);
        memmove(strings + bytes[i], strings + 16, behind);
        memset(strings + 15, 0, bytes[i] - 15);
        memset(strings + bytes[i] + behind, 0, 8);
        forge_put_u32(&file, 24, FORGE_STRINGS + bytes[i] + (uint32_t)behind);
        forge_put_u32(&file, 36, bytes[i]);
        expect(&file, false, VMOE_ERR_FORMAT, "bytes of strings", bytes[i]);
        forge_free(&file);
    }
    told();
}

/* ---- Data ----------------------------------------------------------------------------------- */

static void padding_must_be_zero(void **state)
{
    static const size_t width[] = { 0, 4, 2, 1 };

    (void)state;
    for (uint32_t p = VMOE_PRECISION_F32; p <= VMOE_PRECISION_INT8; p++) {
        struct forged file = honest_file(p, false);
        size_t entry = forge_entry(&file, "block.0.attention.out.weight");
        size_t begin = (size_t)forge_get_u64(&file, entry + 80);
        size_t bytes = (size_t)forge_get_u64(&file, entry + 88), zeros = 0;
        vmoe_error error = VMOE_ERROR_INIT;

        /* 12 of 32 columns and 12 of 16, 32 or 64 rows are used. */
        for (size_t i = 0; i < bytes; i++) {
            if (file.bytes[begin + i] != 0)
                continue;
            file.bytes[begin + i] = 1;
            forge_hash_chunks(&file, entry);
            forge_sign(&file);
            if (load_counted(&file, false, &error) == VMOE_ERR_FORMAT)
                zeros++;
            file.bytes[begin + i] = 0;
        }
        forge_hash_chunks(&file, entry);
        assert_int_equal(zeros, bytes - 144 * width[p]);
        for (size_t i = file.header_bytes; i < 4096; i += 7) {
            file.bytes[i] = 1;
            expect(&file, false, VMOE_ERR_FORMAT, "padding before the data", i);
            file.bytes[i] = 0;
        }
        forge_free(&file);
    }
    told();
}

static void gaps_between_tensors_must_be_zero(void **state)
{
    struct forged file = honest_file(VMOE_PRECISION_F32, false);
    size_t checked = 0;

    (void)state;
    for (uint32_t i = 0; i + 1 < file.tensors; i++) {
        size_t entry = file.directory + (size_t)i * FORGE_ENTRY_BYTES;
        size_t end = (size_t)(forge_get_u64(&file, entry + 80) + forge_get_u64(&file, entry + 88));
        size_t next = (size_t)forge_get_u64(&file, entry + FORGE_ENTRY_BYTES + 80);

        for (; end < next; end++, checked++) {
            file.bytes[end] = 0x80;
            expect(&file, false, VMOE_ERR_FORMAT, "a gap", end);
            file.bytes[end] = 0;
        }
    }
    assert_true(checked > 100);
    told();
    forge_free(&file);
}

/*
 * Every bit of every zlib stream, with all hashes in order.  zlib's own check finds nearly all;
 * what it lets pass is a model like any other.
 */
static void forged_streams_are_refused_or_run(void **state)
{
    const vmoe_info geometry = smallest_info();
    struct forged file = honest_file(VMOE_PRECISION_BF16, true);
    float *images = make_images(&geometry, 1);
    size_t loaded = 0, refused = 0;

    (void)state;
    for (uint32_t i = 0; i < file.tensors; i++) {
        size_t entry = file.directory + (size_t)i * FORGE_ENTRY_BYTES;
        size_t chunk = file.chunk_table + (size_t)i * FORGE_CHUNK_BYTES;
        size_t at = (size_t)forge_get_u64(&file, entry + 80);

        if (forge_get_u32(&file, chunk + 4) != 1)
            continue;
        for (size_t bit = 0; bit < 8 * (size_t)forge_get_u32(&file, chunk); bit++) {
            vmoe_error error = VMOE_ERROR_INIT;
            vmoe_model *model;
            vmoe_status status;

            file.bytes[at + bit / 8] ^= (uint8_t)(1u << bit % 8);
            forge_hash_chunks(&file, entry);
            forge_sign(&file);
            status = vmoe_load_memory(file.bytes, file.size, NULL, &model, &error);
            file.bytes[at + bit / 8] ^= (uint8_t)(1u << bit % 8);
            if (status == VMOE_OK) {
                struct answer answer = must_answer(model, images, 1, NULL);

                answer_free(&answer);
                vmoe_free(model);
                loaded++;
            } else {
                assert_refused(status, error, VMOE_ERR_FORMAT, "");
                refused++;
            }
        }
        forge_hash_chunks(&file, entry);
    }
    print_message("  of %zu flips in zlib streams, %zu were refused\n", refused + loaded, refused);
    assert_true(refused > 1000 && loaded < refused / 100);
    free(images);
    forge_free(&file);
}

/* ---- Counts that a small file cannot hold --------------------------------------------------- */

/*
 * A file whose header fits its config in everything, but whose data are a byte for each chunk: the
 * claim of a compact file that unpacks to any size.
 */
static struct forged boast(vmoe_info info, uint32_t string_bytes)
{
    struct vmoe_preamble preamble = { .string_bytes = string_bytes };
    struct vmoe_tensor *tensors;
    struct forged file = { .strings = FORGE_STRINGS };
    uint64_t end;
    size_t at, chunk;

    assert_int_equal(vmoe_config_complete(&info, "boast", VMOE_ERR_ARGUMENT, NULL), VMOE_OK);
    preamble.tensors = (uint32_t)vmoe_tensor_count(&info);
    tensors = calloc(preamble.tensors, sizeof *tensors);
    vmoe_tensor_list(&info, tensors);
    for (uint32_t i = 0; i < preamble.tensors; i++)
        preamble.chunks += vmoe_format_chunks(&tensors[i]);
    preamble.header_bytes = FORGE_STRINGS + string_bytes + preamble.tensors * FORGE_ENTRY_BYTES +
                            preamble.chunks * FORGE_CHUNK_BYTES;
    end = ((uint64_t)preamble.header_bytes + 4095) / 4096 * 4096;
    file.bytes = calloc(1, (size_t)end + 64 * (preamble.tensors + (size_t)preamble.chunks));
    vmoe_format_put_config(&info, file.bytes + FORGE_CONFIG);
    at = FORGE_STRINGS + string_bytes;
    chunk = at + (size_t)preamble.tensors * FORGE_ENTRY_BYTES;
    preamble.chunks = 0;
    for (uint32_t i = 0; i < preamble.tensors; i++, at += FORGE_ENTRY_BYTES) {
        struct vmoe_entry entry = { .tensor = tensors[i], .first_chunk = preamble.chunks };

        entry.chunks = vmoe_format_chunks(&tensors[i]);
        entry.offset = (end + 63) / 64 * 64;
        entry.stored = entry.chunks;
        end = entry.offset + entry.stored;
        vmoe_format_put_entry(&entry, file.bytes + at);
        for (uint32_t c = 0; c < entry.chunks; c++, chunk += FORGE_CHUNK_BYTES) {
            const struct vmoe_chunk claim = { 1, VMOE_CHUNK_ZLIB, UINT64_C(0xc44bdff4074eecdb) };

            vmoe_format_put_chunk(&claim, file.bytes + chunk);
        }
        preamble.chunks += entry.chunks;
    }
    preamble.file_bytes = end;
    vmoe_format_put_preamble(&preamble, file.bytes);
    file.size = (size_t)end;
    free(tensors);
    return file;
}

/* What importing would have filled in. */
static vmoe_info boastful_info(void)
{
    vmoe_info info = smallest_info();

    info.gelu = VMOE_GELU_TANH;
    info.output = VMOE_OUTPUT_SOFTMAX;
    info.experts_per_token = 2;
    info.capacity = 1.0;
    info.capacity_rule = VMOE_CAPACITY_CEIL;
    info.capacity_multiple = 1;
    info.group_images = 1;
    info.preprocessing = (vmoe_preprocessing){ VMOE_PREPROCESS_RESIZE, info.image_size, 0 };
    info.precision = VMOE_PRECISION_F32;
    info.compact = 1;
    return info;
}

static void a_stream_cannot_promise_more_than_zlib_can_keep(void **state)
{
    vmoe_info info = boastful_info();
    struct forged file;

    (void)state;
    info.classes = 1u << 20; /* 64 MiB of head in 64 chunks */
    file = boast(info, 8);
    expect(&file, true, VMOE_ERR_FORMAT, "a compact head", info.classes);
    forge_free(&file);
    info.classes = 5;
    info.width = 8192;
    info.mlp = 262144; /* 8 GiB in each matrix of an expert */
    file = boast(info, 8);
    expect(&file, true, VMOE_ERR_FORMAT, "a compact expert", info.mlp);
    forge_free(&file);
    told();
}

static void labels_must_be_there_before_they_are_listed(void **state)
{
    vmoe_info info = boastful_info();
    struct forged file;

    (void)state;
    info.classes = 1u << 20;
    info.labels = 1;
    file = boast(info, 8);
    expect(&file, false, VMOE_ERR_FORMAT, "a million labels in 8 bytes", info.classes);
    forge_free(&file);
    told();
}

/* The longest texts, and then one that is a byte longer; a boast is refused for its weights only. */
static void texts_have_a_limit(void **state)
{
    static const struct {
        size_t provenance, label;
        const char *where;
    } cases[] = { { 4096, 1024, "embedding.weight" }, { 4097, 1024, "provenance" },
                  { 4096, 1025, "labels" } };
    vmoe_info info = boastful_info();

    (void)state;
    info.classes = 2;
    info.labels = 1;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const size_t second = cases[i].provenance + 1, last = second + cases[i].label + 1;
        struct forged file = boast(info, (uint32_t)(last + 2 + 7) / 8 * 8);
        vmoe_error error = VMOE_ERROR_INIT;

        memset(file.bytes + FORGE_STRINGS, 'x', last + 1);
        file.bytes[FORGE_STRINGS + second - 1] = file.bytes[FORGE_STRINGS + last - 1] = 0;
        forge_sign(&file);
        assert_refused(load_counted(&file, true, &error), error, VMOE_ERR_FORMAT, cases[i].where);
        forge_free(&file);
    }
    told();
}

/* A config that implies 65,000 tensors, in a file that has room for none of them. */
static void tensors_must_be_there_before_they_are_listed(void **state)
{
    struct forged file = honest_file(VMOE_PRECISION_F32, false);
    vmoe_info info = boastful_info();

    (void)state;
    info.layers = 256;
    info.experts = 60;
    memset(info.moe, 1, 256);
    assert_int_equal(vmoe_config_complete(&info, "info", VMOE_ERR_ARGUMENT, NULL), VMOE_OK);
    vmoe_format_put_config(&info, file.bytes + FORGE_CONFIG);
    forge_put_u32(&file, 28, (uint32_t)vmoe_tensor_count(&info));
    expect(&file, false, VMOE_ERR_FORMAT, "tensors", vmoe_tensor_count(&info));
    told();
    forge_free(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_preamble_cannot_lie),
        cmocka_unit_test(a_header_above_the_limit_is_refused),
        cmocka_unit_test(every_field_of_the_config_has_its_bounds),
        cmocka_unit_test(the_config_must_fit_itself_and_the_tensors),
        cmocka_unit_test(a_dense_model_has_no_dial),
        cmocka_unit_test(the_directory_cannot_lie),
        cmocka_unit_test(chunks_are_coded_where_it_makes_them_shorter),
        cmocka_unit_test(tensors_cannot_change_places),
        cmocka_unit_test(nothing_may_stand_before_or_behind_the_file),
        cmocka_unit_test(texts_must_be_clean),
        cmocka_unit_test(texts_are_padded_as_they_need),
        cmocka_unit_test(padding_must_be_zero),
        cmocka_unit_test(gaps_between_tensors_must_be_zero),
        cmocka_unit_test(forged_streams_are_refused_or_run),
        cmocka_unit_test(a_stream_cannot_promise_more_than_zlib_can_keep),
        cmocka_unit_test(labels_must_be_there_before_they_are_listed),
        cmocka_unit_test(texts_have_a_limit),
        cmocka_unit_test(tensors_must_be_there_before_they_are_listed),
    };

    return cmocka_run_group_tests_name("files that lie", tests, NULL, NULL);
}
