/*
 * Packing, block by block.  Weights are packed when a model is made, but attention also packs keys
 * and values in every call, so float32 copies whole lines where it can; elsewhere the blocks are
 * small enough for any order of reading.
 */
#include "kernels/pack.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "kernels/kernels.h"
#include "kernels/layout.h"

#define BLOCK_BYTES (2 * TILE_BYTES)

/* A source matrix, or the part of it that goes into one block. */
struct source {
    const float *values;
    size_t row_stride, column_stride;
    size_t rows, columns;
};

static uint32_t rows_of_group(uint32_t precision)
{
    switch (precision) {
    case VMOE_PRECISION_BF16:
        return 2;
    case VMOE_PRECISION_INT8:
        return 4;
    default:
        return 1;
    }
}

uint32_t vmoe_pack_block(uint32_t precision)
{
    return LINES * rows_of_group(precision);
}

uint64_t vmoe_pack_bytes(uint32_t precision, uint64_t k, uint64_t n)
{
    const uint64_t block = vmoe_pack_block(precision);
    const uint64_t blocks = (k + block - 1) / block;
    const uint64_t panels = (n + VMOE_PANEL - 1) / VMOE_PANEL;

    return panels * blocks * BLOCK_BYTES;
}

uint16_t vmoe_bf16_from_f32(float value)
{
    uint32_t bits;

    memcpy(&bits, &value, sizeof bits);
    if ((bits & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)(bits >> 16 | 0x40u); /* quiet, so that the fraction cannot become 0 */
    bits += 0x7fffu + (bits >> 16 & 1u);
    return (uint16_t)(bits >> 16);
}

/* To nearest even within -127..127; a NaN gives 0. */
static int8_t int8_from_f32(float value)
{
    const float round = 12582912.0f; /* 1.5 * 2^23 */

    if (!(value > -127.0f))
        return (int8_t)(value <= -127.0f ? -127 : 0);
    return (int8_t)(value > 127.0f ? 127.0f : (value + round) - round);
}

static float value_at(const struct source *source, size_t i, size_t j)
{
    return source->values[i * source->row_stride + j * source->column_stride];
}

/* Row by row, so that a matrix stored either way is read by whole cache lines. */
static void column_scales(const struct source *source, float *scales)
{
    for (size_t j = 0; j < source->columns; j++)
        scales[j] = 0.0f;
    for (size_t i = 0; i < source->rows; i++)
        for (size_t j = 0; j < source->columns; j++) {
            const float magnitude = fabsf(value_at(source, i, j));

            scales[j] = magnitude > scales[j] ? magnitude : scales[j];
        }
    for (size_t j = 0; j < source->columns; j++) {
        scales[j] /= 127.0f;
        if (!(scales[j] >= FLT_MIN))
            scales[j] = 1.0f;
    }
}

/* Element (i, j) of a block: the tile, the line, the column, the row of the group. */
static size_t place(size_t group, size_t i, size_t j)
{
    return ((j / COLUMNS * LINES + i / group) * COLUMNS + j % COLUMNS) * group + i % group;
}

static void pack_block_f32(const struct source *source, float *block)
{
    if (source->column_stride == 1 && source->columns == VMOE_PANEL) {
        for (size_t i = 0; i < source->rows; i++) {
            const float *row = source->values + i * source->row_stride;

            memcpy(block + place(1, i, 0), row, COLUMNS * sizeof *row);
            memcpy(block + place(1, i, COLUMNS), row + COLUMNS, COLUMNS * sizeof *row);
        }
        return;
    }
    for (size_t j = 0; j < source->columns; j++)
        for (size_t i = 0; i < source->rows; i++)
            block[place(1, i, j)] = value_at(source, i, j);
}

static void pack_block_bf16(const struct source *source, uint16_t *block)
{
    for (size_t j = 0; j < source->columns; j++)
        for (size_t i = 0; i < source->rows; i++)
            block[place(2, i, j)] = vmoe_bf16_from_f32(value_at(source, i, j));
}

static void pack_block_int8(const struct source *source, const float *scales, int8_t *block)
{
    for (size_t j = 0; j < source->columns; j++)
        for (size_t i = 0; i < source->rows; i++)
            block[place(4, i, j)] = int8_from_f32(value_at(source, i, j) / scales[j]);
}

static void pack_block(uint32_t precision, const struct source *source, const float *scales,
                       void *block)
{
    if (source->rows < vmoe_pack_block(precision) || source->columns < VMOE_PANEL)
        memset(block, 0, BLOCK_BYTES);
    switch (precision) {
    case VMOE_PRECISION_BF16:
        pack_block_bf16(source, block);
        return;
    case VMOE_PRECISION_INT8:
        pack_block_int8(source, scales, block);
        return;
    default:
        pack_block_f32(source, block);
        return;
    }
}

void vmoe_pack(uint32_t precision, size_t k, size_t n, const float *source, size_t row_stride,
               size_t column_stride, void *packed, float *scales)
{
    const size_t rows = vmoe_pack_block(precision);
    uint8_t *block = packed;

    for (size_t j = 0; j < n; j += VMOE_PANEL) {
        const size_t columns = n - j < VMOE_PANEL ? n - j : VMOE_PANEL;
        struct source part = { source + j * column_stride, row_stride, column_stride, k, columns };
        float *const panel_scales = precision == VMOE_PRECISION_INT8 ? scales + j : NULL;

        if (panel_scales != NULL)
            column_scales(&part, panel_scales);
        for (size_t i = 0; i < k; i += rows, block += BLOCK_BYTES) {
            part.values = source + i * row_stride + j * column_stride;
            part.rows = k - i < rows ? k - i : rows;
            pack_block(precision, &part, panel_scales, block);
        }
    }
}

/* The padding is zero, so whole tiles are added up. */
void vmoe_pack_sums(size_t k, size_t n, const void *packed, int32_t *sums)
{
    const size_t group = rows_of_group(VMOE_PRECISION_INT8);
    const size_t blocks = (k + LINES * group - 1) / (LINES * group);
    const int8_t *line = packed;

    for (size_t j = 0; j < n; j += VMOE_PANEL) {
        int32_t panel[VMOE_PANEL] = { 0 };

        for (size_t tile = 0; tile < 2 * blocks; tile++)
            for (size_t i = 0; i < LINES; i++, line += COLUMNS * group)
                for (size_t at = 0; at < COLUMNS * group; at++)
                    panel[tile % 2 * COLUMNS + at / group] += line[at];
        memcpy(sums + j, panel, (n - j < VMOE_PANEL ? n - j : VMOE_PANEL) * sizeof *sums);
    }
}

float vmoe_pack_value(uint32_t precision, size_t k, const void *packed, size_t i, size_t j)
{
    const size_t group = rows_of_group(precision);
    const size_t rows = LINES * group;
    const size_t block = j / VMOE_PANEL * ((k + rows - 1) / rows) + i / rows;
    const size_t at = block * rows * VMOE_PANEL + place(group, i % rows, j % VMOE_PANEL);
    uint32_t bits;
    float value;

    switch (precision) {
    case VMOE_PRECISION_BF16:
        bits = (uint32_t)((const uint16_t *)packed)[at] << 16;
        memcpy(&value, &bits, sizeof value);
        return value;
    case VMOE_PRECISION_INT8:
        return ((const int8_t *)packed)[at];
    default:
        return ((const float *)packed)[at];
    }
}
