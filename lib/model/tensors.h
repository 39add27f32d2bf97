/*
 * The closed world of tensors: the list of everything a model consists of is a function of its
 * vmoe_info alone, in the order in which a forward pass needs it.  The file format, the importers
 * and the loader all walk this list.
 */
#ifndef VMOE_MODEL_TENSORS_H
#define VMOE_MODEL_TENSORS_H

#include <stdint.h>
#include <vmoe.h>

/*
 * What a tensor is for.  A matrix is followed by its int8 scales and sums, if it has any, and its
 * bias.
 */
enum vmoe_role {
    VMOE_ROLE_EMBEDDING = 1, /* patch_size^2 * 3 -> width */
    VMOE_ROLE_CLS,           /* (width) */
    VMOE_ROLE_POSITION,      /* (tokens, width) */
    VMOE_ROLE_NORM_0_SCALE,
    VMOE_ROLE_NORM_0_BIAS,
    VMOE_ROLE_QKV, /* width -> 3 * width: all heads of q, then of k, then of v */
    VMOE_ROLE_ATTENTION_OUT,
    VMOE_ROLE_NORM_1_SCALE,
    VMOE_ROLE_NORM_1_BIAS,
    VMOE_ROLE_ROUTER, /* (width, experts) */
    VMOE_ROLE_FC1,    /* of the MLP, or of one expert */
    VMOE_ROLE_FC2,
    VMOE_ROLE_NORM_SCALE, /* the encoder's last */
    VMOE_ROLE_NORM_BIAS,
    VMOE_ROLE_MAP_PROBE, /* (width) */
    VMOE_ROLE_MAP_QUERY,
    VMOE_ROLE_MAP_KEY_VALUE, /* width -> 2 * width */
    VMOE_ROLE_MAP_OUT,
    VMOE_ROLE_MAP_NORM_SCALE,
    VMOE_ROLE_MAP_NORM_BIAS,
    VMOE_ROLE_MAP_FC1,
    VMOE_ROLE_MAP_FC2,
    VMOE_ROLE_PRE_LOGITS,
    VMOE_ROLE_HEAD
};

enum vmoe_part {
    VMOE_PART_WHOLE = 0, /* a float32 array of rows x columns, row-major */
    VMOE_PART_MATRIX,    /* packed panels */
    VMOE_PART_SCALE,     /* float32 (columns) */
    VMOE_PART_SUM,       /* int32 (columns): of the int8 numbers of each */
    VMOE_PART_BIAS       /* float32 (columns) */
};

#define VMOE_TENSOR_NAME_BYTES 48u

/* The precision of sums, beside the values of vmoe_precision; the format stores this number. */
#define VMOE_TENSOR_INT32 4u

struct vmoe_tensor {
    char name[VMOE_TENSOR_NAME_BYTES]; /* such as "block.5.expert.2.fc1.weight" */
    uint32_t role;
    uint32_t part;
    uint32_t block;     /* of the encoder, where that applies */
    int32_t expert;     /* -1 for none */
    uint32_t precision; /* F32, BF16 or INT8, or INT32 of sums */
    uint32_t rows, columns;
    uint64_t bytes; /* as the kernels read it */
};

/*
 * The precision of the embedding and the head.  The two ends of a model lose most by int8 and weigh
 * little, so they are kept in bfloat16 then.
 */
uint32_t vmoe_tensor_end_precision(const vmoe_info *info);

/* How many tensors there are.  The info has passed vmoe_config_complete. */
uint64_t vmoe_tensor_count(const vmoe_info *info);

/*
 * What they add up to, which the limits keep far from wrapping.  Scales and sums of int8 numbers
 * are no parameters.
 */
struct vmoe_tensor_totals {
    uint64_t count, parameters, bytes;
};
struct vmoe_tensor_totals vmoe_tensor_add_up(const vmoe_info *info);

/* Fills `tensors` with vmoe_tensor_count entries. */
void vmoe_tensor_list(const vmoe_info *info, struct vmoe_tensor *tensors);

#endif
