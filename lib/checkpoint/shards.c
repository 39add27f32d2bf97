/*
 * The source that google-research/vmoe's shards are.  After opening, every slice of every array has
 * known places in the files; reading copies from there what a request and a slice have in common.
 */
#include "checkpoint/shards.h"

#include <stdio.h>
#include <string.h>

#include "checkpoint/boxes.h"
#include "runtime/sizes.h"

/* The suffix ".data-00000-of-00000" and a zero. */
#define SUFFIX_BYTES 21u

#define BUFFER_BYTES ((size_t)64 << 10)

/* Runs of float32 that are shorter than this are gathered in the buffer first. */
#define DIRECT_ELEMENTS 1024u

static void close_shards(struct vmoe_source *source)
{
    struct vmoe_shards *shards = (struct vmoe_shards *)source;
    const vmoe_allocator *allocator = shards->allocator;

    vmoe_file_close(&shards->file);
    vmoe_list_free(&shards->slices);
    vmoe_list_free(&shards->bounds);
    vmoe_list_free(&shards->pieces);
    vmoe_memory_release(allocator, shards->buffer);
    vmoe_memory_release(allocator, shards->numbered);
    vmoe_memory_release(allocator, shards->names);
    vmoe_memory_release(allocator, shards->leaves);
    vmoe_memory_release(allocator, shards->arrays);
    vmoe_memory_release(allocator, shards->path);
    vmoe_memory_release(allocator, shards->prefix);
    vmoe_memory_release(allocator, shards);
}

static void name_index(struct vmoe_shards *shards)
{
    snprintf(shards->path, strlen(shards->prefix) + SUFFIX_BYTES, "%s.index", shards->prefix);
}

static void name_shard(struct vmoe_shards *shards, uint32_t shard)
{
    snprintf(shards->path, strlen(shards->prefix) + SUFFIX_BYTES, "%s.data-%05u-of-%05u",
             shards->prefix, shard, shards->shard_count);
}

vmoe_status vmoe_shards_use(struct vmoe_shards *shards, uint32_t shard, vmoe_error *error)
{
    if (shards->file.descriptor >= 0 && shards->open_shard == shard)
        return VMOE_OK;
    vmoe_file_close(&shards->file);
    name_shard(shards, shard);
    /* One for each number would take far longer than reading the numbers. */
    if (shards->changes == VMOE_LIMIT_SHARD_CHANGES)
        return vmoe_fail(error, VMOE_ERR_LIMIT, shards->path,
                         "neighbouring slices lie in other shards too often: %u changes of the "
                         "shard are the limit",
                         VMOE_LIMIT_SHARD_CHANGES);
    shards->changes++;
    shards->open_shard = shard;
    return vmoe_file_open(shards->path, &shards->file, error);
}

/* The last piece of a slice that begins at or before element `index` of the slice. */
static uint32_t find_piece(const struct vmoe_shards_piece *pieces, uint32_t count, uint64_t index)
{
    uint32_t low = 0, high = count;

    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;

        if (pieces[middle].first <= index)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* Reads elements index .. index+count-1 of a slice as they are in the file. */
static vmoe_status read_raw(struct vmoe_shards *shards, const struct vmoe_shards_slice *slice,
                            uint32_t bytes, uint64_t index, uint64_t count, void *to,
                            vmoe_error *error)
{
    const struct vmoe_shards_piece *pieces =
        (const struct vmoe_shards_piece *)shards->pieces.items + slice->first_piece;
    uint32_t piece = find_piece(pieces, slice->pieces, index);
    vmoe_status status = vmoe_shards_use(shards, slice->shard, error);

    for (uint8_t *out = to; count > 0 && status == VMOE_OK; piece++) {
        uint64_t inside = index - pieces[piece].first, part = count;

        if (piece + 1 < slice->pieces && pieces[piece + 1].first - index < part)
            part = pieces[piece + 1].first - index;
        status = vmoe_file_read(&shards->file, shards->path,
                                pieces[piece].offset + inside * bytes, out, (size_t)(part * bytes),
                                error);
        out += part * bytes;
        index += part;
        count -= part;
    }
    return status;
}

/* A part of an array that is to be read. */
struct request {
    struct vmoe_shards *shards;
    size_t number; /* of the array */
    uint64_t first, count;
    float *out;
    vmoe_error *error;
};

/* Copies what the request and one slice have in common. */
static vmoe_status read_slice(const struct request *request, const struct vmoe_shards_slice *slice)
{
    struct vmoe_shards *shards = request->shards;
    const struct vmoe_array *array = &shards->arrays[request->number];
    const enum vmoe_number type = shards->leaves[request->number].type;
    const uint32_t bytes = vmoe_number_bytes(type);
    const uint32_t *box = (const uint32_t *)shards->bounds.items + slice->bounds;
    /* Flat order is the same in slice and array, so the common elements are a range in both. */
    uint64_t index = vmoe_box_before(box, array, request->first);
    const uint64_t stop = vmoe_box_before(box, array, request->first + request->count);

    while (index < stop) {
        uint64_t run, position = vmoe_box_locate(box, array, index, &run);
        uint64_t part = vmoe_smaller(stop - index, run);
        vmoe_status status;

        if (type == VMOE_NUMBER_F32 && part >= DIRECT_ELEMENTS) {
            float *to = request->out + (position - request->first);

            status = read_raw(shards, slice, bytes, index, part, to, request->error);
            if (status != VMOE_OK)
                return status;
            vmoe_number_to_f32(type, to, (size_t)part, to);
            index += part;
            continue;
        }
        part = vmoe_smaller(stop - index, BUFFER_BYTES / bytes);
        status = read_raw(shards, slice, bytes, index, part, shards->buffer, request->error);
        if (status != VMOE_OK)
            return status;
        for (uint64_t done = 0; done < part; done += run) {
            position = vmoe_box_locate(box, array, index + done, &run);
            run = vmoe_smaller(part - done, run);
            vmoe_number_to_f32(type, shards->buffer + done * bytes, (size_t)run,
                               request->out + (position - request->first));
        }
        index += part;
    }
    return VMOE_OK;
}

/*
 * Copies what the slices of a tree have of the request, in order.  Trees that end before it or
 * begin behind it are passed over: with a walk along all slices, reading a stack of experts one by
 * one would take a time that grows with the square of their number.
 */
static vmoe_status read_slices(const struct request *request,
                               const struct vmoe_shards_slice *slices, uint32_t count)
{
    const struct vmoe_shards *shards = request->shards;
    const uint32_t *bounds = shards->bounds.items;
    const uint32_t middle = count / 2;
    const struct vmoe_shards_slice *root = slices + middle;
    uint64_t run;
    vmoe_status status;

    if (count == 0 || root->reach <= request->first)
        return VMOE_OK;
    status = read_slices(request, slices, middle);
    /* Slices are sorted by their first elements. */
    if (status != VMOE_OK ||
        vmoe_box_locate(bounds + root->bounds, &shards->arrays[request->number], 0, &run) >=
            request->first + request->count)
        return status;
    status = read_slice(request, root);
    return status == VMOE_OK ? read_slices(request, root + 1, count - middle - 1) : status;
}

static vmoe_status read_array(struct vmoe_source *source, size_t number, uint64_t first,
                              uint64_t count, float *out, vmoe_error *error)
{
    struct vmoe_shards *shards = (struct vmoe_shards *)source;
    const struct vmoe_array *array = &shards->arrays[number];
    const struct vmoe_shards_leaf *leaf = &shards->leaves[number];
    const struct vmoe_shards_slice *slices =
        (const struct vmoe_shards_slice *)shards->slices.items + leaf->first_slice;
    const struct request request = { shards, number, first, count, out, error };
    vmoe_status status = vmoe_array_check_range(array, first, count, error);

    if (status != VMOE_OK)
        return status;
    if (leaf->type == VMOE_NUMBER_NONE)
        return vmoe_fail(error, VMOE_ERR_FORMAT, array->name, "its elements are no numbers");
    return read_slices(&request, slices, leaf->slices);
}

static bool has_file(struct vmoe_source *source, const char *path)
{
    struct vmoe_shards *shards = (struct vmoe_shards *)source;
    bool found;

    name_index(shards);
    found = vmoe_file_same(shards->path, path);
    for (uint32_t i = 0; i < shards->shard_count && !found; i++) {
        name_shard(shards, i);
        found = vmoe_file_same(shards->path, path);
    }
    name_shard(shards, shards->open_shard);
    return found;
}

vmoe_status vmoe_shards_open(const char *prefix, const vmoe_allocator *allocator,
                             struct vmoe_source **source, vmoe_error *error)
{
    struct vmoe_shards *shards = vmoe_memory_take_zeroed(allocator, sizeof *shards);
    vmoe_status status;

    *source = NULL;
    if (shards == NULL)
        return vmoe_fail(error, VMOE_ERR_MEMORY, prefix, "no memory to open the checkpoint");
    shards->allocator = allocator;
    shards->source.read = read_array;
    shards->source.has_file = has_file;
    shards->source.close = close_shards;
    shards->slices = (struct vmoe_list)VMOE_LIST(struct vmoe_shards_slice, allocator);
    shards->bounds = (struct vmoe_list)VMOE_LIST(uint32_t, allocator);
    shards->pieces = (struct vmoe_list)VMOE_LIST(struct vmoe_shards_piece, allocator);
    shards->file = (struct vmoe_file)VMOE_FILE_CLOSED;
    shards->prefix = vmoe_memory_copy(allocator, prefix);
    shards->path = vmoe_memory_take(allocator, strlen(prefix) + SUFFIX_BYTES);
    shards->buffer = vmoe_memory_take(allocator, BUFFER_BYTES);
    if (shards->prefix == NULL || shards->path == NULL || shards->buffer == NULL) {
        status = vmoe_fail(error, VMOE_ERR_MEMORY, prefix, "no memory to open the checkpoint");
    } else {
        name_index(shards);
        status = vmoe_shards_read_index(shards, error);
    }
    if (status == VMOE_OK)
        status = vmoe_shards_scan(shards, error);
    if (status == VMOE_OK)
        *source = &shards->source;
    else
        close_shards(&shards->source);
    return status;
}
