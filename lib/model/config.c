/*
 * Which geometries and dials make sense, and the numbers that follow from them.  Nothing here
 * computes with a value that has not passed its limit.
 */
#include "model/config.h"

#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "model/tensors.h"
#include "runtime/limits.h"

/* Whose fields are checked, and what a wrong value is called. */
struct check {
    const char *where;
    vmoe_status wrong;
    vmoe_error *error;
};

static vmoe_status refuse(const struct check *check, vmoe_status status, const char *field,
                          const char *format, ...) VMOE_PRINTF(4, 5);

/* The place of a field in errors is the prefix, if there is one, a dot, and the field's name. */
static vmoe_status refuse(const struct check *check, vmoe_status status, const char *field,
                          const char *format, ...)
{
    char place[sizeof check->error->where], text[sizeof check->error->text];
    va_list arguments;

    snprintf(place, sizeof place, "%s%s%s", check->where, check->where[0] != '\0' ? "." : "", field);
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return vmoe_fail(check->error, status, place, "%s", text);
}

struct bound {
    const char *field;
    uint64_t value, least, most;
    bool choice; /* one of a few values, not a size */
};

/* Too small a value is wrong in itself; a size that is too large is beyond a limit. */
static vmoe_status check_bounds(const struct check *check, const struct bound *bounds, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct bound *b = &bounds[i];

        if (b->value < b->least || b->value > b->most)
            return refuse(check, b->value < b->least || b->choice ? check->wrong : VMOE_ERR_LIMIT,
                          b->field, "the value is %llu, but %llu to %llu is possible",
                          (unsigned long long)b->value, (unsigned long long)b->least,
                          (unsigned long long)b->most);
    }
    return VMOE_OK;
}

uint32_t vmoe_config_patches(const vmoe_info *info)
{
    uint32_t side = info->image_size / info->patch_size;

    return side * side;
}

uint32_t vmoe_config_first_patch(const vmoe_info *info)
{
    return info->classifier == VMOE_CLASSIFIER_TOKEN ? 1 : 0;
}

bool vmoe_config_reads_class_tokens(const vmoe_info *info)
{
    return info->classifier == VMOE_CLASSIFIER_TOKEN;
}

uint32_t vmoe_config_patch_values(const vmoe_info *info)
{
    return info->patch_size * info->patch_size * 3;
}

uint32_t vmoe_config_head_width(const vmoe_info *info)
{
    return info->pre_logits != 0 ? info->pre_logits : info->width;
}

uint32_t vmoe_config_own_experts(const vmoe_info *info)
{
    return info->experts / info->members;
}

uint32_t vmoe_config_first_moe(const vmoe_info *info)
{
    uint32_t block = 0;

    while (block < info->layers && !info->moe[block])
        block++;
    return block;
}

static vmoe_status check_geometry(const struct check *check, const vmoe_info *info)
{
    const struct bound bounds[] = {
        { "patch_size", info->patch_size, 1, VMOE_LIMIT_IMAGE_SIZE, false },
        { "image_size", info->image_size, 1, VMOE_LIMIT_IMAGE_SIZE, false },
        { "width", info->width, 1, VMOE_LIMIT_WIDTH, false },
        { "heads", info->heads, 1, VMOE_LIMIT_HEADS, false },
        { "mlp", info->mlp, 1, VMOE_LIMIT_MLP, false },
        { "layers", info->layers, 1, VMOE_LIMIT_LAYERS, false },
        { "classes", info->classes, 1, VMOE_LIMIT_CLASSES, false },
        { "pre_logits", info->pre_logits, 0, VMOE_LIMIT_WIDTH, false },
        { "classifier", info->classifier, VMOE_CLASSIFIER_TOKEN, VMOE_CLASSIFIER_MAP, true },
        { "gelu", info->gelu, VMOE_GELU_TANH, VMOE_GELU_ERF, true },
        { "output", info->output, VMOE_OUTPUT_SOFTMAX, VMOE_OUTPUT_SIGMOID, true },
        { "precision", info->precision, VMOE_PRECISION_F32, VMOE_PRECISION_INT8, true },
        { "experts", info->experts, 0, VMOE_LIMIT_EXPERTS, false },
        { "members", info->members, 1, VMOE_LIMIT_MEMBERS, false },
        { "compact", info->compact, 0, 1, true },
    };
    vmoe_status outcome = check_bounds(check, bounds, sizeof bounds / sizeof bounds[0]);

    if (outcome != VMOE_OK)
        return outcome;
    if (info->image_size % info->patch_size != 0)
        return refuse(check, check->wrong, "patch_size",
                      "patches of %u pixels do not divide an image of %u", info->patch_size,
                      info->image_size);
    if (info->width % info->heads != 0)
        return refuse(check, check->wrong, "heads",
                      "%u heads do not divide a width of %u", info->heads, info->width);
    if (vmoe_config_patches(info) + vmoe_config_first_patch(info) > VMOE_LIMIT_TOKENS)
        return refuse(check, VMOE_ERR_LIMIT, "patch_size",
                      "an image has %u patches, the limit is %u tokens",
                      vmoe_config_patches(info), VMOE_LIMIT_TOKENS);
    if ((vmoe_config_patches(info) + vmoe_config_first_patch(info)) * info->members >
        VMOE_LIMIT_TOKENS)
        return refuse(check, VMOE_ERR_LIMIT, "members",
                      "%u members have %u patches of an image each, the limit is %u tokens",
                      info->members, vmoe_config_patches(info), VMOE_LIMIT_TOKENS);
    return VMOE_OK;
}

bool vmoe_config_is_zero(double x)
{
    uint64_t bits;

    memcpy(&bits, &x, sizeof bits);
    return bits << 1 == 0;
}

/* Those of a NaN are larger, but for the sign. */
#define INFINITY_BITS UINT64_C(0x7ff0000000000000)

static vmoe_status check_capacity_ratio(const struct check *check, double ratio)
{
    const double most = VMOE_LIMIT_CAPACITY;
    uint64_t bits, most_bits;

    /* Positive numbers are ordered as their bits, and comparing bits never traps, as NaN can. */
    memcpy(&bits, &ratio, sizeof bits);
    memcpy(&most_bits, &most, sizeof most_bits);
    if (bits > 0 && bits <= most_bits)
        return VMOE_OK;
    /* Printing a signalling NaN would trap as well. */
    if (bits << 1 > INFINITY_BITS << 1)
        ratio = (double)NAN;
    return refuse(check, check->wrong, "capacity",
                  "the capacity ratio is %g, but it must be above 0 and at most %g", ratio,
                  most);
}

static vmoe_status check_experts(const struct check *check, const vmoe_info *info)
{
    const struct bound bounds[] = {
        { "experts_per_token", info->experts_per_token, 1, VMOE_LIMIT_PICKS, false },
        { "capacity_rule", info->capacity_rule, VMOE_CAPACITY_CEIL, VMOE_CAPACITY_ROUND, true },
        { "capacity_multiple", info->capacity_multiple, 1, VMOE_LIMIT_CAPACITY_MULTIPLE, false },
        { "group_images", info->group_images, 1, VMOE_LIMIT_GROUP_TOKENS, false },
    };
    uint32_t marked = 0;
    vmoe_status outcome;

    for (uint32_t i = 0; i < VMOE_MAX_LAYERS; i++) {
        if (info->moe[i] > 1 || (info->moe[i] == 1 && i >= info->layers))
            return refuse(check, check->wrong, "moe",
                          "block %u is marked %u in a model of %u blocks", i, info->moe[i],
                          info->layers);
        marked += info->moe[i];
    }
    if ((marked == 0) != (info->experts == 0))
        return refuse(check, check->wrong, "experts",
                      "there are %u experts but %u blocks that have them", info->experts,
                      marked);
    if (info->experts % info->members != 0 || (info->experts == 0 && info->members != 1))
        return refuse(check, check->wrong, "members",
                      "%u experts cannot be shared out among %u members", info->experts,
                      info->members);
    if (info->experts == 0) {
        if (info->experts_per_token != 0 || !vmoe_config_is_zero(info->capacity) ||
            info->capacity_rule != 0 || info->capacity_multiple != 0 || info->group_images != 0)
            return refuse(check, check->wrong, "experts",
                          "a model without experts has defaults for routing");
        return VMOE_OK;
    }
    outcome = check_bounds(check, bounds, sizeof bounds / sizeof bounds[0]);
    if (outcome != VMOE_OK)
        return outcome;
    if (info->experts_per_token > vmoe_config_own_experts(info))
        return refuse(check, check->wrong, "experts_per_token",
                      "a token cannot go to %u of %u experts", info->experts_per_token,
                      vmoe_config_own_experts(info));
    return check_capacity_ratio(check, info->capacity);
}

vmoe_status vmoe_config_check_preprocessing(const vmoe_preprocessing *preprocessing,
                                            const char *where, vmoe_status status,
                                            vmoe_error *error)
{
    const vmoe_preprocessing *p = preprocessing;
    const struct bound bounds[] = {
        { "preprocessing.kind", p->kind, VMOE_PREPROCESS_RESIZE, VMOE_PREPROCESS_SMALL_CROP, true },
        { "preprocessing.side", p->side, 1, VMOE_LIMIT_IMAGE_SIZE, false },
    };
    const struct check check = { where, status, error };
    vmoe_status outcome = check_bounds(&check, bounds, sizeof bounds / sizeof bounds[0]);

    if (outcome != VMOE_OK)
        return outcome;
    if (p->kind == VMOE_PREPROCESS_RESIZE && p->crop != 0)
        return refuse(&check, status, "preprocessing.crop",
                      "resizing takes no crop, so this is 0, not %u", p->crop);
    if (p->kind == VMOE_PREPROCESS_SMALL_CROP && (p->crop == 0 || p->crop > p->side))
        return refuse(&check, status, "preprocessing.crop",
                      "a crop of %u is not within 1 and the side, %u", p->crop, p->side);
    return VMOE_OK;
}

static vmoe_status check_preprocessing(const struct check *check, const vmoe_info *info)
{
    const vmoe_preprocessing *p = &info->preprocessing;
    uint32_t side = p->kind == VMOE_PREPROCESS_SMALL_CROP ? p->crop : p->side;
    vmoe_status outcome =
        vmoe_config_check_preprocessing(p, check->where, check->wrong, check->error);

    if (outcome == VMOE_OK && side != info->image_size)
        return refuse(check, check->wrong, "preprocessing",
                      "it makes images of %u pixels, but the model's input has %u", side,
                      info->image_size);
    return outcome;
}

vmoe_status vmoe_config_complete(vmoe_info *info, const char *where, vmoe_status status,
                                 vmoe_error *error)
{
    const struct check check = { where, status, error };
    struct vmoe_tensor_totals totals = { .count = UINT64_MAX };
    vmoe_status outcome;

    if (info->members == 0)
        info->members = 1;
    outcome = check_geometry(&check, info);
    if (outcome == VMOE_OK)
        outcome = check_experts(&check, info);
    if (outcome == VMOE_OK)
        outcome = check_preprocessing(&check, info);
    if (outcome != VMOE_OK)
        return outcome;
    info->tokens = vmoe_config_patches(info) + vmoe_config_first_patch(info);
    info->features = info->members * vmoe_config_head_width(info);
    info->moe_layers = 0;
    for (uint32_t i = 0; i < info->layers; i++)
        info->moe_layers += info->moe[i];
    /* An expert has several tensors; to count those of a million experts takes a while. */
    if ((uint64_t)info->moe_layers * info->experts <= VMOE_LIMIT_TENSORS)
        totals = vmoe_tensor_add_up(info);
    if (totals.count > VMOE_LIMIT_TENSORS)
        return refuse(&check, VMOE_ERR_LIMIT, "experts",
                      "%u layers of %u experts have more tensors than the limit of %u",
                      info->moe_layers, info->experts, VMOE_LIMIT_TENSORS);
    info->parameters = totals.parameters;
    info->weight_bytes = totals.bytes;
    return VMOE_OK;
}

/* ---- The dial ------------------------------------------------------------------------------- */

/* Rounds half to even without the host's rounding mode. */
static double round_half_even(double x)
{
    double below = floor(x);
    double rest = x - below;

    if (rest > 0.5 || (rest == 0.5 && fmod(below, 2.0) != 0.0))
        return below + 1.0;
    return below;
}

uint64_t vmoe_capacity(uint64_t tokens, uint64_t experts, uint64_t picks, double ratio,
                       uint32_t rule, uint32_t multiple)
{
    double exact = ((double)(tokens * picks) * ratio) / (double)experts;
    uint64_t slots = (uint64_t)(rule == VMOE_CAPACITY_ROUND ? round_half_even(exact) : ceil(exact));
    uint64_t rest = slots % multiple;

    return rest == 0 ? slots : slots + (multiple - rest);
}

static vmoe_status resolve_group(const vmoe_info *info, const vmoe_options *options,
                                 uint64_t images, struct vmoe_dial *dial, vmoe_error *error)
{
    const uint64_t tokens = (uint64_t)info->tokens * info->members;
    uint64_t group = options->group_images != 0 ? options->group_images : info->group_images;

    if (options->group_images == VMOE_GROUP_ALL)
        group = images;
    /* Without experts there is nothing to compete for, and a group is just an image. */
    if (info->experts == 0 || images == 0)
        group = 1;
    if (group == 0 || images % group != 0)
        return vmoe_fail(error, VMOE_ERR_ARGUMENT, "options.group_images",
                         "groups of %llu images do not divide the %llu images of the call",
                         (unsigned long long)group, (unsigned long long)images);
    if (group > VMOE_LIMIT_GROUP_TOKENS / tokens)
        return vmoe_fail(error, VMOE_ERR_LIMIT, "options.group_images",
                         "a group of %llu images has more than %u tokens",
                         (unsigned long long)group, VMOE_LIMIT_GROUP_TOKENS);
    dial->group_images = (uint32_t)group;
    dial->group_tokens = group * tokens;
    dial->groups = images / group;
    return VMOE_OK;
}

/* The slots of an expert, with every default filled in. */
static vmoe_status resolve_capacity(const vmoe_info *info, const vmoe_options *options,
                                    struct vmoe_dial *dial, vmoe_error *error)
{
    const double ratio =
        vmoe_config_is_zero(options->capacity) ? info->capacity : options->capacity;
    const uint32_t rule =
        options->capacity_rule != 0 ? options->capacity_rule : info->capacity_rule;
    const uint32_t multiple =
        options->capacity_multiple != 0 ? options->capacity_multiple : info->capacity_multiple;

    dial->capacity =
        vmoe_capacity(dial->group_tokens, info->experts, dial->picks, ratio, rule, multiple);
    if (dial->capacity < 1)
        return vmoe_fail(error, VMOE_ERR_ARGUMENT, "options.capacity",
                         "a ratio of %g gives an expert no slot in a group of %llu tokens", ratio,
                         (unsigned long long)dial->group_tokens);
    return VMOE_OK;
}

vmoe_status vmoe_dial_resolve(const vmoe_info *info, const vmoe_options *options, uint64_t images,
                              struct vmoe_dial *dial, vmoe_error *error)
{
    const struct check check = { "options", VMOE_ERR_ARGUMENT, error };
    vmoe_status status;

    memset(dial, 0, sizeof *dial);
    if (images > VMOE_LIMIT_IMAGES)
        return vmoe_fail(error, VMOE_ERR_LIMIT, "input.images", "%llu images are more than %llu",
                         (unsigned long long)images, (unsigned long long)VMOE_LIMIT_IMAGES);
    if (options->priority > VMOE_PRIORITY_BPR_SUM)
        return vmoe_fail(error, VMOE_ERR_ARGUMENT, "options.priority", "%u is no vmoe_priority",
                         options->priority);
    if (options->capacity_rule > VMOE_CAPACITY_ROUND)
        return vmoe_fail(error, VMOE_ERR_ARGUMENT, "options.capacity_rule",
                         "%u is no vmoe_capacity_rule", options->capacity_rule);
    if (options->capacity_multiple > VMOE_LIMIT_CAPACITY_MULTIPLE)
        return vmoe_fail(error, VMOE_ERR_LIMIT, "options.capacity_multiple",
                         "multiples of %u are beyond the limit of %u", options->capacity_multiple,
                         VMOE_LIMIT_CAPACITY_MULTIPLE);
    if (!vmoe_config_is_zero(options->capacity)) {
        status = check_capacity_ratio(&check, options->capacity);
        if (status != VMOE_OK)
            return status;
    }
    if (options->experts_per_token > VMOE_LIMIT_PICKS ||
        (info->experts != 0 && options->experts_per_token > vmoe_config_own_experts(info)))
        return vmoe_fail(error, VMOE_ERR_ARGUMENT, "options.experts_per_token",
                         "a token cannot go to %u experts: %s has %u, the limit is %u",
                         options->experts_per_token,
                         info->members > 1 ? "a member of the ensemble" : "the model",
                         vmoe_config_own_experts(info), VMOE_LIMIT_PICKS);
    status = resolve_group(info, options, images, dial, error);
    if (status != VMOE_OK || info->experts == 0)
        return status;
    dial->picks =
        options->experts_per_token != 0 ? options->experts_per_token : info->experts_per_token;
    dial->priority =
        options->priority != VMOE_PRIORITY_DEFAULT ? options->priority : VMOE_PRIORITY_VANILLA;
    return resolve_capacity(info, options, dial, error);
}
