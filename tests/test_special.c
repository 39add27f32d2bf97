/*
 * Numbers at the edge, in images and in weights: no numbers at all, the largest, the smallest.  What
 * they mean (docs/semantics.md, section 6) is the same on every instruction set and with every type
 * of weights, and the report adds up whatever they are.
 */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/answer.h"
#include "support/forge.h"
#include "support/support.h"
#include "support/tiers.h"
#include "support/tiny.h"

#define IMAGES 4u
#define BAD 1u /* the image that a test spoils */

/* With few slots, so that bad tokens compete with each other. */
static const vmoe_options dials[] = {
    { .size = sizeof(vmoe_options) },
    { .size = sizeof(vmoe_options),
      .capacity = 0.4,
      .capacity_multiple = 1,
      .experts_per_token = 3,
      .priority = VMOE_PRIORITY_BPR_SUM },
    { .size = sizeof(vmoe_options),
      .capacity = 0.6,
      .capacity_multiple = 1,
      .experts_per_token = 1,
      .priority = VMOE_PRIORITY_BPR_MAX },
};

#define DIALS (sizeof dials / sizeof dials[0])

/* ---- What may be said of answers ------------------------------------------------------------ */

/* The call with 1 and with 3 threads: the counts add up, and the bits are the same. */
static struct answer answer_of(const vmoe_model *model, const float *images,
                               const vmoe_options *options)
{
    vmoe_options more = *options;
    struct answer answer, again;

    more.threads = 1;
    answer = must_answer(model, images, IMAGES, &more);
    more.threads = 3;
    again = must_answer(model, images, IMAGES, &more);
    assert_same_answer(&answer, &again);
    answer_free(&again);
    assert_counts_add_up(&answer);
    return answer;
}

static void assert_same_image(const struct answer *a, const struct answer *b, size_t image)
{
    const char *difference = answer_difference(a, image, b, image, 1);

    if (difference != NULL)
        fail_msg("the %s of image %zu differ", difference, image);
}

static void assert_nan(const float *values, size_t count)
{
    for (size_t i = 0; i < count; i++)
        assert_true(isnan(values[i]));
}

/* Nothing is known of the image, and classes stand in their order. */
static void assert_nan_image(const struct answer *answer, size_t image)
{
    const size_t classes = answer->info.classes, features = answer->info.features;

    assert_nan(answer->logits + image * classes, classes);
    assert_nan(answer->probabilities + image * classes, classes);
    assert_nan(answer->features + image * features, features);
    for (uint32_t i = 0; i < classes; i++)
        assert_int_equal(answer->top[image * classes + i].index, i);
}

/* Gates that are NaN are ties: a token gets experts 0, 1, ..., the first tokens get the slots. */
static void assert_routes_by_position(const struct answer *answer, size_t image)
{
    const size_t tokens = answer->info.tokens, picks = answer->picks;

    for (size_t layer = 0; layer < answer->info.moe_layers; layer++) {
        const int16_t *routes =
            answer->routes + (layer * answer->images + image) * tokens * picks;

        for (size_t i = 0; i < tokens * picks; i++) {
            const int expert = (int)(i % picks);

            assert_int_equal(routes[i], i / picks < answer->report.capacity ? expert : -1 - expert);
        }
    }
}

/* ---- Every kind of model -------------------------------------------------------------------- */

static float *images;

typedef void check(const vmoe_model *model, const struct answer *honest, vmoe_options options);

/* Calls `check` with what the model answers to good images, by a dial of its choice. */
static void for_each_kind(uint32_t classifier, check *check_kind)
{
    const vmoe_info geometry = medium_info(classifier);

    images = make_images(&geometry, IMAGES);
    for (uint32_t p = VMOE_PRECISION_F32; p <= VMOE_PRECISION_INT8; p++) {
        vmoe_model *model = make_model(&geometry, p);

        for (const uint32_t *isa = tiers(); *isa != VMOE_ISA_DEFAULT; isa++) {
            for (size_t d = 0; d < DIALS; d++) {
                vmoe_options options = dials[d];
                struct answer honest;

                if (SANITIZED && d != p % DIALS)
                    continue;
                options.isa = *isa;
                honest = must_answer(model, images, IMAGES, &options);
                check_kind(model, &honest, options);
                answer_free(&honest);
            }
        }
        vmoe_free(model);
    }
    free(images);
}

static void for_each_classifier(check *check_kind)
{
    for (uint32_t classifier = VMOE_CLASSIFIER_TOKEN; classifier <= VMOE_CLASSIFIER_MAP;
         classifier++)
        for_each_kind(classifier, check_kind);
}

/* ---- Images --------------------------------------------------------------------------------- */

static float signalling_nan(void)
{
    const uint32_t bits = 0x7fa00001u;
    float value;

    memcpy(&value, &bits, sizeof value);
    return value;
}

/* The images, in one of which values first, first + step, ... are another. */
static float *spoiled(size_t values, size_t first, size_t step, float value)
{
    float *copy = malloc(IMAGES * values * sizeof *copy);

    assert_non_null(copy);
    memcpy(copy, images, IMAGES * values * sizeof *copy);
    for (size_t i = first; i < values; i += step)
        copy[BAD * values + i] = value;
    return copy;
}

static void assert_others_are_honest(const struct answer *answer, const struct answer *honest)
{
    for (size_t i = 0; i < IMAGES; i++)
        if (i != BAD)
            assert_same_image(answer, honest, i);
}

static void check_nan_images(const vmoe_model *model, const struct answer *honest,
                             vmoe_options options)
{
    const float bad[] = { NAN, signalling_nan(), INFINITY, -INFINITY };
    const size_t values = image_values(&honest->info);
    const size_t places[][2] = { { 0, 1 }, { 5, values }, { values - 1, 1 }, { 0, 7 } };

    for (size_t i = 0; i < 4; i++) {
        float *batch = spoiled(values, places[i][0], places[i][1], bad[i]);
        struct answer answer = answer_of(model, batch, &options);

        assert_nan_image(&answer, BAD);
        assert_routes_by_position(&answer, BAD);
        assert_others_are_honest(&answer, honest);
        answer_free(&answer);
        free(batch);
    }
}

static void images_that_are_not_finite_get_nan_and_nobody_else(void **state)
{
    (void)state;
    for_each_classifier(check_nan_images);
}

/* Squares overflow: what becomes of it is a number or none. */
static void check_huge_images(const vmoe_model *model, const struct answer *honest,
                              vmoe_options options)
{
    static const float huge[] = { FLT_MAX, -FLT_MAX, 1e30f, 1e19f };
    const size_t values = image_values(&honest->info);

    for (size_t i = 0; i < 4; i++) {
        float *batch = spoiled(values, i, 1 + 6 * (i % 2), huge[i]);
        struct answer answer = answer_of(model, batch, &options);

        assert_others_are_honest(&answer, honest);
        answer_free(&answer);
        free(batch);
    }
}

static void images_beyond_all_measure_disturb_nobody(void **state)
{
    (void)state;
    for_each_classifier(check_huge_images);
}

/* ---- Weights -------------------------------------------------------------------------------- */

/*
 * Puts a value in place of each `step`-th number of a tensor that is not 0, as padding is.  Of an
 * int8 matrix, which has no such numbers, the scales are changed.
 */
static void put_weights(struct forged *file, const char *name, size_t step, float value)
{
    char scales[64];
    size_t entry = forge_entry(file, name), bytes, count = 0;
    uint8_t *data;

    if (forge_get_u32(file, entry + 48) == VMOE_PRECISION_INT8) {
        snprintf(scales, sizeof scales, "%s_scale", name);
        entry = forge_entry(file, scales);
    }
    bytes = forge_get_u32(file, entry + 48) == VMOE_PRECISION_BF16 ? 2 : 4;
    data = file->bytes + forge_get_u64(file, entry + 80);
    for (size_t i = 0; i < forge_get_u64(file, entry + 88); i += bytes) {
        static const uint8_t zero[4];
        uint8_t number[4];

        memcpy(number, &value, sizeof number);
        if (memcmp(data + i, zero, bytes) != 0 && count++ % step == 0)
            memcpy(data + i, number + 4 - bytes, bytes);
    }
    assert_true(count > 0);
    forge_hash_chunks(file, entry);
    forge_sign(file);
}

static vmoe_model *model_of(const struct forged *file)
{
    vmoe_error error = VMOE_ERROR_INIT;
    vmoe_model *model;

    assert_ok(vmoe_load_memory(file->bytes, file->size, NULL, &model, &error), error);
    return model;
}

/* The model of the file with such weights, which importing refuses, but a writer can put there. */
static vmoe_model *model_with(const struct forged *honest, const char *name, size_t step,
                              float value)
{
    struct forged file = forge_copy(honest);
    vmoe_model *model;

    put_weights(&file, name, step, value);
    model = model_of(&file);
    forge_free(&file);
    return model;
}

/* Calls `check_file` for files with every type of weights, and the images for them. */
static void for_each_file(void (*check_file)(const struct forged *honest))
{
    const vmoe_info geometry = tiny_info(VMOE_CLASSIFIER_TOKEN);

    images = make_images(&geometry, IMAGES);
    for (uint32_t p = VMOE_PRECISION_F32; p <= VMOE_PRECISION_INT8; p++) {
        vmoe_import_options options = VMOE_IMPORT_OPTIONS_INIT;
        struct forged honest;

        options.precision = p;
        write_model(&geometry, &options, scratch_path("honest.vmoe"));
        honest = forge_read(scratch_path("honest.vmoe"));
        check_file(&honest);
        forge_free(&honest);
    }
    free(images);
}

static const char *const tensors[] = {
    "embedding.weight",        "embedding.bias",          "cls",
    "position",                "block.0.norm_0.scale",    "block.0.attention.qkv.weight",
    "block.0.mlp.fc1.bias",    "block.0.mlp.fc2.weight",  "block.1.router",
    "block.1.norm_1.scale",    "block.1.attention.out.weight", "block.1.expert.2.fc1.weight",
    "block.1.expert.2.fc2.bias", "block.2.attention.qkv.bias", "block.2.router",
    "norm.scale",              "head.weight",             "head.bias",
};

#define TENSORS (sizeof tensors / sizeof tensors[0])

static void check_denormal_weights(const struct forged *honest)
{
    for (size_t n = 0; n < TENSORS; n++) {
        vmoe_model *zeros = model_with(honest, tensors[n], 2, 0.0f);
        vmoe_model *tiny = model_with(honest, tensors[n], 2, n % 2 == 0 ? 1e-40f : -1e-40f);

        for (const uint32_t *isa = tiers(); *isa != VMOE_ISA_DEFAULT; isa++) {
            const vmoe_options options = { .size = sizeof options, .isa = *isa };
            struct answer expected = answer_of(zeros, images, &options);
            struct answer answer = answer_of(tiny, images, &options);

            assert_same_answer(&answer, &expected);
            answer_free(&answer);
            answer_free(&expected);
        }
        vmoe_free(zeros);
        vmoe_free(tiny);
    }
}

static void denormal_weights_are_zeros(void **state)
{
    (void)state;
    for_each_file(check_denormal_weights);
}

static void check_nan_router(const struct forged *honest)
{
    vmoe_model *model = model_with(honest, "block.1.router", 1000, NAN);

    for (const uint32_t *isa = tiers(); *isa != VMOE_ISA_DEFAULT; isa++) {
        for (size_t d = 0; d < DIALS; d++) {
            vmoe_options options = dials[d];
            struct answer answer;

            options.isa = *isa;
            answer = answer_of(model, images, &options);
            for (size_t i = 0; i < IMAGES; i++) {
                assert_nan_image(&answer, i);
                assert_routes_by_position(&answer, i);
            }
            answer_free(&answer);
        }
    }
    vmoe_free(model);
}

static void one_nan_in_a_router_sends_all_to_the_first_experts(void **state)
{
    (void)state;
    for_each_file(check_nan_router);
}

/* True if expert 2 of the first layer processes a token of the image. */
static bool meets_expert(const struct answer *answer, size_t image)
{
    const size_t pairs = answer->info.tokens * answer->picks;

    for (size_t i = image * pairs; i < (image + 1) * pairs; i++)
        if (answer->routes[i] == 2)
            return true;
    return false;
}

/* One of its numbers is bad.  The first image is kept from it, by routes that drop its tokens. */
static void check_bad_expert(const vmoe_model *good, const vmoe_model *bad, uint32_t isa)
{
    vmoe_options options = { .size = sizeof options, .isa = isa };
    struct answer routed = answer_of(good, images, &options), expected, answer;
    size_t met = 0;

    for (size_t i = 0; i < routed.info.tokens * routed.picks; i++)
        if (routed.routes[i] == 2)
            routed.routes[i] = -1 - 2;
    options.routes = routed.routes;
    options.routes_length = routed.report.routes_length;
    expected = answer_of(good, images, &options);
    answer = answer_of(bad, images, &options);
    for (size_t i = 0; i < IMAGES; i++) {
        if (meets_expert(&expected, i))
            assert_nan_image(&answer, i);
        else
            assert_same_image(&answer, &expected, i);
        met += meets_expert(&expected, i);
    }
    assert_true(met > 0 && !meets_expert(&expected, 0));
    answer_free(&answer);
    answer_free(&expected);
    answer_free(&routed);
}

static void check_bad_experts(const struct forged *honest)
{
    static const struct {
        const char *name;
        float value;
    } cases[] = {
        { "block.1.expert.2.fc1.weight", NAN },
        { "block.1.expert.2.fc1.bias", INFINITY },
        { "block.1.expert.2.fc2.weight", INFINITY },
        { "block.1.expert.2.fc2.bias", -INFINITY },
    };
    vmoe_model *good = model_of(honest);

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        vmoe_model *bad = model_with(honest, cases[i].name, 1, cases[i].value);

        for (const uint32_t *isa = tiers(); *isa != VMOE_ISA_DEFAULT; isa++)
            check_bad_expert(good, bad, *isa);
        vmoe_free(bad);
    }
    vmoe_free(good);
}

static void a_bad_expert_spoils_the_images_that_it_sees(void **state)
{
    (void)state;
    for_each_file(check_bad_experts);
}

/* A number, an infinity or none. */
static void assert_same_kinds(const struct answer *a, const struct answer *b)
{
    for (size_t i = 0; i < IMAGES * a->info.classes; i++)
        assert_int_equal(fpclassify(a->logits[i]), fpclassify(b->logits[i]));
}

static void check_bad_weights(const struct forged *honest)
{
    static const float values[] = { NAN, INFINITY, -INFINITY, FLT_MAX, -FLT_MAX };

    for (size_t i = 0; i < TENSORS * (sizeof values / sizeof values[0]); i++) {
        const float value = values[i / TENSORS];
        vmoe_model *model = model_with(honest, tensors[i % TENSORS], 3, value);
        vmoe_options options = dials[i % DIALS];
        struct answer portable;

        options.isa = VMOE_ISA_REF;
        portable = answer_of(model, images, &options);
        for (const uint32_t *isa = tiers() + 1; *isa != VMOE_ISA_DEFAULT; isa++) {
            struct answer answer;

            options.isa = *isa;
            answer = answer_of(model, images, &options);
            if (!isfinite(value)) /* sums that overflow may do so in some orders only */
                assert_same_kinds(&answer, &portable);
            answer_free(&answer);
        }
        answer_free(&portable);
        vmoe_free(model);
    }
}

static void bad_weights_give_the_same_kinds_of_logits_everywhere(void **state)
{
    (void)state;
    for_each_file(check_bad_weights);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(images_that_are_not_finite_get_nan_and_nobody_else),
        cmocka_unit_test(images_beyond_all_measure_disturb_nobody),
        cmocka_unit_test(denormal_weights_are_zeros),
        cmocka_unit_test(one_nan_in_a_router_sends_all_to_the_first_experts),
        cmocka_unit_test(a_bad_expert_spoils_the_images_that_it_sees),
        cmocka_unit_test(bad_weights_give_the_same_kinds_of_logits_everywhere),
    };

    return cmocka_run_group_tests_name("special numbers", tests, NULL, NULL);
}
