/*
 * What a model is: geometry, the defaults of its dial, its preprocessing.  vmoe_info is the
 * vocabulary; this file says which values of it make sense and what follows from them.
 */
#ifndef VMOE_MODEL_CONFIG_H
#define VMOE_MODEL_CONFIG_H

#include <stdbool.h>
#include <stdint.h>
#include <vmoe.h>

#include "runtime/status.h"

/* All LayerNorms of ViT and V-MoE use this. */
#define VMOE_LAYER_NORM_EPSILON 1e-6f

/*
 * Checks every field that describes geometry, defaults and preprocessing, and sets the fields that
 * follow from others: tokens, features, moe_layers, parameters, weight_bytes; 0 members are set to
 * 1.  `where` begins the place in errors, `status` is what a wrong value is called: FORMAT for
 * files, ARGUMENT for callers.
 */
vmoe_status vmoe_config_complete(vmoe_info *info, const char *where, vmoe_status status,
                                 vmoe_error *error);

/* The part of that check which concerns a preprocessing alone. */
vmoe_status vmoe_config_check_preprocessing(const vmoe_preprocessing *preprocessing,
                                            const char *where, vmoe_status status,
                                            vmoe_error *error);

/*
 * Patches of an image, and the index of the first patch among its tokens (1 behind a class token).
 */
uint32_t vmoe_config_patches(const vmoe_info *info);
uint32_t vmoe_config_first_patch(const vmoe_info *info);

/*
 * True if the head reads the class token of each image and nothing else, so that the last block
 * need not compute the other tokens to their end.
 */
bool vmoe_config_reads_class_tokens(const vmoe_info *info);

/* Floats of a flattened patch. */
uint32_t vmoe_config_patch_values(const vmoe_info *info);

/* Width of what enters the head in one forward pass: the features of a member. */
uint32_t vmoe_config_head_width(const vmoe_info *info);

/* Experts among which a token chooses: those of its member. */
uint32_t vmoe_config_own_experts(const vmoe_info *info);

/* The first block with experts, at which members part; the number of blocks in a dense model. */
uint32_t vmoe_config_first_moe(const vmoe_info *info);

/*
 * True if x is 0 or -0, which mean the default.  Denormal numbers do not, but would be equal to 0
 * while the library computes.
 */
bool vmoe_config_is_zero(double x);

/* The dial of one call, with every default filled in. */
struct vmoe_dial {
    uint32_t picks; /* K */
    uint32_t priority;
    uint32_t group_images;
    uint64_t group_tokens; /* S, those of all members */
    uint64_t groups;
    uint64_t capacity; /* slots of an expert in a group, after rounding; 0 for a dense model */
};

/* Checks the options of a call with `images` images. */
vmoe_status vmoe_dial_resolve(const vmoe_info *info, const vmoe_options *options, uint64_t images,
                              struct vmoe_dial *dial, vmoe_error *error);

/*
 * Slots of an expert in a group: ((tokens * picks) * ratio) / experts in double, rounded by `rule`,
 * then up to a multiple.  0 if that is less than 1, which no call accepts.
 */
uint64_t vmoe_capacity(uint64_t tokens, uint64_t experts, uint64_t picks, double ratio,
                       uint32_t rule, uint32_t multiple);

#endif
