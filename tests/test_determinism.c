/*
 * The same bits: whatever the number of threads, the batch, the place in it, the neighbours, the
 * run and whoever else is calling, for every instruction set and every precision of the weights.
 */
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/answer.h"
#include "support/support.h"
#include "support/tiers.h"
#include "support/tiny.h"

#define IMAGES 11u

static const uint32_t precisions[] = { VMOE_PRECISION_F32, VMOE_PRECISION_BF16,
                                       VMOE_PRECISION_INT8 };

/* A few settings of the dial at which slots are scarce. */
static const vmoe_options dials[] = {
    { .size = sizeof(vmoe_options) },
    { .size = sizeof(vmoe_options),
      .capacity = 0.4,
      .capacity_multiple = 1,
      .experts_per_token = 3,
      .priority = VMOE_PRIORITY_BPR_SUM },
    { .size = sizeof(vmoe_options),
      .capacity = 0.6,
      .capacity_rule = VMOE_CAPACITY_ROUND,
      .capacity_multiple = 1,
      .experts_per_token = 1,
      .priority = VMOE_PRIORITY_BPR_MAX },
};

#define DIALS (sizeof dials / sizeof dials[0])

/* Of one instruction set, by precision and dial: the `kind` of a check is a number below this. */
#define KINDS (3 * DIALS)

typedef void check(const vmoe_model *model, const float *images, vmoe_options options, size_t kind);

/* Calls `check` for every precision on every instruction set that this machine has. */
static void for_each_kind(uint32_t classifier, uint32_t members, check *check_kind)
{
    vmoe_info geometry = medium_info(classifier);
    float *images = make_images(&geometry, IMAGES);

    geometry.members = members;
    for (size_t p = 0; p < sizeof precisions / sizeof precisions[0]; p++) {
        vmoe_model *model = make_model(&geometry, precisions[p]);

        for (const uint32_t *isa = tiers(); *isa != VMOE_ISA_DEFAULT; isa++) {
            for (size_t d = 0; d < DIALS; d++) {
                vmoe_options options = dials[d];

                if (SANITIZED && d != p)
                    continue;
                options.isa = *isa;
                check_kind(model, images, options, p * DIALS + d);
            }
        }
        vmoe_free(model);
    }
    free(images);
}

static void assert_same(const struct answer *a, size_t i, const struct answer *b, size_t j,
                        size_t images)
{
    const char *difference = answer_difference(a, i, b, j, images);

    if (difference != NULL)
        fail_msg("%s differ between image %zu of %zu and image %zu of %zu", difference, i,
                 a->images, j, b->images);
}

/* ---- Threads and runs ----------------------------------------------------------------------- */

/*
 * More threads than there are CPUs, tasks or images, too.  The kinds of an instruction set share the
 * numbers of threads among them, so each has all of 1 to 64.
 */
static void check_threads(const vmoe_model *model, const float *images, vmoe_options options,
                          size_t kind)
{
    struct answer alone;

    options.threads = 1;
    alone = must_answer(model, images, IMAGES, &options);
    assert_true(options.capacity == 0.0 || alone.report.dropped > 0);
    for (uint32_t threads = 1 + (uint32_t)kind; threads <= 64; threads += KINDS) {
        struct answer again;

        options.threads = threads;
        again = must_answer(model, images, IMAGES, &options);
        assert_same_answer(&alone, &again);
        assert_int_equal(again.report.threads, threads);
        answer_free(&again);
    }
    answer_free(&alone);
}

static void any_number_of_threads_gives_the_same_bits(void **state)
{
    (void)state;
    for_each_kind(VMOE_CLASSIFIER_TOKEN, 1, check_threads);
}

/* One picture, whose few heads are cut where there are more threads, or an odd number of heads. */
static void heads_of_one_picture_give_the_same_bits_with_any_threads(void **state)
{
    vmoe_info geometry = medium_info(VMOE_CLASSIFIER_TOKEN);
    float *image;

    (void)state;
    geometry.image_size = 60; /* 226 tokens */
    image = make_images(&geometry, 1);
    for (size_t p = 0; p < sizeof precisions / sizeof precisions[0]; p++) {
        vmoe_model *model = make_model(&geometry, precisions[p]);

        for (const uint32_t *isa = tiers(); *isa != VMOE_ISA_DEFAULT; isa++) {
            vmoe_options options = VMOE_OPTIONS_INIT;
            struct answer alone;

            options.isa = *isa;
            options.threads = 1;
            alone = must_answer(model, image, 1, &options);
            for (options.threads = 2; options.threads <= (SANITIZED ? 5 : 32); options.threads++) {
                struct answer again = must_answer(model, image, 1, &options);

                assert_same_answer(&alone, &again);
                answer_free(&again);
            }
            answer_free(&alone);
        }
        vmoe_free(model);
    }
    free(image);
}

static void check_group_threads(const vmoe_model *model, const float *images,
                                vmoe_options options, size_t kind)
{
    options.group_images = VMOE_GROUP_ALL;
    check_threads(model, images, options, kind);
}

static void a_group_of_all_images_gives_the_same_bits_with_any_threads(void **state)
{
    (void)state;
    for_each_kind(VMOE_CLASSIFIER_GAP, 1, check_group_threads);
}

static void a_hundred_runs_give_the_same_bits(void **state)
{
    const vmoe_info geometry = tiny_info(VMOE_CLASSIFIER_TOKEN);
    vmoe_model *model = make_model(&geometry, VMOE_PRECISION_BF16);
    float *images = make_images(&geometry, IMAGES);
    struct answer first = must_answer(model, images, IMAGES, &dials[1]);

    (void)state;
    for (int run = 0; run < 100; run++) {
        struct answer again = must_answer(model, images, IMAGES, &dials[1]);

        assert_same_answer(&first, &again);
        answer_free(&again);
    }
    answer_free(&first);
    free(images);
    vmoe_free(model);
}

/* ---- Batches -------------------------------------------------------------------------------- */

static void check_splits(const vmoe_model *model, const float *images, vmoe_options options,
                         size_t kind)
{
    static const size_t sizes[] = { 1, 2, 3, 5 };
    const vmoe_info info = info_of(model);
    struct answer whole = must_answer(model, images, IMAGES, &options);

    (void)kind;
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        for (size_t i = 0; i < IMAGES; i += sizes[s]) {
            size_t count = IMAGES - i < sizes[s] ? IMAGES - i : sizes[s];
            struct answer part =
                must_answer(model, images + i * image_values(&info), count, &options);

            assert_same(&whole, i, &part, 0, count);
            answer_free(&part);
        }
    }
    answer_free(&whole);
}

static void every_batch_size_gives_the_same_bits(void **state)
{
    (void)state;
    for_each_kind(VMOE_CLASSIFIER_TOKEN, 1, check_splits);
}

static void the_gap_head_does_not_depend_on_the_batch(void **state)
{
    (void)state;
    for_each_kind(VMOE_CLASSIFIER_GAP, 1, check_splits);
}

static void the_map_head_does_not_depend_on_the_batch(void **state)
{
    (void)state;
    for_each_kind(VMOE_CLASSIFIER_MAP, 1, check_splits);
}

/* Image i goes to place 7 i mod 11; then all but one image are replaced by what hurts most. */
static void check_neighbours(const vmoe_model *model, const float *images, vmoe_options options,
                             size_t kind)
{
    static const float garbage[] = { NAN, INFINITY, -INFINITY, 3e38f, -1e-42f, 0.0f };
    const vmoe_info info = info_of(model);
    const size_t values = image_values(&info);
    struct answer straight = must_answer(model, images, IMAGES, &options), mixed;
    float *batch = malloc(IMAGES * values * sizeof *batch);

    (void)kind;
    for (size_t i = 0; i < IMAGES; i++)
        memcpy(batch + 7 * i % IMAGES * values, images + i * values, values * sizeof *batch);
    mixed = must_answer(model, batch, IMAGES, &options);
    for (size_t i = 0; i < IMAGES; i++)
        assert_same(&straight, i, &mixed, 7 * i % IMAGES, 1);
    answer_free(&mixed);
    for (size_t kept = 0; kept < IMAGES; kept += 5) {
        for (size_t i = 0; i < IMAGES * values; i++)
            batch[i] = garbage[i / values % (sizeof garbage / sizeof garbage[0])];
        memcpy(batch + kept * values, images + kept * values, values * sizeof *batch);
        mixed = must_answer(model, batch, IMAGES, &options);
        assert_same(&straight, kept, &mixed, kept, 1);
        answer_free(&mixed);
    }
    answer_free(&straight);
    free(batch);
}

static void neighbours_and_places_do_not_matter(void **state)
{
    (void)state;
    for_each_kind(VMOE_CLASSIFIER_TOKEN, 1, check_neighbours);
}

/* The comparisons above must be able to fail: in a larger group the images do compete. */
/* Of members that have three experts each. */
static void an_ensemble_gives_the_same_bits_however_it_is_called(void **state)
{
    (void)state;
    for_each_kind(VMOE_CLASSIFIER_TOKEN, 2, check_threads);
    for_each_kind(VMOE_CLASSIFIER_MAP, 2, check_splits);
    for_each_kind(VMOE_CLASSIFIER_TOKEN, 2, check_neighbours);
}

static void in_a_larger_group_neighbours_do_matter(void **state)
{
    const vmoe_info geometry = medium_info(VMOE_CLASSIFIER_TOKEN);
    vmoe_model *model = make_model(&geometry, VMOE_PRECISION_F32);
    float *images = make_images(&geometry, IMAGES);
    vmoe_options options = dials[1];
    struct answer grouped, single;

    (void)state;
    options.group_images = VMOE_GROUP_ALL;
    grouped = must_answer(model, images, IMAGES, &options);
    single = must_answer(model, images, 1, &options);
    assert_non_null(answer_difference(&grouped, 0, &single, 0, 1));
    answer_free(&grouped);
    answer_free(&single);
    free(images);
    vmoe_free(model);
}

/* With 10 tokens an image, a call of 900 images is worked through in three slices of 300. */
static void slices_give_the_bits_of_single_images(void **state)
{
    const vmoe_info geometry = tiny_info(VMOE_CLASSIFIER_TOKEN);
    const size_t count = 900, values = image_values(&geometry);
    float *images = make_images(&geometry, count);

    (void)state;
    for (size_t p = 0; p < sizeof precisions / sizeof precisions[0]; p++) {
        vmoe_model *model = make_model(&geometry, precisions[p]);
        struct answer whole = must_answer(model, images, count, &dials[1]);

        for (size_t i = 0; i < count; i++) {
            struct answer single = must_answer(model, images + i * values, 1, &dials[1]);

            assert_same(&whole, i, &single, 0, 1);
            answer_free(&single);
        }
        answer_free(&whole);
        vmoe_free(model);
    }
    free(images);
}

/* Groups of 9 images cut over slices route as each group does in a call of its own. */
static void slices_keep_groups_whole(void **state)
{
    const vmoe_info geometry = tiny_info(VMOE_CLASSIFIER_GAP);
    const size_t group = 9, count = 900, values = image_values(&geometry);
    float *images = make_images(&geometry, count);
    vmoe_model *model = make_model(&geometry, VMOE_PRECISION_F32);
    vmoe_options options = dials[1];
    struct answer whole;

    (void)state;
    options.group_images = group;
    whole = must_answer(model, images, count, &options);
    assert_int_equal(whole.report.groups, count / group);
    for (size_t i = 0; i < count; i += group) {
        struct answer single = must_answer(model, images + i * values, group, &options);

        assert_same(&whole, i, &single, 0, group);
        answer_free(&single);
    }
    answer_free(&whole);
    vmoe_free(model);
    free(images);
}

/* ---- Callers at the same time --------------------------------------------------------------- */

#define CALLERS 4u
#define CALLS 24u

struct caller {
    const vmoe_model *model;
    const float *images;
    const struct answer *expected; /* one for each dial */
    unsigned index;
    char problem[256];
};

static void *call_often(void *argument)
{
    struct caller *caller = argument;
    const vmoe_info *info = &caller->expected->info;

    for (unsigned i = 0; i < CALLS && caller->problem[0] == '\0'; i++) {
        const unsigned n = i * CALLERS + caller->index, dial = n % DIALS;
        const size_t first = n % 5, count = 1 + n % 6;
        vmoe_options options = dials[dial];
        vmoe_error error = VMOE_ERROR_INIT;
        struct answer answer;
        const char *difference;

        options.threads = 1 + n % 3;
        if (answer_run(caller->model, caller->images + first * image_values(info), count, &options,
                       &answer, &error) != VMOE_OK) {
            snprintf(caller->problem, sizeof caller->problem, "%.90s: %.150s", error.where,
                     error.text);
            break;
        }
        difference = answer_difference(&caller->expected[dial], first, &answer, 0, count);
        if (difference != NULL)
            snprintf(caller->problem, sizeof caller->problem, "call %u: the %s differ", i,
                     difference);
        answer_free(&answer);
    }
    return NULL;
}

static void callers_do_not_disturb_each_other(void **state)
{
    const vmoe_info geometry = medium_info(VMOE_CLASSIFIER_TOKEN);
    vmoe_model *model = make_model(&geometry, VMOE_PRECISION_BF16);
    float *images = make_images(&geometry, IMAGES);
    struct answer expected[DIALS];
    struct caller callers[CALLERS];
    pthread_t threads[CALLERS];

    (void)state;
    for (size_t d = 0; d < DIALS; d++)
        expected[d] = must_answer(model, images, IMAGES, &dials[d]);
    for (unsigned i = 0; i < CALLERS; i++) {
        callers[i] = (struct caller){ model, images, expected, i, "" };
        assert_int_equal(pthread_create(&threads[i], NULL, call_often, &callers[i]), 0);
    }
    for (unsigned i = 0; i < CALLERS; i++)
        pthread_join(threads[i], NULL);
    for (unsigned i = 0; i < CALLERS; i++)
        if (callers[i].problem[0] != '\0')
            fail_msg("caller %u: %s", i, callers[i].problem);
    for (size_t d = 0; d < DIALS; d++)
        answer_free(&expected[d]);
    free(images);
    vmoe_free(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_number_of_threads_gives_the_same_bits),
        cmocka_unit_test(heads_of_one_picture_give_the_same_bits_with_any_threads),
        cmocka_unit_test(a_group_of_all_images_gives_the_same_bits_with_any_threads),
        cmocka_unit_test(a_hundred_runs_give_the_same_bits),
        cmocka_unit_test(every_batch_size_gives_the_same_bits),
        cmocka_unit_test(the_gap_head_does_not_depend_on_the_batch),
        cmocka_unit_test(the_map_head_does_not_depend_on_the_batch),
        cmocka_unit_test(neighbours_and_places_do_not_matter),
        cmocka_unit_test(an_ensemble_gives_the_same_bits_however_it_is_called),
        cmocka_unit_test(in_a_larger_group_neighbours_do_matter),
        cmocka_unit_test(slices_give_the_bits_of_single_images),
        cmocka_unit_test(slices_keep_groups_whole),
        cmocka_unit_test(callers_do_not_disturb_each_other),
    };

    return cmocka_run_group_tests_name("determinism", tests, NULL, NULL);
}
