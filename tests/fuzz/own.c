/* The mutator knows where everything is in a `.vmoe` file, and follows what the file says of it. */
#include "fuzz/own.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "checkpoint/chunk.h"
#include "checkpoint/format.h"
#include "checkpoint/import.h"
#include "checkpoint/reader.h"
#include "checkpoint/writer.h"
#include "fuzz/account.h"
#include "fuzz/memory_file.h"
#include "model/config.h"
#include "support/formula.h"

enum { CONFIG = 64, CONFIG_BYTES = 160, STRINGS = 224, ENTRY = 96, CHUNK = 16 };

#define CHANGED_MAX 4096u /* bytes of a coded chunk that the mutator changes */

/* ---- What must hold ------------------------------------------------------------------------- */

#define WRITTEN "written.vmoe"

/* Writes the tensors of a checkpoint that was read, and compares with the file it was read from. */
static void check_writer(const struct vmoe_checkpoint *checkpoint, const uint8_t *data, size_t size)
{
    const uint8_t *tensor = checkpoint->data, *again;
    struct vmoe_writer *writer;
    size_t bytes;

    memory_file_clear();
    MUST(vmoe_writer_open(WRITTEN, &checkpoint->info, checkpoint->labels, checkpoint->provenance,
                          &vmoe_memory_default, &writer, NULL) == VMOE_OK);
    for (uint32_t i = 0; i < vmoe_writer_count(writer); i++) {
        MUST(vmoe_writer_put(writer, tensor, NULL) == VMOE_OK);
        tensor += vmoe_format_tensor_offset(vmoe_writer_tensor(writer, i)->bytes);
    }
    MUST(vmoe_writer_commit(writer, NULL) == VMOE_OK);
    vmoe_writer_close(writer);
    again = memory_file_written(WRITTEN, &bytes);
    MUST(again != NULL && bytes == size && memcmp(again, data, size) == 0);
}

static vmoe_status read_with(const uint8_t *data, size_t size, uint32_t flags, bool verify_only,
                             struct account *account, struct vmoe_checkpoint *checkpoint)
{
    const struct vmoe_read_options options = { .flags = flags, .verify_only = verify_only };
    vmoe_error error = VMOE_ERROR_INIT;
    vmoe_status status;

    account_open(account);
    status = vmoe_checkpoint_read("fuzz", data, size, &options, &account->allocator, checkpoint,
                                  &error);
    fuzz_check_error(status, &error);
    MUST(status != VMOE_ERR_MEMORY && status != VMOE_ERR_IO);
    if (status != VMOE_OK || verify_only)
        account_close(account);
    return status;
}

/* A copy where data may be used in place. */
static const uint8_t *aligned(const uint8_t *data, size_t size)
{
    static uint8_t *buffer;
    static size_t capacity;

    if (size >= capacity) {
        free(buffer);
        capacity = 2 * (size + 64) / 64 * 64;
        buffer = aligned_alloc(64, capacity);
        MUST(buffer != NULL);
    }
    if (size > 0)
        memcpy(buffer, data, size);
    return buffer;
}

/* The other ways of reading; the first does not look at checksums. */
enum way { HEADER_ONLY, IN_PLACE, VERIFY_ONLY, WRITE };

static vmoe_status read_another_way(enum way way, const uint8_t *data, size_t size)
{
    static const uint32_t flags[] = { VMOE_LOAD_HEADER_ONLY | VMOE_LOAD_MMAP, VMOE_LOAD_MMAP, 0 };
    struct vmoe_checkpoint checkpoint;
    struct account account;
    const vmoe_status status = read_with(way == VERIFY_ONLY ? data : aligned(data, size), size,
                                         flags[way], way == VERIFY_ONLY, &account, &checkpoint);

    vmoe_checkpoint_release(&checkpoint, &account.allocator);
    account_close(&account);
    return status;
}

static void check_refused(const uint8_t *data, size_t size, vmoe_status full)
{
    const vmoe_status header = read_another_way(HEADER_ONLY, data, size);

    /* Without the hash in front of it, it is zlib that finds the damage of a chunk. */
    MUST(header == VMOE_OK || header == full ||
         (header == VMOE_ERR_FORMAT && full == VMOE_ERR_CHECKSUM));
    if (header != VMOE_OK)
        return;
    MUST(read_another_way(IN_PLACE, data, size) == full);
    MUST(read_another_way(VERIFY_ONLY, data, size) == full);
}

/* A file that is accepted costs most: its checksum chooses one of the other ways for it. */
static enum way chosen_way(const struct vmoe_checkpoint *checkpoint)
{
    return checkpoint->info.id[0] % (checkpoint->info.compact ? WRITE : WRITE + 1);
}

void own_check(const uint8_t *data, size_t size)
{
    enum way way = WRITE;
    struct vmoe_checkpoint checkpoint;
    struct account account;
    const vmoe_status full = read_with(data, size, 0, false, &account, &checkpoint);

    if (full == VMOE_OK) {
        MUST(checkpoint.info.compact || account.peak < (64u << 10) + 4 * size);
        way = chosen_way(&checkpoint);
        if (way == WRITE)
            check_writer(&checkpoint, data, size);
    } else {
        /* A chunk and its decoder have fixed sizes; what else there is must be in the file. */
        MUST(account.peak < (4u << 20) + 1100 * size);
    }
    vmoe_checkpoint_release(&checkpoint, &account.allocator);
    account_close(&account);
    if (full != VMOE_OK)
        check_refused(data, size, full);
    else if (way != WRITE)
        MUST(read_another_way(way, data, size) == VMOE_OK);
}

/* ---- Numbers in the file -------------------------------------------------------------------- */

/* Where the parts are, by what the preamble says, cut off where the file ends. */
struct parts {
    size_t directory, table, end;
    uint32_t tensors, chunks;
};

static struct parts parts_of(const uint8_t *data, size_t size)
{
    const uint64_t directory = STRINGS + get_le(data + 36, 4), tensors = get_le(data + 28, 4);
    const uint64_t table = directory + ENTRY * tensors, chunks = get_le(data + 32, 4);
    struct parts parts = { 0 };

    if (directory >= size)
        return parts;
    parts.directory = (size_t)directory;
    parts.tensors = (uint32_t)(table < size ? tensors : (size - directory) / ENTRY);
    parts.table = parts.directory + ENTRY * (size_t)parts.tensors;
    parts.chunks = (uint32_t)((size - parts.table) / CHUNK);
    if (chunks < parts.chunks)
        parts.chunks = (uint32_t)chunks;
    parts.end = parts.table + CHUNK * (size_t)parts.chunks;
    return parts;
}

void own_sign(uint8_t *data, size_t size)
{
    struct parts parts;
    XXH128_hash_t hash;
    size_t header;

    if (size < STRINGS)
        return;
    parts = parts_of(data, size);
    for (uint32_t i = 0; i < parts.tensors; i++) {
        const uint8_t *entry = data + parts.directory + ENTRY * (size_t)i;
        uint64_t chunk = get_le(entry + 64, 4), count = get_le(entry + 68, 4);
        uint64_t at = get_le(entry + 80, 8);

        for (; count > 0 && chunk < parts.chunks && at < size; count--, chunk++) {
            uint8_t *place = data + parts.table + CHUNK * (size_t)chunk;
            const uint64_t stored = get_le(place, 4);

            if (stored > size - at)
                break;
            put_le(place + 8, 8, XXH3_64bits(data + at, (size_t)stored));
            at += stored;
        }
    }
    header = (size_t)get_le(data + 24, 4);
    if (header < STRINGS || header > size)
        return;
    memset(data + 48, 0, 16);
    hash = XXH3_128bits(data, header);
    put_le(data + 48, 8, hash.low64);
    put_le(data + 56, 8, hash.high64);
}

/* ---- Models --------------------------------------------------------------------------------- */

vmoe_info own_least_info(void)
{
    vmoe_info info = VMOE_INFO_INIT;

    info.image_size = info.patch_size = info.width = info.heads = info.mlp = info.layers = 1;
    info.classes = 1;
    info.members = 1;
    info.classifier = VMOE_CLASSIFIER_GAP;
    info.precision = VMOE_PRECISION_F32;
    return info;
}

const uint8_t *own_make(const vmoe_info *info, const vmoe_allocator *allocator, size_t *size)
{
    static const char *const labels[] = { "a", "bb", "gr\xc3\xbcn", "\xe7\x8c\xab", "e" };
    vmoe_import_options options = VMOE_IMPORT_OPTIONS_INIT;
    vmoe_info whole = *info;
    struct vmoe_source *source;
    vmoe_status status;

    options.precision = info->precision;
    options.compact = info->compact;
    options.experts_per_token = info->experts_per_token;
    options.capacity = info->capacity;
    options.capacity_rule = info->capacity_rule;
    options.capacity_multiple = info->capacity_multiple;
    options.group_images = info->group_images;
    options.gelu = info->gelu;
    options.output = info->output;
    options.preprocessing = info->preprocessing;
    options.provenance = "fuzz";
    if (info->labels && info->classes <= 5) {
        options.labels = labels;
        options.label_count = info->classes;
    }
    /* Only models that are small: the formula has to be computed. */
    whole.gelu = whole.output = 1;
    whole.experts_per_token = whole.group_images = whole.capacity_rule = whole.experts > 0;
    whole.capacity_multiple = whole.experts > 0;
    whole.capacity = whole.experts > 0;
    whole.preprocessing = (vmoe_preprocessing){ VMOE_PREPROCESS_RESIZE, info->image_size, 0 };
    if (vmoe_config_complete(&whole, "fuzz", VMOE_ERR_ARGUMENT, NULL) != VMOE_OK ||
        whole.weight_bytes > 64 << 10 || vmoe_tensor_count(&whole) > 400)
        return NULL;
    source = formula_source(&whole, 1);
    if (source == NULL)
        return NULL;
    memory_file_clear();
    status = vmoe_import_source(source, "formula", WRITTEN, &options, allocator, NULL);
    source->close(source);
    return status == VMOE_OK ? memory_file_written(WRITTEN, size) : NULL;
}

/* ---- Mutations ------------------------------------------------------------------------------ */

/* A number of the config, which is also a bound of something else. */
static void change_config(struct dice *dice, uint8_t *data)
{
    const uint32_t field = dice_below(dice, 29);
    uint8_t *at = data + CONFIG;

    if (field < 23)
        put_le(at + 4 * field, 4, dice_below(dice, 3) ? dice_below(dice, 9) : dice_number(dice));
    else if (field == 23)
        put_le(at + 96, 8, dice_number(dice)); /* the capacity */
    else if (field == 24)
        put_le(at + 96 + 4, 4, 0x3ff00000u + (dice_below(dice, 8) << 20)); /* 1, 2, 4, ... */
    else if (field == 25)
        at[92 + dice_below(dice, 36)] ^= (uint8_t)(1u << dice_below(dice, 8));
    else
        at[128 + dice_below(dice, 2)] ^= (uint8_t)(1u << dice_below(dice, 8)); /* moe */
}

static void change_preamble(struct dice *dice, uint8_t *data, size_t size)
{
    static const uint8_t fields[][2] = { { 8, 2 },  { 10, 2 }, { 12, 4 }, { 16, 8 }, { 24, 4 },
                                         { 28, 4 }, { 32, 4 }, { 36, 4 }, { 40, 8 } };
    const uint8_t *field = fields[dice_below(dice, sizeof fields / sizeof fields[0])];
    const uint64_t near = get_le(data + field[0], field[1]) + dice_below(dice, 17) - 8;

    put_le(data + field[0], field[1], dice_below(dice, 2) ? near : dice_number(dice));
    if (dice_below(dice, 4) == 0)
        put_le(data + 16, 8, size);
}

/* A field of an entry of the directory or of the chunk table. */
static void change_tables(struct dice *dice, uint8_t *data, struct parts parts)
{
    static const uint8_t fields[][2] = { { 48, 4 }, { 52, 4 }, { 56, 4 }, { 60, 4 },
                                         { 64, 4 }, { 68, 4 }, { 72, 8 }, { 80, 8 }, { 88, 8 } };
    const uint8_t *field = fields[dice_below(dice, sizeof fields / sizeof fields[0])];
    uint8_t *at = data + parts.table;
    size_t bytes = 4;

    if (parts.tensors > 0 && dice_below(dice, 2) == 0) {
        at = data + parts.directory + ENTRY * (size_t)dice_below(dice, parts.tensors);
        if (dice_below(dice, 4) == 0) {
            at[dice_below(dice, 48)] ^= (uint8_t)(1u << dice_below(dice, 8)); /* the name */
            return;
        }
        at += field[0];
        bytes = field[1];
    } else if (parts.chunks > 0) {
        at += CHUNK * (size_t)dice_below(dice, parts.chunks) + 4 * dice_below(dice, 2);
    } else {
        return;
    }
    put_le(at, bytes,
           dice_below(dice, 2) ? get_le(at, bytes) + dice_below(dice, 9) - 4 : dice_number(dice));
}

/* A weight, or what stands in the place of one: special numbers of 4, 2 or 1 bytes. */
static void change_weight(struct dice *dice, uint8_t *data, size_t size, size_t begin)
{
    static const uint32_t special[] = { 0x7f800000u, 0xff800000u, 0x7fc00000u, 0x7f800001u,
                                        0x80000000u, 0x7f7fffffu, 0x00000001u, 0x3f800000u,
                                        0x00007f80u, 0x00007fc0u, 0x80808080u, 0 };
    const size_t room = size - begin;
    const uint32_t times = 1u << dice_below(dice, 5);

    for (uint32_t i = 0; i < times && room >= 4; i++) {
        uint8_t *at = data + begin + dice_below(dice, (uint32_t)(room / 4)) * 4;

        if (dice_below(dice, 2) == 0)
            put_le(at, 4, special[dice_below(dice, sizeof special / sizeof special[0])]);
        else
            at[dice_below(dice, 4)] ^= (uint8_t)(1u << dice_below(dice, 8));
    }
}

/*
 * Splits into planes as chunk.c does, and deflates those with a window that is quickly cleared, as
 * far as there is room.
 */
static void put_stream(const uint8_t *plain, size_t bytes, size_t width, uint8_t *to, size_t room)
{
    static uint8_t planes[CHANGED_MAX];
    static z_stream z;

    for (size_t i = 0; i < bytes; i++)
        planes[i % width * (bytes / width) + i / width] = plain[i];
    if (z.state == NULL)
        MUST(deflateInit2(&z, Z_BEST_SPEED, Z_DEFLATED, 9, 1, Z_DEFAULT_STRATEGY) == Z_OK);
    else
        MUST(deflateReset(&z) == Z_OK);
    z.next_in = planes;
    z.avail_in = (uInt)bytes;
    z.next_out = to;
    z.avail_out = (uInt)room;
    (void)deflate(&z, Z_FINISH);
}

/*
 * Inflates a chunk of a compact file, changes what comes out, and deflates it into the same place
 * if it fits there, or else stores a part of a stream.
 */
static void change_stream(struct dice *dice, uint8_t *data, size_t size, struct parts parts)
{
    static struct vmoe_chunk_coder *coder;
    static uint8_t plain[CHANGED_MAX];
    static const size_t widths[] = { 4, 4, 2, 1, 4 };
    const uint8_t *entry, *place;
    size_t at, bytes, packed, width;

    if (coder == NULL)
        MUST(vmoe_chunk_coder_create(&vmoe_memory_default, &coder, NULL) == VMOE_OK);
    if (parts.tensors == 0)
        return;
    entry = data + parts.directory + ENTRY * (size_t)dice_below(dice, parts.tensors);
    at = (size_t)get_le(entry + 80, 8);
    bytes = (size_t)get_le(entry + 72, 8);
    place = data + parts.table + CHUNK * (size_t)get_le(entry + 64, 4);
    if (get_le(entry + 64, 4) >= parts.chunks || get_le(entry + 48, 4) > 4 || bytes > sizeof plain)
        return;
    packed = (size_t)get_le(place, 4);
    width = widths[get_le(entry + 48, 4)];
    if (get_le(place + 4, 4) != VMOE_CHUNK_ZLIB || at > size || packed > size - at || packed == 0)
        return;
    if (vmoe_chunk_decode(coder, data + at, packed, width, plain, bytes, "fuzz", NULL) != VMOE_OK)
        memset(plain, 0, bytes);
    change_weight(dice, plain, bytes, 0);
    put_stream(plain, bytes / width * width, width, data + at, packed);
}

/* Another model: the same, but for one number. */
static size_t change_model(struct dice *dice, uint8_t *data, size_t size, size_t max_size)
{
    vmoe_info info;
    const uint8_t *made;
    size_t bytes;

    if (vmoe_format_get_config(data + CONFIG, &info, NULL) != VMOE_OK ||
        vmoe_config_complete(&info, "fuzz", VMOE_ERR_FORMAT, NULL) != VMOE_OK)
        info = own_least_info();
    switch (dice_below(dice, 13)) {
    case 0: info.image_size = info.patch_size = 1 + dice_below(dice, 5); break;
    case 1: info.image_size = info.patch_size * (1 + dice_below(dice, 3)); break;
    case 2: info.width = info.heads * (1 + dice_below(dice, 20)); break;
    case 3: info.width = info.heads = 1 + dice_below(dice, 4); break;
    case 4: info.mlp = 1 + dice_below(dice, 40); break;
    case 5: info.layers = 1 + dice_below(dice, 3); break;
    case 6: info.classes = 1 + dice_below(dice, 5); break;
    case 7: info.classifier = 1 + dice_below(dice, 3); break;
    case 8: info.pre_logits = dice_below(dice, 4); break;
    case 9: info.experts = dice_below(dice, 5); break;
    case 10: info.precision = 1 + dice_below(dice, 3); break;
    case 11: info.members = 1 + dice_below(dice, 3); break;
    default: info.labels = dice_below(dice, 2); break;
    }
    info.compact = dice_below(dice, 2);
    info.experts -= info.experts % info.members;
    memset(info.moe, 0, sizeof info.moe);
    for (uint32_t i = 0; info.experts > 0 && i < info.layers; i++)
        info.moe[i] = (uint8_t)dice_below(dice, 2);
    if (info.experts > 0)
        info.moe[dice_below(dice, info.layers)] = 1;
    else
        info.members = 1;
    if (info.experts_per_token > info.experts / info.members)
        info.experts_per_token = info.experts / info.members;
    info.preprocessing = (vmoe_preprocessing){ 0, 0, 0 };
    made = own_make(&info, &vmoe_memory_default, &bytes);
    if (made == NULL || bytes > max_size)
        return size;
    memcpy(data, made, bytes);
    return bytes;
}

size_t own_mutate(struct dice *dice, uint8_t *data, size_t size, size_t max_size)
{
    const uint32_t kind = dice_below(dice, 64);
    struct parts parts;
    size_t begin;

    if (size < STRINGS)
        return kind < 16 ? change_model(dice, data, size, max_size)
                         : LLVMFuzzerMutate(data, size, max_size);
    parts = parts_of(data, size);
    begin = parts.end > 0 ? parts.end : STRINGS;
    if (kind < 1) {
        size = change_model(dice, data, size, max_size);
    } else if (kind < 14) {
        change_config(dice, data);
    } else if (kind < 22) {
        change_preamble(dice, data, size);
    } else if (kind < 34) {
        change_tables(dice, data, parts);
    } else if (kind < 38 && parts.directory > STRINGS) {
        (void)LLVMFuzzerMutate(data + STRINGS, parts.directory - STRINGS,
                               parts.directory - STRINGS);
    } else if (kind < 48) {
        change_weight(dice, data, size, begin);
    } else if (kind < 56) {
        change_stream(dice, data, size, parts);
    } else {
        size = LLVMFuzzerMutate(data, size, max_size);
        if (kind >= 62)
            return size; /* unsigned: the checksums have to notice */
    }
    own_sign(data, size);
    return size;
}
