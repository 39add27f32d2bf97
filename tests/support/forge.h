/*
 * `.vmoe` files in memory, changed and signed again: what a liar would write.  It follows
 * docs/format.md alone and shares nothing with the library.
 */
#ifndef VMOE_TESTS_FORGE_H
#define VMOE_TESTS_FORGE_H

#include <stddef.h>
#include <stdint.h>

struct forged {
    uint8_t *bytes;
    size_t size;
    /* Offsets in the file, as they were when it was read. */
    size_t header_bytes, strings, directory, chunk_table;
    uint32_t tensors, chunks;
};

enum { FORGE_CONFIG = 64, FORGE_STRINGS = 224, FORGE_ENTRY_BYTES = 96, FORGE_CHUNK_BYTES = 16 };

struct forged forge_read(const char *path);
struct forged forge_copy(const struct forged *original);
void forge_free(struct forged *file);

uint32_t forge_get_u32(const struct forged *file, size_t offset);
uint64_t forge_get_u64(const struct forged *file, size_t offset);
void forge_put_u32(struct forged *file, size_t offset, uint32_t value);
void forge_put_u64(struct forged *file, size_t offset, uint64_t value);
void forge_put_f64(struct forged *file, size_t offset, double value);

/* The directory entry of a tensor; fails the test if there is none of this name. */
size_t forge_entry(const struct forged *file, const char *name);

/* Computes the hashes of all chunks of an entry from the bytes that it stores. */
void forge_hash_chunks(struct forged *file, size_t entry);

/* Computes the header's hash, over as many bytes as the header now claims to have. */
void forge_sign(struct forged *file);

#endif
