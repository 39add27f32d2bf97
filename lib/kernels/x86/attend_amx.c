/* Attention of one head in bfloat16 by tiles. */
#if defined(__x86_64__)

#include "kernels/x86/amx.h"
#include "kernels/x86/attend_bf16.h"

/* 32 rows are a square of two by two tiles, or the upper half of it. */
static void multiply(size_t count, size_t k, const uint8_t *rows, size_t stride,
                     const uint8_t *panel, void *sums, size_t sums_stride)
{
    const size_t steps = (k * sizeof(uint16_t) + STEP_BYTES - 1) / STEP_BYTES;
    const int tall = count > TILE_ROWS;

    zero_sums();
    for (size_t s = 0; s < steps; s++, rows += STEP_BYTES, panel += 2 * TILE_BYTES) {
        TILE_LOAD(6, panel, 64ul);
        TILE_LOAD(4, rows, stride);
        TILE_DOT_BF16(0, 4, 6);
        TILE_LOAD(7, panel + TILE_BYTES, 64ul);
        TILE_DOT_BF16(1, 4, 7);
        if (tall) {
            TILE_LOAD(5, rows + TILE_ROWS * stride, stride);
            TILE_DOT_BF16(2, 5, 6);
            TILE_DOT_BF16(3, 5, 7);
        }
    }
    store_sums(sums, sums_stride, tall);
}

void vmoe_amx_attend(const struct vmoe_attend *call)
{
    tiles_begin();
    attend_bf16(call);
    tiles_end();
}

#endif
