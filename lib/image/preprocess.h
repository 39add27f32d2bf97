/*
 * From a picture to the model's input, bit for bit as TensorFlow computes it in upstream's
 * evaluation pipeline: resize or area-average and crop, in float32 without contraction.
 */
#ifndef VMOE_IMAGE_PREPROCESS_H
#define VMOE_IMAGE_PREPROCESS_H

#include <stdint.h>

#include "image/picture.h"

/* The side of the output in pixels. */
uint32_t vmoe_preprocess_side(const vmoe_preprocessing *preprocessing);

/* Bytes of scratch, aligned to 64 and a multiple of it, for any picture within the limits. */
uint64_t vmoe_preprocess_scratch_bytes(const vmoe_preprocessing *preprocessing);

/*
 * Writes (side, side, 3) float32 in 0..255; RESIZE yields whole numbers.  The preprocessing has
 * passed vmoe_config_check_preprocessing.  The scratch includes the memory of the row stream.
 */
vmoe_status vmoe_preprocess_picture(const vmoe_preprocessing *preprocessing,
                                    const vmoe_picture *picture, const char *where, void *scratch,
                                    float *out, vmoe_error *error);

/*
 * Cuts an image (side, side, 3) into flattened patches in the order of the embedding: patches from
 * left to right and top to bottom, in each rows, columns, channels.  `patches` is (side / patch)^2
 * rows of patch * patch * 3 values.  Pixels in 0..255 become x / 255 * 2 - 1; a tensor is taken as
 * it is.
 */
void vmoe_patches_from_pixels(uint32_t side, uint32_t patch, const uint8_t *pixels, float *patches);
void vmoe_patches_from_range(uint32_t side, uint32_t patch, const float *pixels, float *patches);
void vmoe_patches_from_tensor(uint32_t side, uint32_t patch, const float *tensor, float *patches);

#endif
