/* A call that asks for everything. */
#include "support/answer.h"

#include <stdlib.h>
#include <string.h>

#include "support/support.h"
#include "support/tiny.h"

static void *make(size_t count, size_t bytes)
{
    return calloc(count + 1, bytes);
}

vmoe_status answer_run(const vmoe_model *model, const float *tensor, size_t images,
                       const vmoe_options *options, struct answer *answer, vmoe_error *error)
{
    const vmoe_report report = VMOE_REPORT_INIT;
    vmoe_input input = VMOE_INPUT_INIT;
    vmoe_output output = VMOE_OUTPUT_INIT;
    vmoe_info info = VMOE_INFO_INIT;
    vmoe_status status = vmoe_get_info(model, &info, error);
    struct answer a = { .info = info, .images = images, .picks = info.experts_per_token };

    if (status != VMOE_OK)
        return status;
    if (options != NULL && options->experts_per_token != 0)
        a.picks = options->experts_per_token;
    input.images = images;
    input.tensor = tensor;
    input.length = images * image_values(&info);
    output.logits_length = output.probabilities_length = output.top_length = images * info.classes;
    output.features_length = images * info.features;
    output.member_logits_length = images * info.members * info.classes;
    output.top_count = info.classes;
    output.logits = a.logits = make(output.logits_length, sizeof(float));
    output.probabilities = a.probabilities = make(output.logits_length, sizeof(float));
    output.features = a.features = make(output.features_length, sizeof(float));
    output.member_logits = a.member_logits = make(output.member_logits_length, sizeof(float));
    output.top = a.top = make(output.top_length, sizeof(vmoe_class));
    output.report = &a.report;
    a.report = report;
    a.report.layers_length = info.moe_layers;
    a.report.load_length = (size_t)info.moe_layers * info.experts;
    a.report.routes_length = info.moe_layers * images * info.tokens * info.members * a.picks;
    a.report.layers = a.layers = make(info.moe_layers, sizeof(vmoe_layer_report));
    a.report.load = a.load = make(a.report.load_length, sizeof(uint64_t));
    a.report.routes = a.routes = make(a.report.routes_length, sizeof(int16_t));
    status = vmoe_run(model, &input, options, &output, error);
    if (status != VMOE_OK)
        answer_free(&a);
    else
        *answer = a;
    return status;
}

struct answer must_answer(const vmoe_model *model, const float *tensor, size_t images,
                          const vmoe_options *options)
{
    vmoe_error error = VMOE_ERROR_INIT;
    struct answer answer;

    assert_ok(answer_run(model, tensor, images, options, &answer, &error), error);
    return answer;
}

void answer_free(struct answer *answer)
{
    free(answer->logits);
    free(answer->probabilities);
    free(answer->features);
    free(answer->member_logits);
    free(answer->top);
    free(answer->routes);
    free(answer->load);
    free(answer->layers);
    memset(answer, 0, sizeof *answer);
}

static bool same_routes(const struct answer *a, size_t i, const struct answer *b, size_t j,
                        size_t images)
{
    size_t stride = a->info.tokens * a->info.members * a->picks;

    for (size_t layer = 0; layer < a->info.moe_layers; layer++)
        if (memcmp(a->routes + (layer * a->images + i) * stride,
                   b->routes + (layer * b->images + j) * stride,
                   images * stride * sizeof(int16_t)) != 0)
            return false;
    return true;
}

static bool same_top(const struct answer *a, size_t i, const struct answer *b, size_t j, size_t n)
{
    for (size_t k = 0; k < n; k++) {
        const vmoe_class *x = &a->top[i + k], *y = &b->top[j + k];

        if (x->index != y->index ||
            memcmp(&x->probability, &y->probability, sizeof x->probability) != 0)
            return false;
    }
    return true;
}

const char *answer_difference(const struct answer *a, size_t i, const struct answer *b, size_t j,
                              size_t images)
{
    size_t classes = a->info.classes, features = a->info.features;
    size_t members = a->info.members * classes;

    if (!same_routes(a, i, b, j, images))
        return "routes";
    if (memcmp(a->features + i * features, b->features + j * features,
               images * features * sizeof(float)) != 0)
        return "features";
    if (memcmp(a->logits + i * classes, b->logits + j * classes,
               images * classes * sizeof(float)) != 0)
        return "logits";
    if (memcmp(a->member_logits + i * members, b->member_logits + j * members,
               images * members * sizeof(float)) != 0)
        return "logits of members";
    if (memcmp(a->probabilities + i * classes, b->probabilities + j * classes,
               images * classes * sizeof(float)) != 0)
        return "probabilities";
    if (!same_top(a, i * classes, b, j * classes, images * classes))
        return "top";
    return NULL;
}

void assert_same_answer(const struct answer *a, const struct answer *b)
{
    const char *difference;

    assert_int_equal(a->images, b->images);
    difference = answer_difference(a, 0, b, 0, a->images);
    if (difference != NULL)
        fail_msg("the %s differ", difference);
    assert_memory_equal(a->load, b->load, a->report.load_length * sizeof(uint64_t));
    assert_memory_equal(a->layers, b->layers, a->report.layers_length * sizeof(vmoe_layer_report));
    assert_int_equal(a->report.capacity, b->report.capacity);
    assert_int_equal(a->report.assigned, b->report.assigned);
    assert_int_equal(a->report.processed, b->report.processed);
    assert_int_equal(a->report.untouched, b->report.untouched);
    assert_int_equal(a->report.macs, b->report.macs);
    assert_int_equal(a->report.weight_bytes, b->report.weight_bytes);
}

/* ---- The counts of a report ----------------------------------------------------------------- */

/* Counts pairs, drops and tokens without any expert from the routes of a layer. */
static void check_layer(const struct answer *answer, size_t layer)
{
    const vmoe_info *info = &answer->info;
    const vmoe_layer_report *report = &answer->layers[layer];
    const size_t members = info->members, own = info->experts / members;
    const size_t tokens = answer->images * info->tokens * members, picks = answer->picks;
    const size_t group = answer->report.group_images * info->tokens * members;
    const int16_t *routes = answer->routes + layer * tokens * picks;
    uint64_t *load = calloc(info->experts, sizeof *load);
    uint64_t *in_group = calloc(info->experts, sizeof *in_group);
    uint64_t processed = 0, untouched = 0;

    for (size_t t = 0; t < tokens; t++) {
        uint64_t seen = 0, kept = 0;

        if (t % group == 0)
            memset(in_group, 0, info->experts * sizeof *in_group);
        for (size_t k = 0; k < picks; k++) {
            const int route = routes[t * picks + k];
            const int expert = route < 0 ? -1 - route : route;

            assert_in_range(expert, t % members * own, (t % members + 1) * own - 1);
            assert_false(seen >> expert & 1);
            seen |= UINT64_C(1) << expert;
            if (route >= 0) {
                load[expert]++;
                kept++;
                assert_true(++in_group[expert] <= answer->report.capacity);
            }
        }
        processed += kept;
        untouched += kept == 0;
    }
    assert_memory_equal(load, answer->load + layer * info->experts,
                        info->experts * sizeof *load);
    assert_int_equal(report->assigned, tokens * picks);
    assert_int_equal(report->processed, processed);
    assert_int_equal(report->dropped, tokens * picks - processed);
    assert_int_equal(report->untouched, untouched);
    free(load);
    free(in_group);
}

void assert_counts_add_up(const struct answer *answer)
{
    const vmoe_report *report = &answer->report;
    const vmoe_info *info = &answer->info;
    uint64_t assigned = 0, processed = 0, dropped = 0, untouched = 0;

    for (size_t layer = 0; layer < info->moe_layers; layer++) {
        check_layer(answer, layer);
        assert_true(info->moe[answer->layers[layer].layer]);
        assert_true(layer == 0 || answer->layers[layer].layer > answer->layers[layer - 1].layer);
        assigned += answer->layers[layer].assigned;
        processed += answer->layers[layer].processed;
        dropped += answer->layers[layer].dropped;
        untouched += answer->layers[layer].untouched;
    }
    assert_int_equal(report->assigned, assigned);
    assert_int_equal(report->processed, processed);
    assert_int_equal(report->dropped, dropped);
    assert_int_equal(report->untouched, untouched);
    assert_int_equal(report->experts_per_token, answer->picks);
    assert_int_equal(report->groups * report->group_images, answer->images);
}
