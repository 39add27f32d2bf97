/*
 * Heap sort.  qsort has neither a context for the comparison nor a bound on its time and memory,
 * and both matter for lists that come from files.
 */
#include "checkpoint/heapsort.h"

#include <stdbool.h>

static bool is_sorted(const uint32_t *items, size_t count, vmoe_compare compare,
                      const void *context)
{
    for (size_t i = 1; i < count; i++)
        if (compare(context, items[i - 1], items[i]) > 0)
            return false;
    return true;
}

/* Moves `item` down from an empty place `at` of a heap with the largest on top. */
static void sift_down(uint32_t *items, size_t count, size_t at, uint32_t item,
                      vmoe_compare compare, const void *context)
{
    for (size_t child = 2 * at + 1; child < count; child = 2 * at + 1) {
        if (child + 1 < count && compare(context, items[child], items[child + 1]) < 0)
            child++;
        if (compare(context, item, items[child]) >= 0)
            break;
        items[at] = items[child];
        at = child;
    }
    items[at] = item;
}

void vmoe_heapsort(uint32_t *items, size_t count, vmoe_compare compare, const void *context)
{
    /* Files are nearly always sorted already. */
    if (is_sorted(items, count, compare, context))
        return;
    for (size_t i = count / 2; i-- > 0;)
        sift_down(items, count, i, items[i], compare, context);
    for (size_t last = count - 1; last > 0; last--) {
        uint32_t item = items[last];

        items[last] = items[0];
        sift_down(items, last, 0, item, compare, context);
    }
}
