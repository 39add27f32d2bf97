/*
 * Checkpoints whose weights are a formula of their names: any geometry, nothing on disk.  The
 * golden data define the formula; benchmarks use it for models of real size.
 */
#ifndef VMOE_TESTS_FORMULA_H
#define VMOE_TESTS_FORMULA_H

#include <stdint.h>
#include <vmoe.h>

#include "checkpoint/source.h"

/*
 * A source with upstream's names for the geometry of `info`:  image_size, patch_size, width, heads,
 * mlp, layers, classes, pre_logits, classifier, experts, members and moe are used.  Routers of
 * several members have a dimension for them.  NULL if there is no memory.
 */
struct vmoe_source *formula_source(const vmoe_info *info, uint64_t seed);

/* Value number i of the tensor of a name. */
float formula_value(const char *name, uint64_t seed, float offset, float scale, uint64_t i);

#endif
