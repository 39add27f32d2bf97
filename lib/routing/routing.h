/*
 * Routing: from gates to a plan of which expert processes which token.  Plain arrays in and out; a
 * group of S tokens routes alone.  The paper's sections 2.2 and 3.2 and the code of
 * google-research/vmoe define it; docs/semantics.md states it in full.
 */
#ifndef VMOE_ROUTING_ROUTING_H
#define VMOE_ROUTING_ROUTING_H

#include <stddef.h>
#include <stdint.h>
#include <vmoe.h>

/*
 * Turns logits (tokens, experts) into gates, their softmax over all experts, in one fixed order of
 * operations for every instruction set.
 */
void vmoe_route_gates(size_t tokens, size_t experts, float *gates);

/*
 * The `picks` largest gates of each token, best first: choice[t * picks + k] is the expert.  The
 * order is total: larger gates first, NaN last, ties to the lower index; the experts are always
 * distinct.
 */
void vmoe_route_choose(size_t tokens, size_t experts, size_t picks, const float *gates,
                       int16_t *choice);

/* Scratch bytes that vmoe_route_assign needs. */
size_t vmoe_route_scratch_bytes(size_t tokens, size_t experts);

/*
 * Gives slots to pairs.  The order of tokens is their position (VANILLA) or descending score, ties
 * by position, NaN last (BPR_MAX: largest gate, BPR_SUM: sum of the gates chosen).  For k = 0, 1,
 * ... and for tokens in that order, the pair takes the next slot of its expert; slot[t * picks + k]
 * is its number, or -1 (dropped) if the number would be `capacity` or more.
 */
void vmoe_route_assign(size_t tokens, size_t experts, size_t picks, uint64_t capacity,
                       uint32_t priority, const float *gates, const int16_t *choice, int32_t *slot,
                       void *scratch);

#endif
