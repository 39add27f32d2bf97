/*
 * Routing of arbitrary logits or gates: choices are distinct and in range, slots are each taken
 * once, and the plan is that of a slow and simple router.
 */
#include <string.h>

#include "fuzz/fuzz.h"
#include "routing/routing.h"

enum { TOKENS = 24, EXPERTS = 20, PICKS = 16 };

static struct plan {
    size_t tokens, experts, picks;
    uint64_t capacity;
    uint32_t priority;
    float gates[TOKENS * EXPERTS];
    int16_t choice[TOKENS * PICKS];
    int32_t slot[TOKENS * PICKS];
} plan;

/* Larger first, NaN last. */
static bool before(float a, float b)
{
    return a > b || (a == a && b != b);
}

/* The k-th choice is the best of what the choices before it have left. */
static void check_choice(size_t token)
{
    const float *row = plan.gates + token * plan.experts;
    const int16_t *choice = plan.choice + token * plan.picks;
    bool taken[EXPERTS] = { false };

    for (size_t k = 0; k < plan.picks; k++) {
        size_t best = plan.experts;

        for (size_t e = 0; e < plan.experts; e++)
            if (!taken[e] && (best == plan.experts || before(row[e], row[best])))
                best = e;
        MUST(choice[k] == (int16_t)best);
        taken[best] = true;
    }
}

static float score(size_t token)
{
    float sum = plan.gates[token * plan.experts + (size_t)plan.choice[token * plan.picks]];

    for (size_t k = 1; plan.priority == VMOE_PRIORITY_BPR_SUM && k < plan.picks; k++)
        sum += plan.gates[token * plan.experts + (size_t)plan.choice[token * plan.picks + k]];
    return sum;
}

/* Takes the tokens in their order, by looking for the next one each time. */
static void check_slots(void)
{
    bool done[TOKENS] = { false };
    size_t order[TOKENS];
    uint64_t filled[EXPERTS] = { 0 };

    for (size_t i = 0; i < plan.tokens; i++) {
        size_t next = plan.tokens;

        for (size_t t = 0; t < plan.tokens; t++)
            if (!done[t] && (next == plan.tokens || (plan.priority != VMOE_PRIORITY_VANILLA &&
                                                     before(score(t), score(next)))))
                next = t;
        done[next] = true;
        order[i] = next;
    }
    for (size_t k = 0; k < plan.picks; k++) {
        for (size_t i = 0; i < plan.tokens; i++) {
            const size_t pair = order[i] * plan.picks + k;
            const uint64_t slot = filled[plan.choice[pair]]++;

            MUST(plan.slot[pair] == (slot < plan.capacity ? (int32_t)slot : -1));
        }
    }
}

/* Gates of logits without NaN or infinity are a distribution. */
static void check_gates(const float *logits)
{
    for (size_t t = 0; t < plan.tokens; t++) {
        const float *row = plan.gates + t * plan.experts;
        float sum = 0.0f;
        bool finite = true;

        for (size_t e = 0; e < plan.experts; e++) {
            finite = finite && logits[t * plan.experts + e] - logits[t * plan.experts + e] == 0.0f;
            sum += row[e];
        }
        if (finite)
            MUST(sum > 0.999f && sum < 1.001f);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static float logits[TOKENS * EXPERTS];
    static uint64_t scratch[2 * TOKENS + EXPERTS];
    struct feed feed = { data, size };
    const uint8_t what = feed_u8(&feed);

    plan.tokens = 1 + feed_below(&feed, TOKENS);
    plan.experts = 1 + feed_below(&feed, EXPERTS);
    plan.picks = 1 + feed_below(&feed, plan.experts < PICKS ? (uint32_t)plan.experts : PICKS);
    plan.capacity = what & 4 ? feed_u64(&feed) : feed_u8(&feed) % 32u;
    plan.priority = VMOE_PRIORITY_VANILLA + what % 4 % 3;
    for (size_t i = 0; i < plan.tokens * plan.experts; i++)
        logits[i] = feed_float(&feed);
    memcpy(plan.gates, logits, sizeof logits);
    if (what & 8) {
        vmoe_route_gates(plan.tokens, plan.experts, plan.gates);
        check_gates(logits);
    }
    MUST(vmoe_route_scratch_bytes(plan.tokens, plan.experts) <= sizeof scratch);
    vmoe_route_choose(plan.tokens, plan.experts, plan.picks, plan.gates, plan.choice);
    for (size_t t = 0; t < plan.tokens; t++)
        check_choice(t);
    vmoe_route_assign(plan.tokens, plan.experts, plan.picks, plan.capacity, plan.priority,
                      plan.gates, plan.choice, plan.slot, scratch);
    check_slots();
    return 0;
}
