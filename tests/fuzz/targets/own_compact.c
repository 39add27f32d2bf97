/*
 * A compact `.vmoe` file, and the coding of its chunks alone.  An input that does not begin like a
 * file is a stored stream behind two bytes that say what it should become.
 */
#include <string.h>
#include <zlib.h>

#include "checkpoint/chunk.h"
#include "checkpoint/format.h"
#include "fuzz/own.h"
#include "runtime/memory.h"

#define ROOM 4096u

static struct vmoe_chunk_coder *coder;
static uint8_t chunk[ROOM], again[ROOM];

/* What is coded is decoded again. */
static void check_encode(const uint8_t *data, size_t size, size_t width)
{
    const size_t bytes = (size < ROOM ? size : ROOM) / width * width;
    const uint8_t *stored;
    size_t stored_bytes;

    if (bytes == 0)
        return;
    memcpy(chunk, data, bytes);
    MUST(vmoe_chunk_encode(coder, chunk, bytes, width, &stored, &stored_bytes, NULL) == VMOE_OK);
    MUST(stored == NULL || (stored_bytes > 0 && stored_bytes < bytes));
    if (stored == NULL)
        return;
    MUST(vmoe_chunk_decode(coder, stored, stored_bytes, width, again, bytes, "fuzz", NULL) ==
         VMOE_OK);
    MUST(memcmp(chunk, again, bytes) == 0);
}

/* A chunk is what zlib makes of all of its stream, neither more nor less. */
static bool is_stream_of(struct feed feed, size_t bytes)
{
    uLong stored = feed.left;
    uLongf whole = bytes;

    return uncompress2(again, &whole, feed.at, &stored) == Z_OK && whole == bytes &&
           stored == feed.left;
}

static void check_stream(struct feed feed)
{
    const uint32_t what = feed_u8(&feed) | (uint32_t)feed_u8(&feed) << 8;
    const size_t width = (size_t)1 << what % 3, bytes = (what / 4 % (ROOM / 4 - 1) + 1) * 4;
    vmoe_error error = VMOE_ERROR_INIT;
    vmoe_status status;

    if (coder == NULL)
        MUST(vmoe_chunk_coder_create(&vmoe_memory_default, &coder, NULL) == VMOE_OK);
    status = vmoe_chunk_decode(coder, feed.at, feed.left, width, chunk, bytes, "fuzz", &error);
    fuzz_check_error(status, &error);
    MUST(status == (is_stream_of(feed, bytes) ? VMOE_OK : VMOE_ERR_FORMAT));
    check_encode(feed.at, feed.left, width);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct feed feed = { data, size };

    if (size > 0 && data[0] != (uint8_t)VMOE_FORMAT_MAGIC[0])
        check_stream(feed);
    else
        own_check(data, size);
    return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    struct dice dice = dice_begin(seed);

    if (size > 0 && data[0] != (uint8_t)VMOE_FORMAT_MAGIC[0])
        return LLVMFuzzerMutate(data, size, max_size);
    return own_mutate(&dice, data, size, max_size);
}
