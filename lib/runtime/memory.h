/*
 * Memory: the host's allocator behind two calls, and the arena from which a call takes everything
 * it needs.
 */
#ifndef VMOE_RUNTIME_MEMORY_H
#define VMOE_RUNTIME_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <vmoe.h>

/*
 * Every block is aligned to a cache line, which is also the widest vector; no allocator is asked
 * for more.
 */
#define VMOE_ALIGNMENT 64u

/*
 * The allocator to use when the host gives none.  Of its own accord it aligns large blocks to huge
 * pages, and advises their use.
 */
extern const vmoe_allocator vmoe_memory_default;

/* Uninitialised memory, or NULL; 0 bytes give a valid block. */
void *vmoe_memory_take(const vmoe_allocator *allocator, uint64_t bytes);
void *vmoe_memory_take_zeroed(const vmoe_allocator *allocator, uint64_t bytes);

/* A copy of a text, or NULL. */
char *vmoe_memory_copy(const vmoe_allocator *allocator, const char *text);

/* NULL is fine. */
void vmoe_memory_release(const vmoe_allocator *allocator, void *memory);

/*
 * An arena hands out consecutive aligned pieces of one block.  With `base` NULL it only counts, so
 * the function that lays a workspace out serves both for measuring and for carving.  A size that
 * would wrap sticks as `overflow`.
 */
struct vmoe_arena {
    uint8_t *base;
    uint64_t size; /* of the block; carving past it is a bug, and gives NULL */
    uint64_t used;
    bool overflow;
};

/* `count` objects of `bytes` bytes; NULL while measuring or after an overflow. */
void *vmoe_arena_take(struct vmoe_arena *arena, uint64_t count, uint64_t bytes);

#endif
