/* Formulas for multiply-adds; a matrix product of m x k by k x n counts m * k * n. */
#include "encoder/cost.h"

#include <string.h>

#include "kernels/pack.h"
#include "runtime/checked.h"
#include "runtime/sizes.h"

uint64_t vmoe_cost_pair_macs(const vmoe_info *info)
{
    return 2 * (uint64_t)info->width * info->mlp;
}

uint64_t vmoe_cost_shared_macs(const vmoe_info *info)
{
    uint64_t t = info->tokens, d = info->width, members = info->members;
    uint64_t embedding = (uint64_t)vmoe_config_patches(info) * vmoe_config_patch_values(info) * d;
    uint64_t attention = t * 4 * d * d + 2 * t * t * d;
    uint64_t routers = (uint64_t)info->moe_layers * t * d * info->experts;
    uint64_t head = d * info->pre_logits + (uint64_t)vmoe_config_head_width(info) * info->classes;
    /* Members part behind the attention of the first block with experts. */
    uint64_t before = vmoe_config_first_moe(info), behind = info->layers - before;
    uint64_t mlps = before + members * (behind - info->moe_layers);
    uint64_t attentions = behind == 0 ? before : before + 1 + members * (behind - 1);

    if (info->classifier == VMOE_CLASSIFIER_MAP)
        head += 2 * d * d + t * 2 * d * d + 2 * t * d + vmoe_cost_pair_macs(info);
    return embedding + attentions * attention + mlps * t * vmoe_cost_pair_macs(info) + routers +
           members * head;
}

/* Those of one query and its tokens (query.c), without the projections of the query and back. */
static uint64_t query_macs(const vmoe_info *info)
{
    const uint64_t d = info->width;

    return 2 * d * d + 2 * (uint64_t)info->tokens * d * info->heads;
}

uint64_t vmoe_cost_saved_macs(const vmoe_info *info)
{
    const uint64_t t = info->tokens, d = info->width;
    const uint64_t key_value = t * 2 * d * d, mixing = 2 * t * d, spared = key_value + mixing;

    /* Of one token, or by heads of one number, keys and values may be less work than the query. */
    if (info->classifier == VMOE_CLASSIFIER_MAP)
        return info->members * (spared - vmoe_smaller(spared, query_macs(info)));
    if (!vmoe_config_reads_class_tokens(info) || info->moe[info->layers - 1])
        return 0;
    /* Queries, projections back and the MLP of the other tokens, and what one query spares. */
    return info->members * ((t - 1) * (2 * d * d + vmoe_cost_pair_macs(info)) + key_value +
                            t * mixing - query_macs(info));
}

uint64_t vmoe_cost_expert_bytes(const vmoe_info *info)
{
    uint64_t d = info->width, f = info->mlp;
    uint64_t columns = d + f;
    uint64_t arrays = info->precision == VMOE_PRECISION_INT8 ? 3 : 1; /* scales, sums, bias */

    return vmoe_pack_bytes(info->precision, d, f) + vmoe_pack_bytes(info->precision, f, d) +
           4 * columns * arrays;
}

/* ---- Pairs of a token and an expert, of one group ------------------------------------------- */

/* The most that one MoE layer can process. */
static uint64_t most_pairs(const vmoe_info *info, const struct vmoe_dial *dial)
{
    return vmoe_smaller(dial->group_tokens * dial->picks, info->experts * dial->capacity);
}

/* Of these, the ones that are never computed, because they are of tokens that the head ignores. */
static uint64_t saved_pairs(const vmoe_info *info, const struct vmoe_dial *dial)
{
    uint64_t all = most_pairs(info, dial);

    if (!vmoe_config_reads_class_tokens(info) || !info->moe[info->layers - 1])
        return 0;
    return all - vmoe_smaller((uint64_t)info->members * dial->group_images * dial->picks, all);
}

/* ---- A call --------------------------------------------------------------------------------- */

/* macs = images * each + (groups * pairs) * of_pair, or false if that is beyond 64 bits. */
static bool add_up(uint64_t images, uint64_t each, uint64_t groups, uint64_t pairs,
                   uint64_t of_pair, uint64_t *macs)
{
    uint64_t in_pairs;

    return vmoe_mul_u64(images, each, macs) && vmoe_mul_u64(groups, pairs, &in_pairs) &&
           vmoe_mul_u64(in_pairs, of_pair, &in_pairs) && vmoe_add_u64(*macs, in_pairs, macs);
}

bool vmoe_cost_count(const vmoe_info *info, const struct vmoe_dial *dial, uint64_t images,
                     vmoe_cost *cost)
{
    const uint64_t shared = vmoe_cost_shared_macs(info), pair = vmoe_cost_pair_macs(info);
    const uint64_t groups = dial->groups, layers = info->moe_layers;
    const uint64_t slots = info->experts * dial->capacity; /* upstream computes them all */
    vmoe_info dense = *info;

    dense.experts = dense.moe_layers = 0;
    dense.members = 1;
    memset(dense.moe, 0, sizeof dense.moe);
    return add_up(images, shared, groups, layers * most_pairs(info, dial), pair, &cost->macs) &&
           add_up(images, shared, groups, layers * slots, pair, &cost->macs_padded) &&
           add_up(images, vmoe_cost_shared_macs(&dense), 0, 0, 0, &cost->macs_dense) &&
           add_up(images, vmoe_cost_saved_macs(info), groups, saved_pairs(info, dial), pair,
                  &cost->macs_saved);
}
