/*
 * Workspaces: a block of memory and a team of threads, kept in a pool between calls so that a
 * second call of the same shape allocates nothing and starts no thread.
 */
#ifndef VMOE_RUNTIME_POOL_H
#define VMOE_RUNTIME_POOL_H

#include "runtime/team.h"

struct vmoe_workspace {
    uint8_t *memory;
    uint64_t bytes;
    struct vmoe_team *team;
    struct vmoe_workspace *next;
};

struct vmoe_pool;

vmoe_status vmoe_pool_create(const vmoe_allocator *allocator, struct vmoe_pool **pool,
                             vmoe_error *error);

/* Frees every workspace, all of which have been given back.  NULL is fine. */
void vmoe_pool_destroy(struct vmoe_pool *pool);

/*
 * A workspace with at least `bytes` bytes whose team has `threads` threads; safe from any thread.
 */
vmoe_status vmoe_pool_take(struct vmoe_pool *pool, uint64_t bytes, uint32_t threads,
                           struct vmoe_workspace **workspace, vmoe_error *error);
void vmoe_pool_give(struct vmoe_pool *pool, struct vmoe_workspace *workspace);

#endif
