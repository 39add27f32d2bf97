/*
 * What takes long or measures time: a million calls without growth, how soon a call ends after a
 * signal handler has cancelled it, and a deadline that is a timer of the host.  Times are printed;
 * only growth, wrong answers and wrong statuses are failures.
 *
 *     long CALLS MODEL.vmoe
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>

#include "runtime/cpu.h"
#include "support/figures.h"
#include "support/random.h"
#include "support/support.h"
#include "support/tiny.h"

#define CANCELS 400u
#define IMAGES 8u
#define GROWTH ((size_t)1 << 20)

static size_t calls;
static const char *model_path;

/* ---- Growth --------------------------------------------------------------------------------- */

static void calls_do_not_grow_the_process(void **state)
{
    const vmoe_info geometry = tiny_info(VMOE_CLASSIFIER_TOKEN);
    vmoe_model *model = make_model(&geometry, VMOE_PRECISION_F32);
    float *images = make_images(&geometry, 2), expected[10], logits[10];
    vmoe_options options = VMOE_OPTIONS_INIT;
    struct figures early, late;

    (void)state;
    options.threads = 2;
    assert_int_equal(vmoe_logits_f32(model, images, 2, &options, expected, NULL), VMOE_OK);
    (void)figures_now(); /* which itself takes memory once */
    early = figures_now();
    for (size_t i = 0; i < calls; i++) {
        options.threads = 1 + i % 2;
        if (vmoe_logits_f32(model, images, 1 + i % 3 / 2, &options, logits, NULL) != VMOE_OK ||
            memcmp(logits, expected, 5 * sizeof(float)) != 0)
            fail_msg("call %zu is wrong", i);
    }
    late = figures_now();
    print_message("  %zu calls: memory %zu KiB before, %zu after; heap %zu and %zu bytes\n", calls,
                  early.resident >> 10, late.resident >> 10, early.heap, late.heap);
    assert_true(late.resident <= early.resident + GROWTH);
    assert_true(late.heap <= early.heap + (64 << 10));
    assert_int_equal(late.threads, early.threads);
    assert_int_equal(late.files, early.files);
    vmoe_free(model);
    free(images);
}

/* ---- Cancelling ------------------------------------------------------------------------------ */

static volatile sig_atomic_t fired;
static int32_t cancel;
static double cancelled_at, cancelled_after;

/* What the calling thread has computed; a busy machine does not add to it. */
static double work_seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void on_alarm(int number)
{
    (void)number;
    cancelled_at = vmoe_cpu_seconds();
    cancelled_after = work_seconds();
    __atomic_store_n(&cancel, 1, __ATOMIC_SEQ_CST);
    fired = 1;
}

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static void print_times(const char *what, double *times, size_t count)
{
    qsort(times, count, sizeof *times, compare);
    print_message("  %s: median %.2f ms, 99 of 100 %.2f ms, worst %.2f ms (%zu calls)\n", what,
                  1e3 * times[count / 2], 1e3 * times[count * 99 / 100], 1e3 * times[count - 1],
                  count);
}

/* A timer goes off at some moment of a call, or at the same moment of all. */
static void cancel_calls(const char *what, uint32_t threads, double deadline)
{
    const struct sigaction action = { .sa_handler = on_alarm };
    vmoe_model *model = must_load(model_path, NULL);
    const vmoe_info info = info_of(model);
    float *images = make_images(&info, IMAGES);
    float *logits = malloc(IMAGES * info.classes * sizeof *logits);
    vmoe_options options = VMOE_OPTIONS_INIT;
    double times[CANCELS], works[CANCELS], begin, whole;
    size_t count = 0, finished = 0;
    struct sigaction old;

    options.threads = threads;
    options.cancel = &cancel;
    cancel = 0;
    assert_int_equal(vmoe_logits_f32(model, images, IMAGES, &options, logits, NULL), VMOE_OK);
    begin = vmoe_cpu_seconds();
    assert_int_equal(vmoe_logits_f32(model, images, IMAGES, &options, logits, NULL), VMOE_OK);
    whole = vmoe_cpu_seconds() - begin;
    assert_int_equal(sigaction(SIGALRM, &action, &old), 0);
    random_seed(1);
    while (count < CANCELS && finished < 20 * CANCELS) {
        const double after = deadline != 0.0 ? deadline : whole * (random_u32() % 1000) / 1000.0;
        const struct itimerval timer = { { 0, 0 }, { 0, (suseconds_t)(after * 1e6) + 1 } };
        const struct itimerval off = { { 0, 0 }, { 0, 0 } };
        vmoe_status status;

        __atomic_store_n(&cancel, 0, __ATOMIC_SEQ_CST);
        fired = 0;
        begin = vmoe_cpu_seconds();
        setitimer(ITIMER_REAL, &timer, NULL);
        status = vmoe_logits_f32(model, images, IMAGES, &options, logits, NULL);
        const double end = vmoe_cpu_seconds(), work = work_seconds();
        setitimer(ITIMER_REAL, &off, NULL);
        if (status == VMOE_ERR_CANCELLED) {
            assert_true(fired);
            works[count] = work - cancelled_after;
            times[count++] = end - (deadline != 0.0 ? begin + deadline : cancelled_at);
        } else {
            assert_int_equal(status, VMOE_OK);
            finished++;
        }
    }
    sigaction(SIGALRM, &old, NULL);
    assert_int_equal(count, CANCELS);
    print_message("  a call of %u images takes %.2f ms\n", IMAGES, 1e3 * whole);
    print_times(what, times, count);
    print_times("  of which the calling thread computed", works, count);
    vmoe_free(model);
    free(logits);
    free(images);
}

static void a_handler_ends_a_call_soon(void **state)
{
    (void)state;
    cancel_calls("from the handler to the return, 1 thread", 1, 0.0);
    cancel_calls("from the handler to the return, 2 threads", 2, 0.0);
}

static void a_deadline_is_honoured(void **state)
{
    (void)state;
    cancel_calls("past a deadline of 1 ms, 1 thread", 1, 1e-3);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calls_do_not_grow_the_process),
        cmocka_unit_test(a_handler_ends_a_call_soon),
        cmocka_unit_test(a_deadline_is_honoured),
    };

    if (argc != 3) {
        fprintf(stderr, "usage: long CALLS MODEL.vmoe\n");
        return 2;
    }
    calls = strtoul(argv[1], NULL, 10);
    model_path = argv[2];
    return cmocka_run_group_tests_name("long runs", tests, NULL, NULL);
}
