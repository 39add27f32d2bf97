/* Growth by doubling, so that the memory stays in proportion to what was really parsed. */
#include "checkpoint/list.h"

#include <string.h>

#include "runtime/checked.h"

#define FIRST_CAPACITY 16u

static bool grow(struct vmoe_list *list, uint64_t count)
{
    uint64_t capacity = list->capacity == 0 ? FIRST_CAPACITY : list->capacity;
    uint64_t bytes;
    void *items;

    while (capacity < count)
        if (!vmoe_mul_u64(capacity, 2, &capacity))
            return false;
    if (!vmoe_mul_u64(capacity, list->item_bytes, &bytes))
        return false;
    items = vmoe_memory_take(list->allocator, bytes);
    if (items == NULL)
        return false;
    if (list->count > 0)
        memcpy(items, list->items, (size_t)(list->count * list->item_bytes));
    vmoe_memory_release(list->allocator, list->items);
    list->items = items;
    list->capacity = capacity;
    return true;
}

void *vmoe_list_add(struct vmoe_list *list, uint64_t count)
{
    uint64_t total;
    uint8_t *items;

    if (!vmoe_add_u64(list->count, count, &total))
        return NULL;
    if ((total > list->capacity || list->items == NULL) && !grow(list, total))
        return NULL;
    items = (uint8_t *)list->items + list->count * list->item_bytes;
    memset(items, 0, (size_t)(count * list->item_bytes));
    list->count = total;
    return items;
}

void vmoe_list_free(struct vmoe_list *list)
{
    vmoe_memory_release(list->allocator, list->items);
    list->items = NULL;
    list->count = 0;
    list->capacity = 0;
}
