/*
 * A team of threads that works through lists of tasks.  The thread that calls vmoe_team_run takes
 * part; the others sleep between calls of the library and spin only briefly inside one.  A team
 * belongs to one workspace, so calls on different workspaces never wait for each other.
 */
#ifndef VMOE_RUNTIME_TEAM_H
#define VMOE_RUNTIME_TEAM_H

#include <stddef.h>
#include <stdint.h>

#include "runtime/memory.h"
#include "runtime/status.h"

struct vmoe_team;

/*
 * Runs one task.  `thread` is 0..threads-1 and names the scratch memory that the task may use.
 * Tasks of a run may execute in any order and at the same time; each writes its own outputs, so the
 * result does not depend on who ran what.
 */
typedef void (*vmoe_team_task)(void *context, size_t task, uint32_t thread);

/* A team without threads of its own yet. */
vmoe_status vmoe_team_create(const vmoe_allocator *allocator, struct vmoe_team **team,
                             vmoe_error *error);

/* Joins the threads.  NULL is fine. */
void vmoe_team_destroy(struct vmoe_team *team);

/* Sets how many threads the next runs use, the caller included, starting those that are missing. */
vmoe_status vmoe_team_resize(struct vmoe_team *team, uint32_t threads, vmoe_error *error);

uint32_t vmoe_team_threads(const struct vmoe_team *team);

/*
 * Executes tasks 0..tasks-1 and returns when all are done.  A thread mostly gets neighbouring
 * tasks, one after the other.
 */
void vmoe_team_run(struct vmoe_team *team, size_t tasks, vmoe_team_task task, void *context);

/* Sends the threads to sleep at once, at the end of a call. */
void vmoe_team_rest(struct vmoe_team *team);

/* Reads a number that another thread or a signal handler may be storing to. */
static inline int32_t vmoe_team_read_flag(const int32_t *flag)
{
    return __atomic_load_n(flag, __ATOMIC_RELAXED);
}

#endif
