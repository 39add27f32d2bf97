/* An array that grows, for what a parser finds without knowing in advance how much there is. */
#ifndef VMOE_CHECKPOINT_LIST_H
#define VMOE_CHECKPOINT_LIST_H

#include <stdint.h>

#include "runtime/memory.h"

struct vmoe_list {
    const vmoe_allocator *allocator;
    uint64_t item_bytes;
    uint64_t count, capacity; /* items */
    void *items;              /* moves when the list grows */
};

#define VMOE_LIST(type, allocator) { (allocator), sizeof(type), 0, 0, NULL }

/* Adds `count` zeroed items and returns the first of them, or NULL if there is no memory. */
void *vmoe_list_add(struct vmoe_list *list, uint64_t count);

void vmoe_list_free(struct vmoe_list *list);

#endif
