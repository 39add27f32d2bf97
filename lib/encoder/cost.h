/* Multiply-adds of a forward pass, from geometry alone. */
#ifndef VMOE_ENCODER_COST_H
#define VMOE_ENCODER_COST_H

#include "model/config.h"

/* Everything but the experts, for one image: embedding, attention, dense MLPs, routers, head. */
uint64_t vmoe_cost_shared_macs(const vmoe_info *info);

/* One token in one expert, or in one dense MLP. */
uint64_t vmoe_cost_pair_macs(const vmoe_info *info);

/* Bytes of one expert's weights. */
uint64_t vmoe_cost_expert_bytes(const vmoe_info *info);

/* The most pairs that a group can have processed in a MoE layer. */
uint64_t vmoe_cost_most_pairs(const vmoe_info *info, const struct vmoe_dial *dial);

/* The slots that upstream computes for it, used or not. */
uint64_t vmoe_cost_padded_pairs(const vmoe_info *info, const struct vmoe_dial *dial);

#endif
