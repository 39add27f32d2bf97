/* The released checkpoints, by name: what their shapes do not say. */
#ifndef VMOE_MODEL_PRESETS_H
#define VMOE_MODEL_PRESETS_H

#include <vmoe.h>

struct vmoe_preset_row {
    const char *name;
    uint32_t variant; /* row of the backbone table */
    uint32_t image_size, classes, pre_logits, members;
    uint32_t experts_per_token;
    double capacity;
    vmoe_preprocessing preprocessing;
    uint32_t output;
};

/* The row of a name, or NULL. */
const struct vmoe_preset_row *vmoe_preset_find(const char *name);

/* The geometry of a row, not yet passed through vmoe_config_complete. */
void vmoe_preset_geometry(const struct vmoe_preset_row *row, vmoe_info *info);

#endif
