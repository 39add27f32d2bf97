/*
 * Routing: the golden decisions of upstream's own code, the paper's example, and the promises that
 * must hold for any gates, NaN and infinity included.
 */
#include "kernels/kernels.h"
#include "routing/routing.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/config.h"
#include "support/random.h"
#include "support/support.h"

/* Gates by the portable table, which those of every other table must equal to the bit. */
static void gates_of(size_t tokens, size_t width, size_t experts, const float *x, size_t ldx,
                     const float *router, float *gates)
{
    float *others = malloc(tokens * experts * sizeof *others);

    vmoe_kernels_ref.router(tokens, width, experts, x, ldx, router, experts, gates);
    vmoe_route_gates(tokens, experts, gates);
    for (uint32_t isa = VMOE_ISA_REF; vmoe_isa_name(isa) != NULL; isa++) {
        if (!vmoe_isa_available(isa))
            continue;
        vmoe_kernels_for(isa)->router(tokens, width, experts, x, ldx, router, experts, others);
        vmoe_route_gates(tokens, experts, others);
        for (size_t i = 0; i < tokens * experts; i++)
            assert_true(memcmp(&gates[i], &others[i], sizeof *gates) == 0 ||
                        (isnan(gates[i]) && isnan(others[i])));
    }
    free(others);
}

enum { MOST_TOKENS = 64, MOST_EXPERTS = 40, MOST_PICKS = 16 };

static size_t random_size(size_t least, size_t most)
{
    return least + random_u32() % (most - least + 1);
}

/* In -1..1, one time in ten something special; a third of them on a coarse grid, to make ties. */
static float random_gate(void)
{
    static const float specials[] = { NAN,  -NAN,     INFINITY, -INFINITY, 0.0f,
                                      -0.0f, 1e-40f, -1e-40f,  3e38f,     -3e38f };
    float value = (float)random_u32() * 0x1p-31f - 1.0f;

    if (random_u32() % 10 == 0)
        return specials[random_u32() % (sizeof specials / sizeof specials[0])];
    return random_u32() % 3 == 0 ? floorf(value * 4.0f) / 4.0f : value;
}

struct plan {
    size_t tokens, experts, picks;
    uint64_t capacity;
    const float *gates;
    int16_t *choice;
    int32_t *slot;
};

/* The gates must outlive the plan. */
static struct plan make_plan(size_t tokens, size_t experts, size_t picks, uint64_t capacity,
                             uint32_t priority, const float *gates)
{
    struct plan plan = { tokens, experts, picks, capacity, gates, NULL, NULL };
    void *scratch = malloc(vmoe_route_scratch_bytes(tokens, experts));

    plan.choice = malloc(tokens * picks * sizeof *plan.choice);
    plan.slot = malloc(tokens * picks * sizeof *plan.slot);
    vmoe_route_choose(tokens, experts, picks, gates, plan.choice);
    vmoe_route_assign(tokens, experts, picks, capacity, priority, gates, plan.choice, plan.slot,
                      scratch);
    free(scratch);
    return plan;
}

static void free_plan(struct plan *plan)
{
    free(plan->choice);
    free(plan->slot);
}

/* The order of gates and scores, said once more and differently: a rank class, then the value. */
static bool comes_first(float a, size_t i, float b, size_t j)
{
    if (isnan(a) != isnan(b))
        return isnan(b);
    if (isnan(a) || a == b)
        return i < j;
    return a > b;
}

static float score(const struct plan *plan, uint32_t priority, size_t token)
{
    const float *gates = plan->gates + token * plan->experts;
    float sum = gates[plan->choice[token * plan->picks]];

    for (size_t k = 1; k < plan->picks && priority == VMOE_PRIORITY_BPR_SUM; k++)
        sum += gates[plan->choice[token * plan->picks + k]];
    return sum;
}

/* What slot pair (token, k) must have: the number of pairs of the same expert that go before it. */
static int32_t expected_slot(const struct plan *plan, uint32_t priority, size_t token, size_t k)
{
    const int16_t expert = plan->choice[token * plan->picks + k];
    uint64_t before = 0;

    for (size_t t = 0; t < plan->tokens; t++) {
        for (size_t j = 0; j <= k; j++) {
            bool earlier = t < token;

            if (plan->choice[t * plan->picks + j] != expert)
                continue;
            if (priority != VMOE_PRIORITY_VANILLA)
                earlier = comes_first(score(plan, priority, t), t, score(plan, priority, token),
                                      token);
            before += j < k || (t != token && earlier);
        }
    }
    return before < plan->capacity ? (int32_t)before : -1;
}

static void check_choice(const struct plan *plan)
{
    for (size_t t = 0; t < plan->tokens; t++) {
        const float *gates = plan->gates + t * plan->experts;
        const int16_t *choice = plan->choice + t * plan->picks;

        for (size_t k = 0; k < plan->picks; k++) {
            size_t better = 0;

            assert_in_range(choice[k], 0, plan->experts - 1);
            for (size_t e = 0; e < plan->experts; e++)
                better += e != (size_t)choice[k] &&
                          comes_first(gates[e], e, gates[choice[k]], (size_t)choice[k]);
            assert_int_equal(better, k);
        }
    }
}

/* Every expert's slots are 0, 1, ... without holes, and as many as its load and capacity permit. */
static void check_slots(const struct plan *plan)
{
    const size_t pairs = plan->tokens * plan->picks;

    for (size_t e = 0; e < plan->experts; e++) {
        uint64_t load = 0, kept = 0, sum = 0;

        for (size_t i = 0; i < pairs; i++) {
            if ((size_t)plan->choice[i] != e)
                continue;
            load++;
            kept += plan->slot[i] >= 0;
            sum += plan->slot[i] >= 0 ? (uint64_t)plan->slot[i] : 0;
        }
        assert_int_equal(kept, load < plan->capacity ? load : plan->capacity);
        assert_int_equal(sum, kept == 0 ? 0 : kept * (kept - 1) / 2);
    }
}

/* ---- Golden decisions ------------------------------------------------------------------------ */

static void upstream_makes_the_same_decisions(void **unused)
{
    struct table table;

    (void)unused;
    if (!golden_has("routing/cases.tsv"))
        skip_because("not among the golden data here");
    table = table_load(golden_path("routing/cases.tsv"));
    if (golden_exists())
        assert_int_equal(table.rows, 936);
    for (size_t row = 0; row < table.rows; row++) {
        const size_t tokens = strtoul(table_cell(&table, row, "S"), NULL, 10);
        const size_t experts = strtoul(table_cell(&table, row, "E"), NULL, 10);
        const size_t picks = strtoul(table_cell(&table, row, "K"), NULL, 10);
        const bool bpr = *table_cell(&table, row, "bpr") == '1';
        const bool ceiling = strcmp(table_cell(&table, row, "rule"), "ceil") == 0;
        const uint64_t capacity = vmoe_capacity(
            tokens, experts, picks, strtod(table_cell(&table, row, "C"), NULL),
            ceiling ? VMOE_CAPACITY_CEIL : VMOE_CAPACITY_ROUND,
            (uint32_t)strtoul(table_cell(&table, row, "multiple"), NULL, 10));
        struct npy gates, expected;
        struct plan plan;

        if (strcmp(table_cell(&table, row, "capacity"), "error") == 0) {
            assert_int_equal(capacity, 0);
            continue;
        }
        assert_int_equal(capacity, strtoul(table_cell(&table, row, "capacity"), NULL, 10));
        gates = npy_load(golden_path("routing/%s.gates.npy", table_cell(&table, row, "gates")));
        expected = npy_load(golden_path("routing/%s", table_cell(&table, row, "expected")));
        assert_int_equal(gates.elements, tokens * experts);
        assert_int_equal(expected.elements, tokens * picks * 2);
        plan = make_plan(tokens, experts, picks, capacity,
                         bpr ? VMOE_PRIORITY_BPR_MAX : VMOE_PRIORITY_VANILLA, gates.data);
        for (size_t i = 0; i < tokens * picks; i++) {
            assert_int_equal(plan.choice[i], ((const int16_t *)expected.data)[2 * i]);
            assert_int_equal(plan.slot[i], ((const int16_t *)expected.data)[2 * i + 1]);
        }
        free_plan(&plan);
        npy_free(&gates);
        npy_free(&expected);
    }
    table_free(&table);
}

/* ---- The example of upstream's own test ------------------------------------------------------ */

static const float example[3 * 3] = { 0.4f, 0.0f, 0.2f, 0.5f, 0.1f, 0.4f, 0.3f, 0.2f, 0.6f };

static void check_example(uint32_t priority, const int32_t expected[6])
{
    static const int16_t choice[6] = { 0, 2, 0, 2, 2, 0 };
    struct plan plan = make_plan(3, 3, 2, 2, priority, example);

    assert_memory_equal(plan.choice, choice, sizeof choice);
    assert_memory_equal(plan.slot, expected, 6 * sizeof *expected);
    free_plan(&plan);
}

static void the_example_without_priorities(void **unused)
{
    static const int32_t slot[6] = { 0, 1, 1, -1, 0, -1 };

    (void)unused;
    check_example(VMOE_PRIORITY_VANILLA, slot);
    check_example(VMOE_PRIORITY_DEFAULT, slot);
}

static void the_example_by_largest_gate(void **unused)
{
    static const int32_t slot[6] = { 1, -1, 0, 1, 0, -1 };

    (void)unused;
    check_example(VMOE_PRIORITY_BPR_MAX, slot);
}

/* Token 0 has the larger gate, token 1 the larger sum; both want the same two experts. */
static void the_sum_of_gates_may_rank_differently(void **unused)
{
    static const float gates[2 * 3] = { 0.5f, 0.1f, 0.0f, 0.4f, 0.3f, 0.2f };
    static const int32_t by_largest[4] = { 0, 0, -1, -1 };
    static const int32_t by_sum[4] = { -1, -1, 0, 0 };
    struct plan plan;

    (void)unused;
    plan = make_plan(2, 3, 2, 1, VMOE_PRIORITY_BPR_MAX, gates);
    assert_memory_equal(plan.slot, by_largest, sizeof by_largest);
    free_plan(&plan);
    plan = make_plan(2, 3, 2, 1, VMOE_PRIORITY_BPR_SUM, gates);
    assert_memory_equal(plan.slot, by_sum, sizeof by_sum);
    free_plan(&plan);
}

/* ---- Any gates ------------------------------------------------------------------------------- */

static void a_gate_tie_goes_to_the_lower_expert(void **unused)
{
    static const float gates[6] = { -0.0f, 0.5f, 0.0f, 0.5f, 0.5f, 0.0f };
    static const int16_t expected[6] = { 1, 3, 4, 0, 2, 5 };
    int16_t choice[6];

    (void)unused;
    vmoe_route_choose(1, 6, 6, gates, choice);
    assert_memory_equal(choice, expected, sizeof expected);
}

static void a_nan_gate_is_chosen_last(void **unused)
{
    static const float gates[6] = { NAN, -INFINITY, -NAN, 0.5f, INFINITY, NAN };
    static const int16_t expected[6] = { 4, 3, 1, 0, 2, 5 };
    int16_t choice[6];

    (void)unused;
    vmoe_route_choose(1, 6, 6, gates, choice);
    assert_memory_equal(choice, expected, sizeof expected);
}

static void a_nan_score_comes_last_and_keeps_its_place(void **unused)
{
    static const float gates[5] = { NAN, 0.0f, -NAN, -0.0f, -INFINITY };
    static const int32_t expected[5] = { 3, 0, 4, 1, 2 };
    struct plan plan;

    (void)unused;
    plan = make_plan(5, 1, 1, 5, VMOE_PRIORITY_BPR_MAX, gates);
    assert_memory_equal(plan.slot, expected, sizeof expected);
    free_plan(&plan);
}

static void no_capacity_drops_everything_and_enough_drops_nothing(void **unused)
{
    float gates[5 * 3];
    struct plan plan;

    (void)unused;
    random_seed(5);
    for (size_t i = 0; i < 15; i++)
        gates[i] = random_gate();
    plan = make_plan(5, 3, 3, 0, VMOE_PRIORITY_BPR_MAX, gates);
    for (size_t i = 0; i < 15; i++)
        assert_int_equal(plan.slot[i], -1);
    free_plan(&plan);
    plan = make_plan(5, 3, 3, UINT64_MAX, VMOE_PRIORITY_BPR_MAX, gates);
    for (size_t i = 0; i < 15; i++)
        assert_in_range(plan.slot[i], 0, 4);
    free_plan(&plan);
}

/* 100,000 rows or more. */
static void any_gates_give_a_valid_plan(void **unused)
{
    static float gates[MOST_TOKENS * MOST_EXPERTS];
    size_t rows = 0;

    (void)unused;
    random_seed(20210610);
    while (rows < 100000) {
        const size_t tokens = random_size(1, MOST_TOKENS);
        const size_t experts = random_size(1, MOST_EXPERTS);
        const size_t picks = random_size(1, experts < MOST_PICKS ? experts : MOST_PICKS);
        const uint32_t priority = VMOE_PRIORITY_VANILLA + random_u32() % 3;
        const bool hopeless = random_u32() % 50 == 0;
        struct plan plan;

        for (size_t i = 0; i < tokens * experts; i++)
            gates[i] = hopeless ? NAN : random_gate();
        plan = make_plan(tokens, experts, picks, random_size(0, tokens), priority, gates);
        check_choice(&plan);
        check_slots(&plan);
        free_plan(&plan);
        rows += tokens;
    }
}

static void every_pair_gets_the_slot_that_counting_gives(void **unused)
{
    static float gates[MOST_TOKENS * MOST_EXPERTS];

    (void)unused;
    random_seed(314159);
    for (uint32_t run = 0; run < 600; run++) {
        const uint32_t priority = VMOE_PRIORITY_VANILLA + run % 3;
        const size_t tokens = random_size(1, MOST_TOKENS);
        const size_t experts = random_size(1, 10);
        const size_t picks = random_size(1, experts < 4 ? experts : 4);
        struct plan plan;

        for (size_t i = 0; i < tokens * experts; i++)
            gates[i] = random_gate();
        plan = make_plan(tokens, experts, picks, random_size(1, tokens), priority, gates);
        for (size_t t = 0; t < tokens; t++)
            for (size_t k = 0; k < picks; k++)
                assert_int_equal(plan.slot[t * picks + k], expected_slot(&plan, priority, t, k));
        free_plan(&plan);
    }
}

/* Only the order matters here: one expert, as many slots as tokens. */
static void a_large_group_is_sorted_and_stable(void **unused)
{
    enum { TOKENS = 100003 };
    float *gates = malloc(TOKENS * sizeof *gates);
    size_t *at = malloc(TOKENS * sizeof *at);
    struct plan plan;

    (void)unused;
    random_seed(99);
    for (size_t i = 0; i < TOKENS; i++)
        gates[i] = random_gate();
    plan = make_plan(TOKENS, 1, 1, TOKENS, VMOE_PRIORITY_BPR_MAX, gates);
    for (size_t i = 0; i < TOKENS; i++)
        at[plan.slot[i]] = i;
    for (size_t i = 1; i < TOKENS; i++)
        assert_true(comes_first(gates[at[i - 1]], at[i - 1], gates[at[i]], at[i]));
    free_plan(&plan);
    free(gates);
    free(at);
}

/* ---- Gates ----------------------------------------------------------------------------------- */

static float *random_floats(size_t n, float scale)
{
    float *values = malloc(n * sizeof *values);

    for (size_t i = 0; i < n; i++)
        values[i] = ((float)random_u32() * 0x1p-31f - 1.0f) * scale;
    return values;
}

/* Softmax in double of the logits that the contract's float32 order of operations gives. */
static void expected_gates(size_t width, size_t experts, const float *x, const float *router,
                           double *gates)
{
    double largest = -INFINITY;
    double sum = 0.0;

    for (size_t e = 0; e < experts; e++) {
        volatile float logit = 0.0f;

        for (size_t i = 0; i < width; i++) {
            volatile float product = x[i] * router[i * experts + e];

            logit = logit + product;
        }
        gates[e] = (double)logit;
        largest = gates[e] > largest ? gates[e] : largest;
    }
    for (size_t e = 0; e < experts; e++)
        sum += gates[e] = exp(gates[e] - largest);
    for (size_t e = 0; e < experts; e++)
        gates[e] /= sum;
}

static void gates_are_the_softmax_of_the_logits(void **unused)
{
    static const size_t widths[] = { 1, 3, 64, 72, 257 };
    static const size_t experts[] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 31, 32 };
    double expected[32];

    (void)unused;
    random_seed(7);
    for (size_t w = 0; w < sizeof widths / sizeof widths[0]; w++) {
        for (size_t n = 0; n < sizeof experts / sizeof experts[0]; n++) {
            const size_t width = widths[w], ldx = width + 5, count = experts[n], tokens = 21;
            float *x = random_floats(tokens * ldx, 4.0f);
            float *router = random_floats(width * count, n % 2 == 0 ? 0.5f : 8.0f);
            float *gates = malloc(tokens * count * sizeof *gates);

            gates_of(tokens, width, count, x, ldx, router, gates);
            for (size_t t = 0; t < tokens; t++) {
                expected_gates(width, count, x + t * ldx, router, expected);
                for (size_t e = 0; e < count; e++) {
                    /* The logits' difference is rounded to 2^-24 of itself before exp. */
                    const double depth = fmin(-log(expected[e]), 90.0);
                    const double error = fabs((double)gates[t * count + e] - expected[e]);

                    assert_true(error <= (5e-7 + 6e-8 * depth) * expected[e] + 2e-38);
                }
            }
            free(x);
            free(router);
            free(gates);
        }
    }
}

/* Two experts whose logits differ by d: the gates are exp(-d) / (1 + exp(-d)) and 1 / (1 + ...). */
static void exp_is_accurate_over_its_whole_range(void **unused)
{
    const float router[2] = { 0.0f, -1.0f };
    double worst = 0.0;

    (void)unused;
    for (float d = 0.0f; d < 86.0f; d += 0.00037f) {
        const double expected = exp(-(double)d);
        float gates[2];

        gates_of(1, 1, 2, &d, 1, router, gates);
        worst = fmax(worst, fabs((double)gates[1] / (double)gates[0] - expected) / expected);
    }
    /* 1.5 units in the last place of exp, and the roundings of two divisions. */
    assert_true(worst < 1.5 * 0x1p-23 + 2 * 0x1p-24);
}

static void a_tokens_gates_do_not_depend_on_the_number_of_tokens(void **unused)
{
    enum { TOKENS = 37, WIDTH = 96 };
    static const size_t experts[] = { 1, 3, 4, 6, 8, 13 };
    float whole[TOKENS * 13], part[TOKENS * 13];
    float *x, *router;

    (void)unused;
    random_seed(11);
    x = random_floats(TOKENS * WIDTH, 3.0f);
    router = random_floats(WIDTH * 13, 1.0f);
    for (size_t n = 0; n < sizeof experts / sizeof experts[0]; n++) {
        const size_t count = experts[n];

        gates_of(TOKENS, WIDTH, count, x, WIDTH, router, whole);
        for (size_t tokens = 1; tokens <= TOKENS; tokens++) {
            const size_t first = TOKENS - tokens;

            gates_of(tokens, WIDTH, count, x + first * WIDTH, WIDTH, router, part);
            assert_memory_equal(part, whole + first * count, tokens * count * sizeof *part);
        }
    }
    free(x);
    free(router);
}

/* The bits themselves, so that every machine and every build is held to the same ones. */
static void gates_have_the_same_bits_everywhere(void **unused)
{
    enum { TOKENS = 19, WIDTH = 80, EXPERTS = 8 };
    float gates[TOKENS * EXPERTS];
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    float *x, *router;

    (void)unused;
    random_seed(2106);
    x = random_floats(TOKENS * WIDTH, 2.0f);
    router = random_floats(WIDTH * EXPERTS, 1.0f);
    gates_of(TOKENS, WIDTH, EXPERTS, x, WIDTH, router, gates);
    for (size_t i = 0; i < TOKENS * EXPERTS; i++) {
        uint32_t bits;

        memcpy(&bits, &gates[i], sizeof bits);
        hash = (hash ^ bits) * UINT64_C(0x100000001b3);
    }
    assert_int_equal(hash, UINT64_C(0xa86b2d2955f92b87));
    free(x);
    free(router);
}

static void inputs_that_are_not_finite_end_as_nan_gates(void **unused)
{
    static const float bad[] = { NAN, INFINITY, -INFINITY, 3e38f };
    float x[9 * 4], router[4 * 5], gates[9 * 5];
    int16_t choice[9 * 5];

    (void)unused;
    for (size_t n = 0; n < sizeof bad / sizeof bad[0]; n++) {
        for (size_t i = 0; i < 9 * 4; i++)
            x[i] = 1.0f;
        for (size_t i = 0; i < 4 * 5; i++)
            router[i] = i % 2 == 0 ? 2.0f : -2.0f;
        x[5] = bad[n]; /* of token 1; with 3e38 a product overflows to infinity */
        gates_of(9, 4, 5, x, 4, router, gates);
        vmoe_route_choose(9, 5, 5, gates, choice);
        for (size_t t = 0; t < 9; t++)
            for (size_t e = 0; e < 5; e++)
                assert_true(t == 1 ? isnan(gates[t * 5 + e]) : isfinite(gates[t * 5 + e]));
        for (int16_t e = 0; e < 5; e++)
            assert_int_equal(choice[5 + e], e);
    }
}

static void a_far_smaller_logit_has_a_gate_of_zero(void **unused)
{
    const float x[1] = { 1.0f };
    const float router[3] = { -3e38f, 88.0f, 0.0f };
    const float least[3] = { 1.0f, 88.0f, 0.999f }; /* 87 less, and a little more */
    static const float expected[3] = { 0.0f, 1.0f, 0.0f };
    float gates[3];

    (void)unused;
    gates_of(1, 1, 3, x, 1, router, gates);
    assert_memory_equal(gates, expected, sizeof expected);
    gates_of(1, 1, 3, x, 1, least, gates);
    assert_true(gates[0] > 0.0f && gates[1] == 1.0f && gates[2] == 0.0f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(upstream_makes_the_same_decisions),
        cmocka_unit_test(the_example_without_priorities),
        cmocka_unit_test(the_example_by_largest_gate),
        cmocka_unit_test(the_sum_of_gates_may_rank_differently),
        cmocka_unit_test(a_gate_tie_goes_to_the_lower_expert),
        cmocka_unit_test(a_nan_gate_is_chosen_last),
        cmocka_unit_test(a_nan_score_comes_last_and_keeps_its_place),
        cmocka_unit_test(no_capacity_drops_everything_and_enough_drops_nothing),
        cmocka_unit_test(any_gates_give_a_valid_plan),
        cmocka_unit_test(every_pair_gets_the_slot_that_counting_gives),
        cmocka_unit_test(a_large_group_is_sorted_and_stable),
        cmocka_unit_test(gates_are_the_softmax_of_the_logits),
        cmocka_unit_test(exp_is_accurate_over_its_whole_range),
        cmocka_unit_test(a_tokens_gates_do_not_depend_on_the_number_of_tokens),
        cmocka_unit_test(gates_have_the_same_bits_everywhere),
        cmocka_unit_test(inputs_that_are_not_finite_end_as_nan_gates),
        cmocka_unit_test(a_far_smaller_logit_has_a_gate_of_zero),
    };

    return cmocka_run_group_tests_name("routing", tests, NULL, NULL);
}
