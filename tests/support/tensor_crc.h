/* What a tensor of a checkpoint means, as one number, to compare readers by. */
#ifndef VMOE_TESTS_TENSOR_CRC_H
#define VMOE_TESTS_TENSOR_CRC_H

#include <stdint.h>

#include "model/tensors.h"

/*
 * CRC-32 of its numbers as float32 (sums as int32), row by row.  `scales` are the column scales of an
 * int8 matrix, which follow it in memory.
 */
uint32_t tensor_crc(const struct vmoe_tensor *tensor, const uint8_t *data, const float *scales);

#endif
