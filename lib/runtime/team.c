/*
 * The team on POSIX threads.
 *
 * A run is open from the moment its tasks are published until they are all claimed.  A worker first
 * announces itself in `inside`, then looks whether a run is open; the caller first closes the run,
 * then waits until nobody is inside.  Both orders are sequentially consistent, so a worker that
 * finds the run open is always waited for, and one that comes late touches nothing.  No run waits
 * for a worker that never came: with more threads than CPUs, or in a forked child where the workers
 * do not exist, the caller simply does more of the tasks itself.
 */
#define _GNU_SOURCE
#include "runtime/team.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

#include "runtime/cpu.h"
#include "runtime/limits.h"
#include "runtime/sizes.h"

/* How long a worker waits awake: longer than the gaps between runs. */
#define SPIN_SECONDS 1e-4
/* Rounds of waiting between two looks at the clock. */
#define SPIN_ROUNDS 64u
/* The least that a worker has. */
#define STACK_BYTES ((size_t)512 << 10)

struct worker {
    struct vmoe_team *team;
    pthread_t thread;
    uint32_t index; /* 1.., the caller being 0 */
    uint32_t place; /* the number of the place it was given, or 0 */
    pthread_cond_t wake;
    atomic_bool asleep;
};

/* The tasks that a thread takes first, in order; whoever has none left takes from the others'. */
struct share {
    _Alignas(VMOE_ALIGNMENT) atomic_size_t next;
    size_t end;
};

struct vmoe_team {
    /* What the workers poll, apart from what the caller writes for each task. */
    _Alignas(VMOE_ALIGNMENT) atomic_uint epoch; /* grows by one with every run */
    atomic_bool open;
    atomic_bool rest;
    atomic_bool stop;
    atomic_uint threads; /* workers from this index on have no part */
    _Alignas(VMOE_ALIGNMENT) atomic_uint inside; /* workers that may look at the run */
    /* The run; written only while it is closed and nobody is inside. */
    _Alignas(VMOE_ALIGNMENT) vmoe_team_task task;
    void *context;
    uint32_t sharers; /* threads that take part */
    struct share shares[VMOE_LIMIT_THREADS];

    pthread_mutex_t lock; /* of those who go to sleep */

    const vmoe_allocator *allocator;
    pid_t process; /* that started the workers */
    uint32_t started;
    uint32_t wanted; /* workers to wake at most: those that have a CPU, or one */
#if defined(__linux__)
    cpu_set_t callers; /* where the caller may run */
    cpu_set_t place;   /* where workers may */
#endif
    uint32_t places; /* so far */
    struct worker workers[VMOE_LIMIT_THREADS - 1];
};

/* One round of waiting awake, and whether there may be another.  Short waits look at no clock. */
static inline bool spin(unsigned round, double *end)
{
    double now;

#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb"); /* most cores take yield for nothing at all */
#endif
    if (round % SPIN_ROUNDS != SPIN_ROUNDS - 1)
        return true;
    now = vmoe_cpu_seconds();
    if (round < SPIN_ROUNDS)
        *end = now + SPIN_SECONDS;
    return now < *end;
}

static void work(struct vmoe_team *team, uint32_t thread)
{
    for (uint32_t i = 0; i < team->sharers; i++) {
        struct share *share = &team->shares[(thread + i) % team->sharers];
        size_t task;

        /* Looking first leaves a line that is done with to all who read it. */
        while (atomic_load_explicit(&share->next, memory_order_relaxed) < share->end &&
               (task = atomic_fetch_add(&share->next, 1)) < share->end)
            team->task(team->context, task, thread);
    }
}

/* Waits for an epoch other than `seen`, first awake, then asleep. */
static unsigned wait_for_run(struct worker *self, unsigned seen)
{
    struct vmoe_team *team = self->team;
    double end = 0.0;

    for (unsigned round = 0; spin(round, &end); round++) {
        unsigned epoch = atomic_load(&team->epoch);

        if (epoch != seen)
            return epoch;
        if (atomic_load(&team->rest) || self->index >= atomic_load(&team->threads))
            break;
    }
    pthread_mutex_lock(&team->lock);
    atomic_store(&self->asleep, true);
    while (atomic_load(&team->epoch) == seen)
        pthread_cond_wait(&self->wake, &team->lock);
    atomic_store(&self->asleep, false);
    pthread_mutex_unlock(&team->lock);
    return atomic_load(&team->epoch);
}

static void *worker_main(void *argument)
{
    struct worker *self = argument;
    struct vmoe_team *team = self->team;
    unsigned seen = 0;

    vmoe_cpu_enter_float();
    for (;;) {
        seen = wait_for_run(self, seen);
        if (atomic_load(&team->stop))
            return NULL;
        atomic_fetch_add(&team->inside, 1);
        if (atomic_load(&team->open) && self->index < team->sharers)
            work(team, self->index);
        atomic_fetch_sub(&team->inside, 1);
    }
}

#if defined(__linux__)
/* Once a call: the host may have given its thread other CPUs since the last one. */
static void ask_callers(struct vmoe_team *team)
{
    if (sched_getaffinity(0, sizeof team->callers, &team->callers) != 0)
        CPU_ZERO(&team->callers);
}

/* Where the workers may run: where their caller may, and not on its CPU unless CPUs are shared. */
static bool find_place(const struct vmoe_team *team, cpu_set_t *place)
{
    const int cpu = vmoe_cpu_current();

    *place = team->callers;
    if (cpu >= 0 && !atomic_load(&team->rest))
        CPU_CLR((size_t)cpu, place);
    return cpu >= 0 && CPU_COUNT(place) > 0;
}

/*
 * Keeps the workers off the caller's CPU: Linux wakes a thread where it slept, even where whoever
 * wakes it goes on working, and leaves the two of them there for milliseconds while another CPU is
 * idle.
 */
static void spread(struct vmoe_team *team, uint32_t workers)
{
    cpu_set_t place;

    if (!find_place(team, &place))
        return;
    if (!CPU_EQUAL(&place, &team->place)) {
        team->place = place;
        team->places++;
    }
    for (uint32_t i = 0; i < workers; i++) {
        struct worker *worker = &team->workers[i];

        if (worker->place != team->places &&
            pthread_setaffinity_np(worker->thread, sizeof place, &place) == 0)
            worker->place = team->places;
    }
}
#else
static void ask_callers(struct vmoe_team *team)
{
    (void)team;
}

static void spread(struct vmoe_team *team, uint32_t workers)
{
    (void)team;
    (void)workers;
}
#endif

/* Publishes a new epoch and wakes those of the first `workers` that sleep. */
static void announce(struct vmoe_team *team, uint32_t workers)
{
    uint32_t first = 0;

    atomic_fetch_add(&team->epoch, 1);
    while (first < workers && !atomic_load(&team->workers[first].asleep))
        first++;
    if (first == workers)
        return;
    spread(team, workers);
    pthread_mutex_lock(&team->lock);
    for (uint32_t i = first; i < workers; i++)
        if (atomic_load(&team->workers[i].asleep))
            pthread_cond_signal(&team->workers[i].wake);
    pthread_mutex_unlock(&team->lock);
}

vmoe_status vmoe_team_create(const vmoe_allocator *allocator, struct vmoe_team **team,
                             vmoe_error *error)
{
    struct vmoe_team *made = vmoe_memory_take_zeroed(allocator, sizeof *made);

    *team = NULL;
    if (made == NULL)
        return vmoe_fail(error, VMOE_ERR_MEMORY, "threads", "no memory for a team of threads");
    if (pthread_mutex_init(&made->lock, NULL) != 0) {
        vmoe_memory_release(allocator, made);
        return vmoe_fail(error, VMOE_ERR_THREAD, "threads", "a lock could not be created");
    }
    made->allocator = allocator;
    made->process = getpid();
    atomic_store(&made->threads, 1);
    *team = made;
    return VMOE_OK;
}

/* Whoever waits here may be inside a call that runs the model, where nobody is cancelled. */
static void join(pthread_t thread)
{
    int before;

    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
    pthread_join(thread, NULL);
    pthread_setcancelstate(before, &before);
}

void vmoe_team_destroy(struct vmoe_team *team)
{
    if (team == NULL)
        return;
    /* In a forked child the workers do not exist, and the lock may be held by one of them. */
    if (team->process == getpid()) {
        atomic_store(&team->stop, true);
        announce(team, team->started);
        for (uint32_t i = 0; i < team->started; i++) {
            join(team->workers[i].thread);
            pthread_cond_destroy(&team->workers[i].wake);
        }
        pthread_mutex_destroy(&team->lock);
    }
    vmoe_memory_release(team->allocator, team);
}

/*
 * Starts one worker with signals blocked, so that the host's handlers run on the host's threads.
 * What an instruction raises stays open: blocked, it would end the process without the handler of
 * a host that reports crashes, or that makes the system calls which a sandbox traps.
 */
static bool start_worker(struct worker *worker)
{
    static const int raised[] = { SIGILL, SIGSEGV, SIGBUS, SIGFPE, SIGTRAP, SIGSYS };
    pthread_attr_t attributes;
    sigset_t blocked, before;
    size_t stack;
    int failed;

    if (pthread_cond_init(&worker->wake, NULL) != 0)
        return false;
    if (pthread_attr_init(&attributes) != 0) {
        pthread_cond_destroy(&worker->wake);
        return false;
    }
    sigfillset(&blocked);
    for (size_t i = 0; i < sizeof raised / sizeof raised[0]; i++)
        sigdelset(&blocked, raised[i]);
    pthread_sigmask(SIG_SETMASK, &blocked, &before);
    /*
     * In glibc a thread's stack holds its thread-local variables, and a host may have many; where
     * they leave a little of it, nothing is refused.  The host's own threads fit the usual size.
     */
    failed = pthread_attr_getstacksize(&attributes, &stack);
    if (failed == 0)
        failed = pthread_attr_setstacksize(&attributes, vmoe_larger(stack, STACK_BYTES));
    if (failed == 0)
        failed = pthread_create(&worker->thread, &attributes, worker_main, worker);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    if (failed != 0)
        pthread_cond_destroy(&worker->wake);
    return failed == 0;
}

vmoe_status vmoe_team_resize(struct vmoe_team *team, uint32_t threads, vmoe_error *error)
{
    const uint32_t cpus = vmoe_cpu_count();
    const uint32_t others = cpus > 1 ? cpus - 1 : 1;

    if (team->started == 0)
        team->process = getpid();
    if (team->process != getpid())
        threads = 1;
    while (team->started + 1 < threads) {
        struct worker *worker = &team->workers[team->started];

        worker->team = team;
        worker->index = team->started + 1;
        worker->place = 0;
        if (!start_worker(worker))
            return vmoe_fail(error, VMOE_ERR_THREAD, "options.threads",
                             "thread %u of %u could not be started", team->started + 2, threads);
        team->started++;
    }
    atomic_store(&team->threads, threads);
    if (threads > 1)
        ask_callers(team);
    atomic_store(&team->rest, threads > cpus);
    team->wanted = threads - 1 < others ? threads - 1 : others;
    return VMOE_OK;
}

uint32_t vmoe_team_threads(const struct vmoe_team *team)
{
    return atomic_load(&team->threads);
}

void vmoe_team_run(struct vmoe_team *team, size_t tasks, vmoe_team_task task, void *context)
{
    uint32_t workers;
    double end = 0.0;
    unsigned round = 0;

    if (atomic_load(&team->threads) == 1 || tasks <= 1) {
        for (size_t i = 0; i < tasks; i++)
            task(context, i, 0);
        return;
    }
    workers = (uint32_t)vmoe_smaller(tasks - 1, team->wanted);
    team->task = task;
    team->context = context;
    team->sharers = workers + 1;
    for (uint32_t i = 0; i < team->sharers; i++) {
        atomic_store_explicit(&team->shares[i].next, tasks * i / team->sharers,
                              memory_order_relaxed);
        team->shares[i].end = tasks * (i + 1) / team->sharers;
    }
    atomic_store(&team->open, true);
    announce(team, workers);
    work(team, 0);
    atomic_store(&team->open, false);
    while (atomic_load(&team->inside) != 0 && spin(round, &end))
        round++;
    for (round = 0; atomic_load(&team->inside) != 0; round++)
        vmoe_cpu_give_way(round);
}

void vmoe_team_rest(struct vmoe_team *team)
{
    atomic_store(&team->rest, true);
}
