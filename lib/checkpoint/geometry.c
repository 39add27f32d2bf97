/* Geometry from shapes: one small question after the other. */
#include "checkpoint/geometry.h"

#include <math.h>
#include <stdio.h>

#include "runtime/limits.h"

/* The array of a path, which must have this rank and dimensions within 32 bits. */
static vmoe_status demand(const struct vmoe_source *source, const struct vmoe_dialect *dialect,
                          const char *path, uint32_t rank, const struct vmoe_array **array,
                          vmoe_error *error)
{
    *array = vmoe_dialect_find(source, dialect, "%s", path);
    if (*array == NULL)
        return vmoe_fail(error, VMOE_ERR_FORMAT, path, "the checkpoint lacks this array");
    if ((*array)->rank != rank)
        return vmoe_fail(error, VMOE_ERR_FORMAT, path, "the array has %u dimensions, not %u",
                         (*array)->rank, rank);
    for (uint32_t i = 0; i < rank; i++)
        if ((*array)->dims[i] == 0 || (*array)->dims[i] >= VMOE_LIMIT_DIMENSION)
            return vmoe_fail(error, VMOE_ERR_FORMAT, path, "dimension %u is %llu", i,
                             (unsigned long long)(*array)->dims[i]);
    return VMOE_OK;
}

static vmoe_status derive_input(const struct vmoe_source *source,
                                const struct vmoe_dialect *dialect, vmoe_info *info,
                                vmoe_error *error)
{
    const struct vmoe_array *embedding, *position;
    char path[128];
    uint64_t patches, side;
    vmoe_status status = demand(source, dialect, "embedding/kernel", 4, &embedding, error);

    snprintf(path, sizeof path, "%s/posembed_input/pos_embedding", dialect->encoder);
    if (status == VMOE_OK)
        status = demand(source, dialect, path, 3, &position, error);
    if (status != VMOE_OK)
        return status;
    /* The importer takes memory for this array before it reads any. */
    if (position->dims[0] != 1 || position->dims[2] != embedding->dims[3])
        return vmoe_fail(error, VMOE_ERR_FORMAT, path,
                         "the shape is (%llu, %llu, %llu), but (1, tokens, %llu) was expected",
                         (unsigned long long)position->dims[0],
                         (unsigned long long)position->dims[1],
                         (unsigned long long)position->dims[2],
                         (unsigned long long)embedding->dims[3]);
    info->patch_size = (uint32_t)embedding->dims[0];
    info->width = (uint32_t)embedding->dims[3];
    info->classifier = VMOE_CLASSIFIER_GAP;
    if (vmoe_dialect_find(source, dialect, "cls") != NULL)
        info->classifier = VMOE_CLASSIFIER_TOKEN;
    else if (vmoe_dialect_find(source, dialect, "MapHead/probe") != NULL)
        info->classifier = VMOE_CLASSIFIER_MAP;
    patches = position->dims[1] - (info->classifier == VMOE_CLASSIFIER_TOKEN ? 1 : 0);
    side = (uint64_t)sqrt((double)patches);
    if (side == 0 || side * side != patches || side > VMOE_LIMIT_IMAGE_SIZE ||
        info->patch_size > VMOE_LIMIT_IMAGE_SIZE)
        return vmoe_fail(error, VMOE_ERR_FORMAT, path,
                         "%llu patches of %u pixels are no square image",
                         (unsigned long long)patches, info->patch_size);
    info->image_size = (uint32_t)side * info->patch_size;
    return VMOE_OK;
}

/* Experts and members from a router, (width, experts) or (width, members, experts of a member). */
static vmoe_status derive_experts(const struct vmoe_source *source,
                                  const struct vmoe_dialect *dialect, const char *path,
                                  uint32_t rank, vmoe_info *info, vmoe_error *error)
{
    const struct vmoe_array *router;
    vmoe_status status = demand(source, dialect, path, rank == 3 ? 3 : 2, &router, error);
    uint64_t experts;

    if (status != VMOE_OK)
        return status;
    experts = router->dims[1];
    if (rank == 3) {
        info->members = (uint32_t)router->dims[1];
        experts *= router->dims[2];
    }
    if (experts > VMOE_LIMIT_EXPERTS)
        return vmoe_fail(error, VMOE_ERR_LIMIT, path, "there are %llu experts, the limit is %u",
                         (unsigned long long)experts, VMOE_LIMIT_EXPERTS);
    info->experts = (uint32_t)experts;
    return VMOE_OK;
}

static vmoe_status derive_block(const struct vmoe_source *source,
                                const struct vmoe_dialect *dialect, uint32_t block,
                                vmoe_info *info, vmoe_error *error)
{
    const struct vmoe_array *array;
    char path[128];
    vmoe_status status;

    snprintf(path, sizeof path, "%s/encoderblock_%u/Moe/Router/dense/kernel", dialect->encoder,
             block);
    array = vmoe_dialect_find(source, dialect, "%s", path);
    if (array != NULL) {
        status = derive_experts(source, dialect, path, array->rank, info, error);
        if (status != VMOE_OK)
            return status;
        info->moe[block] = 1;
        snprintf(path, sizeof path, "%s/encoderblock_%u/Moe/Mlp/Dense_0/kernel", dialect->encoder,
                 block);
        status = demand(source, dialect, path, 3, &array, error);
    } else {
        snprintf(path, sizeof path, "%s/encoderblock_%u/%s/Dense_0/kernel", dialect->encoder, block,
                 dialect->mlp);
        status = demand(source, dialect, path, 2, &array, error);
    }
    if (status == VMOE_OK)
        info->mlp = (uint32_t)array->dims[array->rank - 1];
    return status;
}

vmoe_status vmoe_geometry_derive(const struct vmoe_source *source,
                                 const struct vmoe_dialect *dialect, vmoe_info *info,
                                 vmoe_error *error)
{
    const struct vmoe_array *array;
    char path[128];
    vmoe_status status = derive_input(source, dialect, info, error);

    if (status != VMOE_OK)
        return status;
    snprintf(path, sizeof path, "%s/encoderblock_0/LayerNorm_0/scale", dialect->encoder);
    status = demand(source, dialect, path, 1, &array, error);
    if (status != VMOE_OK)
        return status;
    snprintf(path, sizeof path, "%s/encoderblock_0/%s/query/kernel", dialect->encoder,
             dialect->attention);
    status = demand(source, dialect, path, 3, &array, error);
    if (status != VMOE_OK)
        return status;
    info->heads = (uint32_t)array->dims[1];
    while (info->layers < VMOE_MAX_LAYERS &&
           vmoe_dialect_find(source, dialect, "%s/encoderblock_%u/LayerNorm_0/scale",
                             dialect->encoder, info->layers) != NULL) {
        status = derive_block(source, dialect, info->layers, info, error);
        if (status != VMOE_OK)
            return status;
        info->layers++;
    }
    if (vmoe_dialect_find(source, dialect, "pre_logits/kernel") != NULL) {
        status = demand(source, dialect, "pre_logits/kernel", 2, &array, error);
        if (status != VMOE_OK)
            return status;
        info->pre_logits = (uint32_t)array->dims[1];
    }
    status = demand(source, dialect, "head/kernel", 2, &array, error);
    if (status == VMOE_OK)
        info->classes = (uint32_t)array->dims[1];
    return status;
}
