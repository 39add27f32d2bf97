/*
 * How the arrays are cut.  A leaf of the index is an ext value with three parts: the shape and type
 * of an array, its slices, and the shard of each slice.  Binary values inside are documents again:
 * a slice is an array with a binary value for each axis, and that is [start, stop, step].
 */
#include "checkpoint/shards.h"

#include <string.h>

#include "checkpoint/boxes.h"
#include "checkpoint/heapsort.h"
#include "runtime/sizes.h"

/* Steps that the proof of tiling may take: plenty for grids, few enough to end soon. */
#define TILING_WORK(slices) ((UINT64_C(1) << 24) + 64 * (slices))

/* [shape, type name, weak type, {}] */
static void read_shape(struct vmoe_msgpack *reader, struct vmoe_array *array,
                       struct vmoe_shards_leaf *leaf)
{
    uint64_t outer = vmoe_msgpack_open_binary(reader);
    uint64_t rank;
    char type[64];

    vmoe_msgpack_array_of(reader, 4, "a shape with its type");
    rank = vmoe_msgpack_array(reader);
    if (rank > VMOE_LIMIT_RANK)
        vmoe_msgpack_fail(reader, VMOE_ERR_LIMIT, "an array has %llu axes, the limit is %u",
                          (unsigned long long)rank, VMOE_LIMIT_RANK);
    array->elements = 1;
    for (uint64_t axis = 0; axis < rank && reader->status == VMOE_OK; axis++) {
        uint64_t size = vmoe_msgpack_unsigned(reader);

        if (!vmoe_array_add_axis(array, size))
            vmoe_msgpack_fail(reader, VMOE_ERR_LIMIT,
                              "an array is too large: axis %llu has %llu elements",
                              (unsigned long long)axis, (unsigned long long)size);
    }
    vmoe_msgpack_leave(reader);
    vmoe_msgpack_text(reader, type, sizeof type);
    leaf->type = vmoe_number_by_name(type);
    vmoe_msgpack_skip(reader);
    vmoe_msgpack_skip(reader);
    vmoe_msgpack_leave(reader);
    vmoe_msgpack_close(reader, outer);
}

/* One bound of a slice; nil means the end of the axis on that side. */
static uint64_t read_bound(struct vmoe_msgpack *reader, uint64_t if_nil)
{
    struct vmoe_msgpack_head head = vmoe_msgpack_next(reader);

    if (head.kind == VMOE_MSGPACK_NIL)
        return if_nil;
    if (head.kind != VMOE_MSGPACK_UNSIGNED)
        vmoe_msgpack_fail(reader, VMOE_ERR_FORMAT,
                          "a bound of a slice is no integer, or is negative");
    return head.number;
}

void vmoe_shards_read_box(struct vmoe_msgpack *reader, const struct vmoe_array *array,
                          uint32_t box[2 * VMOE_LIMIT_RANK])
{
    vmoe_msgpack_array_of(reader, array->rank, "a slice");
    for (uint32_t axis = 0; axis < array->rank && reader->status == VMOE_OK; axis++) {
        uint64_t outer = vmoe_msgpack_open_binary(reader);
        const uint64_t size = array->dims[axis];
        uint64_t start, stop, step;

        vmoe_msgpack_array_of(reader, 3, "a slice of an axis");
        start = read_bound(reader, 0);
        stop = read_bound(reader, size);
        step = read_bound(reader, 1);
        if (step != 1)
            vmoe_msgpack_fail(reader, VMOE_ERR_FORMAT, "a slice has the step %llu, expected 1",
                              (unsigned long long)step);
        if (stop > size || start >= stop)
            vmoe_msgpack_fail(reader, VMOE_ERR_FORMAT,
                              "a slice %llu:%llu is empty or not within 0:%llu",
                              (unsigned long long)start, (unsigned long long)stop,
                              (unsigned long long)size);
        vmoe_msgpack_leave(reader);
        vmoe_msgpack_close(reader, outer);
        box[2 * axis] = (uint32_t)start;
        box[2 * axis + 1] = (uint32_t)stop;
    }
    vmoe_msgpack_leave(reader);
}

/* Adds one slice of an array. */
static void read_slice(struct vmoe_shards *shards, struct vmoe_msgpack *reader,
                       const struct vmoe_array *array)
{
    uint64_t outer = vmoe_msgpack_open_binary(reader);
    uint32_t box[2 * VMOE_LIMIT_RANK];
    struct vmoe_shards_slice *slice;
    uint32_t *bounds;

    vmoe_shards_read_box(reader, array, box);
    vmoe_msgpack_close(reader, outer);
    if (reader->status != VMOE_OK)
        return;
    slice = vmoe_list_add(&shards->slices, 1);
    bounds = vmoe_list_add(&shards->bounds, 2 * array->rank);
    if (slice == NULL || bounds == NULL) {
        vmoe_msgpack_fail(reader, VMOE_ERR_MEMORY, "no memory for a slice");
        return;
    }
    memcpy(bounds, box, 2 * array->rank * sizeof *box);
    slice->bounds = (uint32_t)(shards->bounds.count - 2 * array->rank);
}

static void read_slices(struct vmoe_shards *shards, struct vmoe_msgpack *reader,
                        const struct vmoe_array *array, struct vmoe_shards_leaf *leaf)
{
    uint64_t count = vmoe_msgpack_array(reader);
    struct vmoe_shards_slice *slices;

    if (count > array->elements)
        vmoe_msgpack_fail(reader, VMOE_ERR_FORMAT, "an array of %llu elements has %llu slices",
                          (unsigned long long)array->elements, (unsigned long long)count);
    if (shards->slices.count + count > VMOE_LIMIT_IMPORT_CHUNKS)
        vmoe_msgpack_fail(reader, VMOE_ERR_LIMIT, "the arrays have more than %u slices",
                          VMOE_LIMIT_IMPORT_CHUNKS);
    leaf->first_slice = (uint32_t)shards->slices.count;
    leaf->slices = (uint32_t)count;
    for (uint64_t i = 0; i < count && reader->status == VMOE_OK; i++)
        read_slice(shards, reader, array);
    vmoe_msgpack_leave(reader);
    vmoe_msgpack_array_of(reader, count, "the list of the shards of an array");
    slices = shards->slices.items;
    for (uint64_t i = 0; i < count && reader->status == VMOE_OK; i++) {
        uint64_t shard = vmoe_msgpack_unsigned(reader);

        if (shard >= shards->shard_count)
            vmoe_msgpack_fail(reader, VMOE_ERR_FORMAT, "a slice is in shard %llu of %u",
                              (unsigned long long)shard, shards->shard_count);
        slices[leaf->first_slice + i].shard = (uint32_t)shard;
    }
    vmoe_msgpack_leave(reader);
}

void vmoe_shards_read_leaf(struct vmoe_shards *shards, struct vmoe_msgpack *reader, uint64_t bytes,
                           struct vmoe_array *array, struct vmoe_shards_leaf *leaf)
{
    uint64_t outer = vmoe_msgpack_open(reader, bytes);

    vmoe_msgpack_array_of(reader, 3, "the description of an array");
    read_shape(reader, array, leaf);
    if (array->elements == 0) {
        /* However nothing is cut, there is nothing to find. */
        vmoe_msgpack_skip(reader);
        vmoe_msgpack_skip(reader);
    } else {
        read_slices(shards, reader, array, leaf);
    }
    vmoe_msgpack_leave(reader);
    vmoe_msgpack_close(reader, outer);
}

/* ---- Order and proof ------------------------------------------------------------------------ */

struct slice_order {
    const struct vmoe_shards_slice *slices;
    const uint32_t *bounds;
    uint32_t rank;
};

static int compare_slices(const void *context, uint32_t a, uint32_t b)
{
    const struct slice_order *order = context;

    return vmoe_box_compare(order->bounds + order->slices[a].bounds,
                            order->bounds + order->slices[b].bounds, order->rank);
}

/* Makes `reach`, so far where each slice itself ends, that of trees; returns that of them all. */
static uint64_t reach_of_trees(struct vmoe_shards_slice *slices, uint32_t count)
{
    const uint32_t middle = count / 2;
    uint64_t before, behind;

    if (count == 0)
        return 0;
    before = reach_of_trees(slices, middle);
    behind = reach_of_trees(slices + middle + 1, count - middle - 1);
    slices[middle].reach = vmoe_larger(slices[middle].reach, vmoe_larger(before, behind));
    return slices[middle].reach;
}

/*
 * Moves the slices of one array to `sorted`, in order; `list` has room for as many numbers as the
 * array has slices.
 */
static vmoe_status sort_slices(struct vmoe_shards *shards, size_t array,
                               struct vmoe_shards_slice *sorted, uint32_t *list, uint64_t *work,
                               vmoe_error *error)
{
    const struct vmoe_array *a = &shards->arrays[array];
    const struct vmoe_shards_leaf *leaf = &shards->leaves[array];
    struct slice_order order = { shards->slices.items, shards->bounds.items, a->rank };

    for (uint32_t i = 0; i < leaf->slices; i++)
        list[i] = leaf->first_slice + i;
    vmoe_heapsort(list, leaf->slices, compare_slices, &order);
    for (uint32_t i = 0; i < leaf->slices; i++) {
        struct vmoe_shards_slice *slice = &sorted[leaf->first_slice + i];
        const uint32_t *box;
        uint64_t run;

        *slice = order.slices[list[i]];
        box = order.bounds + slice->bounds;
        slice->reach = vmoe_box_locate(box, a, vmoe_box_volume(box, a->rank) - 1, &run) + 1;
        list[i] = slice->bounds;
    }
    reach_of_trees(sorted + leaf->first_slice, leaf->slices);
    return vmoe_boxes_tile(a, order.bounds, list, leaf->slices, shards->allocator, work, error);
}

vmoe_status vmoe_shards_check_slices(struct vmoe_shards *shards, vmoe_error *error)
{
    struct vmoe_list sorted = VMOE_LIST(struct vmoe_shards_slice, shards->allocator);
    const uint64_t count = shards->slices.count;
    uint32_t *list = vmoe_memory_take(shards->allocator, count * sizeof *list);
    uint64_t work = TILING_WORK(count);
    vmoe_status status = VMOE_OK;

    if (list == NULL || vmoe_list_add(&sorted, count) == NULL)
        status = vmoe_fail(error, VMOE_ERR_MEMORY, shards->path, "no memory for %llu slices",
                           (unsigned long long)count);
    for (size_t i = 0; i < shards->source.count && status == VMOE_OK; i++)
        if (shards->arrays[i].elements > 0)
            status = sort_slices(shards, i, sorted.items, list, &work, error);
    vmoe_memory_release(shards->allocator, list);
    vmoe_list_free(&shards->slices);
    shards->slices = sorted;
    return status;
}

