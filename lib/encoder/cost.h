/* Multiply-adds of a forward pass, from geometry and dial alone. */
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

/* The multiply-adds of a call, all that a vmoe_cost has; false if one is beyond 64 bits. */
bool vmoe_cost_count(const vmoe_info *info, const struct vmoe_dial *dial, uint64_t images,
                     vmoe_cost *cost);

#endif
