/* Checked arithmetic against integers of 128 bits, and the arena that is built on it. */
#include "fuzz/fuzz.h"
#include "runtime/checked.h"
#include "runtime/memory.h"

__extension__ typedef unsigned __int128 wide;

static void check_pair(uint64_t a, uint64_t b)
{
    const wide sum = (wide)a + b, product = (wide)a * b;
    uint64_t found = 0;
    size_t size = 0;

    MUST(vmoe_add_u64(a, b, &found) == (sum <= UINT64_MAX));
    MUST(sum > UINT64_MAX || found == sum);
    MUST(vmoe_mul_u64(a, b, &found) == (product <= UINT64_MAX));
    MUST(product > UINT64_MAX || found == product);
    MUST(vmoe_to_size(a, &size) == (a <= SIZE_MAX));
    MUST(a > SIZE_MAX || size == a);
    if (b != 0) {
        const wide rounded = ((wide)a + b - 1) / b * b;

        MUST(vmoe_round_up_u64(a, b, &found) == (rounded <= UINT64_MAX));
        MUST(rounded > UINT64_MAX || found == rounded);
    }
}

/* Pieces of an arena: the same while measuring and while carving, never past the end. */
static void check_arena(struct feed feed)
{
    static uint8_t block[4096];
    struct vmoe_arena measure = { 0 }, carve = { .base = block, .size = sizeof block };
    wide used = 0;

    for (int i = 0; i < 4 && feed.left > 0; i++) {
        const uint32_t shift = feed_u8(&feed) % 64;
        const uint64_t count = feed_u64(&feed) >> shift, bytes = feed_u8(&feed);
        const bool whole = !carve.overflow;
        uint8_t *piece;

        used = used > UINT64_MAX ? used : used + ((wide)count * bytes + 63) / 64 * 64;
        (void)vmoe_arena_take(&measure, count, bytes);
        MUST(measure.overflow == (used > UINT64_MAX));
        MUST(measure.overflow || measure.used == used);
        piece = vmoe_arena_take(&carve, count, bytes);
        MUST((piece != NULL) == (whole && used <= sizeof block));
        MUST(carve.used <= carve.size);
        MUST(piece == NULL || piece + count * bytes <= block + sizeof block);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct feed feed = { data, size };
    const uint64_t a = feed_u64(&feed), b = feed_u64(&feed);
    const uint32_t shift_a = feed_u8(&feed) % 64, shift_b = feed_u8(&feed) % 64;

    check_pair(a, b);
    check_pair(a >> shift_a, b >> shift_b);
    /* The numbers around the largest product and sum. */
    check_pair(a, UINT64_MAX - a + b % 3);
    if (a != 0)
        check_pair(a, UINT64_MAX / a + b % 3);
    check_arena(feed);
    return 0;
}
