/*
 * JPEG files as rows, through libjpeg-turbo.  Its state lives in the caller's memory; its errors
 * jump no further than to the function of this file that called it.  libjpeg warns where a file is
 * truncated or damaged and goes on with made-up pixels, so a warning is an error, unless it is
 * about the header, before there are any pixels to be wrong.
 */
#ifndef VMOE_NO_JPEG

#include "image/jpeg.h"

#include <setjmp.h>
#include <stdbool.h>
#include <stdio.h>

#include <jpeglib.h>

#include <jerror.h>

#include "image/survey.h"
#include "runtime/limits.h"

struct jpeg_rows {
    struct vmoe_rows rows; /* first, so that the two pointers are one */
    struct jpeg_decompress_struct decoder;
    struct jpeg_error_mgr manager;
    jmp_buf escape; /* armed anew by each of the functions that call libjpeg */
    const char *where;
    bool has_header;
    uint8_t *spare; /* a row of the decoder's output, owned by it */
};

_Static_assert(sizeof(struct jpeg_rows) <= VMOE_ROWS_BYTES, "VMOE_ROWS_BYTES is too small");

/* ---- What libjpeg calls ---------------------------------------------------------------------- */

static void on_error(j_common_ptr decoder)
{
    struct jpeg_rows *jpeg = decoder->client_data;

    longjmp(jpeg->escape, 1);
}

static void on_message(j_common_ptr decoder, int level)
{
    const struct jpeg_rows *jpeg = decoder->client_data;

    if (level < 0 && (jpeg->has_header || jpeg->manager.msg_code == JWRN_JPEG_EOF))
        on_error(decoder);
}

static void on_output(j_common_ptr decoder)
{
    (void)decoder;
}

/* ---- What we call ---------------------------------------------------------------------------- */

/* Turns the message that led to the jump into our error. */
static vmoe_status failure(struct jpeg_rows *jpeg, vmoe_error *error)
{
    char message[JMSG_LENGTH_MAX];

    jpeg->manager.format_message((j_common_ptr)&jpeg->decoder, message);
    switch (jpeg->manager.msg_code) {
    case JERR_OUT_OF_MEMORY:
        return vmoe_fail(error, VMOE_ERR_MEMORY, jpeg->where,
                         "no memory for decoding the JPEG file");
    case JERR_NO_BACKING_STORE:
        return vmoe_fail(error, VMOE_ERR_LIMIT, jpeg->where,
                         "decoding the JPEG file takes more memory than the limit of %ld bytes",
                         VMOE_LIMIT_JPEG_MEMORY);
    default:
        return vmoe_fail(error, VMOE_ERR_IMAGE, jpeg->where,
                         "the JPEG file cannot be decoded: %s", message);
    }
}

static vmoe_status check_header(const struct jpeg_rows *jpeg, uint32_t component_scans,
                                vmoe_error *error)
{
    const uint32_t width = jpeg->decoder.image_width;
    const uint32_t height = jpeg->decoder.image_height;
    const int components = jpeg->decoder.num_components;
    vmoe_status status = vmoe_picture_check_size(width, height, jpeg->where, error);
    uint64_t work;

    if (status != VMOE_OK)
        return status;
    if (components != 1 && components != 3 && components != 4)
        return vmoe_fail(error, VMOE_ERR_UNSUPPORTED, jpeg->where,
                         "the JPEG file has %d components, expected 1, 3 or 4", components);
    work = (uint64_t)component_scans * ((width + 7) / 8) * ((height + 7) / 8);
    if (work > VMOE_LIMIT_JPEG_WORK)
        return vmoe_fail(error, VMOE_ERR_LIMIT, jpeg->where,
                         "the JPEG file's scans visit %llu blocks, more than the limit of %llu",
                         (unsigned long long)work, (unsigned long long)VMOE_LIMIT_JPEG_WORK);
    return VMOE_OK;
}

/* Reads the header and starts the decoder; libjpeg may jump out of here. */
static vmoe_status start(struct jpeg_rows *jpeg, const uint8_t *data, size_t bytes,
                         uint32_t component_scans, vmoe_error *error)
{
    j_decompress_ptr decoder = &jpeg->decoder;
    vmoe_status status;

    jpeg_create_decompress(decoder);
    decoder->mem->max_memory_to_use = VMOE_LIMIT_JPEG_MEMORY; /* over what JPEGMEM says */
    jpeg_mem_src(decoder, data, (unsigned long)bytes);
    (void)jpeg_read_header(decoder, TRUE);
    jpeg->has_header = true;
    status = check_header(jpeg, component_scans, error);
    if (status != VMOE_OK)
        return status;

    decoder->dct_method = JDCT_IFAST;
    decoder->do_fancy_upsampling = TRUE;
    decoder->out_color_space = decoder->num_components == 4 ? JCS_CMYK : JCS_RGB;
    (void)jpeg_start_decompress(decoder);
    jpeg->spare = decoder->mem->alloc_large(
        (j_common_ptr)decoder, JPOOL_IMAGE,
        (size_t)decoder->output_width * (size_t)decoder->output_components);
    jpeg->rows.width = decoder->output_width;
    jpeg->rows.height = decoder->output_height;
    return VMOE_OK;
}

/* With Adobe's marker, CMYK is stored inverted: what is called ink is then light. */
static void cmyk_to_rgb(const uint8_t *cmyk, size_t pixels, bool inverted, uint8_t *rgb)
{
    const unsigned flip = inverted ? 0 : 255;

    for (size_t i = 0; i < pixels; i++) {
        const unsigned k = cmyk[4 * i + 3] ^ flip;

        for (size_t c = 0; c < 3; c++)
            rgb[3 * i + c] = (uint8_t)((cmyk[4 * i + c] ^ flip) * k / 255);
    }
}

static vmoe_status jpeg_next(struct vmoe_rows *rows, uint8_t *row, vmoe_error *error)
{
    struct jpeg_rows *jpeg = (struct jpeg_rows *)rows;
    const bool cmyk = jpeg->decoder.out_color_space == JCS_CMYK;
    JSAMPROW target = cmyk ? jpeg->spare : row;

    if (setjmp(jpeg->escape) != 0)
        return failure(jpeg, error);
    (void)jpeg_read_scanlines(&jpeg->decoder, &target, 1);
    if (cmyk)
        cmyk_to_rgb(jpeg->spare, rows->width, jpeg->decoder.saw_Adobe_marker, row);
    return VMOE_OK;
}

static void jpeg_abandon(struct vmoe_rows *rows)
{
    struct jpeg_rows *jpeg = (struct jpeg_rows *)rows;

    jpeg_destroy_decompress(&jpeg->decoder);
}

static vmoe_status jpeg_finish(struct vmoe_rows *rows, vmoe_error *error)
{
    struct jpeg_rows *jpeg = (struct jpeg_rows *)rows;
    vmoe_status status;

    if (setjmp(jpeg->escape) == 0) {
        while (jpeg->decoder.output_scanline < jpeg->decoder.output_height)
            (void)jpeg_read_scanlines(&jpeg->decoder, &jpeg->spare, 1);
        (void)jpeg_finish_decompress(&jpeg->decoder);
        status = VMOE_OK;
    } else {
        status = failure(jpeg, error);
    }
    jpeg_abandon(rows);
    return status;
}

vmoe_status vmoe_jpeg_open(const void *data, size_t bytes, const char *where, void *memory,
                           struct vmoe_rows **rows, vmoe_error *error)
{
    struct jpeg_rows *jpeg = memory;
    uint32_t component_scans;
    vmoe_status status = vmoe_jpeg_survey(data, bytes, where, &component_scans, error);

    if (status != VMOE_OK)
        return status;
    jpeg->has_header = false;
    jpeg->rows.next = jpeg_next;
    jpeg->rows.finish = jpeg_finish;
    jpeg->rows.abandon = jpeg_abandon;
    jpeg->where = where;
    jpeg->decoder.client_data = jpeg;
    jpeg->decoder.err = jpeg_std_error(&jpeg->manager);
    jpeg->manager.error_exit = on_error;
    jpeg->manager.emit_message = on_message;
    jpeg->manager.output_message = on_output;

    if (setjmp(jpeg->escape) == 0)
        status = start(jpeg, data, bytes, component_scans, error);
    else
        status = failure(jpeg, error);
    if (status != VMOE_OK) {
        jpeg_abandon(&jpeg->rows);
        return status;
    }
    *rows = &jpeg->rows;
    return VMOE_OK;
}

#endif
