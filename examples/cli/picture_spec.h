/* The names of preprocessings, "resize-384" and "small-256-crop-224", and what they imply. */
#ifndef VMOE_CLI_PICTURE_SPEC_H
#define VMOE_CLI_PICTURE_SPEC_H

#include <stdbool.h>
#include <stddef.h>
#include <vmoe.h>

#include "npy_file.h"
#include "options.h"

bool preprocessing_parse(const char *text, vmoe_preprocessing *preprocessing);

#define PREPROCESSING_BYTES 48
void preprocessing_format(char out[PREPROCESSING_BYTES], const vmoe_preprocessing *preprocessing);

/* The side in pixels and the type of what vmoe_preprocess writes. */
size_t preprocessing_side(const vmoe_preprocessing *preprocessing);
enum npy_type preprocessing_type(const vmoe_preprocessing *preprocessing);

/* What a model sees of a picture: (side, side, 3) floats in 0..255, whatever the preprocessing. */
vmoe_status picture_see(const vmoe_preprocessing *preprocessing, const vmoe_picture *picture,
                        float *values, vmoe_error *error);

/* What the model computes with: floats in 0..255 become those in -1..1 that a tensor has. */
void picture_normalise(float *values, size_t count);

/* An option whose target is a vmoe_preprocessing. */
#define PREPROCESSING_VALUE "resize-N|small-A-crop-B"
const char *option_preprocessing(const struct cli_option *option, const char *text);

#endif
