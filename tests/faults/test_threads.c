/*
 * Threads, locks and conditions that cannot be made: a status, nothing left, and a retry works.
 * The program has more thread-local variables than the smallest stack of a worker holds.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>

#include "faults/shim.h"
#include "support/answer.h"
#include "support/fault.h"
#include "support/figures.h"
#include "support/support.h"
#include "support/tiny.h"

#define IMAGES 3u
#define THREADS 5u

static _Thread_local volatile char variables[1 << 20];

struct making {
    enum shim_call call;
    const char *where;
    int error;
};

static const struct making makings[] = {
    { SHIM_THREAD, "options.threads", EAGAIN },  { SHIM_THREAD, "options.threads", EPERM },
    { SHIM_LOCK, "threads", ENOMEM },            { SHIM_LOCK, "threads", EAGAIN },
    { SHIM_STACK, "options.threads", EINVAL },   { SHIM_ATTRIBUTES, "options.threads", ENOMEM },
    { SHIM_CONDITION, "options.threads", ENOMEM },
};

/* A call whose n-th making fails; answers whether it was refused. */
static bool fail_making(const struct making *making, size_t n, bool persistent, const char *path,
                        const float *images, const struct answer *expected)
{
    const struct figures before = figures_now();
    vmoe_load_options load = VMOE_LOAD_OPTIONS_INIT;
    vmoe_options options = VMOE_OPTIONS_INIT;
    vmoe_error error = VMOE_ERROR_INIT;
    struct answer answer;
    struct figures after;
    struct fault fault;
    vmoe_model *model;
    vmoe_status status;

    fault_init(&fault, 0, false);
    load.allocator = &fault.allocator;
    model = must_load(path, &load);
    options.threads = THREADS;
    shim_arm((struct shim){
        .call = making->call, .at = n, .error = making->error, .persistent = persistent });
    status = answer_run(model, images, IMAGES, &options, &answer, &error);
    shim_disarm();
    if (status == VMOE_OK) {
        assert_same_answer(expected, &answer);
        answer_free(&answer);
    } else {
        assert_refused(status, error, VMOE_ERR_THREAD, making->where);
        assert_int_equal(figures_settled(before.threads).threads, before.threads);
    }
    answer = must_answer(model, images, IMAGES, &options);
    assert_same_answer(expected, &answer);
    answer_free(&answer);
    vmoe_free(model);
    after = figures_settled(before.threads);
    assert_int_equal(after.threads, before.threads);
    assert_int_equal(after.files, before.files);
    assert_int_equal(fault.live, 0);
    return status != VMOE_OK;
}

static void what_cannot_be_made_is_a_status(void **state)
{
    const vmoe_info geometry = medium_info(VMOE_CLASSIFIER_TOKEN);
    float *images = make_images(&geometry, IMAGES);
    const char *path = scratch_path("model.vmoe");
    struct answer expected;
    vmoe_model *model;
    size_t failures = 0;

    (void)state;
    variables[0] = 1;
    write_model(&geometry, NULL, path);
    model = must_load(path, NULL);
    expected = must_answer(model, images, IMAGES, NULL);
    vmoe_free(model);
    for (size_t i = 0; i < sizeof makings / sizeof makings[0]; i++) {
        for (int persistent = 0; persistent <= 1; persistent++) {
            size_t n = 0;

            while (fail_making(&makings[i], n + 1, persistent, path, images, &expected))
                n++;
            assert_int_equal(n, makings[i].call == SHIM_LOCK ? 1 : THREADS - 1);
            failures += n;
        }
    }
    print_message("  %zu threads, locks and conditions could not be made\n", failures);
    answer_free(&expected);
    free(images);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_cannot_be_made_is_a_status),
    };

    return cmocka_run_group_tests_name("threads that cannot be made", tests, NULL, NULL);
}
