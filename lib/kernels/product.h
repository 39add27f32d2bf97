/*
 * What every table does with the sums of a product.  The file of a table includes this text after
 * vector.h and, if it makes bfloat16 rows, after it has defined STORE_BF16(to, vector).  A tile
 * of sums has a panel's 32 columns and as many rows as the table's gemm takes; while it is in the
 * first-level cache each row is scaled, biased, activated and stored in one pass.
 */
#ifndef VMOE_KERNELS_PRODUCT_H
#define VMOE_KERNELS_PRODUCT_H

#include "kernels/kernels.h"
#include "kernels/layout.h"
#include "kernels/vector.h"

#define ALWAYS static inline __attribute__((always_inline))
#define PANEL_PARTS (VMOE_PANEL / WIDTH)
#define FOR_PANEL(i) _Pragma("GCC unroll 8") for (size_t i = 0; i < PANEL_PARTS; i++)

/* ---- The columns of one panel --------------------------------------------------------------- */

/* Their constants, filled up to a whole panel. */
struct side {
    float scale[VMOE_PANEL], bias[VMOE_PANEL];
    int32_t sums[VMOE_PANEL];
    size_t column, columns;
};

static inline void side_of(const struct vmoe_product *p, size_t column, struct side *side)
{
    const size_t left = p->columns - column;

    side->column = column;
    side->columns = left < VMOE_PANEL ? left : VMOE_PANEL;
    for (size_t c = 0; c < VMOE_PANEL; c++) {
        const bool real = c < side->columns;

        side->scale[c] = !real ? 0.0f : p->scale != NULL ? p->scale[column + c] : 1.0f;
        side->bias[c] = real && p->bias != NULL ? p->bias[column + c] : 0.0f;
        side->sums[c] = real && p->sums != NULL ? p->sums[column + c] : 0;
    }
}

/* ---- One row of sums ------------------------------------------------------------------------ */

/* Tables for narrow rows have faster forms of these (x86/fast.h). */
#ifndef GELU_TANH
#define GELU_TANH gelu_tanh_of
#define GELU_ERF gelu_erf_of
#define SCALED(sum, scale, bias) ((sum) * (scale) + (bias))
#endif

ALWAYS vec activated(uint32_t activation, vec x)
{
    switch (activation) {
    case VMOE_GELU_TANH_OF:
        return GELU_TANH(x);
    case VMOE_GELU_ERF_OF:
        return GELU_ERF(x);
    case VMOE_TANH_OF:
        return tanh_of(x);
    default:
        return x;
    }
}

/* Tables whose instructions want signed bytes multiply int8 rows less 128. */
#ifndef ROWS_LESS
#define ROWS_LESS 0
#endif

/* The sums of int8 rows are integers, from which the row's zero has to be taken out. */
ALWAYS vec sums_of(const struct side *side, bool integers, struct vmoe_quant quant,
                   const void *tile, size_t i)
{
    const float *from = (const float *)tile + i * WIDTH;
    vec_bits bits, sums;

    if (!integers)
        return load(from);
    memcpy(&bits, from, sizeof bits);
    memcpy(&sums, side->sums + i * WIDTH, sizeof sums);
    bits -= sums * (uint32_t)(quant.zero - ROWS_LESS);
    return __builtin_convertvector((vec_int)bits, vec) * quant.scale;
}

static inline uint8_t *out_row(const struct vmoe_product *p, size_t row)
{
    return (uint8_t *)p->out + (p->out_rows != NULL ? (size_t)p->out_rows[row] : row) * p->ldo;
}

ALWAYS void store_row(const struct vmoe_product *p, const struct side *side, size_t row,
                      const vec y[PANEL_PARTS])
{
    uint8_t *line = out_row(p, row);
    float *out = (float *)(void *)line + side->column;
    float rest[VMOE_PANEL];

#ifdef STORE_BF16
    if (p->store == VMOE_STORE_BF16) {
        FOR_PANEL(i)
            STORE_BF16((uint16_t *)(void *)line + side->column + i * WIDTH, y[i]);
        return;
    }
#endif
    if (side->columns == VMOE_PANEL) {
        FOR_PANEL(i) {
            float *const at = out + i * WIDTH;

            if (p->store == VMOE_ADD_F32)
                store(at, load(at) + y[i]);
            else
                store(at, y[i]);
        }
        return;
    }
    FOR_PANEL(i)
        store(rest + i * WIDTH, y[i]);
    for (size_t c = 0; c < side->columns; c++)
        out[c] = p->store == VMOE_ADD_F32 ? out[c] + rest[c] : rest[c];
}

/* Row `row` of the product, whose sums begin at `tile`. */
ALWAYS void finish_row(const struct vmoe_product *p, const struct side *side, uint32_t activation,
                       bool integers, const void *tile, size_t row)
{
    const struct vmoe_quant quant = integers ? p->quants[row] : (struct vmoe_quant){ 1.0f, 0 };
    const float factor = p->factors != NULL ? p->factors[row] : 1.0f;
    vec y[PANEL_PARTS];

    FOR_PANEL(i) {
        const vec sum = sums_of(side, integers, quant, tile, i);

        y[i] = SCALED(sum, load(side->scale + i * WIDTH), load(side->bias + i * WIDTH));
        if (activation == VMOE_IDENTITY)
            y[i] *= factor;
        else
            y[i] = activated(activation, y[i]);
    }
    store_row(p, side, row, y);
}

/* ---- The next panel ------------------------------------------------------------------------- */

/*
 * It is fetched from memory to the second-level cache while one is multiplied, a little with each
 * tile of the panel and each tile of rows: the memory works all the time and nobody waits for it.
 */
struct ahead {
    const uint8_t *line, *end;
    size_t lines; /* with each tile of the panel */
};

static inline struct ahead ahead_of(const struct vmoe_product *p, const uint8_t *panel,
                                    size_t column, size_t row_tiles)
{
    const bool last = column + VMOE_PANEL >= p->columns;
    const uint8_t *next = last ? p->next : panel + p->panel_stride;

    return (struct ahead){ next, next != NULL ? next + p->panel_bytes : NULL,
                           (LINES + row_tiles - 1) / row_tiles };
}

ALWAYS void fetch_ahead(struct ahead *ahead, size_t tiles)
{
    for (size_t i = 0; i < tiles * ahead->lines && ahead->line < ahead->end;
         i++, ahead->line += LINE_BYTES)
        __builtin_prefetch(ahead->line, 0, 2);
}

/* ---- Panels and tiles ----------------------------------------------------------------------- */

/*
 * The sums of up to tile_rows rows with one panel, of 4 bytes each, to rows `stride` bytes apart.
 * What is `ahead` is fetched by the tables for x86; for others it was not measured.
 */
typedef void gemm_tile(size_t rows, size_t k, const void *a, size_t lda, const void *panel,
                       void *tile, size_t stride, struct ahead *ahead);

#define FINISH_ROWS(activation)                                                                    \
    for (size_t r = 0; r < rows; r++)                                                              \
    finish_row(p, side, activation, integers, tile + r * VMOE_PANEL, row + r)

static inline void finish_tile(const struct vmoe_product *p, const struct side *side,
                               const bool integers, const float *tile, size_t row, size_t rows)
{
    switch (p->activation) {
    case VMOE_GELU_TANH_OF:
        FINISH_ROWS(VMOE_GELU_TANH_OF);
        return;
    case VMOE_GELU_ERF_OF:
        FINISH_ROWS(VMOE_GELU_ERF_OF);
        return;
    case VMOE_TANH_OF:
        FINISH_ROWS(VMOE_TANH_OF);
        return;
    default:
        FINISH_ROWS(VMOE_IDENTITY);
        return;
    }
}

/* What a tile will be stored to comes near while it is multiplied. */
static inline void fetch_out(const struct vmoe_product *p, const struct side *side, size_t row,
                             size_t rows)
{
    const size_t width = p->store == VMOE_STORE_BF16 ? sizeof(uint16_t) : sizeof(float);

    for (size_t r = row; r < row + rows; r++) {
        const uint8_t *const line = out_row(p, r) + side->column * width;

        for (size_t i = 0; i < side->columns * width; i += LINE_BYTES)
            __builtin_prefetch(line + i, 1);
    }
}

/* Each panel meets all rows, in tiles of nearly equal size. */
ALWAYS void run_product(const struct vmoe_product *p, gemm_tile *gemm, size_t tile_rows,
                        const bool integers)
{
    const size_t tiles = (p->rows + tile_rows - 1) / tile_rows;
    const uint8_t *panel = p->panels;
    _Alignas(64) float tile[16 * VMOE_PANEL];
    _Alignas(64) struct side side;

    for (size_t column = 0; column < p->columns; column += VMOE_PANEL, panel += p->panel_stride) {
        struct ahead ahead = ahead_of(p, panel, column, tiles);

        side_of(p, column, &side);
        for (size_t t = 0; t < tiles; t++) {
            const size_t row = p->rows * t / tiles;
            const size_t rows = p->rows * (t + 1) / tiles - row;

            fetch_out(p, &side, row, rows);
            gemm(rows, p->k, (const uint8_t *)p->a + row * p->lda, p->lda, panel, tile,
                 VMOE_PANEL * sizeof *tile, &ahead);
            finish_tile(p, &side, integers, tile, row, rows);
        }
    }
}

#endif
