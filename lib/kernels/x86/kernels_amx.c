/*
 * The AMX table: products of bfloat16 and int8 rows, and attention in bfloat16.  A block of 32 rows
 * and one panel is a square of two by two tiles, whose sums stay in the tile registers over all of
 * k, or over a large part of it.  The tile unit and the vector unit work side by side: while one
 * block is multiplied, the sums of the block before are finished, a few rows in each step.
 */
#if defined(__x86_64__)

#include "kernels/x86/amx.h"
#include "kernels/x86/avx512.h"
#include "kernels/x86/bf16.h"
#include "runtime/sizes.h"

/* ---- The next panel ------------------------------------------------------------------------- */

/*
 * What `ahead` is for the other tables, for a unit that is done before the memory is: the lines of
 * several pages are taken in turn.  The processor sees a stream in each page and goes ahead in all
 * of them, so that more lines are on their way than one thread can ask for.
 */
#define PAGE_BYTES 4096u
#define STREAMS 24u /* at most; the processor follows 32 */

struct spread {
    const uint8_t *panel;
    size_t bytes;
    size_t lines;             /* with each tile of the panel */
    size_t span;              /* of the pages that are taken in turn */
    size_t pages, turn, line; /* where they begin, where the turn began, what is next */
};

static inline struct spread spread_of(struct ahead ahead, size_t panel_bytes)
{
    const size_t bytes = ahead.line != NULL ? panel_bytes : 0;
    const size_t pages = (bytes + PAGE_BYTES - 1) / PAGE_BYTES;
    const size_t spans = pages > STREAMS ? (pages + STREAMS - 1) / STREAMS : 1;

    return (struct spread){ .panel = ahead.line,
                            .bytes = bytes,
                            .lines = ahead.lines,
                            .span = (pages + spans - 1) / spans * PAGE_BYTES };
}

/* The turn goes on with the next line of the first page, or with other pages. */
static inline void next_turn(struct spread *next)
{
    next->turn += LINE_BYTES;
    if (next->turn == next->pages + PAGE_BYTES || next->turn >= next->bytes)
        next->turn = next->pages += next->span;
    next->line = next->turn;
}

ALWAYS void fetch_spread(struct spread *next, size_t tiles)
{
    for (size_t i = 0; i < tiles * next->lines && next->line < next->bytes; i++) {
        __builtin_prefetch(next->panel + next->line, 0, 2);
        next->line += PAGE_BYTES;
        if (next->line >= next->bytes || next->line >= next->pages + next->span)
            next_turn(next);
    }
}

/* ---- Products ------------------------------------------------------------------------------- */

#define BLOCK_ROWS (2 * TILE_ROWS)
#define SUMS_STRIDE (VMOE_PANEL * sizeof(float))
#define RESIDENT_STEPS 16u /* of a panel that stay in the first-level cache: 32 KiB */
#define CHUNK_STEPS 24u    /* between a load and a store of sums, which cost two steps */
#define GROUP 8u           /* blocks that share a chunk */

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

/* Sums that are whole, to be finished beside the next block. */
static inline void leave_sums(struct pending *pending, const struct side *side, const float *sums,
                              size_t row)
{
    pending->side = side;
    pending->sums = sums;
    pending->row = row;
    pending->left = vmoe_smaller(BLOCK_ROWS, pending->product->rows - row);
}

/* The tiles of one step.  The ones that come from further away are loaded first. */
ALWAYS void multiply_step(const uint8_t *a, size_t lda, const uint8_t *panel, bool tall,
                          bool one_block, bool resident, bool integers)
{
    if (one_block) {
        TILE_STREAM(6, panel, 64ul);
        TILE_STREAM(7, panel + TILE_BYTES, 64ul);
        TILE_LOAD(4, a, lda);
        if (tall)
            TILE_LOAD(5, a + TILE_ROWS * lda, lda);
    } else {
        TILE_STREAM(4, a, lda);
        if (tall)
            TILE_STREAM(5, a + TILE_ROWS * lda, lda);
        if (resident) {
            TILE_LOAD(6, panel, 64ul);
            TILE_LOAD(7, panel + TILE_BYTES, 64ul);
        } else {
            TILE_STREAM(6, panel, 64ul);
            TILE_STREAM(7, panel + TILE_BYTES, 64ul);
        }
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
    if (integers) {
        TILE_DOT_INT8(2, 5, 6);
        TILE_DOT_INT8(3, 5, 7);
    } else {
        TILE_DOT_BF16(2, 5, 6);
        TILE_DOT_BF16(3, 5, 7);
    }
}

/* Steps `from` to `to` of a block, whose sums so far are in `sums` unless these are the first. */
ALWAYS void multiply_block(const struct vmoe_product *p, size_t row, const uint8_t *panel,
                           size_t from, size_t to, float *sums, struct spread *next,
                           struct pending *pending, uint32_t activation, bool integers)
{
    const bool tall = p->rows - row > TILE_ROWS, one_block = p->rows <= BLOCK_ROWS;
    const uint8_t *a = (const uint8_t *)p->a + row * p->lda + from * STEP_BYTES;

    panel += from * 2 * TILE_BYTES;
    if (from == 0)
        zero_sums();
    else
        load_sums(sums, SUMS_STRIDE, tall);
    for (size_t s = from; s < to; s++, a += STEP_BYTES, panel += 2 * TILE_BYTES) {
        multiply_step(a, p->lda, panel, tall, one_block, s - from < RESIDENT_STEPS, integers);
        fetch_spread(next, 2);
        finish_some(pending, pending->rows_a_step, activation, integers);
    }
    finish_some(pending, BLOCK_ROWS, activation, integers);
    store_sums(sums, SUMS_STRIDE, tall);
}

/*
 * Of rows and panel, the one that is met again sooner stays in the first-level cache: the panel if
 * there are more blocks than one, the rows otherwise.  Of a panel it is as much as leaves room for
 * the rest; that and the rows pass by.  A panel much larger than this is cut over k into chunks,
 * each for a group of blocks whose sums wait in memory; they are added in the same order.
 */
ALWAYS void run_tiles(const struct vmoe_product *p, uint32_t activation, bool integers)
{
    const size_t bytes = p->k * (integers ? sizeof(uint8_t) : sizeof(uint16_t));
    const size_t steps = (bytes + STEP_BYTES - 1) / STEP_BYTES;
    const size_t blocks = (p->rows + BLOCK_ROWS - 1) / BLOCK_ROWS;
    const bool whole = blocks == 1 || steps <= CHUNK_STEPS;
    const size_t chunks = whole ? 1 : (steps + CHUNK_STEPS - 1) / CHUNK_STEPS;
    const size_t group_rows = whole ? BLOCK_ROWS : GROUP * BLOCK_ROWS;
    _Alignas(64) float sums[GROUP][BLOCK_ROWS * VMOE_PANEL];
    _Alignas(64) struct side sides[2];
    struct pending pending = { .product = p,
                               .rows_a_step = (BLOCK_ROWS * chunks + steps - 1) / steps };
    const uint8_t *panel = p->panels;

    tiles_begin();
    for (size_t column = 0; column < p->columns; column += VMOE_PANEL, panel += p->panel_stride) {
        struct spread next = spread_of(ahead_of(p, panel, column, blocks), p->panel_bytes);
        struct side *side = &sides[column / VMOE_PANEL % 2];

        side_of(p, column, side);
        for (size_t first = 0; first < p->rows; first += group_rows) {
            const size_t end = vmoe_smaller(first + group_rows, p->rows);

            for (size_t chunk = 0; chunk < chunks; chunk++)
                for (size_t row = first; row < end; row += BLOCK_ROWS) {
                    float *const to = sums[(row - first) / BLOCK_ROWS];

                    multiply_block(p, row, panel, steps * chunk / chunks,
                                   steps * (chunk + 1) / chunks, to, &next, &pending, activation,
                                   integers);
                    if (chunk + 1 == chunks)
                        leave_sums(&pending, side, to, row);
                }
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

#endif
