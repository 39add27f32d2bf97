/* The compact coding of a chunk: its bytes split into planes, then zlib. */
#ifndef VMOE_CHECKPOINT_CHUNK_H
#define VMOE_CHECKPOINT_CHUNK_H

#include <stddef.h>
#include <stdint.h>

#include "runtime/memory.h"
#include "runtime/status.h"

/* zlib streams and two chunks of scratch, made once for a whole file. */
struct vmoe_chunk_coder;

vmoe_status vmoe_chunk_coder_create(const vmoe_allocator *allocator,
                                    struct vmoe_chunk_coder **coder, vmoe_error *error);
void vmoe_chunk_coder_destroy(struct vmoe_chunk_coder *coder);

/* XXH3-64 of stored bytes. */
uint64_t vmoe_chunk_hash(const void *bytes, size_t count);

/*
 * Codes `bytes` bytes made of numbers of `width` bytes.  `*stored` is in the coder until its next
 * use; it is shorter than the chunk, or NULL if zlib does not make it shorter.
 */
vmoe_status vmoe_chunk_encode(struct vmoe_chunk_coder *coder, const void *chunk, size_t bytes,
                              size_t width, const uint8_t **stored, size_t *stored_bytes,
                              vmoe_error *error);

/* The inverse; the stream must give exactly `bytes` bytes and end with its last stored byte. */
vmoe_status vmoe_chunk_decode(struct vmoe_chunk_coder *coder, const uint8_t *stored,
                              size_t stored_bytes, size_t width, void *chunk, size_t bytes,
                              const char *where, vmoe_error *error);

/* A buffer of one chunk that the coder lends. */
uint8_t *vmoe_chunk_buffer(struct vmoe_chunk_coder *coder);

#endif
