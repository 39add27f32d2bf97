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

#define STRIP 8u /* columns */
#define STEP_BYTES 16u

/* Where the strip at a column of the panel begins, ... */
static inline const uint8_t *strip_at(const void *panel, size_t column)
{
    return (const uint8_t *)panel + column / LINES * TILE_BYTES + column % LINES * 4;
}

/* ... and its line number i: behind the 16 lines of a tile stands the other tile of the block. */
static inline const uint8_t *line_at(const uint8_t *strip, size_t i)
{
    return strip + i * LINE_BYTES + i / LINES * TILE_BYTES;
}

#define FOR_STRIPS(column) for (size_t column = 0; column < VMOE_PANEL; column += STRIP)

#endif
