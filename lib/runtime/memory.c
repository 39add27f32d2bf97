/* The default allocator and the arena. */
#if defined(__linux__)
#define _DEFAULT_SOURCE
#else
#define _POSIX_C_SOURCE 200809L
#endif
#include "runtime/memory.h"

#include <stdlib.h>
#include <string.h>
#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "runtime/checked.h"

#define HUGE_PAGE ((size_t)2 << 20)

/* Large blocks are aligned to huge pages, so that advice to use them reaches all of a block. */
static void *default_alloc(void *context, size_t bytes, size_t alignment)
{
    const bool large = bytes >= HUGE_PAGE;
    void *memory;

    (void)context;
    /* Unlike aligned_alloc it takes any size, so sanitizers see the first byte behind a block. */
    if (posix_memalign(&memory, large ? HUGE_PAGE : alignment, bytes) != 0)
        return NULL;
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    /* Advice only: weights are read from front to back, and large pages halve the page walks. */
    if (large)
        (void)madvise(memory, bytes, MADV_HUGEPAGE);
#endif
    return memory;
}

static void default_release(void *context, void *memory)
{
    (void)context;
    free(memory);
}

const vmoe_allocator vmoe_memory_default = { default_alloc, default_release, NULL };

void *vmoe_memory_take(const vmoe_allocator *allocator, uint64_t bytes)
{
    void *memory;

    /* No allocator has more, and not all of them take such a size well. */
    if (bytes > PTRDIFF_MAX)
        return NULL;
    memory = allocator->alloc(allocator->context, bytes == 0 ? 1 : bytes, VMOE_ALIGNMENT);
    /* The kernels would fault, and with malloc's alignment not always at once. */
    if ((uintptr_t)memory % VMOE_ALIGNMENT != 0) {
        allocator->release(allocator->context, memory);
        return NULL;
    }
    return memory;
}

void *vmoe_memory_take_zeroed(const vmoe_allocator *allocator, uint64_t bytes)
{
    void *memory = vmoe_memory_take(allocator, bytes);

    if (memory != NULL)
        memset(memory, 0, (size_t)bytes);
    return memory;
}

char *vmoe_memory_copy(const vmoe_allocator *allocator, const char *text)
{
    const size_t bytes = strlen(text) + 1;
    char *copy = vmoe_memory_take(allocator, bytes);

    if (copy != NULL)
        memcpy(copy, text, bytes);
    return copy;
}

void vmoe_memory_release(const vmoe_allocator *allocator, void *memory)
{
    if (memory != NULL)
        allocator->release(allocator->context, memory);
}

void *vmoe_arena_take(struct vmoe_arena *arena, uint64_t count, uint64_t bytes)
{
    uint64_t begin = arena->used;
    uint64_t length, end;

    if (arena->overflow || !vmoe_mul_u64(count, bytes, &length) ||
        !vmoe_round_up_u64(length, VMOE_ALIGNMENT, &length) || !vmoe_add_u64(begin, length, &end) ||
        (arena->base != NULL && end > arena->size)) {
        arena->overflow = true;
        return NULL;
    }
    arena->used = end;
    return arena->base == NULL ? NULL : arena->base + begin;
}
