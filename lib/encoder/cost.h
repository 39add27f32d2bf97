/* Multiply-adds of a forward pass, from geometry alone. */
#ifndef VMOE_ENCODER_COST_H
#define VMOE_ENCODER_COST_H

#include "model/config.h"

/*
 * Everything but the experts, for one image: embedding, attention, dense MLPs, routers, head.  What
 * members share counts once, the rest for each.
 */
uint64_t vmoe_cost_shared_macs(const vmoe_info *info);

/* Of these, the ones that are not done, because the head does not read what they lead to. */
uint64_t vmoe_cost_saved_macs(const vmoe_info *info);

/* One token in one expert, or in one dense MLP. */
uint64_t vmoe_cost_pair_macs(const vmoe_info *info);

/* Bytes of one expert's weights. */
uint64_t vmoe_cost_expert_bytes(const vmoe_info *info);

/* The most pairs that a group can have processed in all MoE layers together. */
uint64_t vmoe_cost_most_pairs(const vmoe_info *info, const struct vmoe_dial *dial);

/* Of these, the ones that are never computed, because they are of tokens that the head ignores. */
uint64_t vmoe_cost_saved_pairs(const vmoe_info *info, const struct vmoe_dial *dial);

/* The slots that upstream computes for it in all MoE layers, used or not. */
uint64_t vmoe_cost_padded_pairs(const vmoe_info *info, const struct vmoe_dial *dial);

#endif
