/* Numbers are taken out of the packed layout one by one. */
#include "support/tensor_crc.h"

#include <string.h>
#include <zlib.h>

#include "kernels/pack.h"

uint32_t tensor_crc(const struct vmoe_tensor *tensor, const uint8_t *data, const float *scales)
{
    uLong crc = crc32(0, NULL, 0);

    for (size_t i = 0; i < tensor->rows; i++) {
        for (size_t j = 0; j < tensor->columns; j++) {
            float value;

            if (tensor->part == VMOE_PART_MATRIX)
                value = vmoe_pack_value(tensor->precision, tensor->rows, data, i, j);
            else
                memcpy(&value, data + (i * tensor->columns + j) * sizeof value, sizeof value);
            if (tensor->precision == VMOE_PRECISION_INT8)
                value *= scales[j];
            crc = crc32(crc, (const Bytef *)&value, sizeof value);
        }
    }
    return (uint32_t)crc;
}
