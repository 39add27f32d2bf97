/*
 * The AMX table: products of bfloat16 and int8 rows, and attention in bfloat16.  A block of 32 rows
 * and one panel is a square of two by two tiles, whose sums stay in the tile registers over all of
 * k.  The tile unit and the vector unit work side by side: while one block is multiplied, the sums
 * of the block before are finished, a few rows in each step.
 */
#include "kernels/x86/amx.h"
#include "kernels/x86/avx512.h"
#include "kernels/x86/bf16.h"

/* ---- Products ------------------------------------------------------------------------------- */

#define BLOCK_ROWS (2 * TILE_ROWS)
#define SUMS_STRIDE (VMOE_PANEL * sizeof(float))

/* A block whose sums have left the tile registers. */
struct pending {
    const struct vmoe_product *product;
    const struct side *side;
    const float *sums;
    size_t row;        /* to be finished next */
    size_t left;       /* rows */
    size_t rows_a_step;
};

ALWAYS void finish_some(struct pending *pending, size_t rows, uint32_t activation, bool integers)
{
    for (size_t i = 0; i < rows && pending->left > 0; i++, pending->left--) {
        finish_row(pending->product, pending->side, activation, integers, pending->sums,
                   pending->row++);
        pending->sums += VMOE_PANEL;
    }
}

/* A panel on its way from memory to the second-level cache. */
struct ahead {
    const uint8_t *line, *end;
    size_t lines_a_step;
};

ALWAYS void fetch_some(struct ahead *ahead)
{
    for (size_t i = 0; i < ahead->lines_a_step && ahead->line < ahead->end; i++, ahead->line += 64)
        _mm_prefetch((const char *)ahead->line, _MM_HINT_T1);
}

/*
 * The tiles of one step.  Of rows and panel, the one that is met again sooner may stay in the
 * first-level cache: the panel if there are more blocks than one, the rows otherwise.
 */
ALWAYS void multiply_step(const uint8_t *a, size_t lda, const uint8_t *panel, bool tall,
                          bool one_block, bool integers)
{
    if (one_block) {
        TILE_STREAM(6, panel, 64ul);
        TILE_STREAM(7, panel + TILE_BYTES, 64ul);
        TILE_LOAD(4, a, lda);
    } else {
        TILE_LOAD(6, panel, 64ul);
        TILE_LOAD(7, panel + TILE_BYTES, 64ul);
        TILE_STREAM(4, a, lda);
    }
    if (integers) {
        TILE_DOT_INT8(0, 4, 6);
        TILE_DOT_INT8(1, 4, 7);
    } else {
        TILE_DOT_BF16(0, 4, 6);
        TILE_DOT_BF16(1, 4, 7);
    }
    if (!tall)
        return;
    if (one_block)
        TILE_LOAD(5, a + TILE_ROWS * lda, lda);
    else
        TILE_STREAM(5, a + TILE_ROWS * lda, lda);
    if (integers) {
        TILE_DOT_INT8(2, 5, 6);
        TILE_DOT_INT8(3, 5, 7);
    } else {
        TILE_DOT_BF16(2, 5, 6);
        TILE_DOT_BF16(3, 5, 7);
    }
}

ALWAYS void multiply_block(size_t steps, const uint8_t *a, size_t lda, const uint8_t *panel,
                           bool tall, bool one_block, struct ahead *ahead, struct pending *pending,
                           uint32_t activation, bool integers)
{
    TILE_ZERO(0);
    TILE_ZERO(1);
    TILE_ZERO(2);
    TILE_ZERO(3);
    for (size_t s = 0; s < steps; s++, a += STEP_BYTES, panel += 2 * TILE_BYTES) {
        multiply_step(a, lda, panel, tall, one_block, integers);
        fetch_some(ahead);
        finish_some(pending, pending->rows_a_step, activation, integers);
    }
}

ALWAYS void run_tiles(const struct vmoe_product *p, uint32_t activation, bool integers)
{
    const size_t bytes = p->k * (integers ? sizeof(uint8_t) : sizeof(uint16_t));
    const size_t steps = (bytes + STEP_BYTES - 1) / STEP_BYTES;
    const size_t blocks = (p->rows + BLOCK_ROWS - 1) / BLOCK_ROWS;
    const size_t rows_a_step = (BLOCK_ROWS + steps - 1) / steps;
    _Alignas(64) float sums[2][BLOCK_ROWS * VMOE_PANEL];
    _Alignas(64) struct side sides[2];
    struct pending pending = { p, sides, sums[0], 0, 0, rows_a_step };
    const uint8_t *panel = p->panels;
    size_t turn = 0;

    tiles_begin();
    for (size_t column = 0; column < p->columns; column += VMOE_PANEL, panel += p->panel_bytes) {
        const bool last = column + VMOE_PANEL >= p->columns;
        const uint8_t *next = last ? p->next : panel + p->panel_bytes;
        struct ahead ahead = { next, next != NULL ? next + p->panel_bytes : NULL,
                               (2 * TILE_BYTES / 64 + blocks - 1) / blocks };
        struct side *side = &sides[column / VMOE_PANEL % 2];

        side_of(p, column, side);
        for (size_t row = 0; row < p->rows; row += BLOCK_ROWS, turn++) {
            const size_t left = p->rows - row;
            const bool tall = left > TILE_ROWS;
            const uint8_t *a = (const uint8_t *)p->a + row * p->lda;

            multiply_block(steps, a, p->lda, panel, tall, blocks == 1, &ahead, &pending,
                           activation, integers);
            finish_some(&pending, BLOCK_ROWS, activation, integers);
            store_sums(sums[turn % 2], SUMS_STRIDE, tall);
            pending.side = side;
            pending.sums = sums[turn % 2];
            pending.row = row;
            pending.left = left < BLOCK_ROWS ? left : BLOCK_ROWS;
        }
    }
    finish_some(&pending, BLOCK_ROWS, activation, integers);
    tiles_end();
}

#define PRODUCT(name, integers)                                                                    \
    static void product_##name(const struct vmoe_product *p)                                       \
    {                                                                                              \
        switch (p->activation) {                                                                   \
        case VMOE_GELU_TANH_OF:                                                                    \
            run_tiles(p, VMOE_GELU_TANH_OF, integers);                                             \
            return;                                                                                \
        case VMOE_GELU_ERF_OF:                                                                     \
            run_tiles(p, VMOE_GELU_ERF_OF, integers);                                              \
            return;                                                                                \
        case VMOE_TANH_OF:                                                                         \
            run_tiles(p, VMOE_TANH_OF, integers);                                                  \
            return;                                                                                \
        default:                                                                                   \
            run_tiles(p, VMOE_IDENTITY, integers);                                                 \
            return;                                                                                \
        }                                                                                          \
    }

PRODUCT(bf16, false)
PRODUCT(int8, true)

const struct vmoe_kernels vmoe_kernels_amx = {
    .isa = VMOE_ISA_AMX,
    VMOE_AVX512_KERNELS,
    .product[VMOE_PRECISION_BF16][VMOE_PRECISION_BF16] = product_bf16,
    .product[VMOE_PRECISION_BF16][VMOE_PRECISION_INT8] = product_widened,
    .product[VMOE_PRECISION_INT8][VMOE_PRECISION_INT8] = product_int8,
    .attend[VMOE_PRECISION_BF16] = vmoe_amx_attend,
    .to_bf16 = to_bf16,
    .to_int8 = to_int8,
    .bf16_to_int8 = bf16_to_int8,
};
