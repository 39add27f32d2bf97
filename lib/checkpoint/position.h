/* Position embeddings for another input size. */
#ifndef VMOE_CHECKPOINT_POSITION_H
#define VMOE_CHECKPOINT_POSITION_H

#include <stddef.h>
#include <stdint.h>

/*
 * Resizes a square grid of vectors, (from, from, width) to (to, to, width), as upstream does:
 * linear interpolation with the corners kept in place (scipy.ndimage.zoom of order 1).
 */
void vmoe_position_resize(const float *grid, uint32_t from, uint32_t to, size_t width, float *out);

#endif
