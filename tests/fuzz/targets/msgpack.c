/*
 * The msgpack reader alone.  The first byte of an input is the length of a list of calls, each of
 * a byte; the document follows.
 */
#include "checkpoint/msgpack.h"
#include "fuzz/fuzz.h"
#include "fuzz/memory_file.h"
#include "runtime/limits.h"

static void call(struct vmoe_msgpack *reader, uint8_t what)
{
    char text[40];

    switch (what % 8) {
    case 0: (void)vmoe_msgpack_next(reader); break;
    case 1: vmoe_msgpack_skip(reader); break;
    case 2: (void)vmoe_msgpack_array(reader); break;
    case 3: (void)vmoe_msgpack_map(reader); break;
    case 4: (void)vmoe_msgpack_unsigned(reader); break;
    case 5: MUST(vmoe_msgpack_text(reader, text, 1 + what / 8 % sizeof text) < sizeof text); break;
    case 6: (void)vmoe_msgpack_open_binary(reader); break;
    default: (void)vmoe_msgpack_open_ext(reader, what / 8); break;
    }
    MUST(reader->offset <= reader->end && reader->end <= reader->file->size);
    MUST(reader->depth <= VMOE_LIMIT_MSGPACK_DEPTH);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct vmoe_msgpack reader;
    struct feed feed = { data, size };
    vmoe_error error = VMOE_ERROR_INIT;
    struct vmoe_file file;
    const uint8_t *calls;
    size_t count;

    calls = feed_bytes(&feed, feed_u8(&feed), &count);
    memory_file_clear();
    memory_file_add("f", feed.at, feed.left);
    MUST(vmoe_file_open("f", &file, &error) == VMOE_OK);
    vmoe_msgpack_init(&reader, &file, "f", 0, &error);
    for (size_t i = 0; i < count && reader.status == VMOE_OK; i++)
        call(&reader, calls[i]);
    while (reader.status == VMOE_OK && reader.offset < reader.end && reader.depth == 0)
        vmoe_msgpack_skip(&reader);
    fuzz_check_error(reader.status, &error);
    vmoe_file_close(&file);
    return 0;
}
