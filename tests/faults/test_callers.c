/*
 * Thirty-two threads with the same handles: the calls of the soak, a fixed number of them, among
 * loads, cancels and bad input.  Under ThreadSanitizer it finds what the threads share by mistake.
 * The program's thread-local variables fit on the smallest stack of a worker, but leave no room.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "faults/soak_calls.h"
#include "support/answer.h"
#include "support/figures.h"
#include "support/support.h"
#include "support/tiny.h"

#define CALLERS 32u
#define CALLS 40u

static struct soak soak;
static struct soak_worker workers[CALLERS];
static atomic_uint at_work;

static _Thread_local volatile char variables[496 << 10];

static void *call_often(void *context)
{
    for (unsigned i = 0; i < CALLS; i++)
        soak_call(context);
    atomic_fetch_sub(&at_work, 1);
    return NULL;
}

static void thirty_two_callers_get_the_right_answers(void **state)
{
    const struct figures before = figures_now();
    pthread_t threads[CALLERS];
    struct figures after;

    (void)state;
    soak_open(&soak, "examples/demo/fashion-mnist.vmoe", "examples/demo/pictures/ankle-boot.jpg");
    atomic_store(&at_work, CALLERS);
    for (unsigned i = 0; i < CALLERS; i++) {
        soak_worker_init(&workers[i], &soak, i);
        assert_int_equal(pthread_create(&threads[i], NULL, call_often, &workers[i]), 0);
    }
    for (unsigned i = 0; atomic_load(&at_work) > 0; i = (i + 1) % CALLERS) {
        if (atomic_load(&workers[i].cancelling))
            __atomic_store_n(&workers[i].cancel, 1, __ATOMIC_SEQ_CST);
        usleep(100);
    }
    for (unsigned i = 0; i < CALLERS; i++) {
        pthread_join(threads[i], NULL);
        for (unsigned kind = 0; kind < SOAK_KINDS; kind++)
            if (workers[i].wrong[kind] != 0)
                fail_msg("caller %u: wrong outcomes of \"%s\"", i, soak_kind_names[kind]);
    }
    soak_close(&soak);
    after = figures_settled(before.threads);
    if (!SANITIZED) /* a sanitizer has a thread of its own */
        assert_int_equal(after.threads, before.threads);
    assert_int_equal(after.files, before.files);
}

static void thread_local_variables_leave_workers_room(void **state)
{
    const vmoe_info geometry = medium_info(VMOE_CLASSIFIER_TOKEN);
    float *images = make_images(&geometry, 3);
    vmoe_model *model = make_model(&geometry, VMOE_PRECISION_F32);
    vmoe_options options = VMOE_OPTIONS_INIT;
    struct answer answer;

    (void)state;
    variables[0] = 1;
    options.threads = 5;
    answer = must_answer(model, images, 3, &options);
    assert_int_equal(answer.report.threads, 5);
    answer_free(&answer);
    vmoe_free(model);
    free(images);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(thirty_two_callers_get_the_right_answers),
        cmocka_unit_test(thread_local_variables_leave_workers_room),
    };

    return cmocka_run_group_tests_name("many callers", tests, NULL, NULL);
}
