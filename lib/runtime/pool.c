/*
 * The pool: a stack of idle workspaces behind a lock.
 *
 * A process may fork while another thread holds the lock, and in the child nobody would ever
 * release it.  So the lock is the id of the process that holds it, and a child takes it over: the
 * stack is whole at every moment, because it changes with a single store.
 */
#define _GNU_SOURCE
#include "runtime/pool.h"

#include <stdatomic.h>
#include <unistd.h>

#include "runtime/cpu.h"

struct vmoe_pool {
    const vmoe_allocator *allocator;
    atomic_int holder; /* process that holds the lock, or 0 */
    struct vmoe_workspace *idle; /* the one used last comes first: its memory is warm */
};

/* Held for a few instructions, so that waiting awake is the shortest way. */
static void lock(struct vmoe_pool *pool)
{
    const int self = (int)getpid();

    for (unsigned round = 0;; round++) {
        int holder = atomic_load(&pool->holder);

        if (holder != self && atomic_compare_exchange_strong(&pool->holder, &holder, self))
            return;
        vmoe_cpu_give_way(round);
    }
}

static void unlock(struct vmoe_pool *pool)
{
    atomic_store(&pool->holder, 0);
}

vmoe_status vmoe_pool_create(const vmoe_allocator *allocator, struct vmoe_pool **pool,
                             vmoe_error *error)
{
    struct vmoe_pool *made = vmoe_memory_take_zeroed(allocator, sizeof *made);

    *pool = NULL;
    if (made == NULL)
        return vmoe_fail(error, VMOE_ERR_MEMORY, "workspace", "no memory for a pool");
    made->allocator = allocator;
    *pool = made;
    return VMOE_OK;
}

static void destroy_workspace(const struct vmoe_pool *pool, struct vmoe_workspace *workspace)
{
    vmoe_team_destroy(workspace->team);
    vmoe_memory_release(pool->allocator, workspace->memory);
    vmoe_memory_release(pool->allocator, workspace);
}

void vmoe_pool_destroy(struct vmoe_pool *pool)
{
    struct vmoe_workspace *next;

    if (pool == NULL)
        return;
    for (struct vmoe_workspace *w = pool->idle; w != NULL; w = next) {
        next = w->next;
        destroy_workspace(pool, w);
    }
    vmoe_memory_release(pool->allocator, pool);
}

/* True if a workspace of `a` bytes suits a call better than one of `b`. */
static bool suits_better(uint64_t a, uint64_t b, uint64_t bytes)
{
    return b < bytes ? a > b : a >= bytes && a < b;
}

/*
 * Takes an idle workspace off the stack: the smallest that is large enough, which leaves larger
 * ones to larger calls, or else the largest.
 */
static struct vmoe_workspace *pop(struct vmoe_pool *pool, uint64_t bytes)
{
    struct vmoe_workspace **best, *found;

    lock(pool);
    best = &pool->idle;
    for (struct vmoe_workspace **link = best; *link != NULL; link = &(*link)->next)
        if (suits_better((*link)->bytes, (*best)->bytes, bytes))
            best = link;
    found = *best;
    if (found != NULL)
        *best = found->next;
    unlock(pool);
    return found;
}

vmoe_status vmoe_pool_take(struct vmoe_pool *pool, uint64_t bytes, uint32_t threads,
                           struct vmoe_workspace **workspace, vmoe_error *error)
{
    struct vmoe_workspace *w = pop(pool, bytes);
    vmoe_status status = VMOE_OK;

    *workspace = NULL;
    if (w == NULL) {
        w = vmoe_memory_take_zeroed(pool->allocator, sizeof *w);
        if (w == NULL)
            return vmoe_fail(error, VMOE_ERR_MEMORY, "workspace", "no memory for a workspace");
        status = vmoe_team_create(pool->allocator, &w->team, error);
    }
    if (status == VMOE_OK && w->bytes < bytes) {
        vmoe_memory_release(pool->allocator, w->memory);
        w->memory = vmoe_memory_take(pool->allocator, bytes);
        if (w->memory == NULL)
            status = vmoe_fail(error, VMOE_ERR_MEMORY, "workspace",
                               "no memory for a workspace of %llu bytes",
                               (unsigned long long)bytes);
        else
            w->bytes = bytes;
    }
    if (status == VMOE_OK)
        status = vmoe_team_resize(w->team, threads, error);
    if (status != VMOE_OK) {
        destroy_workspace(pool, w);
        return status;
    }
    *workspace = w;
    return VMOE_OK;
}

void vmoe_pool_give(struct vmoe_pool *pool, struct vmoe_workspace *workspace)
{
    vmoe_team_rest(workspace->team);
    lock(pool);
    workspace->next = pool->idle;
    atomic_thread_fence(memory_order_release); /* a child must not see it before its `next` */
    pool->idle = workspace;
    unlock(pool);
}
