/* Cutting an image into the patches that the embedding multiplies. */
#include "image/preprocess.h"

#include <stddef.h>
#include <string.h>

/*
 * A patch is made of `patch` runs of 3 * patch values that lie together both in the image and in
 * the patch.  Run `i` of an image row goes here in the patches.
 */
static size_t run_offset(size_t side, size_t patch, size_t row, size_t i)
{
    const size_t number = row / patch * (side / patch) + i;

    return (number * patch + row % patch) * 3 * patch;
}

/*
 * 2 / 765.  This times three times a byte is the byte / 255 * 2, rounded as if it had been divided,
 * for each of the 256 bytes; it saves the division, which takes longer than everything else.
 */
#define TWO_OF_765 0x1.56ac02p-9f

void vmoe_patches_from_pixels(uint32_t side, uint32_t patch, const uint8_t *pixels, float *patches)
{
    const size_t grid = side / patch;
    const size_t run = (size_t)3 * patch;

    for (size_t y = 0; y < grid * patch; y++) {
        for (size_t i = 0; i < grid; i++) {
            const uint8_t *from = pixels + y * 3 * side + i * run;
            float *to = patches + run_offset(side, patch, y, i);

            for (size_t c = 0; c < run; c++)
                to[c] = (float)(int32_t)(3u * from[c]) * TWO_OF_765 - 1.0f;
        }
    }
}

void vmoe_patches_from_range(uint32_t side, uint32_t patch, const float *pixels, float *patches)
{
    const size_t grid = side / patch;
    const size_t run = (size_t)3 * patch;

    for (size_t y = 0; y < grid * patch; y++) {
        for (size_t i = 0; i < grid; i++) {
            const float *from = pixels + y * 3 * side + i * run;
            float *to = patches + run_offset(side, patch, y, i);

            for (size_t c = 0; c < run; c++)
                to[c] = from[c] / 255.0f * 2.0f - 1.0f;
        }
    }
}

void vmoe_patches_from_tensor(uint32_t side, uint32_t patch, const float *tensor, float *patches)
{
    const size_t grid = side / patch;
    const size_t run = (size_t)3 * patch;

    for (size_t y = 0; y < grid * patch; y++)
        for (size_t i = 0; i < grid; i++)
            memcpy(patches + run_offset(side, patch, y, i), tensor + y * 3 * side + i * run,
                   run * sizeof *patches);
}
