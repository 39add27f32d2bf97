/* The numbers of the packed layout (kernels.h), beside VMOE_PANEL. */
#ifndef VMOE_KERNELS_LAYOUT_H
#define VMOE_KERNELS_LAYOUT_H

#include <stddef.h>
#include <stdint.h>

#define LINES 16u      /* of a tile, two of which are a block */
#define COLUMNS 16u    /* of a tile, a group of each in a line */
#define GROUP_BYTES 4u
#define LINE_BYTES (GROUP_BYTES * COLUMNS)
#define TILE_BYTES (LINES * LINE_BYTES)

/* Kernels of 256 bits and less may work through a panel in four strips. */
#define STRIP 8u /* columns */
#define FOR_STRIPS(column) for (size_t column = 0; column < VMOE_PANEL; column += STRIP)

/* Where the strip at a column of the panel begins. */
static inline const uint8_t *strip_at(const void *panel, size_t column)
{
    return (const uint8_t *)panel + column / COLUMNS * TILE_BYTES + column % COLUMNS * GROUP_BYTES;
}

#endif
