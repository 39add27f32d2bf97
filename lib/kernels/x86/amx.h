/*
 * The tile unit.  The compiler knows neither what tile instructions read and write nor that the
 * tiles are state of the thread, so each is an asm statement that orders memory.  Registers: 0..3
 * are sums, a square of two by two tiles; 4 and 5 are 16 rows each; 6 and 7 are the two halves of a
 * panel.
 */
#ifndef VMOE_KERNELS_X86_AMX_H
#define VMOE_KERNELS_X86_AMX_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/kernels.h"
#include "kernels/layout.h"

/* In attend_amx.c. */
void vmoe_amx_attend(const struct vmoe_attend *attend);

#define TILE_ROWS 16u
#define STEP_BYTES 64u   /* of a row in a step: 32 bfloat16 numbers or 64 int8 ones */

struct tile_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
};

/* All eight tiles whole: rows and columns beyond the data are padding that is never used. */
static const struct tile_config whole_tiles = { .palette = 1,
                                                .row_bytes = { 64, 64, 64, 64, 64, 64, 64, 64 },
                                                .rows = { 16, 16, 16, 16, 16, 16, 16, 16 } };

/* Between these two the thread must not leave the kernel. */
static inline void tiles_begin(void)
{
    __asm__ volatile("ldtilecfg %0" : : "m"(whole_tiles) : "memory");
}

static inline void tiles_end(void)
{
    __asm__ volatile("tilerelease" : : : "memory");
}

#define TILE_ZERO(tile) __asm__ volatile("tilezero %%tmm" #tile : : : "memory")

#define TILE_LOAD(tile, from, stride)                                                              \
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #tile : : "r"(from), "r"(stride) : "memory")

/* For data that will not be read again soon: it stays out of the first-level cache. */
#define TILE_STREAM(tile, from, stride)                                                            \
    __asm__ volatile("tileloaddt1 (%0,%1,1), %%tmm" #tile : : "r"(from), "r"(stride) : "memory")

#define TILE_STORE(tile, to, stride)                                                               \
    __asm__ volatile("tilestored %%tmm" #tile ", (%0,%1,1)" : : "r"(to), "r"(stride) : "memory")

/* sums += rows * panel: bfloat16 to float32, or unsigned rows and signed panels to integers. */
#define TILE_DOT_BF16(sums, rows, panel)                                                           \
    __asm__ volatile("tdpbf16ps %%tmm" #panel ", %%tmm" #rows ", %%tmm" #sums : : : "memory")
#define TILE_DOT_INT8(sums, rows, panel)                                                           \
    __asm__ volatile("tdpbusd %%tmm" #panel ", %%tmm" #rows ", %%tmm" #sums : : : "memory")

static inline void zero_sums(void)
{
    TILE_ZERO(0);
    TILE_ZERO(1);
    TILE_ZERO(2);
    TILE_ZERO(3);
}

/* What store_sums has stored. */
static inline void load_sums(const void *from, size_t stride, int tall)
{
    const uint8_t *at = from;

    TILE_LOAD(0, at, stride);
    TILE_LOAD(1, at + 64, stride);
    if (tall) {
        TILE_LOAD(2, at + TILE_ROWS * stride, stride);
        TILE_LOAD(3, at + TILE_ROWS * stride + 64, stride);
    }
}

/* The sums of a square of tiles to 32 rows of 32 numbers, or the upper half of them. */
static inline void store_sums(void *to, size_t stride, int tall)
{
    uint8_t *at = to;

    TILE_STORE(0, at, stride);
    TILE_STORE(1, at + 64, stride);
    if (tall) {
        TILE_STORE(2, at + TILE_ROWS * stride, stride);
        TILE_STORE(3, at + TILE_ROWS * stride + 64, stride);
    }
}

#endif
