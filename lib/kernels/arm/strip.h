/*
 * What is the same in all products of NEON: a panel is worked through in four strips of 8 columns,
 * two vectors of sums for each row, and a step is 16 bytes of each row.
 */
#ifndef VMOE_KERNELS_ARM_STRIP_H
#define VMOE_KERNELS_ARM_STRIP_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/layout.h"
#include "kernels/register_tile.h"

#define STEP_BYTES 16u

/* Line number i of a strip: behind the 16 lines of a tile stands the other tile of the block. */
static inline const uint8_t *line_at(const uint8_t *strip, size_t i)
{
    return strip + i * LINE_BYTES + i / LINES * TILE_BYTES;
}

#endif
