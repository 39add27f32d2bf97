/*
 * For MemorySanitizer, which does not see what libraries write that were built without it: what
 * they give back counts as written.  Only linked into fuzz-msan, where calls of these functions
 * come here.
 */
#include <sanitizer/msan_interface.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <zlib.h>

#include <jpeglib.h>

#define WRAP(type, name, ...)                                                                      \
    type __real_##name(__VA_ARGS__);                                                               \
    type __wrap_##name(__VA_ARGS__);                                                               \
    type __wrap_##name(__VA_ARGS__)

WRAP(int, inflate, z_stream *z, int flush)
{
    Bytef *out = z->next_out;
    const int code = __real_inflate(z, flush);

    __msan_unpoison(out, (size_t)(z->next_out - out));
    return code;
}

WRAP(int, deflate, z_stream *z, int flush)
{
    Bytef *out = z->next_out;
    int code;

    /* What zlib reads, it cannot check. */
    __msan_check_mem_is_initialized(z->next_in, z->avail_in);
    code = __real_deflate(z, flush);
    __msan_unpoison(out, (size_t)(z->next_out - out));
    return code;
}

WRAP(struct jpeg_error_mgr *, jpeg_std_error, struct jpeg_error_mgr *manager)
{
    __msan_unpoison(manager, sizeof *manager);
    return __real_jpeg_std_error(manager);
}

WRAP(void, jpeg_CreateDecompress, j_decompress_ptr decoder, int version, size_t size)
{
    __real_jpeg_CreateDecompress(decoder, version, size);
    __msan_unpoison(decoder, size);
    __msan_unpoison(decoder->mem, sizeof *decoder->mem);
}

WRAP(int, jpeg_read_header, j_decompress_ptr decoder, boolean demand)
{
    const int code = __real_jpeg_read_header(decoder, demand);

    __msan_unpoison(decoder->comp_info,
                    (size_t)decoder->num_components * sizeof *decoder->comp_info);
    return code;
}

WRAP(JDIMENSION, jpeg_read_scanlines, j_decompress_ptr decoder, JSAMPARRAY rows, JDIMENSION count)
{
    const JDIMENSION done = __real_jpeg_read_scanlines(decoder, rows, count);

    for (JDIMENSION i = 0; i < done; i++)
        __msan_unpoison(rows[i],
                        (size_t)decoder->output_width * (size_t)decoder->output_components);
    return done;
}

/* libFuzzer's dictionaries pass through its C++ library. */
WRAP(size_t, LLVMFuzzerMutate, uint8_t *data, size_t size, size_t max_size)
{
    const size_t made = __real_LLVMFuzzerMutate(data, size, max_size);

    __msan_unpoison(data, made);
    return made;
}
