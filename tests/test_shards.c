/*
 * Hand-made shards: a small checkpoint with every way of cutting arrays, and then one with each
 * mistake that a writer, a disk or an enemy could make.
 */
#define _GNU_SOURCE
#include "support/support.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "checkpoint/msgpack.h"
#include "checkpoint/shards.h"
#include "checkpoint/source.h"
#include "support/fault.h"
#include "support/tiny.h"

/* ---- A msgpack writer ----------------------------------------------------------------------- */

struct bytes {
    uint8_t *data;
    size_t size, capacity;
};

static void put(struct bytes *to, const void *data, size_t size)
{
    if (to->size + size > to->capacity) {
        to->capacity = 2 * (to->size + size);
        to->data = realloc(to->data, to->capacity);
    }
    if (size > 0)
        memcpy(to->data + to->size, data, size);
    to->size += size;
}

static void put_head(struct bytes *to, uint8_t first, uint64_t number, size_t size)
{
    uint8_t head[9] = { first };

    for (size_t i = 0; i < size; i++)
        head[1 + i] = (uint8_t)(number >> 8 * (size - 1 - i));
    put(to, head, 1 + size);
}

static void put_nil(struct bytes *to) { put_head(to, 0xc0, 0, 0); }
static void put_bool(struct bytes *to, bool value) { put_head(to, value ? 0xc3 : 0xc2, 0, 0); }
static void put_array(struct bytes *to, uint32_t count) { put_head(to, 0xdd, count, 4); }
static void put_map(struct bytes *to, uint32_t count) { put_head(to, 0xdf, count, 4); }

/* Integers are written in various lengths, to have them all. */
static void put_integer(struct bytes *to, int64_t value)
{
    if (value < -32)
        put_head(to, 0xd3, (uint64_t)value, 8);
    else if (value < 128)
        put_head(to, (uint8_t)value, 0, 0);
    else if (value < 256)
        put_head(to, 0xcc, (uint64_t)value, 1);
    else if (value < 30000)
        put_head(to, 0xd1, (uint64_t)value, 2);
    else if (value <= UINT32_MAX)
        put_head(to, 0xce, (uint64_t)value, 4);
    else
        put_head(to, 0xcf, (uint64_t)value, 8);
}

static void put_text(struct bytes *to, const char *text)
{
    size_t length = strlen(text);

    if (length < 32)
        put_head(to, (uint8_t)(0xa0 + length), 0, 0);
    else
        put_head(to, 0xda, length, 2);
    put(to, text, length);
}

/* Both take the payload's memory. */
static void put_binary(struct bytes *to, struct bytes payload)
{
    put_head(to, payload.size < 256 ? 0xc4 : 0xc6, payload.size, payload.size < 256 ? 1 : 4);
    put(to, payload.data, payload.size);
    free(payload.data);
}

static void put_ext(struct bytes *to, int type, struct bytes payload)
{
    uint8_t byte = (uint8_t)type;

    put_head(to, payload.size < 65536 ? 0xc8 : 0xc9, payload.size, payload.size < 65536 ? 2 : 4);
    put(to, &byte, 1);
    put(to, payload.data, payload.size);
    free(payload.data);
}

/* ---- A description of a checkpoint ---------------------------------------------------------- */

#define NIL INT64_MIN

struct cut {
    int64_t start[3], stop[3], step;
    int64_t shard;
};

struct leaf {
    const char *branch, *name; /* branch "": at the root */
    const char *type;
    uint32_t rank;
    int64_t dims[3];
    uint32_t cuts;
    struct cut cut[12];
};

struct chunk {
    char key[16];
    const char *type;
    uint32_t rank;
    struct cut cut;
    uint32_t pieces;
    int64_t piece[4]; /* elements */
    int64_t shape[4]; /* what is written as the shape of a piece */
    int excess;       /* bytes more in the last piece than its elements need */
    int leaf;         /* whose values are written */
};

#define LEAVES 6
#define CHUNKS 24

struct spec {
    int64_t shard_count;
    const char *version; /* NULL: none */
    uint32_t leaves;
    struct leaf leaf[LEAVES];
    uint32_t chunks;
    struct chunk chunk[CHUNKS];
    int ext_leaf, ext_piece, ext_slice; /* ext types */
    uint8_t data_head; /* 0: the data of pieces are binary values; else a head of 4 bytes more */
    const char *magic;
    bool magic_false; /* what it says is false, not true */
    bool tree_last; /* the tree after the other keys, or before */
};

/* Number `i` of an array: exact in all types. */
static float value_of(int leaf, uint64_t i)
{
    return (float)((int)(i * 7 + (uint64_t)leaf) % 120 - 40);
}

static size_t type_bytes(const char *type)
{
    return strcmp(type, "float64") == 0 || strcmp(type, "int64") == 0      ? 8
           : strcmp(type, "bfloat16") == 0 || strcmp(type, "complex3") == 0 ? 2
                                                                            : 4;
}

static void put_value(struct bytes *to, const char *type, float value)
{
    double wide = value;
    int64_t integer = (int64_t)value;
    uint32_t bits;

    memcpy(&bits, &value, 4);
    if (strcmp(type, "float32") == 0)
        put(to, &value, 4);
    else if (strcmp(type, "bfloat16") == 0)
        put(to, (uint8_t[]){ (uint8_t)(bits >> 16), (uint8_t)(bits >> 24) }, 2);
    else if (strcmp(type, "float64") == 0)
        put(to, &wide, 8);
    else
        put(to, &integer, type_bytes(type));
}

static void put_bound(struct bytes *to, int64_t value)
{
    if (value == NIL)
        put_nil(to);
    else
        put_integer(to, value);
}

static struct bytes slice_nd(const struct cut *cut, uint32_t rank)
{
    struct bytes all = { 0 };

    put_array(&all, rank);
    for (uint32_t axis = 0; axis < rank; axis++) {
        struct bytes one = { 0 };

        put_array(&one, 3);
        put_bound(&one, cut->start[axis]);
        put_bound(&one, cut->stop[axis]);
        put_bound(&one, cut->step);
        put_binary(&all, one);
    }
    return all;
}

static void put_leaf(struct bytes *to, const struct spec *spec, const struct leaf *leaf)
{
    struct bytes info = { 0 }, shape = { 0 };

    put_array(&info, 3);
    put_array(&shape, 4);
    put_array(&shape, leaf->rank);
    for (uint32_t axis = 0; axis < leaf->rank; axis++)
        put_integer(&shape, leaf->dims[axis]);
    put_text(&shape, leaf->type);
    put_bool(&shape, false);
    put_map(&shape, 0);
    put_binary(&info, shape);
    put_array(&info, leaf->cuts);
    for (uint32_t i = 0; i < leaf->cuts; i++)
        put_binary(&info, slice_nd(&leaf->cut[i], leaf->rank));
    put_array(&info, leaf->cuts);
    for (uint32_t i = 0; i < leaf->cuts; i++)
        put_integer(&info, leaf->cut[i].shard);
    put_ext(to, spec->ext_leaf, info);
}

/* Leaves of one branch have to follow each other. */
static void put_tree(struct bytes *to, const struct spec *spec)
{
    uint32_t roots = 0;

    for (uint32_t i = 0; i < spec->leaves; i++)
        roots += spec->leaf[i].branch[0] == '\0' || i == 0 ||
                 strcmp(spec->leaf[i].branch, spec->leaf[i - 1].branch) != 0;
    put_map(to, roots);
    for (uint32_t i = 0, next; i < spec->leaves; i = next) {
        const char *branch = spec->leaf[i].branch;

        for (next = i + 1; next < spec->leaves && branch[0] != '\0' &&
                           strcmp(spec->leaf[next].branch, branch) == 0;)
            next++;
        if (branch[0] != '\0') {
            put_text(to, branch);
            put_map(to, next - i);
        }
        for (uint32_t j = i; j < next; j++) {
            put_text(to, spec->leaf[j].name);
            put_leaf(to, spec, &spec->leaf[j]);
        }
    }
}

static struct bytes index_of(const struct spec *spec)
{
    struct bytes index = { 0 };

    put_map(&index, spec->version != NULL ? 3 : 2);
    if (!spec->tree_last) {
        put_text(&index, "index");
        put_tree(&index, spec);
    }
    if (spec->version != NULL) {
        put_text(&index, "version");
        put_text(&index, spec->version);
    }
    put_text(&index, "shard_count");
    put_integer(&index, spec->shard_count);
    if (spec->tree_last) {
        put_text(&index, "index");
        put_tree(&index, spec);
    }
    return index;
}

/* The flat position in the array of element `i` of a slice. */
static uint64_t flat(const struct leaf *leaf, const struct cut *cut, uint64_t i)
{
    uint64_t position = 0, stride = 1;

    for (uint32_t axis = leaf->rank; axis-- > 0;) {
        int64_t start = cut->start[axis] == NIL ? 0 : cut->start[axis];
        int64_t stop = cut->stop[axis] == NIL ? leaf->dims[axis] : cut->stop[axis];
        uint64_t extent = stop > start ? (uint64_t)(stop - start) : 1;

        position += ((uint64_t)start + i % extent) * stride;
        i /= extent;
        stride *= (uint64_t)leaf->dims[axis];
    }
    return position;
}

static void put_chunk(struct bytes *to, const struct spec *spec, const struct chunk *chunk)
{
    const struct leaf *leaf = &spec->leaf[chunk->leaf];
    uint64_t element = 0;

    put_array(to, 2);
    put_array(to, chunk->pieces);
    for (uint32_t i = 0; i < chunk->pieces; i++) {
        struct bytes piece = { 0 }, data = { 0 };

        put_array(&piece, 3);
        put_array(&piece, 1);
        put_integer(&piece, chunk->shape[i]);
        put_text(&piece, chunk->type);
        for (int64_t j = 0; j < chunk->piece[i]; j++, element++)
            put_value(&data, chunk->type, value_of(chunk->leaf, flat(leaf, &chunk->cut, element)));
        if (i + 1 == chunk->pieces && chunk->excess > 0)
            put(&data, "12345678", (size_t)chunk->excess);
        else if (i + 1 == chunk->pieces)
            data.size -= (size_t)-chunk->excess;
        if (spec->data_head != 0) {
            put_head(&piece, spec->data_head, data.size, 4);
            put(&piece, data.data, data.size);
            free(data.data);
        } else {
            put_binary(&piece, data);
        }
        put_ext(to, spec->ext_piece, piece);
    }
    put_ext(to, spec->ext_slice, slice_nd(&chunk->cut, chunk->rank));
}

/* Chunks with the same key have to follow each other. */
static struct bytes shard_of(const struct spec *spec, int64_t shard)
{
    struct bytes map = { 0 }, all = { 0 };
    uint32_t keys = 0;

    for (uint32_t i = 0, next; i < spec->chunks; i = next) {
        struct bytes list = { 0 };
        uint32_t count = 0;

        for (next = i; next < spec->chunks &&
                       strcmp(spec->chunk[next].key, spec->chunk[i].key) == 0; next++) {
            if (spec->chunk[next].cut.shard != shard)
                continue;
            put_chunk(&list, spec, &spec->chunk[next]);
            count++;
        }
        if (count > 0) {
            put_text(&map, spec->chunk[i].key);
            put_array(&map, count);
            put(&map, list.data, list.size);
            keys++;
        }
        free(list.data);
    }
    put_map(&all, keys + (spec->magic != NULL));
    if (spec->magic != NULL) {
        put_text(&all, spec->magic);
        put_bool(&all, !spec->magic_false);
    }
    put(&all, map.data, map.size);
    free(map.data);
    return all;
}

/* ---- The good checkpoint -------------------------------------------------------------------- */

/* A chunk for every slice.  `numbers[i]` is the number of leaf i. */
static void add_chunks(struct spec *spec, const int *numbers)
{
    for (uint32_t i = 0; i < spec->leaves; i++) {
        const struct leaf *leaf = &spec->leaf[i];

        for (uint32_t j = 0; j < leaf->cuts; j++) {
            struct chunk *chunk = &spec->chunk[spec->chunks++];
            int64_t volume = 1;

            sprintf(chunk->key, "%d", numbers[i]);
            chunk->type = leaf->type;
            chunk->rank = leaf->rank;
            chunk->cut = leaf->cut[j];
            chunk->leaf = (int)i;
            for (uint32_t axis = 0; axis < leaf->rank; axis++)
                volume *= (leaf->cut[j].stop[axis] == NIL ? leaf->dims[axis]
                                                          : leaf->cut[j].stop[axis]) -
                          (leaf->cut[j].start[axis] == NIL ? 0 : leaf->cut[j].start[axis]);
            chunk->pieces = volume > 10 ? 3 : 1;
            chunk->piece[0] = volume > 10 ? 4 : volume;
            chunk->piece[1] = 1;
            chunk->piece[2] = volume - 5;
            memcpy(chunk->shape, chunk->piece, sizeof chunk->shape);
        }
    }
}

/*
 * Five arrays.  Block 10 comes before block 2, so the numbers are not those of the order here; the
 * second is cut along two axes, the third like a pinwheel.
 */
static struct spec good(void)
{
    static const int numbers[] = { 4, 1, 2, 0, 3 };
    struct spec spec = {
        .shard_count = 3, .version = "20220622", .leaves = 5,
        .leaf = {
            { "step", "n", "int64", 0, { 0 }, 1, { { .step = NIL, .shard = 1 } } },
            { "block_10", "k", "float32", 3, { 4, 3, 6 }, 4,
              { { { 2, 0, 3 }, { 4, 3, 6 }, NIL, 2 }, { { 0, 0, 0 }, { 2, 3, 3 }, NIL, 0 },
                { { 0, 0, 3 }, { 2, 3, 6 }, 1, 1 }, { { 2, 0, 0 }, { 4, 3, 3 }, NIL, 0 } } },
            { "block_2", "b", "bfloat16", 2, { 3, 3 }, 5,
              { { { 0, 0 }, { 1, 2 }, NIL, 0 }, { { 0, 2 }, { 2, 3 }, NIL, 1 },
                { { 1, 0 }, { 3, 1 }, NIL, 1 }, { { 1, 1 }, { 2, 2 }, NIL, 2 },
                { { 2, 1 }, { 3, 3 }, NIL, 2 } } },
            { "alpha", "x", "float64", 1, { 40 }, 2,
              { { { 0 }, { 25 }, NIL, 0 }, { { 25 }, { NIL }, NIL, 0 } } },
            { "", "list", "complex3", 1, { 2 }, 1, { { { NIL }, { NIL }, NIL, 2 } } },
        },
        .ext_leaf = 8, .ext_piece = 1, .ext_slice = 6, .magic = "__msgpack_array_chunk_a87ca2__",
    };

    add_chunks(&spec, numbers);
    return spec;
}

static char prefix[512];

static void write_part(const char *suffix, struct bytes part)
{
    char path[600];

    /* A fresh name is far quicker than a truncated file. */
    snprintf(path, sizeof path, "%s%s", prefix, suffix);
    unlink(path);
    write_file(path, part.data != NULL ? part.data : (const uint8_t *)"", part.size);
    free(part.data);
}

static void write_spec(const struct spec *spec)
{
    snprintf(prefix, sizeof prefix, "%s", scratch_path("made"));
    write_part(".index", index_of(spec));
    for (int64_t i = 0; i < 3; i++) {
        char suffix[64];

        snprintf(suffix, sizeof suffix, ".data-%05d-of-%05d", (int)i, (int)spec->shard_count);
        write_part(suffix, shard_of(spec, i));
    }
}

static vmoe_status open_made(struct vmoe_error *error)
{
    struct vmoe_source *source = NULL;
    struct fault fault;
    vmoe_status status;

    fault_init(&fault, 0, false);
    status = vmoe_shards_open(prefix, &fault.allocator, &source, error);
    if (status == VMOE_OK)
        source->close(source);
    else
        assert_null(source);
    assert_int_equal(fault.live, 0);
    return status;
}

/* Writes the checkpoint and demands that it is refused with a sentence that contains `words`. */
static void refused(const struct spec *spec, vmoe_status status, const char *words)
{
    vmoe_error error = VMOE_ERROR_INIT;
    vmoe_status found;

    write_spec(spec);
    found = open_made(&error);
    if (found != status || strstr(error.text, words) == NULL)
        fail_msg("found %s \"%s: %s\", expected %s \"%s\"", vmoe_status_name(found), error.where,
                 error.text, vmoe_status_name(status), words);
}

/* An index, or a first shard, of any bytes. */
static void refused_bytes(const char *suffix, struct bytes bytes, vmoe_status status,
                          const char *words)
{
    struct spec spec = good();
    vmoe_error error = VMOE_ERROR_INIT;
    vmoe_status found;

    write_spec(&spec);
    write_part(suffix, bytes);
    found = open_made(&error);
    if (found != status || strstr(error.text, words) == NULL)
        fail_msg("found %s \"%s: %s\", expected %s \"%s\"", vmoe_status_name(found), error.where,
                 error.text, vmoe_status_name(status), words);
}

/* ---- What is accepted ----------------------------------------------------------------------- */

static void check_values(const struct spec *spec)
{
    struct vmoe_source *source;
    vmoe_error error = VMOE_ERROR_INIT;
    float values[128];

    write_spec(spec);
    if (vmoe_shards_open(prefix, &vmoe_memory_default, &source, &error) != VMOE_OK)
        fail_msg("%s: %s", error.where, error.text);
    assert_int_equal(source->count, spec->leaves);
    for (uint32_t i = 0; i < spec->leaves; i++) {
        const struct leaf *leaf = &spec->leaf[i];
        char name[300];
        size_t at = 0;

        snprintf(name, sizeof name, "%s%s%s", leaf->branch, leaf->branch[0] != '\0' ? "/" : "",
                 leaf->name);
        while (at < source->count && strcmp(source->arrays[at].name, name) != 0)
            at++;
        assert_true(at < source->count);
        assert_int_equal(source->arrays[at].rank, leaf->rank);
        for (uint32_t axis = 0; axis < leaf->rank; axis++)
            assert_int_equal(source->arrays[at].dims[axis], leaf->dims[axis]);
        if (strcmp(leaf->type, "complex3") == 0) {
            assert_int_equal(source->read(source, at, 0, 1, values, &error), VMOE_ERR_FORMAT);
            assert_non_null(strstr(name, error.where)); /* long names keep their end */
            continue;
        }
        for (uint64_t first = 0; first < source->arrays[at].elements; first++) {
            for (uint64_t stop = first + 1; stop <= source->arrays[at].elements; stop++) {
                assert_int_equal(source->read(source, at, first, stop - first, values, NULL),
                                 VMOE_OK);
                for (uint64_t k = first; k < stop; k++)
                    assert_true(values[k - first] == value_of((int)i, k));
            }
        }
    }
    source->close(source);
}

static void a_checkpoint_cut_in_every_way_reads_back(void **state)
{
    struct spec spec = good();

    (void)state;
    check_values(&spec);
    spec.tree_last = true;
    check_values(&spec);
    spec.version = NULL;
    check_values(&spec);
}

/* With slices as thin as numbers, and each in another shard than the last, imports were endless. */
static void changes_of_the_shard_are_limited(void **state)
{
    struct spec spec = good();
    const size_t files = fault_open_files();
    vmoe_error error = VMOE_ERROR_INIT;
    struct vmoe_source *source;
    float values[72];

    (void)state;
    write_spec(&spec);
    assert_int_equal(vmoe_shards_open(prefix, &vmoe_memory_default, &source, NULL), VMOE_OK);
    assert_string_equal(source->arrays[1].name, "block_10/k");
    assert_int_equal(source->read(source, 1, 0, 72, values, NULL), VMOE_OK);
    ((struct vmoe_shards *)source)->changes = VMOE_LIMIT_SHARD_CHANGES - 1;
    assert_int_equal(source->read(source, 1, 0, 72, values, &error), VMOE_ERR_LIMIT);
    assert_non_null(strstr(error.text, "1048576 changes of the shard"));
    source->close(source);
    assert_int_equal(fault_open_files(), files);
}

static void a_shard_without_slices_need_not_exist(void **state)
{
    struct spec spec = good();
    char path[600];

    (void)state;
    spec.shard_count = 4; /* write_spec writes three */
    check_values(&spec);
    snprintf(path, sizeof path, "%s.data-00002-of-00004", prefix);
    unlink(path);
    assert_int_equal(open_made(NULL), VMOE_ERR_IO);
}

/* Whatever a writer may say of their slices and chunks. */
static void arrays_without_elements_are_there(void **state)
{
    struct vmoe_source *source;
    float value;

    (void)state;
    for (int i = 0; i < 4; i++) {
        struct spec spec = good();
        struct leaf *leaf = &spec.leaf[4];
        struct chunk *chunk = &spec.chunk[spec.chunks - 1];

        leaf->type = chunk->type = i == 0 ? "complex3" : "float32";
        leaf->dims[0] = 0;
        if (i == 1) {
            leaf->cuts = 0;
            spec.chunks--;
        } else if (i == 2) {
            leaf->cut[0].start[0] = leaf->cut[0].stop[0] = 0;
            chunk->piece[0] = chunk->shape[0] = 0;
            chunk->cut = leaf->cut[0];
        } else if (i == 3) {
            chunk->pieces = 0;
        }
        write_spec(&spec);
        assert_int_equal(open_made(NULL), VMOE_OK);
        assert_int_equal(vmoe_shards_open(prefix, &vmoe_memory_default, &source, NULL), VMOE_OK);
        assert_int_equal(source->count, 5);
        assert_string_equal(source->arrays[3].name, "list");
        assert_int_equal(source->arrays[3].elements, 0);
        assert_int_equal(source->read(source, 3, 0, 1, &value, NULL), VMOE_ERR_ARGUMENT);
        assert_int_equal(source->read(source, 3, 0, 0, &value, NULL),
                         i == 0 ? VMOE_ERR_FORMAT : VMOE_OK);
        source->close(source);
    }
}

/* Writes an array, whose chunk has this key, among leaves that are none. */
static void write_beside_leaves(const char *key)
{
    struct spec spec = good();
    struct bytes index = { 0 };

    /* none and gone take no number, so "list" keeps its own; the others would be 0 .. 3. */
    for (uint32_t i = 0; i < spec.chunks; i++)
        if (strcmp(spec.chunk[i].key, "3") != 0)
            strcpy(spec.chunk[i].key, "0");
    spec.chunk[0] = spec.chunk[spec.chunks - 1];
    spec.chunks = 1;
    strcpy(spec.chunk[0].key, key);
    write_spec(&spec);
    put_map(&index, 2);
    put_text(&index, "shard_count");
    put_integer(&index, 3);
    put_text(&index, "index");
    put_map(&index, 7);
    put_text(&index, "yes");
    put_bool(&index, true);
    put_text(&index, "text");
    put_text(&index, "some text, longer than thirty-one bytes");
    put_text(&index, "none");
    put_nil(&index);
    put_text(&index, "gone");
    put_map(&index, 0);
    put_text(&index, "list");
    put_leaf(&index, &spec, &spec.leaf[4]);
    put_text(&index, "a");
    put_map(&index, 3);
    for (int i = 0; i < 3; i++) {
        put_text(&index, i == 0 ? "x" : i == 1 ? "y" : "z");
        put_integer(&index, i - 100);
    }
    put_text(&index, "half");
    put_head(&index, 0xcb, 0, 8);
    write_part(".index", index);
}

static void leaves_that_are_no_arrays_only_take_a_number(void **state)
{
    static const char *const numbers[] = { "0", "1", "2", "3", "5", "6" };
    struct vmoe_source *source;

    (void)state;
    write_beside_leaves("4");
    assert_int_equal(vmoe_shards_open(prefix, &vmoe_memory_default, &source, NULL), VMOE_OK);
    assert_int_equal(source->count, 1);
    assert_string_equal(source->arrays[0].name, "list");
    source->close(source);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        vmoe_error error = VMOE_ERROR_INIT;

        write_beside_leaves(numbers[i]);
        assert_refused(vmoe_shards_open(prefix, &vmoe_memory_default, &source, &error), error,
                       VMOE_ERR_FORMAT, "data-");
        assert_non_null(strstr(error.text, "is the number of none of the 1 arrays"));
    }
}

/* ---- What is refused ------------------------------------------------------------------------ */

static void arrays_that_are_not_tiled_are_refused(void **state)
{
    struct spec spec;

    (void)state;
    spec = good(); /* a gap: one slice shorter, or not there */
    spec.leaf[1].cut[0].stop[2] = 5;
    refused(&spec, VMOE_ERR_FORMAT, "no slice covers the element [2:3, 0:1, 5:6]");
    spec = good();
    spec.leaf[1].cuts = 3;
    refused(&spec, VMOE_ERR_FORMAT, "no slice covers the element [2:3, 0:1, 0:1]");
    spec = good();
    spec.leaf[2].cut[3] = (struct cut){ { 0, 0 }, { 1, 1 }, NIL, 2 };
    refused(&spec, VMOE_ERR_FORMAT, "the slices [0:1, 0:1] and [0:1, 0:2] overlap");
    spec = good(); /* an overlap */
    spec.leaf[1].cut[0].start[2] = 2;
    refused(&spec, VMOE_ERR_FORMAT, "the slices [2:4, 0:3, 0:3] and [2:4, 0:3, 2:6] overlap");
    spec = good(); /* the same slice twice */
    spec.leaf[3].cut[1] = spec.leaf[3].cut[0];
    refused(&spec, VMOE_ERR_FORMAT, "the slices [0:25] and [0:25] overlap");
    spec = good();
    spec.leaf[3].cuts = 0;
    refused(&spec, VMOE_ERR_FORMAT, "no slice covers the element [0:1]");
    spec = good();
    spec.leaf[0].cuts = 0;
    refused(&spec, VMOE_ERR_FORMAT, "no slice covers the element []");
    spec = good();
    spec.leaf[0].cuts = 2;
    spec.leaf[0].cut[1] = spec.leaf[0].cut[0];
    refused(&spec, VMOE_ERR_FORMAT, "an array of 1 elements has 2 slices");
}

static void slices_that_leave_their_array_are_refused(void **state)
{
    static const struct {
        int64_t start, stop, step;
        const char *words;
    } cases[] = {
        { 25, 41, NIL, "25:41 is empty or not within 0:40" },
        { 25, INT64_MAX, NIL, "is empty or not within 0:40" },
        { 40, 40, NIL, "40:40 is empty" },
        { 30, 25, NIL, "30:25 is empty" },
        { -1, 40, NIL, "is no integer, or is negative" },
        { 25, -1, NIL, "is no integer, or is negative" },
        { 25, 40, 2, "has the step 2" },
        { 25, 40, -1, "is no integer, or is negative" },
        { 25, 40, 0, "has the step 0" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct spec spec = good();
        struct cut cut = { { cases[i].start }, { cases[i].stop }, cases[i].step, 0 };

        spec.leaf[3].cut[1] = cut;
        refused(&spec, VMOE_ERR_FORMAT, cases[i].words);
        /* The same in a data shard only: the chunk of x that begins at 25. */
        spec = good();
        for (uint32_t j = 0; j < spec.chunks; j++)
            if (spec.chunk[j].leaf == 3 && spec.chunk[j].cut.start[0] == 25)
                spec.chunk[j].cut = cut;
        refused(&spec, VMOE_ERR_FORMAT, cases[i].words);
    }
}

static void shard_numbers_and_counts_are_checked(void **state)
{
    struct spec spec;

    (void)state;
    spec = good();
    spec.leaf[1].cut[2].shard = 3;
    refused(&spec, VMOE_ERR_FORMAT, "a slice is in shard 3 of 3");
    spec = good();
    spec.leaf[1].cut[2].shard = INT64_MAX;
    refused(&spec, VMOE_ERR_FORMAT, "is in shard 9223372036854775807 of 3");
    spec = good();
    spec.shard_count = 0;
    refused(&spec, VMOE_ERR_FORMAT, "the shard_count is 0");
    spec = good();
    spec.shard_count = 4097;
    refused(&spec, VMOE_ERR_LIMIT, "the shard_count is 4097, the limit is 4096");
    spec = good();
    spec.shard_count = 1000000000;
    refused(&spec, VMOE_ERR_LIMIT, "the shard_count is 1000000000");
    spec = good();
    spec.shard_count = 4096;
    check_values(&spec);
}

static void versions_other_than_the_known_one_are_refused(void **state)
{
    struct spec spec = good();

    (void)state;
    spec.version = "20220623";
    refused(&spec, VMOE_ERR_VERSION, "the index has version \"20220623\"");
    spec.ext_leaf = 9; /* whatever the rest of it looks like */
    refused(&spec, VMOE_ERR_VERSION, "the index has version \"20220623\"");
}

/*
 * Old programs numbered the leaves of a training state as their own structures had them.  Then the
 * slices do not fit the arrays, and nothing is read in the wrong order.
 */
static void another_numbering_is_refused(void **state)
{
    static const int numbers[] = { 0, 1, 2, 3, 4 };
    struct spec spec = good();

    (void)state;
    spec.version = NULL;
    spec.chunks = 0;
    add_chunks(&spec, numbers);
    refused(&spec, VMOE_ERR_FORMAT, "");
}

static void chunks_that_differ_from_the_index_are_refused(void **state)
{
    struct spec spec;

    (void)state;
    spec = good(); /* [2:4, 0:3, 3:6] of block_10/k, in three pieces */
    assert_true(spec.chunk[1].pieces == 3 && spec.chunk[1].cut.shard == 2);
    spec.chunk[1].cut.shard = 1;
    refused(&spec, VMOE_ERR_FORMAT, "no slice [2:4, 0:3, 3:6] of block_10/k in this shard");
    spec = good();
    spec.chunk[1].piece[2]--;
    spec.chunk[1].shape[2]--;
    refused(&spec, VMOE_ERR_FORMAT, "[2:4, 0:3, 3:6] of block_10/k has 17 elements");
    spec = good();
    spec.chunk[1].piece[2]++;
    spec.chunk[1].shape[2]++;
    refused(&spec, VMOE_ERR_FORMAT, "[2:4, 0:3, 3:6] of block_10/k has 19 elements");
    spec = good();
    spec.chunk[1].excess = 1;
    refused(&spec, VMOE_ERR_FORMAT, "a piece of block_10/k has 53 bytes for 13 elements");
    spec = good();
    spec.chunk[1].excess = -4;
    refused(&spec, VMOE_ERR_FORMAT, "a piece of block_10/k has 48 bytes for 13 elements");
    spec = good();
    spec.chunk[1].shape[1] = 0;
    refused(&spec, VMOE_ERR_FORMAT, "a piece of block_10/k has 0 elements");
    spec = good();
    spec.chunk[1].shape[1] = INT64_MAX;
    refused(&spec, VMOE_ERR_FORMAT, "a piece of block_10/k has 9223372036854775807 elements");
    spec = good();
    spec.chunk[1].pieces = 0;
    refused(&spec, VMOE_ERR_FORMAT, "[2:4, 0:3, 3:6] of block_10/k has 0 elements");
    spec = good();
    spec.chunk[1].type = "bfloat16";
    refused(&spec, VMOE_ERR_FORMAT, "has pieces of type bfloat16, the index says float32");
    spec = good();
    spec.leaf[1].type = "int32";
    refused(&spec, VMOE_ERR_FORMAT, "block_10/k has pieces of type float32, the index says int32");
    spec = good();
    spec.chunk[1].rank = 2;
    refused(&spec, VMOE_ERR_FORMAT, "a slice has 2 parts, expected 3");
    spec = good();
    spec.chunk[spec.chunks] = spec.chunk[spec.chunks - 1]; /* the last one twice */
    spec.chunks++;
    refused(&spec, VMOE_ERR_FORMAT, "the slice [0:2] of list comes twice");
    spec = good();
    spec.chunks--;
    refused(&spec, VMOE_ERR_FORMAT, "the slice [0:2] is not in shard 2");
}

static void keys_of_a_shard_are_checked(void **state)
{
    static const char *const keys[] = { "5", "-1", "03", "3 ", "99999999999999", "x", "3x" };
    struct spec spec;

    (void)state;
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        spec = good();
        strcpy(spec.chunk[spec.chunks - 1].key, keys[i]);
        refused(&spec, VMOE_ERR_FORMAT, "is the number of none of the 5 arrays");
    }
    spec = good(); /* the same key twice, with half the chunks each */
    strcpy(spec.chunk[1].key, "4");
    strcpy(spec.chunk[0].key, "1");
    spec.chunk[0] = spec.chunk[2];
    refused(&spec, VMOE_ERR_FORMAT, "the key \"1\" comes twice");
    spec = good();
    spec.magic_false = true;
    refused(&spec, VMOE_ERR_FORMAT, "is not true");
    spec = good();
    spec.magic = NULL;
    refused(&spec, VMOE_ERR_FORMAT, "this is no data shard");
    spec.magic = "__msgpack_array_chunk_a87ca3__";
    refused(&spec, VMOE_ERR_FORMAT, "is the number of none");
}

static void names_are_checked(void **state)
{
    struct spec spec;
    char text[300];

    (void)state;
    spec = good();
    spec.leaf[4].name = "step"; /* a leaf and a branch */
    refused(&spec, VMOE_ERR_FORMAT, "the name \"step\" comes twice");
    spec = good();
    spec.leaf[4].name = "step/n"; /* different keys, but one name */
    refused(&spec, VMOE_ERR_FORMAT, "the name \"step/n\" comes twice");
    spec = good();
    spec.leaf[4] = spec.leaf[0];
    refused(&spec, VMOE_ERR_FORMAT, "the name \"step\" comes twice");
    spec = good();
    spec.leaf[4].name = "";
    refused(&spec, VMOE_ERR_FORMAT, "found an empty text");
    spec = good();
    spec.leaf[4].name = "caf\xe9";
    refused(&spec, VMOE_ERR_FORMAT, "a text holds the byte 0xe9");
    spec = good();
    spec.leaf[4].name = "a\1b";
    refused(&spec, VMOE_ERR_FORMAT, "a text holds the byte 0x01");
    memset(text, 'm', sizeof text); /* between "block_2" and "step", as "list" is */
    text[256] = '\0';
    spec = good();
    spec.leaf[4].name = text;
    refused(&spec, VMOE_ERR_LIMIT, "a text has 256 bytes, the limit here is 255");
    spec.leaf[4].branch = "b";
    text[254] = '\0';
    refused(&spec, VMOE_ERR_LIMIT, "a text has 254 bytes, the limit here is 253");
    spec.leaf[4].branch = text;
    spec.leaf[4].name = "b";
    refused(&spec, VMOE_ERR_LIMIT, "a name is longer than 255 bytes");
    text[253] = '\0'; /* 253 + 1 + 1 */
    check_values(&spec);
    text[255] = '\0';
    text[254] = text[253] = 'm';
    spec.leaf[4].branch = "";
    spec.leaf[4].name = text;
    check_values(&spec);
}

static void shapes_beyond_the_limits_are_refused(void **state)
{
    static const int64_t shapes[][3] = {
        { INT64_MAX, 2, 1 },
        { INT64_C(1) << 32, INT64_C(1) << 32, 1 },
        { INT64_C(1) << 42, 4, 1 << 20 },
        { INT64_C(1) << 31, INT64_C(1) << 31, 4 },
        { (INT64_C(1) << 31) + 1, 1, 1 },
        { INT64_C(1) << 20, 1 << 20, 2 },
    };
    struct spec spec;

    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        spec = good();
        memcpy(spec.leaf[1].dims, shapes[i], sizeof shapes[i]);
        refused(&spec, VMOE_ERR_LIMIT, "an array is too large");
    }
    spec = good();
    spec.leaf[1].dims[1] = -1;
    refused(&spec, VMOE_ERR_FORMAT, "found a negative integer");
    /* The largest shapes are fine as far as the index goes. */
    spec = good();
    spec.leaf[4].dims[0] = INT64_C(1) << 31;
    refused(&spec, VMOE_ERR_FORMAT, "[0:2147483648] of list has 2 elements");
}

static void values_of_the_wrong_kind_are_refused(void **state)
{
    struct spec spec;

    (void)state;
    for (int type = -128; type < 128; type += 5) {
        spec = good();
        spec.ext_leaf = type == 8 ? 7 : type;
        refused(&spec, VMOE_ERR_FORMAT, "expected 8");
        spec = good();
        spec.ext_piece = type == 1 ? 3 : type;
        refused(&spec, VMOE_ERR_FORMAT, "expected 1");
        spec = good();
        spec.ext_slice = type == 6 ? 7 : type;
        refused(&spec, VMOE_ERR_FORMAT, "expected 6");
    }
    /* A text of the right length, and an integer that is it, with the data behind. */
    spec = good();
    spec.data_head = 0xdb;
    refused(&spec, VMOE_ERR_FORMAT, "has no binary data");
    spec.data_head = 0xce;
    refused(&spec, VMOE_ERR_FORMAT, "has no binary data");
}

/* ---- Documents that are hardly any ---------------------------------------------------------- */

static struct bytes nested(size_t levels, uint8_t head)
{
    struct bytes bytes = { 0 };

    put_map(&bytes, 1);
    put_text(&bytes, "index");
    for (size_t i = 0; i < levels; i++) {
        put(&bytes, &head, 1);
        if (head == 0x81)
            put_text(&bytes, "k");
    }
    put_nil(&bytes);
    return bytes;
}

/* Ext values inside one another, each a document for the reader of the one around it. */
static struct bytes nested_ext(size_t levels)
{
    struct bytes bytes = { 0 };

    put_map(&bytes, 2);
    put_text(&bytes, "shard_count");
    put_integer(&bytes, 1);
    put_text(&bytes, "index");
    put_map(&bytes, 1);
    put_text(&bytes, "k");
    for (size_t i = 0; i < levels; i++) {
        uint8_t type = 8;

        put_head(&bytes, 0xc9, (levels - i - 1) * 7 + 1, 4);
        put(&bytes, &type, 1);
        put_head(&bytes, 0x93, 0, 0);
    }
    return bytes;
}

/* An index that begins like this; the tree has one array if `name` is not NULL. */
static struct bytes index_head(uint32_t names, const char *name)
{
    struct bytes index = { 0 };

    put_map(&index, 2);
    put_text(&index, "shard_count");
    put_integer(&index, 3);
    put_text(&index, "index");
    put_map(&index, names);
    if (name != NULL)
        put_text(&index, name);
    return index;
}

/* One axis more than the limit; an array of as many as that has no slice for its only element. */
static void more_axes_than_the_limit_are_refused(void **state)
{
    (void)state;
    for (uint32_t axes = 8; axes <= 9; axes++) {
        struct bytes index = index_head(1, "k"), info = { 0 }, shape = { 0 };

        put_array(&info, 3);
        put_array(&shape, 4);
        put_array(&shape, axes);
        for (uint32_t axis = 0; axis < axes; axis++)
            put_integer(&shape, 1);
        put_text(&shape, "float32");
        put_bool(&shape, false);
        put_map(&shape, 0);
        put_binary(&info, shape);
        put_array(&info, 0);
        put_array(&info, 0);
        put_ext(&index, 8, info);
        if (axes == 8)
            refused_bytes(".index", index, VMOE_ERR_FORMAT, "no slice covers the element");
        else
            refused_bytes(".index", index, VMOE_ERR_LIMIT, "an array has 9 axes, the limit is 8");
    }
}

static void a_list_in_the_tree_is_refused(void **state)
{
    struct bytes index = index_head(1, "k");

    (void)state;
    put_array(&index, 0);
    refused_bytes(".index", index, VMOE_ERR_FORMAT, "found a list in the tree");
}

static void more_names_slices_or_bytes_than_the_limits_are_refused(void **state)
{
    struct bytes index, info = { 0 }, aval = { 0 };
    vmoe_error error;
    char path[600];

    (void)state;
    for (uint32_t names = 65536; names <= 65537; names++) {
        index = index_head(names, NULL);
        for (uint32_t i = 0; i < names; i++) {
            char name[16];

            sprintf(name, "%x", i);
            put_text(&index, name);
            put_map(&index, 0);
        }
        if (names == 65537)
            refused_bytes(".index", index, VMOE_ERR_LIMIT, "more than 65536 names");
        else /* which leaves nothing for the shards to hold */
            write_part(".index", index);
        if (names == 65536)
            assert_int_equal(open_made(NULL), VMOE_OK);
    }
    index = index_head(1, "k");
    put_array(&info, 3);
    put_array(&aval, 4);
    put_array(&aval, 1);
    put_integer(&aval, 1 << 30);
    put_text(&aval, "float32");
    put_bool(&aval, false);
    put_map(&aval, 0);
    put_binary(&info, aval);
    put_array(&info, 4194305);
    put_head(&index, 0xc9, 40 << 20, 4);
    put(&index, "\x08", 1);
    put(&index, info.data, info.size);
    write_part(".index", index);
    snprintf(path, sizeof path, "%s.index", prefix);
    assert_int_equal(truncate(path, (off_t)(index.size - info.size + (40 << 20))), 0);
    free(info.data);
    assert_int_equal(open_made(&error), VMOE_ERR_LIMIT);
    assert_non_null(strstr(error.text, "the arrays have more than 4194304 slices"));
    assert_int_equal(truncate(path, (64 << 20) + 1), 0);
    assert_int_equal(open_made(&error), VMOE_ERR_LIMIT);
    assert_non_null(strstr(error.text, "the index has 67108865 bytes"));
}

static void a_file_that_changes_after_opening_is_an_error(void **state)
{
    struct spec spec = good();
    struct vmoe_source *source;
    float values[72];
    size_t failed = 0;

    (void)state;
    write_spec(&spec);
    assert_int_equal(vmoe_shards_open(prefix, &vmoe_memory_default, &source, NULL), VMOE_OK);
    for (int i = 0; i < 3; i++) {
        char path[600];

        snprintf(path, sizeof path, "%s.data-%05d-of-00003", prefix, i);
        assert_int_equal(truncate(path, 60), 0);
    }
    for (size_t i = 0; i < source->count; i++)
        failed += source->read(source, i, 0, source->arrays[i].elements, values, NULL) ==
                  VMOE_ERR_FORMAT;
    assert_int_equal(failed, source->count);
    source->close(source);
}

static void lies_about_lengths_and_counts_are_refused_at_once(void **state)
{
    static const uint8_t heads[] = { 0xc6, 0xc9, 0xdb, 0xdd, 0xdf };
    static const uint32_t lengths[] = { UINT32_MAX, UINT32_MAX - 1, 0x80000000u, 0x7fffffffu };
    static const char *const suffixes[] = { ".index", ".data-00000-of-00003" };

    (void)state;
    for (int suffix = 0; suffix < 2; suffix++) {
        for (size_t i = 0; i < sizeof heads; i++) {
            for (size_t j = 0; j < 4; j++) {
                struct bytes bytes = { 0 };

                put_map(&bytes, 1);
                put_text(&bytes, suffix == 0 ? "index" : "2");
                put_head(&bytes, heads[i], lengths[j], 4);
                put(&bytes, "\0\0\0\0", 4);
                refused_bytes(suffixes[suffix], bytes, VMOE_ERR_FORMAT, "bytes are left");
                bytes = (struct bytes){ 0 };
                put_head(&bytes, 0xdf, lengths[j], 4);
                refused_bytes(suffixes[suffix], bytes, VMOE_ERR_FORMAT, "bytes are left");
            }
        }
    }
    refused_bytes(".index", (struct bytes){ 0 }, VMOE_ERR_FORMAT, "ends inside a value");
    refused_bytes(".data-00000-of-00003", (struct bytes){ 0 }, VMOE_ERR_FORMAT,
                  "ends inside a value");
}

static void nesting_of_any_depth_needs_no_stack(void **state)
{
    (void)state;
    refused_bytes(".index", nested(31, 0x91), VMOE_ERR_FORMAT, "no shard_count");
    refused_bytes(".index", nested(32, 0x91), VMOE_ERR_LIMIT, "nested deeper than 32");
    refused_bytes(".index", nested(100000, 0x91), VMOE_ERR_LIMIT, "nested deeper than 32");
    refused_bytes(".index", nested(1000000, 0x91), VMOE_ERR_LIMIT, "nested deeper than 32");
    refused_bytes(".index", nested(1000000, 0x81), VMOE_ERR_LIMIT, "nested deeper than 32");
    refused_bytes(".index", nested_ext(2), VMOE_ERR_FORMAT, "found an ext value");
    refused_bytes(".index", nested_ext(100000), VMOE_ERR_FORMAT, "found an ext value");
}

static void every_first_byte_is_read_to_its_end(void **state)
{
    struct spec spec = good();

    (void)state;
    write_spec(&spec);
    for (unsigned first = 0; first < 256; first++) {
        for (size_t zeros = 0; zeros < 20; zeros++) {
            struct bytes bytes = { 0 };
            uint8_t byte = (uint8_t)first;

            put_map(&bytes, 1);
            put_text(&bytes, "index");
            put(&bytes, &byte, 1);
            put(&bytes, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", zeros);
            write_part(".index", bytes);
            assert_int_equal(open_made(NULL), VMOE_ERR_FORMAT);
        }
    }
}

static void bytes_behind_the_end_are_refused(void **state)
{
    struct spec spec = good();
    struct bytes bytes;

    (void)state;
    bytes = index_of(&spec);
    put_nil(&bytes);
    refused_bytes(".index", bytes, VMOE_ERR_FORMAT, "bytes follow the index");
    bytes = shard_of(&spec, 0);
    put_nil(&bytes);
    refused_bytes(".data-00000-of-00003", bytes, VMOE_ERR_FORMAT, "bytes follow the shard");
}

static void keys_of_the_index_come_once(void **state)
{
    static const char *const keys[] = { "shard_count", "index", "version", "other" };

    (void)state;
    for (int i = 0; i < 4; i++) {
        struct spec spec = good();
        struct bytes bytes = { 0 }, one = index_of(&spec);
        char words[64];

        put_map(&bytes, 4);
        put(&bytes, one.data + 5, one.size - 5);
        free(one.data);
        put_text(&bytes, keys[i]);
        put_integer(&bytes, 3);
        snprintf(words, sizeof words, "the key \"%s\" is unknown or comes twice", keys[i]);
        refused_bytes(".index", bytes, VMOE_ERR_FORMAT, words);
    }
}

static void keys_of_the_index_are_all_there(void **state)
{
    (void)state;
    for (int keys = 0; keys < 3; keys++) {
        struct bytes index = { 0 };

        put_map(&index, keys != 0);
        if (keys != 0)
            put_text(&index, keys == 1 ? "shard_count" : "index");
        if (keys == 1)
            put_integer(&index, 3);
        else if (keys == 2)
            put_map(&index, 0);
        refused_bytes(".index", index, VMOE_ERR_FORMAT, "no shard_count or no tree");
    }
}

/* Bytes inside a nested document that its reader does not need. */
static void bytes_behind_a_nested_document_are_refused(void **state)
{
    struct spec spec = good();
    struct bytes bytes = { 0 }, info = { 0 }, shape = { 0 };

    (void)state;
    put_map(&bytes, 2);
    put_text(&bytes, "shard_count");
    put_integer(&bytes, 3);
    put_text(&bytes, "index");
    put_map(&bytes, 1);
    put_text(&bytes, "k");
    put_array(&info, 3);
    put_array(&shape, 4);
    put_array(&shape, 0);
    put_text(&shape, "float32");
    put_bool(&shape, false);
    put_map(&shape, 0);
    put_nil(&shape);
    put_binary(&info, shape);
    put_ext(&bytes, 8, info);
    write_spec(&spec);
    refused_bytes(".index", bytes, VMOE_ERR_FORMAT, "1 bytes follow the document in a value");
}

/* ---- All truncations, all bytes ------------------------------------------------------------- */

static const char *const parts[] = { ".index", ".data-00000-of-00003", ".data-00001-of-00003",
                                     ".data-00002-of-00003" };

static struct bytes part_of(const struct spec *spec, int part)
{
    return part == 0 ? index_of(spec) : shard_of(spec, part - 1);
}

static void every_truncation_of_every_file_is_refused(void **state)
{
    struct spec spec = good();

    (void)state;
    for (int part = 0; part < 4; part++) {
        struct bytes whole = part_of(&spec, part);

        write_spec(&spec);
        for (size_t size = 0; size < whole.size; size++) {
            struct bytes cut = { 0 };

            put(&cut, whole.data, size);
            write_part(parts[part], cut);
            assert_int_equal(open_made(NULL), VMOE_ERR_FORMAT);
        }
        free(whole.data);
    }
}

static void read_all(void)
{
    struct vmoe_source *source = NULL;
    struct fault fault;

    fault_init(&fault, 0, false);
    if (vmoe_shards_open(prefix, &fault.allocator, &source, NULL) == VMOE_OK) {
        for (size_t i = 0; i < source->count; i++) {
            uint64_t elements = source->arrays[i].elements;
            float *values = malloc((size_t)elements * sizeof *values);

            source->read(source, i, 0, elements, values, NULL);
            free(values);
        }
        source->close(source);
    }
    assert_int_equal(fault.live, 0);
    /* The buffer and a little more, whatever the file says. */
    assert_true(fault.peak < 100000);
}

static void every_single_byte_may_change_without_harm(void **state)
{
    static const uint8_t masks[] = { 0xFF, 0x01, 0x80, 0x10 };
    struct spec spec = good();

    (void)state;
    for (int part = 0; part < 4; part++) {
        struct bytes whole = part_of(&spec, part);

        write_spec(&spec);
        for (size_t i = 0; i < whole.size; i++) {
            for (int mask = 0; mask < 4; mask++) {
                struct bytes changed = { 0 };

                put(&changed, whole.data, whole.size);
                changed.data[i] ^= masks[mask];
                write_part(parts[part], changed);
                read_all();
            }
        }
        free(whole.data);
    }
}

static void failing_allocations_leave_nothing_behind(void **state)
{
    struct spec spec = good();
    size_t files = fault_open_files();
    vmoe_status status = VMOE_ERR_MEMORY;

    (void)state;
    write_spec(&spec);
    for (size_t i = 1; status != VMOE_OK; i++) {
        for (int persistent = 0; persistent < 2; persistent++) {
            struct vmoe_source *source;
            struct fault fault;

            fault_init(&fault, i, persistent != 0);
            status = vmoe_shards_open(prefix, &fault.allocator, &source, NULL);
            assert_true(status == VMOE_ERR_MEMORY || (status == VMOE_OK && fault.calls < i));
            if (status == VMOE_OK)
                source->close(source);
            assert_int_equal(fault.live, 0);
        }
    }
    assert_int_equal(fault_open_files(), files);
}

/* ---- Many slices ---------------------------------------------------------------------------- */

/* The beginnings of an index of one matrix, "k", in one shard, and of the info of that. */
static void put_matrix(struct bytes *index, struct bytes *info, uint32_t rows, uint32_t columns)
{
    struct bytes aval = { 0 };

    put_map(index, 2);
    put_text(index, "shard_count");
    put_integer(index, 1);
    put_text(index, "index");
    put_map(index, 1);
    put_text(index, "k");
    put_array(info, 3);
    put_array(&aval, 4);
    put_array(&aval, 2);
    put_integer(&aval, rows);
    put_integer(&aval, columns);
    put_text(&aval, "float32");
    put_bool(&aval, false);
    put_map(&aval, 0);
    put_binary(info, aval);
}

/* The beginning of a shard of one array in some slices. */
static void put_shard_of_one(struct bytes *shard, uint32_t slices)
{
    put_map(shard, 2);
    put_text(shard, "__msgpack_array_chunk_a87ca2__");
    put_bool(shard, true);
    put_text(shard, "0");
    put_array(shard, slices);
}

/*
 * One array, cut into `bars` columns, as long as it has rows, and single elements in the others.
 */
static struct bytes many_slices(uint32_t rows, uint32_t columns, uint32_t bars,
                                struct bytes *shard)
{
    struct bytes index = { 0 }, info = { 0 };
    const uint32_t singles = columns - bars, count = bars + rows * singles;

    put_matrix(&index, &info, rows, columns);
    put_array(&info, count);
    put_shard_of_one(shard, count);
    for (uint32_t i = 0; i < count; i++) {
        const bool bar = i < bars;
        const uint32_t row = bar ? 0 : (i - bars) / singles;
        const uint32_t column = bar ? i : bars + (i - bars) % singles;
        const uint32_t volume = bar ? rows : 1;
        struct cut cut = { { row, column }, { row + volume, column + 1 }, NIL, 0 };
        struct bytes piece = { 0 }, data = { 0 };

        put_binary(&info, slice_nd(&cut, 2));
        put_array(shard, 2);
        put_array(shard, 1);
        put_array(&piece, 3);
        put_array(&piece, 1);
        put_integer(&piece, volume);
        put_text(&piece, "float32");
        for (uint32_t j = 0; j < volume; j++) {
            float value = (float)i + (float)j / 1024.0f;

            put(&data, &value, 4);
        }
        put_binary(&piece, data);
        put_ext(shard, 1, piece);
        put_ext(shard, 6, slice_nd(&cut, 2));
    }
    put_array(&info, count);
    for (uint32_t i = 0; i < count; i++)
        put_integer(&info, 0);
    put_ext(&index, 8, info);
    return index;
}

static void a_hundred_thousand_slices_are_no_trouble(void **state)
{
    struct bytes shard = { 0 };
    struct vmoe_source *source;
    struct fault fault;
    size_t bytes;
    float *values;

    (void)state;
    snprintf(prefix, sizeof prefix, "%s", scratch_path("many"));
    write_part(".index", many_slices(320, 320, 0, &shard));
    bytes = shard.size;
    write_part(".data-00000-of-00001", shard);
    fault_init(&fault, 0, false);
    assert_int_equal(vmoe_shards_open(prefix, &fault.allocator, &source, NULL), VMOE_OK);
    assert_true(fault.peak < bytes * 2);
    values = malloc(320 * 320 * sizeof *values);
    assert_int_equal(source->read(source, 0, 0, 320 * 320, values, NULL), VMOE_OK);
    for (int i = 0; i < 320 * 320; i++)
        assert_true(values[i] == (float)i);
    free(values);
    source->close(source);
}

/* Whoever asks must not disturb what is read from the shard that is open. */
static void a_source_knows_its_files(void **state)
{
    static const struct {
        const char *suffix;
        bool is_read;
    } files[] = { { ".index", true },
                  { ".data-00000-of-00001", true },
                  { "", false },
                  { ".vmoe", false } };
    struct bytes shard = { 0 };
    struct vmoe_source *source;
    float value;

    (void)state;
    snprintf(prefix, sizeof prefix, "%s", scratch_path("own"));
    write_part(".index", many_slices(2, 3, 0, &shard));
    write_part(".data-00000-of-00001", shard);
    write_part("", (struct bytes){ 0 });
    assert_int_equal(vmoe_shards_open(prefix, &vmoe_memory_default, &source, NULL), VMOE_OK);
    for (size_t i = 0; i < 4; i++) {
        char path[600];

        snprintf(path, sizeof path, "%s%s", prefix, files[i].suffix);
        assert_int_equal(source->has_file(source, path), files[i].is_read);
        assert_int_equal(source->read(source, 0, 5, 1, &value, NULL), VMOE_OK);
        assert_true(value == 5.0f);
    }
    source->close(source);
}

static void bars_beside_elements_tile_too(void **state)
{
    struct bytes shard = { 0 };
    struct vmoe_source *source;
    float values[65];

    (void)state;
    snprintf(prefix, sizeof prefix, "%s", scratch_path("bars"));
    write_part(".index", many_slices(64, 65, 64, &shard));
    write_part(".data-00000-of-00001", shard);
    assert_int_equal(vmoe_shards_open(prefix, &vmoe_memory_default, &source, NULL), VMOE_OK);
    for (uint32_t row = 0; row < 64; row++) {
        assert_int_equal(source->read(source, 0, row * 65, 65, values, NULL), VMOE_OK);
        for (uint32_t i = 0; i < 64; i++)
            assert_true(values[i] == (float)i + (float)row / 1024.0f);
        assert_true(values[64] == (float)(64 + row));
    }
    source->close(source);
}

/* Whoever looks at all slices before a row, because the bar reaches to the end, is here for long. */
static void rows_of_many_slices_are_read_one_by_one(void **state)
{
    const uint32_t rows = 200000;
    struct bytes shard = { 0 };
    struct vmoe_source *source;
    float values[2];

    (void)state;
    snprintf(prefix, sizeof prefix, "%s", scratch_path("rows"));
    write_part(".index", many_slices(rows, 2, 1, &shard));
    write_part(".data-00000-of-00001", shard);
    assert_int_equal(vmoe_shards_open(prefix, &vmoe_memory_default, &source, NULL), VMOE_OK);
    for (uint32_t row = 0; row < rows; row++) {
        assert_int_equal(source->read(source, 0, 2 * row, 2, values, NULL), VMOE_OK);
        assert_true(values[0] == (float)row / 1024.0f && values[1] == (float)(1 + row));
    }
    source->close(source);
}

static void arrangements_that_would_take_long_are_refused(void **state)
{
    struct bytes shard = { 0 };
    vmoe_error error = VMOE_ERROR_INIT;

    (void)state;
    snprintf(prefix, sizeof prefix, "%s", scratch_path("slow"));
    write_part(".index", many_slices(6000, 6001, 6000, &shard));
    free(shard.data);
    assert_int_equal(open_made(&error), VMOE_ERR_LIMIT);
    assert_non_null(strstr(error.text, "its 12000 slices are too irregular"));
}

/* The file is as large as it says, but has holes that take no room on the disk. */
static void slices_beyond_four_gibibytes_are_read(void **state)
{
    const uint32_t rows = 5, columns = 1 << 28; /* 1 GiB a row */
    struct bytes index = { 0 }, info = { 0 }, head = { 0 };
    struct cut cut = { { 0, 0 }, { rows, NIL }, NIL, 0 };
    struct vmoe_source *source;
    char path[600];
    float values[4];
    off_t at = 0;
    int descriptor;

    (void)state;
    snprintf(prefix, sizeof prefix, "%s", scratch_path("large"));
    put_matrix(&index, &info, rows, columns);
    put_array(&info, 1);
    put_binary(&info, slice_nd(&cut, 2));
    put_array(&info, 1);
    put_integer(&info, 0);
    put_ext(&index, 8, info);
    write_part(".index", index);
    snprintf(path, sizeof path, "%s.data-00000-of-00001", prefix);
    descriptor = open(path, O_RDWR | O_CREAT, 0600);
    put_shard_of_one(&head, 1);
    put_array(&head, 2);
    put_array(&head, rows);
    for (uint32_t row = 0; row < rows; row++) {
        struct bytes piece = { 0 };
        const float mark = 1.0f + (float)row;

        put_array(&piece, 3);
        put_array(&piece, 1);
        put_integer(&piece, columns);
        put_text(&piece, "float32");
        put_head(&piece, 0xc6, 4ull * columns, 4);
        put_head(&head, 0xc9, piece.size + 4ull * columns, 4);
        put(&head, "\1", 1);
        put(&head, piece.data, piece.size);
        free(piece.data);
        assert_int_equal(pwrite(descriptor, head.data, head.size, at), head.size);
        at += (off_t)head.size;
        assert_int_equal(pwrite(descriptor, &mark, 4, at), 4);
        at += (off_t)(4ull * columns);
        head.size = 0;
    }
    put_ext(&head, 6, slice_nd(&cut, 2));
    assert_int_equal(pwrite(descriptor, head.data, head.size, at), head.size);
    close(descriptor);
    free(head.data);
    assert_int_equal(vmoe_shards_open(prefix, &vmoe_memory_default, &source, NULL), VMOE_OK);
    for (uint32_t row = 0; row < rows; row++) {
        uint64_t first = row == 0 ? 0 : (uint64_t)row * columns - 2;

        assert_int_equal(source->read(source, 0, first, 4, values, NULL), VMOE_OK);
        assert_true(values[row == 0 ? 0 : 2] == 1.0f + (float)row && values[3] == 0.0f);
    }
    source->close(source);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_checkpoint_cut_in_every_way_reads_back),
        cmocka_unit_test(changes_of_the_shard_are_limited),
        cmocka_unit_test(a_source_knows_its_files),
        cmocka_unit_test(a_shard_without_slices_need_not_exist),
        cmocka_unit_test(arrays_without_elements_are_there),
        cmocka_unit_test(leaves_that_are_no_arrays_only_take_a_number),
        cmocka_unit_test(arrays_that_are_not_tiled_are_refused),
        cmocka_unit_test(slices_that_leave_their_array_are_refused),
        cmocka_unit_test(shard_numbers_and_counts_are_checked),
        cmocka_unit_test(versions_other_than_the_known_one_are_refused),
        cmocka_unit_test(another_numbering_is_refused),
        cmocka_unit_test(chunks_that_differ_from_the_index_are_refused),
        cmocka_unit_test(keys_of_a_shard_are_checked),
        cmocka_unit_test(names_are_checked),
        cmocka_unit_test(shapes_beyond_the_limits_are_refused),
        cmocka_unit_test(values_of_the_wrong_kind_are_refused),
        cmocka_unit_test(more_axes_than_the_limit_are_refused),
        cmocka_unit_test(a_list_in_the_tree_is_refused),
        cmocka_unit_test(more_names_slices_or_bytes_than_the_limits_are_refused),
        cmocka_unit_test(a_file_that_changes_after_opening_is_an_error),
        cmocka_unit_test(lies_about_lengths_and_counts_are_refused_at_once),
        cmocka_unit_test(nesting_of_any_depth_needs_no_stack),
        cmocka_unit_test(every_first_byte_is_read_to_its_end),
        cmocka_unit_test(bytes_behind_the_end_are_refused),
        cmocka_unit_test(keys_of_the_index_come_once),
        cmocka_unit_test(keys_of_the_index_are_all_there),
        cmocka_unit_test(bytes_behind_a_nested_document_are_refused),
        cmocka_unit_test(every_truncation_of_every_file_is_refused),
        cmocka_unit_test(every_single_byte_may_change_without_harm),
        cmocka_unit_test(failing_allocations_leave_nothing_behind),
        cmocka_unit_test(a_hundred_thousand_slices_are_no_trouble),
        cmocka_unit_test(bars_beside_elements_tile_too),
        cmocka_unit_test(rows_of_many_slices_are_read_one_by_one),
        cmocka_unit_test(arrangements_that_would_take_long_are_refused),
        cmocka_unit_test(slices_beyond_four_gibibytes_are_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
