/*
 * The geometry of slices against an array of counters: boxes tile it if and only if every element
 * is counted once, and flat positions in box and array are those of a walk.
 */
#include <string.h>

#include "checkpoint/boxes.h"
#include "fuzz/account.h"
#include "fuzz/fuzz.h"

#define BOXES 12u
#define ELEMENTS 512u

/* Counts the elements of a box, in order; the n-th of them is at `places[n]`. */
static size_t paint(const struct vmoe_array *array, const uint32_t *box, uint8_t *counts,
                    uint32_t *places)
{
    size_t found = 0;

    for (uint32_t i = 0; i < array->elements; i++) {
        uint32_t rest = i;
        bool inside = true;

        for (uint32_t axis = array->rank; axis-- > 0; rest /= (uint32_t)array->dims[axis]) {
            const uint32_t at = rest % (uint32_t)array->dims[axis];

            inside = inside && at >= box[2 * axis] && at < box[2 * axis + 1];
        }
        MUST(vmoe_box_before(box, array, i) == found);
        if (inside) {
            counts[i]++;
            places[found++] = i;
        }
    }
    return found;
}

static void check_box(const struct vmoe_array *array, const uint32_t *box, uint8_t *counts)
{
    uint32_t places[ELEMENTS];
    const size_t found = paint(array, box, counts, places);
    char text[VMOE_BOX_TEXT_BYTES];

    MUST(vmoe_box_volume(box, array->rank) == found);
    for (size_t i = 0; i < found; i++) {
        uint64_t run;

        MUST(vmoe_box_locate(box, array, i, &run) == places[i]);
        MUST(run > 0 && run <= found - i && places[i + run - 1] == places[i] + run - 1);
    }
    vmoe_box_text(box, array->rank, text);
    MUST(memchr(text, '\0', sizeof text) != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct feed feed = { data, size };
    struct vmoe_array array = { .name = "fuzz", .rank = feed_below(&feed, 5), .elements = 1 };
    uint32_t bounds[BOXES * 2 * VMOE_LIMIT_RANK], list[BOXES];
    const uint32_t count = 1 + feed_below(&feed, BOXES);
    uint8_t counts[ELEMENTS] = { 0 };
    vmoe_error error = VMOE_ERROR_INIT;
    uint64_t work = 100000;
    struct account account;
    vmoe_status status;
    bool once = true;

    for (uint32_t axis = 0; axis < array.rank; axis++) {
        array.dims[axis] = 1 + feed_below(&feed, 8);
        if (array.elements * array.dims[axis] > ELEMENTS)
            array.dims[axis] = 1;
        array.elements *= array.dims[axis];
    }
    for (uint32_t i = 0; i < count; i++) {
        uint32_t *box = bounds + i * 2 * VMOE_LIMIT_RANK;

        for (uint32_t axis = 0; axis < array.rank; axis++) {
            const uint32_t extent = (uint32_t)array.dims[axis];

            box[2 * axis] = feed_below(&feed, extent);
            box[2 * axis + 1] = box[2 * axis] + 1 + feed_below(&feed, extent - box[2 * axis]);
        }
        list[i] = i * 2 * VMOE_LIMIT_RANK;
        check_box(&array, box, counts);
    }
    for (uint64_t i = 0; i < array.elements; i++)
        once = once && counts[i] == 1;
    account_open(&account);
    status = vmoe_boxes_tile(&array, bounds, list, count, &account.allocator, &work, &error);
    fuzz_check_error(status, &error);
    MUST(status == (once ? VMOE_OK : VMOE_ERR_FORMAT));
    account_close(&account);
    return 0;
}
