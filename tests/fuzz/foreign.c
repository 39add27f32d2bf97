/* Writers as plain as the formats permit. */
#include "fuzz/foreign.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "fuzz/fuzz.h"

static void put(struct foreign *to, const void *data, size_t size)
{
    if (to->size + size > to->capacity) {
        to->capacity = 2 * (to->size + size);
        to->data = realloc(to->data, to->capacity);
        MUST(to->data != NULL);
    }
    if (size > 0)
        memcpy(to->data + to->size, data, size);
    to->size += size;
}

static void put_little(struct foreign *to, uint64_t number, size_t size)
{
    for (; size > 0; size--, number >>= 8)
        put(to, &(uint8_t){ (uint8_t)number }, 1);
}

/* The numbers first .. first + count - 1 of an array. */
static float *numbers_of(struct vmoe_source *source, size_t i, uint64_t first, uint64_t count)
{
    float *values = malloc((size_t)count * sizeof *values);

    MUST(values != NULL && source->read(source, i, first, count, values, NULL) == VMOE_OK);
    return values;
}

/* ---- .npz ----------------------------------------------------------------------------------- */

static struct foreign npy_of(struct vmoe_source *source, size_t i)
{
    const struct vmoe_array *array = &source->arrays[i];
    float *values = numbers_of(source, i, 0, array->elements);
    struct foreign npy = { 0 };
    char text[256];
    int length = sprintf(text, "{'descr': '<f4', 'fortran_order': False, 'shape': (");

    for (uint32_t axis = 0; axis < array->rank; axis++)
        length += sprintf(text + length, "%u, ", (unsigned)array->dims[axis]);
    length += sprintf(text + length, "), }\n");
    put(&npy, "\x93NUMPY\x01\x00", 8);
    put_little(&npy, (uint64_t)length, 2);
    put(&npy, text, (size_t)length);
    put(&npy, values, (size_t)array->elements * sizeof *values);
    free(values);
    return npy;
}

static struct foreign deflate_it(const struct foreign *plain)
{
    struct foreign packed = { 0 };
    z_stream z = { .next_in = plain->data, .avail_in = (uInt)plain->size };

    packed.data = malloc(plain->size + 64);
    z.next_out = packed.data;
    z.avail_out = (uInt)plain->size + 64;
    MUST(packed.data != NULL);
    MUST(deflateInit2(&z, 6, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY) == Z_OK);
    MUST(deflate(&z, Z_FINISH) == Z_STREAM_END);
    packed.size = z.total_out;
    (void)deflateEnd(&z);
    return packed;
}

/* What local header and directory entry have in common, from the flags to the extra field. */
static void put_member(struct foreign *to, const char *name, bool deflated,
                       const struct foreign *plain, const struct foreign *stored)
{
    put_little(to, 0, 2);
    put_little(to, deflated ? 8 : 0, 2);
    put_little(to, 0, 4);
    put_little(to, crc32(0, plain->data, (uInt)plain->size), 4);
    put_little(to, stored->size, 4);
    put_little(to, plain->size, 4);
    put_little(to, strlen(name) + 4, 2);
    put_little(to, 0, 2);
}

struct foreign foreign_npz(struct vmoe_source *source, bool deflated)
{
    struct foreign npz = { 0 }, directory = { 0 };
    size_t begin;

    for (size_t i = 0; i < source->count; i++) {
        const char *name = source->arrays[i].name;
        struct foreign plain = npy_of(source, i);
        struct foreign stored = deflated ? deflate_it(&plain) : plain;

        put_little(&directory, 0x02014b50, 4);
        put_little(&directory, 20, 2);
        put_little(&directory, 20, 2);
        put_member(&directory, name, deflated, &plain, &stored);
        put_little(&directory, 0, 10);
        put_little(&directory, npz.size, 4);
        put(&directory, name, strlen(name));
        put(&directory, ".npy", 4);
        put_little(&npz, 0x04034b50, 4);
        put_little(&npz, 20, 2);
        put_member(&npz, name, deflated, &plain, &stored);
        put(&npz, name, strlen(name));
        put(&npz, ".npy", 4);
        put(&npz, stored.data, stored.size);
        if (deflated)
            free(stored.data);
        free(plain.data);
    }
    begin = npz.size;
    put(&npz, directory.data, directory.size);
    put_little(&npz, 0x06054b50, 4);
    put_little(&npz, 0, 4);
    put_little(&npz, source->count, 2);
    put_little(&npz, source->count, 2);
    put_little(&npz, directory.size, 4);
    put_little(&npz, begin, 4);
    put_little(&npz, 0, 2);
    free(directory.data);
    return npz;
}

/* ---- Shards --------------------------------------------------------------------------------- */

static void put_head(struct foreign *to, uint8_t first, uint64_t number, size_t size)
{
    put(to, &first, 1);
    while (size-- > 0)
        put(to, &(uint8_t){ (uint8_t)(number >> 8 * size) }, 1);
}

static void put_integer(struct foreign *to, uint64_t value)
{
    if (value < 128)
        put_head(to, (uint8_t)value, 0, 0);
    else
        put_head(to, 0xcd, value, 2);
}

static void put_text(struct foreign *to, const char *text, size_t length)
{
    if (length < 32)
        put_head(to, (uint8_t)(0xa0 + length), 0, 0);
    else
        put_head(to, 0xd9, length, 1);
    put(to, text, length);
}

/* Takes the payload's memory; `type` -1 makes a binary value, others an ext value. */
static void put_inside(struct foreign *to, int type, struct foreign payload)
{
    put_head(to, type < 0 ? 0xc5 : 0xc8, payload.size, 2);
    if (type >= 0)
        put(to, &(uint8_t){ (uint8_t)type }, 1);
    put(to, payload.data, payload.size);
    free(payload.data);
}

/* The rows first .. stop - 1, that is, a part of the first axis; all of the others. */
static struct foreign slice_of(const struct vmoe_array *array, uint64_t first, uint64_t stop)
{
    struct foreign slice = { 0 };

    put_head(&slice, (uint8_t)(0x90 + array->rank), 0, 0);
    for (uint32_t axis = 0; axis < array->rank; axis++) {
        struct foreign bounds = { 0 };

        put_head(&bounds, 0x93, 0, 0);
        put_integer(&bounds, axis == 0 ? first : 0);
        put_integer(&bounds, axis == 0 ? stop : array->dims[axis]);
        put_head(&bounds, 0xc0, 0, 0);
        put_inside(&slice, -1, bounds);
    }
    return slice;
}

/* The row at which an array is cut; all of them if it is not. */
static uint64_t cut_of(const struct vmoe_array *array)
{
    return array->dims[0] > 1 ? array->dims[0] / 2 : array->dims[0];
}

static void put_leaf(struct foreign *to, const struct vmoe_array *array)
{
    const uint64_t rows = array->dims[0], cut = cut_of(array);
    struct foreign info = { 0 }, shape = { 0 };

    put_head(&shape, 0x94, 0, 0);
    put_head(&shape, (uint8_t)(0x90 + array->rank), 0, 0);
    for (uint32_t axis = 0; axis < array->rank; axis++)
        put_integer(&shape, array->dims[axis]);
    put_text(&shape, "float32", 7);
    put(&shape, "\xc2\x80", 2);
    put_head(&info, 0x93, 0, 0);
    put_inside(&info, -1, shape);
    put_head(&info, cut < rows ? 0x92 : 0x91, 0, 0);
    put_inside(&info, -1, slice_of(array, 0, cut));
    if (cut < rows)
        put_inside(&info, -1, slice_of(array, cut, rows));
    put(&info, cut < rows ? "\x92\x00\x01" : "\x91\x00", cut < rows ? 3 : 2);
    put_inside(to, 8, info);
}

/* The arrays first .. stop - 1, whose names have the first `offset` characters in common. */
static void put_tree(struct foreign *to, const struct vmoe_array *arrays, size_t first, size_t stop,
                     size_t offset)
{
    struct foreign pairs = { 0 };
    uint32_t count = 0;
    size_t next;

    for (size_t i = first; i < stop; i = next, count++) {
        const char *name = arrays[i].name + offset;
        const size_t length = strcspn(name, "/");

        for (next = i + 1; next < stop && name[length] == '/' &&
                           strncmp(arrays[next].name + offset, name, length + 1) == 0;)
            next++;
        put_text(&pairs, name, length);
        if (name[length] == '/')
            put_tree(&pairs, arrays, i, next, offset + length + 1);
        else
            put_leaf(&pairs, &arrays[i]);
    }
    put_head(to, 0xde, count, 2);
    put(to, pairs.data, pairs.size);
    free(pairs.data);
}

static struct foreign index_of(const struct vmoe_source *source)
{
    struct foreign index = { 0 };

    put_head(&index, 0x83, 0, 0);
    put_text(&index, "shard_count", 11);
    put_integer(&index, 2);
    put_text(&index, "index", 5);
    put_tree(&index, source->arrays, 0, source->count, 0);
    put_text(&index, "version", 7);
    put_text(&index, "20220622", 8);
    return index;
}

/* A list of one chunk: a half of an array in one or two pieces. */
static void put_chunk(struct foreign *to, struct vmoe_source *source, size_t i, uint64_t first,
                      uint64_t stop)
{
    const struct vmoe_array *array = &source->arrays[i];
    const uint64_t row = array->elements / array->dims[0], count = (stop - first) * row;
    float *values = numbers_of(source, i, first * row, count);
    const uint64_t split = count > 8 ? count / 3 : 0;

    put_head(to, 0x91, 0, 0);
    put_head(to, 0x92, 0, 0);
    put_head(to, split > 0 ? 0x92 : 0x91, 0, 0);
    for (uint64_t at = 0, end = split > 0 ? split : count; at < count; at = end, end = count) {
        struct foreign piece = { 0 }, data = { 0 };

        put(&data, values + at, (size_t)(end - at) * sizeof *values);
        put(&piece, "\x93\x91", 2);
        put_integer(&piece, end - at);
        put_text(&piece, "float32", 7);
        put_inside(&piece, -1, data);
        put_inside(to, 1, piece);
    }
    put_inside(to, 6, slice_of(array, first, stop));
    free(values);
}

static struct foreign shard_of(struct vmoe_source *source, uint32_t shard)
{
    struct foreign all = { 0 }, map = { 0 };
    uint32_t keys = 1;

    for (size_t i = 0; i < source->count; i++) {
        const uint64_t rows = source->arrays[i].dims[0], cut = cut_of(&source->arrays[i]);
        char key[8];

        if (shard == 1 && cut == rows)
            continue;
        put_text(&map, key, (size_t)sprintf(key, "%u", (unsigned)i));
        put_chunk(&map, source, i, shard == 0 ? 0 : cut, shard == 0 ? cut : rows);
        keys++;
    }
    put_head(&all, 0xde, keys, 2);
    put_text(&all, "__msgpack_array_chunk_a87ca2__", 30);
    put_head(&all, 0xc3, 0, 0);
    put(&all, map.data, map.size);
    free(map.data);
    return all;
}

static void put_part(struct foreign *to, struct foreign part)
{
    put_little(to, part.size, 4);
    put(to, part.data, part.size);
    free(part.data);
}

struct foreign foreign_shards(struct vmoe_source *source)
{
    struct foreign all = { 0 };

    put_part(&all, index_of(source));
    put_part(&all, shard_of(source, 0));
    put_part(&all, shard_of(source, 1));
    return all;
}

const uint8_t *foreign_part(const uint8_t *data, size_t size, uint32_t i, size_t *bytes)
{
    struct feed feed = { data, size };
    const uint8_t *part;

    do {
        const uint32_t length = feed_u32(&feed);

        part = feed_bytes(&feed, length, bytes);
    } while (i-- > 0);
    return part;
}
