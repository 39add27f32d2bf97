/*
 * Bytes of the `.vmoe` header, written and read one field at a time, little-endian on every host.
 */
#include "checkpoint/format.h"

#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "checkpoint/bytes.h"
#include "kernels/kernels.h"
#include "kernels/layout.h"
#include "kernels/pack.h"
#include "runtime/sizes.h"
#include "runtime/text.h"

static void put_u32(uint8_t *to, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        to[i] = (uint8_t)(value >> (8 * i));
}

static void put_u64(uint8_t *to, uint64_t value)
{
    for (int i = 0; i < 8; i++)
        to[i] = (uint8_t)(value >> (8 * i));
}

static bool all_zero(const uint8_t *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (bytes[i] != 0)
            return false;
    return true;
}

/* ---- Preamble ------------------------------------------------------------------------------- */

void vmoe_format_put_preamble(const struct vmoe_preamble *preamble, uint8_t *bytes)
{
    memset(bytes, 0, VMOE_FORMAT_PREAMBLE_BYTES);
    memcpy(bytes, VMOE_FORMAT_MAGIC, VMOE_FORMAT_MAGIC_BYTES);
    put_u32(bytes + 8, VMOE_FORMAT_MAJOR | VMOE_FORMAT_MINOR << 16);
    put_u64(bytes + 16, preamble->file_bytes);
    put_u32(bytes + 24, preamble->header_bytes);
    put_u32(bytes + 28, preamble->tensors);
    put_u32(bytes + 32, preamble->chunks);
    put_u32(bytes + 36, preamble->string_bytes);
}

vmoe_status vmoe_format_get_preamble(const uint8_t *bytes, const char *where,
                                     struct vmoe_preamble *preamble, vmoe_error *error)
{
    uint32_t version = get_u32(bytes + 8), flags = get_u32(bytes + 12);

    if (memcmp(bytes, VMOE_FORMAT_MAGIC, VMOE_FORMAT_MAGIC_BYTES) != 0) {
        if (memcmp(bytes, VMOE_FORMAT_MAGIC, 4) == 0)
            return vmoe_fail(error, VMOE_ERR_FORMAT, where,
                             "the line ends in the first 8 bytes were changed: "
                             "the file was copied as text");
        return vmoe_fail(error, VMOE_ERR_FORMAT, where,
                         "this is not a .vmoe file: it begins with %02x %02x %02x %02x, "
                         "not 89 56 4d 45",
                         bytes[0], bytes[1], bytes[2], bytes[3]);
    }
    if ((version & 0xffff) != VMOE_FORMAT_MAJOR || (version >> 16) != VMOE_FORMAT_MINOR)
        return vmoe_fail(error, VMOE_ERR_VERSION, where,
                         "the file has format version %u.%u, this library reads %u.%u",
                         version & 0xffff, version >> 16, VMOE_FORMAT_MAJOR, VMOE_FORMAT_MINOR);
    if (flags != 0 || !all_zero(bytes + 40, 8))
        return vmoe_fail(error, VMOE_ERR_FORMAT, where,
                         "reserved bytes of the preamble are not zero");
    preamble->file_bytes = get_u64(bytes + 16);
    preamble->header_bytes = get_u32(bytes + 24);
    preamble->tensors = get_u32(bytes + 28);
    preamble->chunks = get_u32(bytes + 32);
    preamble->string_bytes = get_u32(bytes + 36);
    return VMOE_OK;
}

void vmoe_format_hash_header(uint8_t *header, size_t bytes, uint8_t hash[VMOE_FORMAT_HASH_BYTES])
{
    uint8_t kept[VMOE_FORMAT_HASH_BYTES];
    XXH128_hash_t value;

    memcpy(kept, header + VMOE_FORMAT_HASH_OFFSET, sizeof kept);
    memset(header + VMOE_FORMAT_HASH_OFFSET, 0, sizeof kept);
    value = XXH3_128bits(header, bytes);
    memcpy(header + VMOE_FORMAT_HASH_OFFSET, kept, sizeof kept);
    put_u64(hash, value.low64);
    put_u64(hash + 8, value.high64);
}

/* ---- Config --------------------------------------------------------------------------------- */

#define CONFIG_NUMBERS 23u
#define CONFIG_CAPACITY 96u /* float64 */
#define CONFIG_MOE 128u     /* bit i % 8 of byte i / 8: block i has experts */

/* The 32-bit numbers of the block in their order. */
static void config_numbers(vmoe_info *info, uint32_t *numbers[CONFIG_NUMBERS])
{
    uint32_t *const order[CONFIG_NUMBERS] = {
        &info->image_size,         &info->patch_size,         &info->width,
        &info->heads,              &info->mlp,                &info->layers,
        &info->classes,            &info->pre_logits,         &info->classifier,
        &info->gelu,               &info->output,             &info->experts,
        &info->experts_per_token,  &info->group_images,       &info->capacity_rule,
        &info->capacity_multiple,  &info->preprocessing.kind, &info->preprocessing.side,
        &info->preprocessing.crop, &info->precision,          &info->compact,
        &info->labels,             &info->members,
    };

    memcpy(numbers, order, sizeof order);
}

void vmoe_format_put_config(const vmoe_info *info, uint8_t *bytes)
{
    vmoe_info copy = *info;
    uint32_t *numbers[CONFIG_NUMBERS];
    uint64_t capacity;

    /* A single member is stored as 0, as it was before there were others. */
    if (copy.members == 1)
        copy.members = 0;
    memset(bytes, 0, VMOE_FORMAT_CONFIG_BYTES);
    config_numbers(&copy, numbers);
    for (size_t i = 0; i < CONFIG_NUMBERS; i++)
        put_u32(bytes + 4 * i, *numbers[i]);
    memcpy(&capacity, &copy.capacity, sizeof capacity);
    put_u64(bytes + CONFIG_CAPACITY, capacity);
    for (uint32_t i = 0; i < VMOE_MAX_LAYERS; i++)
        if (info->moe[i])
            bytes[CONFIG_MOE + i / 8] |= (uint8_t)(1u << i % 8);
}

vmoe_status vmoe_format_get_config(const uint8_t *bytes, vmoe_info *info, vmoe_error *error)
{
    vmoe_info made = VMOE_INFO_INIT;
    uint32_t *numbers[CONFIG_NUMBERS];
    uint64_t capacity = get_u64(bytes + CONFIG_CAPACITY);

    if (!all_zero(bytes + 4 * CONFIG_NUMBERS, CONFIG_CAPACITY - 4 * CONFIG_NUMBERS) ||
        !all_zero(bytes + CONFIG_CAPACITY + 8, CONFIG_MOE - CONFIG_CAPACITY - 8))
        return vmoe_fail(error, VMOE_ERR_FORMAT, "config", "reserved bytes are not zero");
    config_numbers(&made, numbers);
    for (size_t i = 0; i < CONFIG_NUMBERS; i++)
        *numbers[i] = get_u32(bytes + 4 * i);
    memcpy(&made.capacity, &capacity, sizeof capacity);
    for (uint32_t i = 0; i < VMOE_MAX_LAYERS; i++)
        made.moe[i] = bytes[CONFIG_MOE + i / 8] >> i % 8 & 1;
    if (made.compact > 1 || made.labels > 1)
        return vmoe_fail(error, VMOE_ERR_FORMAT, "config",
                         "the fields compact and labels are %u and %u, but must be 0 or 1",
                         made.compact, made.labels);
    if (made.members == 1)
        return vmoe_fail(error, VMOE_ERR_FORMAT, "config",
                         "the field members is 1, but a single member is stored as 0");
    if (made.experts == 0 && capacity != 0)
        return vmoe_fail(error, VMOE_ERR_FORMAT, "config", "a dense model has a capacity");
    *info = made;
    return VMOE_OK;
}

/* ---- Directory and chunk table -------------------------------------------------------------- */

void vmoe_format_put_entry(const struct vmoe_entry *entry, uint8_t *bytes)
{
    const struct vmoe_tensor *tensor = &entry->tensor;

    memset(bytes, 0, VMOE_FORMAT_ENTRY_BYTES);
    memcpy(bytes, tensor->name, strlen(tensor->name));
    put_u32(bytes + 48, tensor->precision);
    put_u32(bytes + 52, tensor->part == VMOE_PART_MATRIX ? 1 : 0);
    put_u32(bytes + 56, tensor->rows);
    put_u32(bytes + 60, tensor->columns);
    put_u32(bytes + 64, entry->first_chunk);
    put_u32(bytes + 68, entry->chunks);
    put_u64(bytes + 72, tensor->bytes);
    put_u64(bytes + 80, entry->offset);
    put_u64(bytes + 88, entry->stored);
}

uint64_t vmoe_format_entry_offset(const uint8_t *bytes)
{
    return get_u64(bytes + 80);
}

void vmoe_format_put_chunk(const struct vmoe_chunk *chunk, uint8_t *bytes)
{
    put_u32(bytes, chunk->stored);
    put_u32(bytes + 4, chunk->coding);
    put_u64(bytes + 8, chunk->hash);
}

void vmoe_format_get_chunk(const uint8_t *bytes, struct vmoe_chunk *chunk)
{
    chunk->stored = get_u32(bytes);
    chunk->coding = get_u32(bytes + 4);
    chunk->hash = get_u64(bytes + 8);
}

uint32_t vmoe_format_chunks(const struct vmoe_tensor *tensor)
{
    return (uint32_t)vmoe_divide_up(tensor->bytes, VMOE_FORMAT_CHUNK_BYTES);
}

uint32_t vmoe_format_chunk_bytes(const struct vmoe_tensor *tensor, uint32_t i)
{
    return (uint32_t)vmoe_smaller(tensor->bytes - (uint64_t)i * VMOE_FORMAT_CHUNK_BYTES,
                                  VMOE_FORMAT_CHUNK_BYTES);
}

uint32_t vmoe_format_number_bytes(const struct vmoe_tensor *tensor)
{
    return 64 / vmoe_pack_block(tensor->precision);
}

uint64_t vmoe_format_data_offset(uint64_t header_bytes)
{
    return vmoe_divide_up(header_bytes, VMOE_FORMAT_DATA_ALIGNMENT) * VMOE_FORMAT_DATA_ALIGNMENT;
}

uint64_t vmoe_format_tensor_offset(uint64_t end)
{
    return vmoe_divide_up(end, VMOE_FORMAT_TENSOR_ALIGNMENT) * VMOE_FORMAT_TENSOR_ALIGNMENT;
}

static bool line_is_zero(const uint8_t line[LINE_BYTES])
{
    uint64_t any = 0;

    for (size_t i = 0; i < LINE_BYTES; i += sizeof any) {
        uint64_t part;

        memcpy(&part, line + i, sizeof part);
        any |= part;
    }
    return any == 0;
}

bool vmoe_format_padding_is_zero(const struct vmoe_tensor *tensor, uint64_t first,
                                 const uint8_t *bytes, size_t count)
{
    uint32_t block = vmoe_pack_block(tensor->precision), group = block / LINES;
    uint32_t width = vmoe_format_number_bytes(tensor);
    uint64_t blocks = vmoe_divide_up(tensor->rows, block);

    if (tensor->part != VMOE_PART_MATRIX ||
        (tensor->rows % block == 0 && tensor->columns % VMOE_PANEL == 0))
        return true;
    for (uint64_t line = first / LINE_BYTES; line < (first + count) / LINE_BYTES; line++) {
        uint64_t tile = line / LINES, panel = tile / 2 / blocks;
        uint64_t row = tile / 2 % blocks * block + line % LINES * group;
        uint64_t column = panel * VMOE_PANEL + tile % 2 * COLUMNS;
        const uint8_t *at = bytes + (line * LINE_BYTES - first);

        if ((row + group <= tensor->rows && column + COLUMNS <= tensor->columns) ||
            line_is_zero(at))
            continue;
        for (uint32_t i = 0; i < LINE_BYTES; i++) {
            uint32_t number = i / width;

            if (at[i] != 0 && (row + number % group >= tensor->rows ||
                               column + number / group >= tensor->columns))
                return false;
        }
    }
    return true;
}

/* ---- Text ----------------------------------------------------------------------------------- */

bool vmoe_format_text_is_clean(const char *text, size_t bytes)
{
    while (bytes > 0) {
        size_t length = vmoe_text_sequence(text, bytes);

        if (length == 0)
            return false;
        text += length;
        bytes -= length;
    }
    return true;
}
