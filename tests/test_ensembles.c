/*
 * Ensembles of experts: every member is a V-MoE of its own, to the bit; the answer is the mean of
 * theirs; what they share is computed and counted once; and no token leaves its member.
 */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint/import.h"
#include "classes.h"
#include "support/answer.h"
#include "support/formula.h"
#include "support/support.h"
#include "support/tiers.h"
#include "support/tiny.h"

#define IMAGES 4u
#define MEMBERS 3u
#define OWN 3u /* experts of a member */
#define SEED 11u

/* Settings of the dial, some of which drop and some of which do not. */
static const vmoe_options dials[] = {
    { .size = sizeof(vmoe_options) },
    { .size = sizeof(vmoe_options), .capacity = 9.0, .experts_per_token = 3 },
    { .size = sizeof(vmoe_options),
      .capacity = 0.5,
      .capacity_multiple = 1,
      .group_images = 2,
      .priority = VMOE_PRIORITY_BPR_MAX },
    { .size = sizeof(vmoe_options),
      .capacity = 0.75,
      .capacity_multiple = 1,
      .experts_per_token = 1,
      .group_images = VMOE_GROUP_ALL },
    { .size = sizeof(vmoe_options),
      .capacity = 0.25,
      .experts_per_token = 3,
      .priority = VMOE_PRIORITY_BPR_SUM },
};

#define DIALS (sizeof dials / sizeof dials[0])

/* `first_moe` and `last_moe` of four blocks have experts. */
static vmoe_info ensemble_info(uint32_t classifier, uint32_t first_moe, uint32_t last_moe)
{
    vmoe_info info = medium_info(classifier);

    info.experts = MEMBERS * OWN;
    info.members = MEMBERS;
    memset(info.moe, 0, sizeof info.moe);
    info.moe[first_moe] = info.moe[last_moe] = 1;
    return info;
}

/* ---- A member alone ------------------------------------------------------------------------- */

/* The V-MoE that one member of an ensemble is, as a checkpoint: its columns, its experts. */
struct alone {
    struct vmoe_source source;
    struct vmoe_source *own, *ensemble;
    size_t member;
};

static vmoe_status alone_read(struct vmoe_source *source, size_t array, uint64_t first,
                              uint64_t count, float *out, vmoe_error *error)
{
    struct alone *alone = (struct alone *)source;
    const struct vmoe_array *a = &alone->own->arrays[array];
    const uint64_t member = alone->member;

    /* The names are the same, and so is their order. */
    if (strstr(a->name, "/Router/") != NULL) {
        for (uint64_t i = first; i < first + count; i++)
            alone->ensemble->read(alone->ensemble, array,
                                  i / OWN * MEMBERS * OWN + member * OWN + i % OWN, 1,
                                  out + (i - first), error);
        return VMOE_OK;
    }
    if (strstr(a->name, "/Moe/") != NULL)
        first += member * a->elements;
    return alone->ensemble->read(alone->ensemble, array, first, count, out, error);
}

static void alone_close(struct vmoe_source *source)
{
    struct alone *alone = (struct alone *)source;

    alone->own->close(alone->own);
    alone->ensemble->close(alone->ensemble);
    free(alone);
}

static vmoe_model *make_alone(const vmoe_info *ensemble, size_t member, uint32_t precision)
{
    struct alone *alone = calloc(1, sizeof *alone);
    vmoe_import_options options = VMOE_IMPORT_OPTIONS_INIT;
    vmoe_info own = *ensemble;

    own.experts = OWN;
    own.members = 1;
    options.precision = precision;
    alone->own = formula_source(&own, SEED);
    alone->ensemble = formula_source(ensemble, SEED);
    alone->member = member;
    alone->source.count = alone->own->count;
    alone->source.arrays = alone->own->arrays;
    alone->source.read = alone_read;
    alone->source.close = alone_close;
    write_source(&alone->source, &options, scratch_path("alone.vmoe"));
    return must_load(scratch_path("alone.vmoe"), NULL);
}

static void assert_same_floats(const float *a, const float *b, size_t count)
{
    assert_memory_equal(a, b, count * sizeof *a);
}

/* What member `m` did in the ensemble is what it does alone; adds what it processed. */
static void check_member(const struct answer *together, const struct answer *alone, size_t m,
                         uint64_t *processed)
{
    const vmoe_info *info = &alone->info;
    const size_t classes = info->classes, features = info->features;

    assert_int_equal(together->info.features, MEMBERS * features);
    assert_int_equal(together->report.capacity, alone->report.capacity);
    for (size_t i = 0; i < IMAGES; i++) {
        assert_same_floats(together->member_logits + (i * MEMBERS + m) * classes,
                           alone->logits + i * classes, classes);
        assert_same_floats(together->features + (i * MEMBERS + m) * features,
                           alone->features + i * features, features);
    }
    for (size_t t = 0; t < info->moe_layers * IMAGES * info->tokens; t++)
        for (size_t k = 0; k < alone->picks; k++) {
            const int route = alone->routes[t * alone->picks + k], offset = (int)(m * OWN);

            assert_int_equal(together->routes[(t * MEMBERS + m) * alone->picks + k],
                             route < 0 ? route - offset : route + offset);
        }
    for (size_t layer = 0; layer < info->moe_layers; layer++)
        assert_memory_equal(together->load + (layer * MEMBERS + m) * OWN,
                            alone->load + layer * OWN, OWN * sizeof(uint64_t));
    *processed += alone->report.processed;
}

/* Multiply-adds of an image that members share: all up to the first layer of experts. */
static uint64_t shared_macs(const vmoe_info *info)
{
    const uint64_t t = info->tokens, d = info->width, f = info->mlp;
    const uint64_t patches = info->classifier == VMOE_CLASSIFIER_TOKEN ? t - 1 : t;
    const uint64_t attention = 4 * t * d * d + 2 * t * t * d;
    uint64_t macs = patches * 3 * info->patch_size * info->patch_size * d;

    for (size_t i = 0; !info->moe[i]; i++)
        macs += attention + t * 2 * d * f;
    return macs + attention;
}

static void check_members(const vmoe_info *geometry, uint32_t precision)
{
    float *images = make_images(geometry, IMAGES);
    vmoe_model *ensemble = make_model(geometry, precision), *alone[MEMBERS];

    for (size_t m = 0; m < MEMBERS; m++)
        alone[m] = make_alone(geometry, m, precision);
    for (const uint32_t *isa = tiers(); *isa != VMOE_ISA_DEFAULT; isa++)
        for (size_t d = 0; d < DIALS; d += SANITIZED ? 2 : 1) {
            vmoe_options options = dials[d];
            uint64_t processed = 0, macs = 0, saved = 0;
            struct answer together;

            options.isa = *isa;
            together = must_answer(ensemble, images, IMAGES, &options);
            assert_counts_add_up(&together);
            for (size_t m = 0; m < MEMBERS; m++) {
                struct answer single = must_answer(alone[m], images, IMAGES, &options);

                check_member(&together, &single, m, &processed);
                macs += single.report.macs;
                saved += single.report.macs_saved;
                answer_free(&single);
            }
            assert_int_equal(together.report.processed, processed);
            assert_int_equal(together.report.macs_saved, saved);
            assert_int_equal(together.report.macs,
                             macs - (MEMBERS - 1) * IMAGES * shared_macs(&together.info));
            answer_free(&together);
        }
    for (size_t m = 0; m < MEMBERS; m++)
        vmoe_free(alone[m]);
    vmoe_free(ensemble);
    free(images);
}

/* Of int8, the members alone would be smoothed by their own experts. */
static void a_member_is_a_v_moe_of_its_own(void **state)
{
    (void)state;
    for (uint32_t classifier = VMOE_CLASSIFIER_TOKEN; classifier <= VMOE_CLASSIFIER_MAP;
         classifier++)
        for (uint32_t p = VMOE_PRECISION_F32; p <= VMOE_PRECISION_BF16; p++) {
            const vmoe_info usual = ensemble_info(classifier, 1, 3);
            const vmoe_info first = ensemble_info(classifier, 0, 2);

            check_members(&usual, p);
            if (!SANITIZED || p == VMOE_PRECISION_BF16)
                check_members(&first, p);
        }
}

/* ---- The mean ------------------------------------------------------------------------------- */

/* The members' probabilities of an image, in double: (members, classes). */
static double *probabilities_of(const struct answer *answer, size_t image)
{
    const vmoe_info *info = &answer->info;
    const size_t classes = info->classes;
    double *p = malloc(info->members * classes * sizeof *p);

    for (size_t m = 0; m < info->members; m++) {
        const float *logits = answer->member_logits + (image * info->members + m) * classes;
        double sum = 0.0;

        for (size_t c = 0; c < classes; c++)
            sum += exp((double)logits[c]);
        for (size_t c = 0; c < classes; c++)
            p[m * classes + c] = info->output == VMOE_OUTPUT_SIGMOID
                                     ? 1.0 / (1.0 + exp(-(double)logits[c]))
                                     : exp((double)logits[c]) / sum;
    }
    return p;
}

static void check_mean(const struct answer *answer)
{
    const vmoe_info *info = &answer->info;
    const size_t classes = info->classes;

    for (size_t i = 0; i < answer->images; i++) {
        const float *found = answer->probabilities + i * classes;
        double *p = probabilities_of(answer, i);

        for (size_t c = 0; c < classes; c++) {
            double mean = 0.0, logit;

            for (size_t m = 0; m < info->members; m++)
                mean += p[m * classes + c] / info->members;
            logit = info->output == VMOE_OUTPUT_SIGMOID ? log(mean / (1.0 - mean)) : log(mean);
            assert_true(fabs((double)found[c] - mean) <= 1e-6);
            assert_true(fabs((double)answer->logits[i * classes + c] - logit) <=
                        1e-6 * fmax(1.0, fabs(logit)));
        }
        for (size_t k = 0; k < classes; k++) {
            const vmoe_class *top = &answer->top[i * classes + k];

            assert_true(top->probability == found[top->index]);
            assert_true(k == 0 || top[-1].probability > top->probability ||
                        (top[-1].probability == top->probability && top[-1].index < top->index));
        }
        free(p);
    }
}

static void the_answer_is_the_mean_of_the_members(void **state)
{
    const vmoe_info geometry = ensemble_info(VMOE_CLASSIFIER_TOKEN, 1, 3);
    float *images = make_images(&geometry, IMAGES);

    (void)state;
    for (uint32_t output = VMOE_OUTPUT_SOFTMAX; output <= VMOE_OUTPUT_SIGMOID; output++) {
        vmoe_import_options import = VMOE_IMPORT_OPTIONS_INIT;
        vmoe_model *model;

        import.output = output;
        write_model(&geometry, &import, scratch_path("mean.vmoe"));
        model = must_load(scratch_path("mean.vmoe"), NULL);
        for (const uint32_t *isa = tiers(); *isa != VMOE_ISA_DEFAULT; isa++) {
            vmoe_options options = dials[2];
            struct answer answer;

            options.isa = *isa;
            answer = must_answer(model, images, IMAGES, &options);
            check_mean(&answer);
            answer_free(&answer);
        }
        vmoe_free(model);
    }
    free(images);
}

/* Logits (2, 3) of two members; their mean by long double, which does not underflow at these. */
static void check_mixture(const float *logits, uint32_t output)
{
    const struct vmoe_members members = {
        .output = output, .classes = 3, .count = 2, .stride = 3, .logits = logits
    };
    float found[3];

    vmoe_classes_logits(&members, found);
    for (size_t c = 0; c < 3; c++) {
        long double yes = 0.0L, no = 0.0L, expected;

        for (size_t m = 0; m < 2; m++) {
            const float *row = logits + 3 * m;
            long double sum = 0.0L;

            for (size_t i = 0; i < 3; i++)
                sum += expl((long double)row[i]);
            if (output == VMOE_OUTPUT_SOFTMAX) {
                yes += expl((long double)row[c]) / sum / 2.0L;
            } else {
                yes += 1.0L / (1.0L + expl(-(long double)row[c]));
                no += 1.0L / (1.0L + expl((long double)row[c]));
            }
        }
        expected = output == VMOE_OUTPUT_SOFTMAX ? logl(yes) : logl(yes) - logl(no);
        assert_true(fabsl((long double)found[c] - expected) <=
                    1e-6L * fmaxl(1.0L, fabsl(expected)));
    }
}

static void improbable_classes_have_finite_logits(void **state)
{
    static const float logits[][6] = {
        { 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f },
        { 300.0f, -300.0f, 0.0f, 250.0f, -350.0f, 1.0f },
        { -3000.0f, 2000.0f, 0.0f, 1.0f, 3000.0f, -2000.0f },
        { 1e-30f, 20.0f, -20.0f, 1e-3f, 30.0f, -90.0f },
    };
    float nan[6] = { 1.0f, 2.0f, 3.0f, 1.0f, NAN, 3.0f }, found[3];
    struct vmoe_members members = { .classes = 3, .count = 2, .stride = 3, .logits = nan };

    (void)state;
    for (size_t i = 0; i < sizeof logits / sizeof logits[0]; i++)
        for (uint32_t output = VMOE_OUTPUT_SOFTMAX; output <= VMOE_OUTPUT_SIGMOID; output++)
            check_mixture(logits[i], output);
    members.output = VMOE_OUTPUT_SOFTMAX;
    vmoe_classes_logits(&members, found);
    assert_true(isnan(found[0]) && isnan(found[1]) && isnan(found[2]));
    members.output = VMOE_OUTPUT_SIGMOID;
    vmoe_classes_logits(&members, found);
    assert_true(isfinite(found[0]) && isnan(found[1]) && isfinite(found[2]));
}

/* ---- Members do not mix --------------------------------------------------------------------- */

/* Gates of which all but one underflow to 0. */
static void steepen(const char *name, uint64_t first, uint64_t count, float *values)
{
    (void)first;
    for (uint64_t i = 0; strstr(name, "/Router/") != NULL && i < count; i++)
        values[i] *= 1e4f;
}

static void tokens_stay_with_their_member_whatever_their_gates(void **state)
{
    const vmoe_info geometry = ensemble_info(VMOE_CLASSIFIER_TOKEN, 1, 3);
    float *images = make_images(&geometry, IMAGES);
    vmoe_options options = dials[1];
    vmoe_model *model;

    (void)state;
    write_source(changed_source(&geometry, steepen), NULL, scratch_path("steep.vmoe"));
    model = must_load(scratch_path("steep.vmoe"), NULL);
    images[1] = NAN;
    for (const uint32_t *isa = tiers(); *isa != VMOE_ISA_DEFAULT; isa++) {
        struct answer answer;

        options.isa = *isa;
        answer = must_answer(model, images, IMAGES, &options);
        assert_counts_add_up(&answer);
        for (size_t t = 0; t < answer.info.tokens * MEMBERS; t++)
            for (size_t k = 0; k < OWN; k++)
                assert_int_equal(answer.routes[t * OWN + k], t % MEMBERS * OWN + k);
        for (size_t c = 0; c < MEMBERS * answer.info.classes; c++)
            assert_true(isnan(answer.member_logits[c]) && isnan(answer.logits[c / MEMBERS]) &&
                        isnan(answer.probabilities[c / MEMBERS]));
        for (size_t c = answer.info.classes; c < IMAGES * answer.info.classes; c++)
            assert_true(isfinite(answer.logits[c]));
        answer_free(&answer);
    }
    vmoe_free(model);
    free(images);
}

static void routes_can_be_replayed_within_a_member(void **state)
{
    const vmoe_info geometry = ensemble_info(VMOE_CLASSIFIER_TOKEN, 1, 2);
    float *images = make_images(&geometry, IMAGES);
    vmoe_model *model = make_model(&geometry, VMOE_PRECISION_F32);
    vmoe_options options = dials[2];
    struct answer answer = must_answer(model, images, IMAGES, &options), again;
    vmoe_error error = VMOE_ERROR_INIT;

    (void)state;
    options.capacity = 0.0;
    options.routes = answer.routes;
    options.routes_length = answer.report.routes_length;
    again = must_answer(model, images, IMAGES, &options);
    assert_null(answer_difference(&answer, 0, &again, 0, IMAGES));
    answer_free(&again);
    /* Token 0 of member 1, from the last of its own experts to the first of the next member. */
    answer.routes[answer.picks] = 2 * OWN - 1;
    answer.routes[answer.picks + 1] = -1 - (int16_t)OWN;
    again = must_answer(model, images, IMAGES, &options);
    answer_free(&again);
    answer.routes[answer.picks] = 2 * OWN;
    assert_refused(answer_run(model, images, IMAGES, &options, &again, &error), error,
                   VMOE_ERR_ARGUMENT, "options.routes");
    assert_non_null(strstr(error.text, "expert 6, which does not exist, is another member's"));
    answer.routes[answer.picks] = -1 - (int16_t)(OWN - 1);
    assert_refused(answer_run(model, images, IMAGES, &options, &again, &error), error,
                   VMOE_ERR_ARGUMENT, "options.routes");
    answer_free(&answer);
    vmoe_free(model);
    free(images);
}

/*
 * With 20 tokens of two members an image, a call of 451 images has slices of 151, 151 and 149.  The
 * last block is dense, so that all of their class tokens go through attention of one query at once.
 */
static void slices_give_the_bits_of_single_images(void **state)
{
    const size_t count = 451;
    vmoe_info geometry = tiny_info(VMOE_CLASSIFIER_TOKEN);
    vmoe_options options = dials[2];
    float *images = make_images(&geometry, count);
    vmoe_model *model;
    struct answer whole, again;

    (void)state;
    geometry.members = 2;
    geometry.layers = 4;
    model = make_model(&geometry, VMOE_PRECISION_F32);
    options.group_images = 1;
    whole = must_answer(model, images, count, &options);
    assert_counts_add_up(&whole);
    for (size_t i = 0; i < count; i++) {
        struct answer single =
            must_answer(model, images + i * image_values(&geometry), 1, &options);

        assert_null(answer_difference(&whole, i, &single, 0, 1));
        answer_free(&single);
    }
    options.capacity = 0.0;
    options.routes = whole.routes;
    options.routes_length = whole.report.routes_length;
    again = must_answer(model, images, count, &options);
    assert_null(answer_difference(&whole, 0, &again, 0, count));
    answer_free(&again);
    answer_free(&whole);
    vmoe_free(model);
    free(images);
}

static void a_token_has_the_experts_of_its_member_at_most(void **state)
{
    const vmoe_info geometry = ensemble_info(VMOE_CLASSIFIER_TOKEN, 1, 2);
    float *images = make_images(&geometry, 1);
    vmoe_model *model = make_model(&geometry, VMOE_PRECISION_F32);
    vmoe_options options = VMOE_OPTIONS_INIT;
    vmoe_error error = VMOE_ERROR_INIT;
    struct answer answer;

    (void)state;
    assert_int_equal(info_of(model).experts_per_token, 2);
    options.experts_per_token = OWN + 1;
    assert_refused(answer_run(model, images, 1, &options, &answer, &error), error,
                   VMOE_ERR_ARGUMENT, "options.experts_per_token");
    assert_non_null(strstr(error.text, "a member of the ensemble has 3"));
    vmoe_free(model);
    free(images);
}

/* ---- Cost ----------------------------------------------------------------------------------- */

/* With nothing dropped, a call costs what was said before, and a member what a V-MoE does. */
static void the_cost_is_known_before(void **state)
{
    (void)state;
    for (uint32_t classifier = VMOE_CLASSIFIER_TOKEN; classifier <= VMOE_CLASSIFIER_MAP;
         classifier++)
        for (uint32_t last = 2; last < 4; last++) {
            const vmoe_info geometry = ensemble_info(classifier, 1, last);
            float *images = make_images(&geometry, IMAGES);
            vmoe_model *model = make_model(&geometry, VMOE_PRECISION_F32);
            const vmoe_info info = info_of(model);
            vmoe_info plain = info;
            vmoe_cost cost = VMOE_COST_INIT, of_plain = VMOE_COST_INIT;
            vmoe_error error = VMOE_ERROR_INIT;
            struct answer answer = must_answer(model, images, IMAGES, &dials[1]);

            plain.members = 0;
            plain.experts = OWN;
            assert_ok(vmoe_get_cost(&info, &dials[1], IMAGES, &cost, &error), error);
            assert_ok(vmoe_get_cost(&plain, &dials[1], IMAGES, &of_plain, &error), error);
            assert_int_equal(answer.report.dropped, 0);
            assert_int_equal(cost.macs, answer.report.macs);
            assert_int_equal(cost.macs_saved, answer.report.macs_saved);
            assert_int_equal(cost.capacity, answer.report.capacity);
            assert_int_equal(cost.capacity, of_plain.capacity);
            assert_int_equal(cost.macs, MEMBERS * of_plain.macs -
                                            (MEMBERS - 1) * IMAGES * shared_macs(&info));
            assert_int_equal(cost.macs_saved, MEMBERS * of_plain.macs_saved);
            assert_int_equal(cost.macs_dense, of_plain.macs_dense);
            assert_int_equal(cost.macs_padded - cost.macs,
                             MEMBERS * (of_plain.macs_padded - of_plain.macs));
            answer_free(&answer);
            vmoe_free(model);
            free(images);
        }
}

/* ---- Import --------------------------------------------------------------------------------- */

/* The backbone of the released ensembles, with fewer pixels. */
static vmoe_info released_info(void)
{
    vmoe_info info = VMOE_INFO_INIT;
    vmoe_error error = VMOE_ERROR_INIT;

    assert_ok(vmoe_preset("eee_s32_last2_ilsvrc2012_ft_cifar100", &info, &error), error);
    info.image_size = 64;
    return info;
}

static void both_shapes_of_routers_make_the_same_file(void **state)
{
    const vmoe_info apart = released_info();
    vmoe_info flat = apart;
    vmoe_import_options options = VMOE_IMPORT_OPTIONS_INIT;
    struct vmoe_source *source = formula_source(&apart, SEED);
    vmoe_error error = VMOE_ERROR_INIT;
    vmoe_info info;
    vmoe_model *a, *b;

    (void)state;
    flat.members = 1;
    options.precision = VMOE_PRECISION_INT8;
    options.preset = "eee_s32_last2_ilsvrc2012_ft_cifar100";
    write_model(&apart, &options, scratch_path("apart.vmoe"));
    write_model(&flat, &options, scratch_path("flat.vmoe"));
    a = must_load(scratch_path("apart.vmoe"), NULL);
    b = must_load(scratch_path("flat.vmoe"), NULL);
    info = info_of(a);
    assert_memory_equal(info.id, info_of(b).id, sizeof info.id);
    assert_int_equal(info.members, 2);
    assert_int_equal(info.experts_per_token, 1);
    assert_int_equal(info.features, 2 * 512);
    assert_true(info.capacity == 1.5);
    vmoe_free(a);
    vmoe_free(b);
    /* Without the preset, experts that stand in one row are those of a V-MoE. */
    options.preset = NULL;
    write_model(&flat, &options, scratch_path("flat.vmoe"));
    a = must_load(scratch_path("flat.vmoe"), NULL);
    assert_int_equal(info_of(a).members, 1);
    assert_int_equal(info_of(a).experts_per_token, 2);
    vmoe_free(a);
    options.preset = "vmoe_s32_last2_ilsvrc2012_randaug_light1";
    assert_refused(vmoe_import_source(source, "formula", scratch_path("no.vmoe"), &options,
                                      &vmoe_memory_default, &error),
                   error, VMOE_ERR_ARGUMENT, "options.preset");
    assert_non_null(strstr(error.text, "members"));
    source->close(source);
}

static void routers_must_agree_about_the_members(void **state)
{
    const vmoe_info geometry = ensemble_info(VMOE_CLASSIFIER_TOKEN, 1, 3);
    static const struct {
        uint64_t dims[3];
        vmoe_status expected;
    } shapes[] = {
        { { 72, 9, 0 }, VMOE_ERR_FORMAT },   { { 72, 9, 1 }, VMOE_ERR_FORMAT },
        { { 72, 1, 9 }, VMOE_ERR_FORMAT },   { { 72, 2, 4 }, VMOE_ERR_FORMAT },
        { { 72, 3, 4 }, VMOE_ERR_FORMAT },   { { 72, 64, 64 }, VMOE_ERR_FORMAT },
        { { 72, 241, 17 }, VMOE_ERR_LIMIT }, { { 72, 0x7fffffff, 0x7fffffff }, VMOE_ERR_LIMIT },
    };
    const vmoe_import_options options = VMOE_IMPORT_OPTIONS_INIT;

    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        struct vmoe_source *source = formula_source(&geometry, SEED);
        struct vmoe_array *router = (struct vmoe_array *)(uintptr_t)source->arrays;
        vmoe_error error = VMOE_ERROR_INIT;

        while (strstr(router->name, "/Router/") == NULL)
            router++;
        router->rank = shapes[i].dims[2] != 0 ? 3 : 2;
        memcpy(router->dims, shapes[i].dims, sizeof shapes[i].dims);
        assert_refused(vmoe_import_source(source, "formula", scratch_path("no.vmoe"), &options,
                                          &vmoe_memory_default, &error),
                       error, shapes[i].expected,
                       "Encoder/encoderblock_1/Moe/Router/dense/kernel");
        source->close(source);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_member_is_a_v_moe_of_its_own),
        cmocka_unit_test(the_answer_is_the_mean_of_the_members),
        cmocka_unit_test(improbable_classes_have_finite_logits),
        cmocka_unit_test(tokens_stay_with_their_member_whatever_their_gates),
        cmocka_unit_test(routes_can_be_replayed_within_a_member),
        cmocka_unit_test(slices_give_the_bits_of_single_images),
        cmocka_unit_test(a_token_has_the_experts_of_its_member_at_most),
        cmocka_unit_test(the_cost_is_known_before),
        cmocka_unit_test(both_shapes_of_routers_make_the_same_file),
        cmocka_unit_test(routers_must_agree_about_the_members),
    };

    return cmocka_run_group_tests_name("ensembles", tests, NULL, NULL);
}
