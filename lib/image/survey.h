/*
 * What a JPEG file says of itself, found by walking its markers: enough to refuse, before anything
 * is decoded, what libjpeg would either not decode or decode for minutes.
 */
#ifndef VMOE_IMAGE_SURVEY_H
#define VMOE_IMAGE_SURVEY_H

#include <stddef.h>
#include <stdint.h>

#include "runtime/status.h"

/*
 * Accepts 8-bit Huffman-coded files, baseline, extended or progressive, of up to
 * VMOE_LIMIT_JPEG_SCANS scans; everything else is an error.  Writes the sum over all scans of the
 * components in them: times the blocks of one component it bounds the work of decoding.  The time
 * it takes is linear in `bytes`, and small.
 */
vmoe_status vmoe_jpeg_survey(const uint8_t *data, size_t bytes, const char *where,
                             uint32_t *component_scans, vmoe_error *error);

#endif
