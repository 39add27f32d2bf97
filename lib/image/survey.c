/*
 * The walk over the markers of a JPEG file.  It finds the same markers as libjpeg: both skip
 * segments by their length, and bytes between markers up to the next 0xff.  Where libjpeg would be
 * lost, the walk may end early, since the decoder then refuses the file.
 */
#include "image/survey.h"

#include <stdbool.h>
#include <string.h>

#include "runtime/limits.h"

enum {
    STUFFED = 0x00, /* a byte 0xff of coded data */
    TEM = 0x01,
    SOF0 = 0xc0, /* baseline */
    SOF2 = 0xc2, /* progressive */
    SOF3 = 0xc3, /* lossless */
    DHT = 0xc4,
    JPG = 0xc8,
    DAC = 0xcc,
    SOF15 = 0xcf,
    RST0 = 0xd0,
    SOI = 0xd8,
    EOI = 0xd9,
    SOS = 0xda
};

struct walk {
    const uint8_t *at, *end;
};

/* The next marker's code, with `at` behind it; EOI at the end of the data. */
static uint8_t next_marker(struct walk *walk)
{
    const uint8_t *at = walk->at;
    uint8_t code = STUFFED;

    while (code == STUFFED && at < walk->end) {
        at = memchr(at, 0xff, (size_t)(walk->end - at));
        if (at == NULL)
            break;
        while (at < walk->end && *at == 0xff)
            at++;
        if (at < walk->end)
            code = *at++;
    }
    walk->at = at == NULL ? walk->end : at;
    return code == STUFFED ? EOI : code;
}

static bool stands_alone(uint8_t code)
{
    return code == TEM || (code >= RST0 && code <= SOI);
}

static bool is_frame(uint8_t code)
{
    return code >= SOF0 && code <= SOF15 && code != DHT && code != JPG && code != DAC;
}

static const char *frame_kind(uint8_t code)
{
    if (code > JPG)
        return "arithmetic coding";
    return code == SOF3 ? "lossless coding" : "hierarchical coding";
}

static vmoe_status check_frame(uint8_t code, const uint8_t *payload, size_t length,
                               const char *where, vmoe_error *error)
{
    if (code > SOF2)
        return vmoe_fail(error, VMOE_ERR_UNSUPPORTED, where,
                         "the JPEG file has %s (SOF%d), expected Huffman coding, baseline or "
                         "progressive",
                         frame_kind(code), code - SOF0);
    if (length > 0 && payload[0] != 8)
        return vmoe_fail(error, VMOE_ERR_UNSUPPORTED, where,
                         "the JPEG file has %u bits a sample, expected 8", payload[0]);
    return VMOE_OK;
}

static vmoe_status check_begin(const uint8_t *data, size_t bytes, const char *where,
                               vmoe_error *error)
{
    if (bytes > VMOE_LIMIT_JPEG_BYTES)
        return vmoe_fail(error, VMOE_ERR_LIMIT, where,
                         "the JPEG file has %zu bytes, more than the limit of %llu", bytes,
                         (unsigned long long)VMOE_LIMIT_JPEG_BYTES);
    if (bytes < 4)
        return vmoe_fail(error, VMOE_ERR_IMAGE, where,
                         "the picture has %zu bytes, too few for a JPEG file", bytes);
    if (data[0] != 0xff || data[1] != SOI)
        return vmoe_fail(error, VMOE_ERR_IMAGE, where,
                         "this is not a JPEG file: it begins with %02x %02x %02x %02x, expected "
                         "ff d8",
                         data[0], data[1], data[2], data[3]);
    return VMOE_OK;
}

vmoe_status vmoe_jpeg_survey(const uint8_t *data, size_t bytes, const char *where,
                             uint32_t *component_scans, vmoe_error *error)
{
    vmoe_status status = check_begin(data, bytes, where, error);
    uint32_t scans = 0;
    struct walk walk;
    uint8_t code;

    if (status != VMOE_OK)
        return status;
    *component_scans = 0;
    walk.at = data + 2;
    walk.end = data + bytes;
    while ((code = next_marker(&walk)) != EOI) {
        const size_t left = (size_t)(walk.end - walk.at);
        size_t length;

        if (stands_alone(code))
            continue;
        if (left < 2)
            break;
        length = (size_t)(walk.at[0] << 8 | walk.at[1]);
        length = length < 2 ? 2 : length; /* as libjpeg reads it */
        if (length > left)
            break;
        if (is_frame(code))
            status = check_frame(code, walk.at + 2, length - 2, where, error);
        if (status != VMOE_OK)
            return status;
        if (code == SOS) {
            if (++scans > VMOE_LIMIT_JPEG_SCANS)
                return vmoe_fail(error, VMOE_ERR_LIMIT, where,
                                 "the JPEG file has more than %u scans", VMOE_LIMIT_JPEG_SCANS);
            *component_scans += length > 2 ? walk.at[2] : 0u;
        }
        walk.at += length;
    }
    return VMOE_OK;
}
