/* Offsets of docs/format.md, and its two hashes. */
#include "support/forge.h"

#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "support/support.h"

uint64_t forge_get_u64(const struct forged *file, size_t offset)
{
    uint64_t value = 0;

    assert_true(offset + 8 <= file->size);
    for (size_t i = 8; i-- > 0;)
        value = value << 8 | file->bytes[offset + i];
    return value;
}

uint32_t forge_get_u32(const struct forged *file, size_t offset)
{
    uint32_t value = 0;

    assert_true(offset + 4 <= file->size);
    for (size_t i = 4; i-- > 0;)
        value = value << 8 | file->bytes[offset + i];
    return value;
}

void forge_put_u32(struct forged *file, size_t offset, uint32_t value)
{
    for (size_t i = 0; i < 4; i++)
        file->bytes[offset + i] = (uint8_t)(value >> 8 * i);
}

void forge_put_u64(struct forged *file, size_t offset, uint64_t value)
{
    for (size_t i = 0; i < 8; i++)
        file->bytes[offset + i] = (uint8_t)(value >> 8 * i);
}

void forge_put_f64(struct forged *file, size_t offset, double value)
{
    uint64_t bits;

    memcpy(&bits, &value, sizeof bits);
    forge_put_u64(file, offset, bits);
}

struct forged forge_read(const char *path)
{
    struct forged file = { .strings = FORGE_STRINGS };

    file.bytes = read_file(path, &file.size);
    file.header_bytes = forge_get_u32(&file, 24);
    file.tensors = forge_get_u32(&file, 28);
    file.chunks = forge_get_u32(&file, 32);
    file.directory = file.strings + forge_get_u32(&file, 36);
    file.chunk_table = file.directory + (size_t)file.tensors * FORGE_ENTRY_BYTES;
    assert_int_equal(file.header_bytes,
                     file.chunk_table + (size_t)file.chunks * FORGE_CHUNK_BYTES);
    return file;
}

struct forged forge_copy(const struct forged *original)
{
    struct forged copy = *original;

    copy.bytes = malloc(copy.size);
    assert_non_null(copy.bytes);
    memcpy(copy.bytes, original->bytes, copy.size);
    return copy;
}

void forge_free(struct forged *file)
{
    free(file->bytes);
    file->bytes = NULL;
}

size_t forge_entry(const struct forged *file, const char *name)
{
    for (uint32_t i = 0; i < file->tensors; i++) {
        size_t entry = file->directory + (size_t)i * FORGE_ENTRY_BYTES;

        if (strncmp((const char *)file->bytes + entry, name, 48) == 0)
            return entry;
    }
    fail_msg("the file has no tensor %s", name);
    return 0;
}

void forge_hash_chunks(struct forged *file, size_t entry)
{
    size_t chunk = file->chunk_table + (size_t)forge_get_u32(file, entry + 64) * FORGE_CHUNK_BYTES;
    size_t at = (size_t)forge_get_u64(file, entry + 80);

    for (uint32_t i = 0; i < forge_get_u32(file, entry + 68); i++, chunk += FORGE_CHUNK_BYTES) {
        uint32_t stored = forge_get_u32(file, chunk);

        forge_put_u64(file, chunk + 8, XXH3_64bits(file->bytes + at, stored));
        at += stored;
    }
}

void forge_sign(struct forged *file)
{
    size_t bytes = forge_get_u32(file, 24);
    XXH128_hash_t hash;

    if (bytes < 64 || bytes > file->size)
        bytes = 64;
    memset(file->bytes + 48, 0, 16);
    hash = XXH3_128bits(file->bytes, bytes);
    forge_put_u64(file, 48, hash.low64);
    forge_put_u64(file, 56, hash.high64);
}
