/*
 * The `.vmoe` file, as docs/format.md specifies it: where each byte stands.  Reader and writer
 * share this description, so that neither can drift from the other.
 */
#ifndef VMOE_CHECKPOINT_FORMAT_H
#define VMOE_CHECKPOINT_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <vmoe.h>

#include "model/tensors.h"
#include "runtime/status.h"

#define VMOE_FORMAT_MAGIC "\x89VME\r\n\x1a\n"
#define VMOE_FORMAT_MAGIC_BYTES 8u
#define VMOE_FORMAT_MAJOR 1u
#define VMOE_FORMAT_MINOR 0u

#define VMOE_FORMAT_PREAMBLE_BYTES 64u
#define VMOE_FORMAT_HASH_OFFSET 48u /* of the XXH3-128 in the preamble */
#define VMOE_FORMAT_HASH_BYTES 16u
#define VMOE_FORMAT_CONFIG_BYTES 160u
#define VMOE_FORMAT_ENTRY_BYTES 96u
#define VMOE_FORMAT_CHUNK_ENTRY_BYTES 16u

#define VMOE_FORMAT_DATA_ALIGNMENT 4096u  /* of the first tensor */
#define VMOE_FORMAT_TENSOR_ALIGNMENT 64u  /* of the others */
#define VMOE_FORMAT_CHUNK_BYTES (1u << 20) /* of a tensor before coding; the last is shorter */

enum { VMOE_CHUNK_RAW = 0, VMOE_CHUNK_ZLIB = 1 };

/* The fields of the preamble that are not constants. */
struct vmoe_preamble {
    uint64_t file_bytes;
    uint32_t header_bytes; /* preamble, config, strings, directory, chunk table */
    uint32_t tensors;
    uint32_t chunks;
    uint32_t string_bytes; /* with padding to a multiple of 8 */
};

/* An entry of the directory: the tensor, and where it is stored. */
struct vmoe_entry {
    struct vmoe_tensor tensor; /* of these, name, precision, rows, columns and bytes are stored */
    uint32_t first_chunk, chunks;
    uint64_t offset; /* from the start of the file */
    uint64_t stored; /* bytes in the file; equals tensor.bytes in a raw file */
};

struct vmoe_chunk {
    uint32_t stored; /* bytes in the file */
    uint32_t coding; /* VMOE_CHUNK_... */
    uint64_t hash;   /* XXH3-64 of the stored bytes */
};

void vmoe_format_put_preamble(const struct vmoe_preamble *preamble, uint8_t *bytes);
vmoe_status vmoe_format_get_preamble(const uint8_t *bytes, const char *where,
                                     struct vmoe_preamble *preamble, vmoe_error *error);

/* The config block.  Reading fills the stored fields only; vmoe_config_complete does the rest. */
void vmoe_format_put_config(const vmoe_info *info, uint8_t *bytes);
vmoe_status vmoe_format_get_config(const uint8_t *bytes, vmoe_info *info, vmoe_error *error);

void vmoe_format_put_entry(const struct vmoe_entry *entry, uint8_t *bytes);
uint64_t vmoe_format_entry_offset(const uint8_t *bytes);

void vmoe_format_put_chunk(const struct vmoe_chunk *chunk, uint8_t *bytes);
void vmoe_format_get_chunk(const uint8_t *bytes, struct vmoe_chunk *chunk);

/* The XXH3-128 of a header, its own field taken as zero, low half first. */
void vmoe_format_hash_header(uint8_t *header, size_t bytes, uint8_t hash[VMOE_FORMAT_HASH_BYTES]);

/* Chunks of a tensor, and bytes of its chunk number `i`. */
uint32_t vmoe_format_chunks(const struct vmoe_tensor *tensor);
uint32_t vmoe_format_chunk_bytes(const struct vmoe_tensor *tensor, uint32_t i);

/* Bytes of one number of a tensor: the planes of the compact coding. */
uint32_t vmoe_format_number_bytes(const struct vmoe_tensor *tensor);

/* Where the first tensor begins, behind the header. */
uint64_t vmoe_format_data_offset(uint64_t header_bytes);

/* Where the next tensor begins if the data before it end at `end`. */
uint64_t vmoe_format_tensor_offset(uint64_t end);

/*
 * True if the zero padding of a packed matrix is zero in its bytes first .. first + count - 1,
 * which are whole lines of 64 bytes.
 */
bool vmoe_format_padding_is_zero(const struct vmoe_tensor *tensor, uint64_t first,
                                 const uint8_t *bytes, size_t count);

/* True for well-formed UTF-8 without control characters. */
bool vmoe_format_text_is_clean(const char *text, size_t bytes);

#endif
