/*
 * The soak: eight threads call the same models for a long time, in every way that a host might,
 * good and bad.  It prints what it did and what the process holds, and fails if an outcome was
 * wrong, if the second half took more memory than the first, or if anything is left at the end.
 *
 *     soak SECONDS MODEL.vmoe PICTURE.jpg
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "faults/soak_calls.h"
#include "runtime/cpu.h"
#include "support/figures.h"

#define THREADS 8u
#define LINES 20u
#define GROWTH ((size_t)16 << 20) /* of memory, that the heap's own disorder may cause */
#define LEFT ((size_t)1 << 20)    /* of the heap, for the C library's buffers */

static struct soak soak;
static struct soak_worker workers[THREADS];
static atomic_bool stop;

static void *call_until_told(void *context)
{
    while (!atomic_load(&stop))
        soak_call(context);
    return NULL;
}

/* Cancels some thread's call every now and then. */
static void *cancel_until_told(void *context)
{
    uint64_t random = 99;

    (void)context;
    while (!atomic_load(&stop)) {
        struct soak_worker *worker = &workers[soak_random(&random, THREADS)];

        usleep(soak_random(&random, 3000));
        if (atomic_load(&worker->cancelling))
            __atomic_store_n(&worker->cancel, 1, __ATOMIC_SEQ_CST);
    }
    return NULL;
}

static uint64_t count_calls(void)
{
    uint64_t calls = 0;

    for (size_t i = 0; i < THREADS; i++)
        for (size_t kind = 0; kind < SOAK_KINDS; kind++)
            for (size_t status = 0; status < SOAK_STATUSES; status++)
                calls += __atomic_load_n(&workers[i].outcomes[kind][status], __ATOMIC_RELAXED);
    return calls;
}

static void print_figures(const char *when, const struct figures *figures)
{
    printf("%-12s %10llu calls  %6.1f MB  %6.1f MB of heap  %3zu threads  %3zu files\n", when,
           (unsigned long long)count_calls(), (double)figures->resident / 1e6,
           (double)figures->heap / 1e6, figures->threads, figures->files);
    fflush(stdout);
}

/* Prints a table of kinds and statuses; answers how many outcomes were wrong. */
static uint64_t print_outcomes(void)
{
    uint64_t wrong = 0, late = 0;

    for (size_t kind = 0; kind < SOAK_KINDS; kind++) {
        printf("%-16s", soak_kind_names[kind]);
        for (size_t status = 0; status < SOAK_STATUSES; status++) {
            uint64_t count = 0;

            for (size_t i = 0; i < THREADS; i++)
                count += workers[i].outcomes[kind][status];
            if (count > 0)
                printf("  %llu %s", (unsigned long long)count,
                       vmoe_status_name((vmoe_status)status));
        }
        for (size_t i = 0; i < THREADS; i++)
            wrong += workers[i].wrong[kind];
        printf("\n");
    }
    for (size_t i = 0; i < THREADS; i++)
        late += workers[i].late;
    printf("%llu calls were later than their deadline, %llu outcomes were wrong\n",
           (unsigned long long)late, (unsigned long long)wrong);
    return wrong;
}

/* Lets the threads work for so long, printing figures; `peaks` are the most memory of each half. */
static void work(double seconds, size_t peaks[2])
{
    const double begin = vmoe_cpu_seconds();

    for (unsigned i = 1; i <= LINES; i++) {
        size_t *peak = &peaks[2 * (i - 1) / LINES];
        struct figures now;
        char when[32];

        while (vmoe_cpu_seconds() - begin < seconds * i / LINES)
            usleep(10000);
        now = figures_now();
        snprintf(when, sizeof when, "%.0f s", seconds * i / LINES);
        print_figures(when, &now);
        *peak = now.resident > *peak ? now.resident : *peak;
    }
}

static int judge(bool right, const char *what)
{
    printf("%s - %s\n", right ? "ok" : "not ok", what);
    return right ? 0 : 1;
}

int main(int argc, char **argv)
{
    pthread_t threads[THREADS + 1];
    struct figures first, end;
    size_t peaks[2] = { 0, 0 };
    int failed = 0;

    if (argc != 4) {
        fprintf(stderr, "usage: soak SECONDS MODEL.vmoe PICTURE.jpg\n");
        return 2;
    }
    first = figures_now();
    print_figures("start", &first);
    soak_open(&soak, argv[2], argv[3]);
    for (size_t i = 0; i < THREADS; i++)
        soak_worker_init(&workers[i], &soak, 1000 + i);
    for (size_t i = 0; i <= THREADS; i++)
        if (pthread_create(&threads[i], NULL, i < THREADS ? call_until_told : cancel_until_told,
                           i < THREADS ? &workers[i] : NULL) != 0)
            return 2;
    work(atof(argv[1]), peaks);
    atomic_store(&stop, true);
    for (size_t i = 0; i <= THREADS; i++)
        pthread_join(threads[i], NULL);
    soak_close(&soak);
    end = figures_settled(first.threads);
    print_figures("all freed", &end);

    failed += judge(print_outcomes() == 0, "every outcome was right");
    failed += judge(peaks[1] <= peaks[0] + GROWTH, "the second half took no more memory");
    failed += judge(end.heap <= first.heap + LEFT, "no memory is left");
    failed += judge(end.threads == first.threads, "no thread is left");
    failed += judge(end.files == first.files, "no file is left open");
    printf("%d passed, %d failed\n", 5 - failed, failed);
    return failed != 0;
}
