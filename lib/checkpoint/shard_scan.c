/*
 * PREFIX.data-SSSSS-of-NNNNN: {"__msgpack_array_chunk_a87ca2__": true, "7": [chunk, ...], ...}, the
 * key being the number of an array.  A chunk is [[ndarray, ...], slice_nd]: flat pieces to be
 * joined, and where they belong.  An ndarray is [[elements], type name, bytes].
 *
 * Every chunk has to be one that the index announces for this array and shard, and each of those
 * has to come exactly once.  The numbers themselves are stepped over, as is all of an array without
 * elements.
 */
#include "checkpoint/shards.h"

#include <string.h>

#include "checkpoint/boxes.h"
#include "runtime/checked.h"

#define MAGIC "__msgpack_array_chunk_a87ca2__"

struct scan {
    struct vmoe_msgpack reader;
    struct vmoe_shards *shards;
    uint32_t shard;
};

/* One ndarray; `*elements` is what the chunk holds before it, and is increased. */
static void read_piece(struct scan *scan, const struct vmoe_array *array, enum vmoe_number type,
                       uint64_t *elements)
{
    struct vmoe_msgpack *reader = &scan->reader;
    uint64_t outer = vmoe_msgpack_open_ext(reader, VMOE_SHARDS_NDARRAY);
    struct vmoe_msgpack_head data;
    struct vmoe_shards_piece *piece;
    char name[64];
    uint64_t count, bytes;

    vmoe_msgpack_array_of(reader, 3, "a piece");
    vmoe_msgpack_array_of(reader, 1, "the shape of a piece");
    count = vmoe_msgpack_unsigned(reader);
    vmoe_msgpack_leave(reader);
    vmoe_msgpack_text(reader, name, sizeof name);
    if (vmoe_number_by_name(name) != type)
        vmoe_msgpack_fail(reader, VMOE_ERR_FORMAT, "%s has pieces of type %s, the index says %s",
                          array->name, name, vmoe_number_name(type));
    data = vmoe_msgpack_next(reader);
    if (data.kind != VMOE_MSGPACK_BINARY)
        vmoe_msgpack_fail(reader, VMOE_ERR_FORMAT, "a piece of %s has no binary data", array->name);
    if (count == 0 || count > array->elements - *elements)
        vmoe_msgpack_fail(reader, VMOE_ERR_FORMAT, "a piece of %s has %llu elements, of %llu",
                          array->name, (unsigned long long)count,
                          (unsigned long long)(array->elements - *elements));
    if (type != VMOE_NUMBER_NONE && (!vmoe_mul_u64(count, vmoe_number_bytes(type), &bytes) ||
                                     bytes != data.number))
        vmoe_msgpack_fail(reader, VMOE_ERR_FORMAT, "a piece of %s has %llu bytes for %llu elements",
                          array->name, (unsigned long long)data.number, (unsigned long long)count);
    if (scan->shards->pieces.count == VMOE_LIMIT_IMPORT_CHUNKS)
        vmoe_msgpack_fail(reader, VMOE_ERR_LIMIT, "the shards have more than %u pieces",
                          VMOE_LIMIT_IMPORT_CHUNKS);
    if (reader->status != VMOE_OK)
        return;
    piece = vmoe_list_add(&scan->shards->pieces, 1);
    if (piece == NULL) {
        vmoe_msgpack_fail(reader, VMOE_ERR_MEMORY, "no memory for a piece of %s", array->name);
        return;
    }
    piece->offset = reader->offset;
    piece->first = *elements;
    *elements += count;
    vmoe_msgpack_step(reader, data.number);
    vmoe_msgpack_leave(reader);
    vmoe_msgpack_close(reader, outer);
}

/* The slice of the index that has this box, or NULL. */
static struct vmoe_shards_slice *find_slice(struct vmoe_shards *shards, uint32_t array,
                                            const uint32_t *box)
{
    const struct vmoe_shards_leaf *leaf = &shards->leaves[array];
    struct vmoe_shards_slice *slices = shards->slices.items;
    const uint32_t *bounds = shards->bounds.items;
    uint32_t low = 0, high = leaf->slices;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        struct vmoe_shards_slice *slice = &slices[leaf->first_slice + middle];
        int order = vmoe_box_compare(box, bounds + slice->bounds, shards->arrays[array].rank);

        if (order == 0)
            return slice;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

static void read_chunk(struct scan *scan, uint32_t number)
{
    struct vmoe_msgpack *reader = &scan->reader;
    struct vmoe_shards *shards = scan->shards;
    const struct vmoe_array *array = &shards->arrays[number];
    const uint32_t first_piece = (uint32_t)shards->pieces.count;
    uint32_t box[2 * VMOE_LIMIT_RANK] = { 0 };
    char text[VMOE_BOX_TEXT_BYTES];
    struct vmoe_shards_slice *slice;
    uint64_t count, outer, elements = 0;

    vmoe_msgpack_array_of(reader, 2, "a chunk");
    count = vmoe_msgpack_array(reader);
    for (uint64_t i = 0; i < count && reader->status == VMOE_OK; i++)
        read_piece(scan, array, shards->leaves[number].type, &elements);
    vmoe_msgpack_leave(reader);
    outer = vmoe_msgpack_open_ext(reader, VMOE_SHARDS_SLICE_ND);
    vmoe_shards_read_box(reader, array, box);
    vmoe_msgpack_close(reader, outer);
    vmoe_msgpack_leave(reader);
    if (reader->status != VMOE_OK)
        return;
    vmoe_box_text(box, array->rank, text);
    slice = find_slice(shards, number, box);
    if (slice == NULL || slice->shard != scan->shard)
        vmoe_msgpack_fail(reader, VMOE_ERR_FORMAT, "the index has no slice %s of %s in this shard",
                          text, array->name);
    else if (slice->pieces != 0)
        vmoe_msgpack_fail(reader, VMOE_ERR_FORMAT, "the slice %s of %s comes twice", text,
                          array->name);
    else if (elements != vmoe_box_volume(box, array->rank))
        vmoe_msgpack_fail(reader, VMOE_ERR_FORMAT, "the slice %s of %s has %llu elements", text,
                          array->name, (unsigned long long)elements);
    if (reader->status != VMOE_OK)
        return;
    slice->first_piece = first_piece;
    slice->pieces = (uint32_t)count;
}

/* The array that a key such as "12" means.  Other spellings of a number are errors. */
static uint32_t array_of_key(struct scan *scan, const char *key)
{
    const struct vmoe_shards *shards = scan->shards;
    uint64_t number = 0;
    size_t i = 0;

    for (; key[i] >= '0' && key[i] <= '9' && number < shards->numbers; i++)
        number = number * 10 + (uint64_t)(key[i] - '0');
    if (i == 0 || key[i] != '\0' || (key[0] == '0' && i > 1) || number >= shards->numbers ||
        shards->numbered[number] == VMOE_SHARDS_NO_ARRAY) {
        vmoe_msgpack_fail(&scan->reader, VMOE_ERR_FORMAT,
                          "the key \"%s\" is the number of none of the %zu arrays of the index",
                          key, shards->source.count);
        return 0;
    }
    return shards->numbered[number];
}

static void read_chunks(struct scan *scan, const char *key)
{
    struct vmoe_msgpack *reader = &scan->reader;
    uint32_t array = array_of_key(scan, key);
    uint64_t count;

    if (reader->status != VMOE_OK)
        return;
    if (scan->shards->leaves[array].scanned == scan->shard + 1)
        vmoe_msgpack_fail(reader, VMOE_ERR_FORMAT, "the key \"%s\" comes twice", key);
    scan->shards->leaves[array].scanned = scan->shard + 1;
    if (scan->shards->arrays[array].elements == 0) {
        vmoe_msgpack_skip(reader);
        return;
    }
    count = vmoe_msgpack_array(reader);
    for (uint64_t i = 0; i < count && reader->status == VMOE_OK; i++)
        read_chunk(scan, array);
    vmoe_msgpack_leave(reader);
}

static void read_shard(struct scan *scan)
{
    struct vmoe_msgpack *reader = &scan->reader;
    uint64_t pairs = vmoe_msgpack_map(reader);
    bool magic = false;

    for (uint64_t i = 0; i < pairs && reader->status == VMOE_OK; i++) {
        char key[sizeof MAGIC];

        vmoe_msgpack_text(reader, key, sizeof key);
        if (strcmp(key, MAGIC) == 0 && !magic) {
            struct vmoe_msgpack_head head = vmoe_msgpack_next(reader);

            magic = true;
            if (head.kind != VMOE_MSGPACK_BOOL || head.number != 1)
                vmoe_msgpack_fail(reader, VMOE_ERR_FORMAT, "\"" MAGIC "\" is not true");
        } else {
            read_chunks(scan, key);
        }
    }
    vmoe_msgpack_leave(reader);
    if (!magic)
        vmoe_msgpack_fail(reader, VMOE_ERR_FORMAT, "this is no data shard: no \"" MAGIC "\"");
    if (reader->offset != reader->file->size)
        vmoe_msgpack_fail(reader, VMOE_ERR_FORMAT, "bytes follow the shard from byte %llu on",
                          (unsigned long long)reader->offset);
}

/* Fails for the first slice that no shard had. */
static vmoe_status check_complete(const struct vmoe_shards *shards, vmoe_error *error)
{
    const struct vmoe_shards_slice *slices = shards->slices.items;
    const uint32_t *bounds = shards->bounds.items;

    for (size_t i = 0; i < shards->source.count; i++) {
        const struct vmoe_shards_leaf *leaf = &shards->leaves[i];
        char text[VMOE_BOX_TEXT_BYTES];

        for (uint32_t j = 0; j < leaf->slices; j++) {
            const struct vmoe_shards_slice *slice = &slices[leaf->first_slice + j];

            if (slice->pieces != 0)
                continue;
            vmoe_box_text(bounds + slice->bounds, shards->arrays[i].rank, text);
            return vmoe_fail(error, VMOE_ERR_FORMAT, shards->arrays[i].name,
                             "the slice %s is not in shard %u, where the index puts it", text,
                             slice->shard);
        }
    }
    return VMOE_OK;
}

vmoe_status vmoe_shards_scan(struct vmoe_shards *shards, vmoe_error *error)
{
    const struct vmoe_shards_slice *slices = shards->slices.items;
    bool needed[VMOE_LIMIT_SHARDS] = { false };
    struct scan scan = { .shards = shards };

    /* The writer leaves out shards without slices. */
    for (uint64_t i = 0; i < shards->slices.count; i++)
        needed[slices[i].shard] = true;
    for (scan.shard = 0; scan.shard < shards->shard_count; scan.shard++) {
        vmoe_status status;

        if (!needed[scan.shard])
            continue;
        status = vmoe_shards_use(shards, scan.shard, error);
        if (status != VMOE_OK)
            return status;
        vmoe_msgpack_init(&scan.reader, &shards->file, shards->path, 0, error);
        read_shard(&scan);
        if (scan.reader.status != VMOE_OK)
            return scan.reader.status;
    }
    return check_complete(shards, error);
}
