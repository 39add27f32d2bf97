/*
 * The geometry of slices: boxes of elements inside an array, and the proof that a set of them
 * covers every element exactly once.
 *
 * A box is 2 * rank numbers: start and stop of the first axis, start and stop of the second, ...
 * Callers have checked start <= stop <= dimension.
 */
#ifndef VMOE_CHECKPOINT_BOXES_H
#define VMOE_CHECKPOINT_BOXES_H

#include <stddef.h>
#include <stdint.h>

#include "checkpoint/source.h"

uint64_t vmoe_box_volume(const uint32_t *box, uint32_t rank);

/* Orders boxes by their first elements in C order, then by where they stop. */
int vmoe_box_compare(const uint32_t *a, const uint32_t *b, uint32_t rank);

/* How many elements of the box lie before flat position `position` of the array. */
uint64_t vmoe_box_before(const uint32_t *box, const struct vmoe_array *array, uint64_t position);

/*
 * The flat position in the array of element number `index` of the box, and how many elements from
 * there on follow each other in both.
 */
uint64_t vmoe_box_locate(const uint32_t *box, const struct vmoe_array *array, uint64_t index,
                         uint64_t *run);

/* "[0:64, 8:16]", "[]" for rank 0. */
#define VMOE_BOX_TEXT_BYTES (VMOE_LIMIT_RANK * 24u + 3u)
void vmoe_box_text(const uint32_t *box, uint32_t rank, char text[VMOE_BOX_TEXT_BYTES]);

/*
 * Demands that the boxes that begin at `bounds[list[0]]`, `bounds[list[1]]`, ... tile the array,
 * which has at least one element.  The work for boxes on a grid is proportional to their number;
 * arrangements that would need more steps than `*work` are refused, and `*work` is diminished.
 */
vmoe_status vmoe_boxes_tile(const struct vmoe_array *array, const uint32_t *bounds,
                            const uint32_t *list, size_t count, const vmoe_allocator *allocator,
                            uint64_t *work, vmoe_error *error);

#endif
