/*
 * The plan: which experts a token is sent to, and which slot of an expert each pair gets.  Gates
 * may be anything, NaN included: the order in which they rank is total, so choices stay distinct
 * and indices in range.  All arrays and the scratch come from the caller.
 */
#include "routing/routing.h"

#include <stdbool.h>
#include <string.h>

/* True if gate `a` ranks before gate `b`: it is larger, or `b` alone is NaN. */
static inline bool ranks_before(float a, float b)
{
    return a > b || (b != b && a == a);
}

void vmoe_route_choose(size_t tokens, size_t experts, size_t picks, const float *gates,
                       int16_t *choice)
{
    for (size_t t = 0; t < tokens; t++) {
        const float *row = gates + t * experts;
        int16_t *best = choice + t * picks;
        size_t held = 0;

        /* Experts come in ascending order, so an equal gate goes behind those already held. */
        for (size_t e = 0; e < experts; e++) {
            size_t at;

            if (held < picks)
                at = held++;
            else if (ranks_before(row[e], row[best[picks - 1]]))
                at = picks - 1;
            else
                continue;
            for (; at > 0 && ranks_before(row[e], row[best[at - 1]]); at--)
                best[at] = best[at - 1];
            best[at] = (int16_t)e;
        }
    }
}

/* Ascending keys are descending scores; both zeros are equal, and every NaN comes last. */
static uint32_t descending_key(float score)
{
    const float positive_zero = score + 0.0f;
    uint32_t bits;

    if (score != score)
        return UINT32_MAX;
    memcpy(&bits, &positive_zero, sizeof bits);
    return bits >> 31 ? bits : UINT32_C(0x7fffffff) - bits;
}

static float score_of(uint32_t priority, size_t picks, const float *gates, const int16_t *choice)
{
    float sum = gates[choice[0]];

    if (priority == VMOE_PRIORITY_BPR_SUM)
        for (size_t k = 1; k < picks; k++)
            sum += gates[choice[k]];
    return sum;
}

static void merge(const uint64_t *from, size_t begin, size_t middle, size_t end, uint64_t *to)
{
    size_t left = begin;
    size_t right = middle;

    for (size_t i = begin; i < end; i++) {
        if (left < middle && (right == end || from[left] < from[right]))
            to[i] = from[left++];
        else
            to[i] = from[right++];
    }
}

/* Sorts by merging runs of growing length; the answer is in `values` or in `spare`. */
static const uint64_t *sort_ascending(uint64_t *values, uint64_t *spare, size_t count)
{
    uint64_t *from = values;
    uint64_t *to = spare;

    for (size_t run = 1; run < count; run *= 2) {
        uint64_t *merged = to;

        for (size_t begin = 0; begin < count; begin += 2 * run) {
            size_t middle = count - begin > run ? begin + run : count;
            size_t end = count - begin > 2 * run ? begin + 2 * run : count;

            merge(from, begin, middle, end, to);
        }
        to = from;
        from = merged;
    }
    return from;
}

size_t vmoe_route_scratch_bytes(size_t tokens, size_t experts)
{
    return 2 * tokens * sizeof(uint64_t) + experts * sizeof(uint32_t);
}

void vmoe_route_assign(size_t tokens, size_t experts, size_t picks, uint64_t capacity,
                       uint32_t priority, const float *gates, const int16_t *choice, int32_t *slot,
                       void *scratch)
{
    uint64_t *order = scratch; /* the token in the low half, below the key of its score */
    uint64_t *spare = order + tokens;
    uint32_t *filled = (uint32_t *)(spare + tokens);
    const bool by_score =
        priority == VMOE_PRIORITY_BPR_MAX || priority == VMOE_PRIORITY_BPR_SUM;
    const uint64_t *sorted = order;

    for (size_t t = 0; t < tokens; t++) {
        order[t] = t;
        if (by_score) {
            float score = score_of(priority, picks, gates + t * experts, choice + t * picks);

            order[t] |= (uint64_t)descending_key(score) << 32;
        }
    }
    if (by_score)
        sorted = sort_ascending(order, spare, tokens);

    memset(filled, 0, experts * sizeof *filled);
    for (size_t k = 0; k < picks; k++) {
        for (size_t i = 0; i < tokens; i++) {
            const size_t pair = (size_t)(uint32_t)sorted[i] * picks + k;
            const uint32_t next = filled[choice[pair]]++;

            slot[pair] = next < capacity ? (int32_t)next : -1;
        }
    }
}
