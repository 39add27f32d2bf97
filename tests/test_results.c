/*
 * What a call says: the report adds up, routes can be replayed, probabilities and the best classes
 * follow from the logits, features are what enters the head.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/pack.h"
#include "run.h"
#include "support/answer.h"
#include "support/forge.h"
#include "support/support.h"
#include "support/tiers.h"
#include "support/tiny.h"

#define IMAGES 6u

/* Settings of the dial, some of which drop and some of which do not. */
static const vmoe_options dials[] = {
    { .size = sizeof(vmoe_options) },
    { .size = sizeof(vmoe_options), .capacity = 6.0 },
    { .size = sizeof(vmoe_options), .capacity = 0.3, .capacity_multiple = 1 },
    { .size = sizeof(vmoe_options),
      .capacity = 0.7,
      .capacity_multiple = 1,
      .experts_per_token = 3,
      .group_images = 3,
      .priority = VMOE_PRIORITY_BPR_SUM },
    { .size = sizeof(vmoe_options),
      .capacity = 0.05,
      .capacity_multiple = 1,
      .experts_per_token = 1,
      .group_images = VMOE_GROUP_ALL,
      .priority = VMOE_PRIORITY_BPR_MAX },
    { .size = sizeof(vmoe_options), .capacity = 1.0, .experts_per_token = 6 },
};

#define DIALS (sizeof dials / sizeof dials[0])

/* ---- The report ----------------------------------------------------------------------------- */

/* Multiply-adds by the book, for the token classifier with pre_logits. */
static uint64_t macs_of(const struct answer *answer)
{
    const vmoe_info *i = &answer->info;
    uint64_t t = i->tokens, d = i->width, f = i->mlp;
    uint64_t patches = i->classifier == VMOE_CLASSIFIER_TOKEN ? t - 1 : t;
    uint64_t image = patches * 3 * i->patch_size * i->patch_size * d;

    image += i->layers * (4 * t * d * d + 2 * t * t * d);
    image += (i->layers - i->moe_layers) * t * 2 * d * f;
    image += i->moe_layers * t * d * i->experts;
    image += d * i->pre_logits + (uint64_t)i->pre_logits * i->classes;
    if (i->classifier == VMOE_CLASSIFIER_MAP) {
        image += d * d + t * d * d + t * d * d + d * d; /* query, keys, values, projection */
        image += t * d + t * d + d * f + f * d;         /* scores, mixture, MLP */
    }
    return answer->images * image + answer->report.processed * 2 * d * f;
}

/*
 * Those of attention of one query: the query and the way back, the direction of each head, scores,
 * mixtures of tokens, and their values.
 */
static uint64_t query_macs_of(const vmoe_info *i)
{
    const uint64_t d = i->width, t = i->tokens;

    return d * d + d * d + d * d + t * d * i->heads + t * d * i->heads + d * d;
}

/* Of these, the ones that concern tokens other than the class token in the last block. */
static uint64_t saved_macs_of(const struct answer *answer)
{
    const vmoe_info *i = &answer->info;
    const uint64_t d = i->width, f = i->mlp, t = i->tokens, picks = answer->picks;
    const int16_t *routes;
    uint64_t pairs = 0;

    if (!i->moe[i->layers - 1])
        return answer->images *
               (t * 4 * d * d + 2 * t * t * d - query_macs_of(i) + (t - 1) * 2 * d * f);
    routes = answer->routes + (i->moe_layers - 1) * answer->images * t * picks;
    for (size_t r = 0; r < answer->images * t * picks; r++)
        pairs += r / picks % t != 0 && routes[r] >= 0;
    return pairs * 2 * d * f;
}

/* Experts that no token needs: of the last block, the head reads class tokens alone. */
static uint64_t idle_experts(const struct answer *answer)
{
    const vmoe_info *info = &answer->info;
    const size_t tokens = answer->images * info->tokens, picks = answer->picks;
    const int16_t *routes = answer->routes;
    uint64_t idle = 0;

    for (size_t block = 0; block < info->layers; block++) {
        uint64_t used = 0;

        if (!info->moe[block])
            continue;
        for (size_t i = 0; i < tokens * picks; i++)
            if (routes[i] >= 0 && (block + 1 < info->layers || i / picks % info->tokens == 0))
                used |= UINT64_C(1) << routes[i];
        for (size_t e = 0; e < info->experts; e++)
            idle += !(used >> e & 1);
        routes += tokens * picks;
    }
    return idle;
}

static void check_report(const struct answer *answer)
{
    const vmoe_report *report = &answer->report;
    const vmoe_info *info = &answer->info;
    uint64_t expert_bytes = vmoe_pack_bytes(info->precision, info->width, info->mlp) +
                            vmoe_pack_bytes(info->precision, info->mlp, info->width) +
                            4 * (uint64_t)(info->width + info->mlp) *
                                (info->precision == VMOE_PRECISION_INT8 ? 3 : 1);
    double seconds = 0.0;

    assert_counts_add_up(answer);
    assert_int_equal(report->macs, macs_of(answer));
    assert_int_equal(report->macs_saved, saved_macs_of(answer));
    assert_int_equal(report->weight_bytes,
                     info->weight_bytes - idle_experts(answer) * expert_bytes);
    for (size_t i = 0; i < VMOE_STAGE_COUNT; i++) {
        assert_true(report->seconds[i] >= 0.0);
        seconds += report->seconds[i];
    }
    assert_true(seconds > 0.0 && seconds <= report->total_seconds);
}

/* The last block is one of experts, or of a dense MLP. */
static void check_reports(uint8_t last_moe)
{
    vmoe_info geometry = medium_info(VMOE_CLASSIFIER_TOKEN);
    float *images = make_images(&geometry, IMAGES);
    size_t dropping = 0, idle = 0;

    geometry.moe[3] = last_moe;
    geometry.moe[2] = !last_moe;
    for (uint32_t p = VMOE_PRECISION_F32; p <= VMOE_PRECISION_INT8; p++) {
        vmoe_model *model = make_model(&geometry, p);

        for (size_t d = 0; d < DIALS; d++) {
            struct answer answer = must_answer(model, images, IMAGES, &dials[d]);
            vmoe_cost cost = VMOE_COST_INIT;
            vmoe_error error = VMOE_ERROR_INIT;

            check_report(&answer);
            assert_ok(vmoe_get_cost(&answer.info, &dials[d], IMAGES, &cost, &error), error);
            assert_int_equal(cost.capacity, answer.report.capacity);
            assert_int_equal(cost.weight_bytes, answer.info.weight_bytes);
            assert_true(answer.report.macs <= cost.macs);
            assert_true(answer.report.macs_saved < answer.report.macs);
            if (answer.report.dropped == 0) {
                assert_int_equal(answer.report.macs, cost.macs);
                assert_int_equal(answer.report.macs_saved, cost.macs_saved);
            }
            dropping += answer.report.dropped > 0;
            idle += answer.report.weight_bytes < answer.info.weight_bytes;
            answer_free(&answer);
        }
        vmoe_free(model);
    }
    assert_true(dropping > 0 && dropping < 3 * DIALS && idle > 0);
    free(images);
}

static void the_report_adds_up(void **state)
{
    (void)state;
    check_reports(1);
    check_reports(0);
}

/* A clock stands still only where it is not looked at. */
static void check_stages(bool moe)
{
    vmoe_info geometry = smallest_info();
    vmoe_report report = VMOE_REPORT_INIT;
    vmoe_output output = VMOE_OUTPUT_INIT;
    vmoe_input input = VMOE_INPUT_INIT;
    vmoe_error error = VMOE_ERROR_INIT;
    vmoe_model *model;
    float *image;

    geometry.experts = moe ? 3 : 0;
    for (uint32_t i = 0; i < geometry.layers; i++)
        geometry.moe[i] = moe;
    model = make_model(&geometry, VMOE_PRECISION_F32);
    image = make_images(&geometry, 1);
    input.images = 1;
    input.tensor = image;
    input.length = image_values(&geometry);
    output.report = &report;
    assert_ok(vmoe_run(model, &input, NULL, &output, &error), error);
    assert_true(report.seconds[VMOE_STAGE_IMAGE] > 0.0);
    assert_true(report.seconds[VMOE_STAGE_EMBED] > 0.0);
    assert_true(report.seconds[VMOE_STAGE_ATTENTION] > 0.0);
    assert_true((report.seconds[VMOE_STAGE_MLP] > 0.0) == !moe);
    assert_true((report.seconds[VMOE_STAGE_ROUTING] > 0.0) == moe);
    assert_true((report.seconds[VMOE_STAGE_EXPERTS] > 0.0) == moe);
    assert_true(report.seconds[VMOE_STAGE_HEAD] > 0.0);
    vmoe_free(model);
    free(image);
}

static void time_goes_to_the_stages_that_there_are(void **state)
{
    (void)state;
    check_stages(false);
    check_stages(true);
}

/* A head that reads all tokens leaves nothing out but the keys and values of its own query. */
static void a_head_without_a_class_token_needs_all_blocks(void **state)
{
    (void)state;
    for (uint32_t classifier = VMOE_CLASSIFIER_GAP; classifier <= VMOE_CLASSIFIER_MAP;
         classifier++) {
        const vmoe_info geometry = medium_info(classifier);
        float *images = make_images(&geometry, IMAGES);
        vmoe_model *model = make_model(&geometry, VMOE_PRECISION_F32);
        struct answer answer = must_answer(model, images, IMAGES, NULL);
        const uint64_t d = geometry.width, t = answer.info.tokens;
        uint64_t saved = 0;
        vmoe_cost cost = VMOE_COST_INIT;
        vmoe_error error = VMOE_ERROR_INIT;

        if (classifier == VMOE_CLASSIFIER_MAP)
            saved = IMAGES * (2 * d * d + t * 2 * d * d + 2 * t * d - query_macs_of(&answer.info));
        assert_ok(vmoe_get_cost(&answer.info, NULL, IMAGES, &cost, &error), error);
        assert_int_equal(answer.report.macs, macs_of(&answer));
        assert_int_equal(answer.report.macs_saved, saved);
        assert_int_equal(cost.macs_saved, saved);
        answer_free(&answer);
        free(images);
        vmoe_free(model);
    }
}

/* ---- Routes --------------------------------------------------------------------------------- */

#define REPLAYED 252u /* of 36 tokens: three slices */

static void replayed_routes_give_the_same_bits(void **state)
{
    const vmoe_info geometry = medium_info(VMOE_CLASSIFIER_GAP);
    vmoe_model *model = make_model(&geometry, VMOE_PRECISION_BF16);
    float *images = make_images(&geometry, REPLAYED);

    (void)state;
    for (size_t d = 0; d < DIALS; d++) {
        struct answer first = must_answer(model, images, REPLAYED, &dials[d]), again;
        vmoe_options options = VMOE_OPTIONS_INIT;

        options.experts_per_token = dials[d].experts_per_token;
        options.routes = first.routes;
        options.routes_length = first.report.routes_length;
        options.threads = 3;
        again = must_answer(model, images, REPLAYED, &options);
        assert_null(answer_difference(&first, 0, &again, 0, REPLAYED));
        assert_memory_equal(first.load, again.load, first.report.load_length * sizeof *first.load);
        assert_int_equal(first.report.processed, again.report.processed);
        assert_int_equal(first.report.untouched, again.report.untouched);
        answer_free(&first);
        answer_free(&again);
    }
    free(images);
    vmoe_free(model);
}

static void make_experts_idle(const char *name, uint64_t first, uint64_t count, float *values)
{
    (void)first;
    if (strstr(name, "/Moe/Mlp/Dense_1/") != NULL)
        memset(values, 0, count * sizeof *values);
}

/* Nobody processed is the same as nothing done. */
static void dropping_every_pair_is_the_model_without_experts(void **state)
{
    const vmoe_info geometry = medium_info(VMOE_CLASSIFIER_TOKEN);
    float *images = make_images(&geometry, IMAGES);
    vmoe_model *model = make_model(&geometry, VMOE_PRECISION_F32), *idle;
    vmoe_options options = VMOE_OPTIONS_INIT;
    struct answer full, dropped, nothing;

    (void)state;
    write_source(changed_source(&geometry, make_experts_idle), NULL, scratch_path("idle.vmoe"));
    idle = must_load(scratch_path("idle.vmoe"), NULL);
    full = must_answer(model, images, IMAGES, NULL);
    for (size_t i = 0; i < full.report.routes_length; i++)
        full.routes[i] = (int16_t)(full.routes[i] < 0 ? full.routes[i] : -1 - full.routes[i]);
    options.routes = full.routes;
    options.routes_length = full.report.routes_length;
    dropped = must_answer(model, images, IMAGES, &options);
    nothing = must_answer(idle, images, IMAGES, NULL);
    assert_int_equal(dropped.report.processed, 0);
    assert_int_equal(dropped.report.untouched, IMAGES * 37 * 2);
    assert_true(max_difference(dropped.logits, nothing.logits, IMAGES * 17) == 0.0);
    assert_true(max_difference(dropped.logits, full.logits, IMAGES * 17) > 0.01);
    answer_free(&full);
    answer_free(&dropped);
    answer_free(&nothing);
    free(images);
    vmoe_free(model);
    vmoe_free(idle);
}

/* A token's experts add their parts in the order of the experts, whoever was chosen first. */
static void the_order_of_choices_does_not_matter_to_the_sum(void **state)
{
    const vmoe_info geometry = medium_info(VMOE_CLASSIFIER_TOKEN);
    float *images = make_images(&geometry, IMAGES);
    vmoe_model *model = make_model(&geometry, VMOE_PRECISION_F32);
    vmoe_options options = VMOE_OPTIONS_INIT;
    struct answer first, swapped;

    (void)state;
    first = must_answer(model, images, IMAGES, NULL);
    options.routes_length = first.report.routes_length;
    options.routes = first.routes;
    swapped = must_answer(model, images, IMAGES, &options);
    for (size_t i = 0; i < first.report.routes_length; i += 2) {
        int16_t route = first.routes[i];

        first.routes[i] = first.routes[i + 1];
        first.routes[i + 1] = route;
    }
    answer_free(&swapped);
    swapped = must_answer(model, images, IMAGES, &options);
    assert_memory_equal(first.logits, swapped.logits, IMAGES * 17 * sizeof(float));
    answer_free(&first);
    answer_free(&swapped);
    free(images);
    vmoe_free(model);
}

/* Instruction sets add in different orders; with the same routes they stay close to each other. */
static void instruction_sets_agree_where_routing_does(void **state)
{
    const vmoe_info geometry = medium_info(VMOE_CLASSIFIER_TOKEN);
    float *images = make_images(&geometry, IMAGES);

    (void)state;
    for (uint32_t p = VMOE_PRECISION_F32; p <= VMOE_PRECISION_INT8; p++) {
        vmoe_model *model = make_model(&geometry, p);
        vmoe_options options = VMOE_OPTIONS_INIT;
        struct answer reference, other;

        options.isa = VMOE_ISA_REF;
        options.precision = VMOE_PRECISION_F32;
        reference = must_answer(model, images, IMAGES, &options);
        options.routes = reference.routes;
        options.routes_length = reference.report.routes_length;
        for (const uint32_t *isa = tiers_with(VMOE_PRECISION_F32, p); *isa != VMOE_ISA_DEFAULT;
             isa++) {
            options.isa = *isa;
            other = must_answer(model, images, IMAGES, &options);
            assert_true(max_difference(reference.logits, other.logits, IMAGES * 17) <= 1e-5);
            answer_free(&other);
        }
        answer_free(&reference);
        vmoe_free(model);
    }
    free(images);
}

/* ---- From logits to results ----------------------------------------------------------------- */

static void check_probabilities(const struct answer *answer)
{
    const size_t classes = answer->info.classes;

    for (size_t i = 0; i < answer->images; i++) {
        const float *logits = answer->logits + i * classes;
        const float *found = answer->probabilities + i * classes;
        double largest = logits[0], sum = 0.0;

        for (size_t c = 0; c < classes; c++)
            largest = (double)logits[c] > largest ? (double)logits[c] : largest;
        for (size_t c = 0; c < classes; c++)
            sum += exp((double)logits[c] - largest);
        for (size_t c = 0; c < classes; c++) {
            const double expected = answer->info.output == VMOE_OUTPUT_SOFTMAX
                                        ? exp((double)logits[c] - largest) / sum
                                        : 1.0 / (1.0 + exp(-(double)logits[c]));

            assert_true(fabs((double)found[c] - expected) <= 1e-6 * expected);
        }
    }
}

static void check_top(const struct answer *answer)
{
    const size_t classes = answer->info.classes;

    for (size_t i = 0; i < answer->images; i++) {
        const float *logits = answer->logits + i * classes;
        const vmoe_class *top = answer->top + i * classes;

        for (size_t k = 0; k < classes; k++) {
            assert_true(top[k].probability == answer->probabilities[i * classes + top[k].index]);
            assert_string_equal(top[k].label, "");
            if (k > 0)
                assert_true(logits[top[k - 1].index] > logits[top[k].index] ||
                            (logits[top[k - 1].index] == logits[top[k].index] &&
                             top[k - 1].index < top[k].index));
        }
    }
}

static void probabilities_and_best_classes_follow_from_the_logits(void **state)
{
    const vmoe_info geometry = medium_info(VMOE_CLASSIFIER_TOKEN);
    float *images = make_images(&geometry, IMAGES);

    (void)state;
    for (uint32_t output = VMOE_OUTPUT_SOFTMAX; output <= VMOE_OUTPUT_SIGMOID; output++) {
        vmoe_import_options as = VMOE_IMPORT_OPTIONS_INIT;
        vmoe_model *model;
        struct answer answer;

        as.output = output;
        write_model(&geometry, &as, scratch_path("output.vmoe"));
        model = must_load(scratch_path("output.vmoe"), NULL);
        for (const uint32_t *isa = tiers(); *isa != VMOE_ISA_DEFAULT; isa++) {
            vmoe_options options = VMOE_OPTIONS_INIT;

            options.isa = *isa;
            answer = must_answer(model, images, IMAGES, &options);
            check_probabilities(&answer);
            check_top(&answer);
            answer_free(&answer);
        }
        vmoe_free(model);
    }
    free(images);
}

/* Asking for fewer of the best classes gives the beginning of the longer list. */
static void a_shorter_list_is_the_beginning_of_the_longer(void **state)
{
    const vmoe_info geometry = medium_info(VMOE_CLASSIFIER_TOKEN);
    float *images = make_images(&geometry, IMAGES);
    vmoe_model *model = make_model(&geometry, VMOE_PRECISION_BF16);
    struct answer all = must_answer(model, images, IMAGES, NULL);

    (void)state;
    for (size_t count = 1; count <= 17; count++) {
        vmoe_input input = VMOE_INPUT_INIT;
        vmoe_output output = VMOE_OUTPUT_INIT;
        vmoe_error error = VMOE_ERROR_INIT;
        vmoe_class top[IMAGES * 17];

        input.images = IMAGES;
        input.tensor = images;
        input.length = IMAGES * image_values(&geometry);
        output.top = top;
        output.top_count = count;
        output.top_length = IMAGES * count;
        assert_ok(vmoe_run(model, &input, NULL, &output, &error), error);
        for (size_t i = 0; i < IMAGES; i++)
            for (size_t k = 0; k < count; k++)
                assert_int_equal(top[i * count + k].index, all.top[i * 17 + k].index);
    }
    answer_free(&all);
    free(images);
    vmoe_free(model);
}

/* A file whose logits are these, whatever the image. */
static vmoe_model *model_with_logits(const float logits[5])
{
    const vmoe_info geometry = tiny_info(VMOE_CLASSIFIER_TOKEN);
    const char *path = scratch_path("logits.vmoe");
    struct forged file;
    size_t weight, bias;

    write_model(&geometry, NULL, path);
    file = forge_read(path);
    weight = forge_entry(&file, "head.weight");
    bias = forge_entry(&file, "head.bias");
    memset(file.bytes + forge_get_u64(&file, weight + 80), 0,
           (size_t)forge_get_u64(&file, weight + 88));
    memcpy(file.bytes + forge_get_u64(&file, bias + 80), logits, 5 * sizeof *logits);
    forge_hash_chunks(&file, weight);
    forge_hash_chunks(&file, bias);
    forge_sign(&file);
    write_file(path, file.bytes, file.size);
    forge_free(&file);
    return must_load(path, NULL);
}

static void ties_go_to_the_lower_class_and_nan_comes_last(void **state)
{
    static const struct {
        float logits[5];
        uint32_t order[5];
    } cases[] = {
        { { 1.0f, 1.0f, 1.0f, 1.0f, 1.0f }, { 0, 1, 2, 3, 4 } },
        { { 0.5f, 2.0f, 2.0f, 0.5f, -1.0f }, { 1, 2, 0, 3, 4 } },
        { { -1.0f, 0.0f, -0.0f, 0.0f, 3.0f }, { 4, 1, 2, 3, 0 } },
        { { NAN, 1.0f, NAN, 2.0f, -INFINITY }, { 3, 1, 4, 0, 2 } },
        { { NAN, NAN, NAN, NAN, NAN }, { 0, 1, 2, 3, 4 } },
        { { -INFINITY, NAN, -INFINITY, INFINITY, INFINITY }, { 3, 4, 0, 2, 1 } },
    };
    const vmoe_info geometry = tiny_info(VMOE_CLASSIFIER_TOKEN);
    float *images = make_images(&geometry, 1);

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        vmoe_model *model = model_with_logits(cases[i].logits);
        struct answer answer = must_answer(model, images, 1, NULL);

        for (size_t k = 0; k < 5; k++)
            assert_int_equal(answer.top[k].index, cases[i].order[k]);
        answer_free(&answer);
        vmoe_free(model);
    }
    free(images);
}

/* Logits are features times head; both are public, and the head is read from the file. */
static void features_are_what_enters_the_head(void **state)
{
    (void)state;
    for (uint32_t classifier = VMOE_CLASSIFIER_TOKEN; classifier <= VMOE_CLASSIFIER_MAP;
         classifier++) {
        for (uint32_t pre_logits = 0; pre_logits <= 7; pre_logits += 7) {
            vmoe_info geometry = tiny_info(classifier);
            float *images;
            vmoe_model *model;
            const struct vmoe_linear *head;
            struct answer answer;

            geometry.pre_logits = pre_logits;
            images = make_images(&geometry, IMAGES);
            model = make_model(&geometry, VMOE_PRECISION_F32);
            head = &model->checkpoint.weights.head;
            answer = must_answer(model, images, IMAGES, NULL);
            assert_int_equal(answer.info.features, pre_logits != 0 ? 7 : 12);
            for (size_t i = 0; i < IMAGES; i++) {
                const float *features = answer.features + i * answer.info.features;

                for (size_t c = 0; c < 5; c++) {
                    double sum = head->bias[c];

                    for (size_t f = 0; f < answer.info.features; f++)
                        sum += (double)features[f] *
                               (double)vmoe_pack_value(VMOE_PRECISION_F32, head->k, head->panels,
                                                       f, c);
                    assert_true(fabs(sum - (double)answer.logits[i * 5 + c]) <= 1e-6);
                }
                for (size_t f = 0; pre_logits != 0 && f < 7; f++)
                    assert_true(fabsf(features[f]) <= 1.0f); /* a tanh */
            }
            answer_free(&answer);
            vmoe_free(model);
            free(images);
        }
    }
}

/* What blocks and positions add to a token is nothing. */
static void make_blocks_idle(const char *name, uint64_t first, uint64_t count, float *values)
{
    (void)first;
    if (strstr(name, "/out/") != NULL || strstr(name, "/Dense_1/") != NULL ||
        strstr(name, "pos_embedding") != NULL)
        memset(values, 0, count * sizeof *values);
}

/* Features of an image of one colour, each pixel of which is a token. */
static struct answer answer_of_one_colour(uint32_t side)
{
    vmoe_info geometry = tiny_info(VMOE_CLASSIFIER_GAP);
    const size_t values = (size_t)side * side * 3;
    float *image = malloc(values * sizeof *image);
    vmoe_model *model;
    struct answer answer;

    geometry.image_size = side;
    geometry.patch_size = 1;
    geometry.layers = 1;
    geometry.width = 132; /* more than are added up at a time */
    geometry.experts = 0;
    memset(geometry.moe, 0, sizeof geometry.moe);
    assert_non_null(image);
    for (size_t i = 0; i < values; i++)
        image[i] = 0.1f * (float)(i % 3 + 1);
    write_source(changed_source(&geometry, make_blocks_idle), NULL, scratch_path("gap.vmoe"));
    model = must_load(scratch_path("gap.vmoe"), NULL);
    answer = must_answer(model, image, 1, NULL);
    vmoe_free(model);
    free(image);
    return answer;
}

/* The mean of equal tokens is such a token, however many they are. */
static void a_mean_over_many_tokens_is_not_rounded_on_its_way(void **state)
{
    struct answer one = answer_of_one_colour(1), many = answer_of_one_colour(45);

    (void)state;
    assert_true(max_difference(one.features, many.features, 132) == 0.0);
    assert_true(fabsf(one.features[131]) > 0.01f);
    answer_free(&one);
    answer_free(&many);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_report_adds_up),
        cmocka_unit_test(time_goes_to_the_stages_that_there_are),
        cmocka_unit_test(a_head_without_a_class_token_needs_all_blocks),
        cmocka_unit_test(replayed_routes_give_the_same_bits),
        cmocka_unit_test(dropping_every_pair_is_the_model_without_experts),
        cmocka_unit_test(the_order_of_choices_does_not_matter_to_the_sum),
        cmocka_unit_test(instruction_sets_agree_where_routing_does),
        cmocka_unit_test(probabilities_and_best_classes_follow_from_the_logits),
        cmocka_unit_test(a_shorter_list_is_the_beginning_of_the_longer),
        cmocka_unit_test(ties_go_to_the_lower_class_and_nan_comes_last),
        cmocka_unit_test(features_are_what_enters_the_head),
        cmocka_unit_test(a_mean_over_many_tokens_is_not_rounded_on_its_way),
    };

    return cmocka_run_group_tests_name("results", tests, NULL, NULL);
}
