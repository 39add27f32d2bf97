/* The numbers of the packed layout (kernels.h), beside VMOE_PANEL. */
#ifndef VMOE_KERNELS_LAYOUT_H
#define VMOE_KERNELS_LAYOUT_H

#define LINES 16u      /* of a tile, two of which are a block */
#define COLUMNS 16u    /* of a tile, 4 bytes of each in a line */
#define LINE_BYTES (4u * COLUMNS)
#define TILE_BYTES (LINES * LINE_BYTES)

#endif
