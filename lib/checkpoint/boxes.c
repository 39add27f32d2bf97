/*
 * Boxes.  The proof of tiling sweeps along the first axis: between two neighbouring edges the boxes
 * that are present must tile the remaining axes, and so on until no axis is left, where exactly one
 * box must be present.
 */
#include "checkpoint/boxes.h"

#include <stdio.h>
#include <string.h>

#include "checkpoint/heapsort.h"
#include "runtime/checked.h"

uint64_t vmoe_box_volume(const uint32_t *box, uint32_t rank)
{
    uint64_t volume = 1;

    for (uint32_t axis = 0; axis < rank; axis++)
        volume *= box[2 * axis + 1] - box[2 * axis];
    return volume;
}

int vmoe_box_compare(const uint32_t *a, const uint32_t *b, uint32_t rank)
{
    for (uint32_t side = 0; side < 2; side++)
        for (uint32_t i = side; i < 2 * rank; i += 2)
            if (a[i] != b[i])
                return a[i] < b[i] ? -1 : 1;
    return 0;
}

uint64_t vmoe_box_before(const uint32_t *box, const struct vmoe_array *array, uint64_t position)
{
    uint64_t whole = array->elements;               /* of the array, from this axis on */
    uint64_t part = vmoe_box_volume(box, array->rank); /* of the box, likewise */
    uint64_t before = 0;

    if (position >= array->elements)
        return part;
    for (uint32_t axis = 0; axis < array->rank; axis++) {
        const uint64_t start = box[2 * axis], stop = box[2 * axis + 1];
        uint64_t at;

        whole /= array->dims[axis];
        at = position / whole;
        position %= whole;
        if (at < start)
            return before;
        if (at >= stop)
            return before + part;
        part /= stop - start;
        before += (at - start) * part;
    }
    return before;
}

uint64_t vmoe_box_locate(const uint32_t *box, const struct vmoe_array *array, uint64_t index,
                         uint64_t *run)
{
    uint64_t stride = 1; /* of the axis in the array */
    uint64_t block = 1;  /* elements of the box that follow each other in the array as well */
    uint64_t rest = index;
    uint64_t position = 0;
    bool whole = true;

    for (uint32_t axis = array->rank; axis-- > 0;) {
        const uint64_t start = box[2 * axis], extent = box[2 * axis + 1] - start;

        position += (start + rest % extent) * stride;
        rest /= extent;
        if (whole)
            block *= extent;
        whole = whole && extent == array->dims[axis];
        stride *= array->dims[axis];
    }
    *run = block - index % block;
    return position;
}

void vmoe_box_text(const uint32_t *box, uint32_t rank, char text[VMOE_BOX_TEXT_BYTES])
{
    size_t length = 1;

    text[0] = '[';
    for (uint32_t axis = 0; axis < rank; axis++)
        length += (size_t)snprintf(text + length, VMOE_BOX_TEXT_BYTES - length, "%s%lu:%lu",
                                   axis == 0 ? "" : ", ", (unsigned long)box[2 * axis],
                                   (unsigned long)box[2 * axis + 1]);
    memcpy(text + length, "]", 2);
}

/* ---- Tiling --------------------------------------------------------------------------------- */

struct sweep {
    const struct vmoe_array *array;
    const uint32_t *bounds;
    uint32_t *present; /* (rank, count): the boxes that each level hands to the next */
    size_t count;
    uint64_t work;
    uint64_t at[VMOE_LIMIT_RANK]; /* where the sweep stands on each axis */
    vmoe_error *error;
};

struct edge {
    const uint32_t *bounds;
    uint32_t axis;
};

static int compare_starts(const void *context, uint32_t a, uint32_t b)
{
    const struct edge *edge = context;
    uint32_t start_a = edge->bounds[a + 2 * edge->axis], start_b = edge->bounds[b + 2 * edge->axis];

    return (start_a > start_b) - (start_a < start_b);
}

static vmoe_status gap(const struct sweep *sweep, uint32_t axes)
{
    uint32_t element[2 * VMOE_LIMIT_RANK] = { 0 };
    char text[VMOE_BOX_TEXT_BYTES];

    for (uint32_t axis = 0; axis < sweep->array->rank; axis++) {
        element[2 * axis] = axis < axes ? (uint32_t)sweep->at[axis] : 0;
        element[2 * axis + 1] = element[2 * axis] + 1;
    }
    vmoe_box_text(element, sweep->array->rank, text);
    return vmoe_fail(sweep->error, VMOE_ERR_FORMAT, sweep->array->name,
                     "no slice covers the element %s", text);
}

static vmoe_status overlap(const struct sweep *sweep, const uint32_t *list)
{
    char first[VMOE_BOX_TEXT_BYTES], second[VMOE_BOX_TEXT_BYTES];

    vmoe_box_text(sweep->bounds + list[0], sweep->array->rank, first);
    vmoe_box_text(sweep->bounds + list[1], sweep->array->rank, second);
    return vmoe_fail(sweep->error, VMOE_ERR_FORMAT, sweep->array->name,
                     "the slices %s and %s overlap", first, second);
}

/* Drops the boxes that end at the sweep's place, adds those that begin; returns the next edge. */
static uint64_t advance(const struct sweep *sweep, uint32_t axis, const uint32_t *list,
                        size_t count, size_t *next, uint32_t *present, size_t *presents)
{
    const uint32_t *starts = sweep->bounds + 2 * axis, *stops = starts + 1;
    const uint64_t at = sweep->at[axis];
    uint64_t edge = sweep->array->dims[axis];
    size_t kept = 0;

    for (size_t i = 0; i < *presents; i++)
        if (stops[present[i]] > at)
            present[kept++] = present[i];
    while (*next < count && starts[list[*next]] <= at)
        present[kept++] = list[(*next)++];
    if (*next < count)
        edge = starts[list[*next]];
    for (size_t i = 0; i < kept; i++)
        if (stops[present[i]] < edge)
            edge = stops[present[i]];
    *presents = kept;
    return edge;
}

/* `list` is sorted here; its boxes all reach across the sweep's place on the axes before `axis`. */
static vmoe_status sweep_axis(struct sweep *sweep, uint32_t axis, uint32_t *list, size_t count)
{
    struct edge edge = { sweep->bounds, axis };
    uint32_t *present;
    size_t next = 0, presents = 0;
    uint64_t stop;

    if (count == 0)
        return gap(sweep, axis);
    if (axis == sweep->array->rank)
        return count == 1 ? VMOE_OK : overlap(sweep, list);
    vmoe_heapsort(list, count, compare_starts, &edge);
    present = sweep->present + axis * sweep->count;
    for (sweep->at[axis] = 0; sweep->at[axis] < sweep->array->dims[axis]; sweep->at[axis] = stop) {
        vmoe_status status;

        stop = advance(sweep, axis, list, count, &next, present, &presents);
        if (sweep->work < presents + 1)
            return vmoe_fail(sweep->error, VMOE_ERR_LIMIT, sweep->array->name,
                             "its %zu slices are too irregular to be checked", sweep->count);
        sweep->work -= presents + 1;
        status = sweep_axis(sweep, axis + 1, present, presents);
        if (status != VMOE_OK)
            return status;
    }
    return VMOE_OK;
}

vmoe_status vmoe_boxes_tile(const struct vmoe_array *array, const uint32_t *bounds,
                            const uint32_t *list, size_t count, const vmoe_allocator *allocator,
                            uint64_t *work, vmoe_error *error)
{
    struct sweep sweep = {
        .array = array, .bounds = bounds, .count = count, .work = *work, .error = error
    };
    uint64_t bytes;
    uint32_t *memory;
    vmoe_status status;

    if (!vmoe_mul_u64(count, (array->rank + 1) * sizeof *memory, &bytes) ||
        (memory = vmoe_memory_take(allocator, bytes)) == NULL)
        return vmoe_fail(error, VMOE_ERR_MEMORY, array->name, "no memory to check %zu slices",
                         count);
    if (count > 0)
        memcpy(memory, list, count * sizeof *list);
    sweep.present = memory + count;
    status = sweep_axis(&sweep, 0, memory, count);
    *work = sweep.work;
    vmoe_memory_release(allocator, memory);
    return status;
}
