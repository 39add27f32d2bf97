/*
 * Reading a zip archive's directory.  The end record has to be the last 22 bytes, so there is no
 * search and no room for a second reading of the same file.  Every local header has to agree with
 * the directory, and together headers, data, directory and end records cover the file exactly.
 */
#include "checkpoint/zip.h"

#include <string.h>

#include "checkpoint/bytes.h"
#include "checkpoint/deflate.h"
#include "checkpoint/heapsort.h"
#include "runtime/checked.h"
#include "runtime/limits.h"

#define LOCAL_BYTES 30u
#define CENTRAL_BYTES 46u
#define END_BYTES 22u
#define LOCATOR_BYTES 20u
#define END64_BYTES 56u

#define LOCAL_MARK 0x04034b50u
#define CENTRAL_MARK 0x02014b50u
#define END_MARK 0x06054b50u
#define LOCATOR_MARK 0x07064b50u
#define END64_MARK 0x06064b50u

/* A field with only ones says that the true value is in a 64-bit field elsewhere. */
#define WIDE16 0xffffu
#define WIDE32 0xffffffffu

#define EXTRA_LIMIT 1024u /* bytes of the extra fields of a header */
#define EXTRA_ZIP64 1u

/* Two hints for compressors, sizes behind the data, UTF-8 names. */
#define FLAG_SIZES_BEHIND 0x0008u
#define FLAGS_ALLOWED (0x0006u | FLAG_SIZES_BEHIND | 0x0800u)

struct archive {
    struct vmoe_zip *zip;
    const struct vmoe_file *file;
    const char *path;
    uint64_t count;     /* entries */
    uint64_t directory; /* offset of the central directory */
    uint64_t end;       /* of the central directory */
    vmoe_error *error;
};

static vmoe_status get(const struct archive *archive, uint64_t offset, void *to, size_t bytes)
{
    return vmoe_file_read(archive->file, archive->path, offset, to, bytes, archive->error);
}

/* Takes the wide value if the narrow one is the mark; otherwise the two have to agree. */
static bool widen(uint64_t narrow, uint64_t mark, uint64_t wide, uint64_t *value)
{
    *value = wide;
    return narrow == mark || narrow == wide;
}

/* ---- The end -------------------------------------------------------------------------------- */

/* The 64-bit end record and its locator, right before the end record. */
static vmoe_status read_end64(struct archive *archive, const uint8_t *end)
{
    uint8_t locator[LOCATOR_BYTES], wide[END64_BYTES];
    uint64_t at = archive->end, bytes;
    bool good;
    vmoe_status status;

    if (at < LOCATOR_BYTES + END64_BYTES)
        return vmoe_fail(archive->error, VMOE_ERR_FORMAT, archive->path,
                         "the 64-bit end record is missing");
    at -= LOCATOR_BYTES;
    status = get(archive, at, locator, sizeof locator);
    at -= END64_BYTES;
    if (status == VMOE_OK)
        status = get(archive, at, wide, sizeof wide);
    if (status != VMOE_OK)
        return status;
    good = get_u32(locator) == LOCATOR_MARK && get_u32(locator + 4) == 0 &&
           get_u64(locator + 8) == at && get_u32(locator + 16) == 1 &&
           get_u32(wide) == END64_MARK && get_u64(wide + 4) == END64_BYTES - 12 &&
           get_u32(wide + 16) == 0 && get_u32(wide + 20) == 0 &&
           get_u64(wide + 24) == get_u64(wide + 32);
    good &= widen(get_u16(end + 10), WIDE16, get_u64(wide + 32), &archive->count);
    good &= widen(get_u32(end + 12), WIDE32, get_u64(wide + 40), &bytes);
    good &= widen(get_u32(end + 16), WIDE32, get_u64(wide + 48), &archive->directory);
    good &= archive->directory <= at && bytes == at - archive->directory;
    archive->end = at;
    if (!good)
        return vmoe_fail(archive->error, VMOE_ERR_FORMAT, archive->path,
                         "the 64-bit end record contradicts the file or the end record");
    return VMOE_OK;
}

static vmoe_status read_end(struct archive *archive)
{
    uint8_t end[END_BYTES];
    vmoe_status status = VMOE_OK;

    if (archive->file->size < END_BYTES)
        return vmoe_fail(archive->error, VMOE_ERR_FORMAT, archive->path,
                         "%llu bytes are too few for a zip archive",
                         (unsigned long long)archive->file->size);
    archive->end = archive->file->size - END_BYTES;
    status = get(archive, archive->end, end, sizeof end);
    if (status != VMOE_OK)
        return status;
    if (get_u32(end) != END_MARK || get_u16(end + 20) != 0)
        return vmoe_fail(archive->error, VMOE_ERR_FORMAT, archive->path,
                         "the last %u bytes are not the end record of a zip archive; comments of "
                         "archives are not supported", END_BYTES);
    if (get_u16(end + 4) != 0 || get_u16(end + 6) != 0 || get_u16(end + 8) != get_u16(end + 10))
        return vmoe_fail(archive->error, VMOE_ERR_UNSUPPORTED, archive->path,
                         "the archive is one of several disks");
    archive->count = get_u16(end + 10);
    archive->directory = get_u32(end + 16);
    if (archive->count == WIDE16 || get_u32(end + 12) == WIDE32 || archive->directory == WIDE32)
        status = read_end64(archive, end);
    else if (archive->directory + get_u32(end + 12) != archive->end)
        status = vmoe_fail(archive->error, VMOE_ERR_FORMAT, archive->path,
                           "the directory, %lu bytes at %lu, does not end at the end record",
                           (unsigned long)get_u32(end + 12), (unsigned long)archive->directory);
    if (status == VMOE_OK && archive->count > VMOE_LIMIT_ZIP_ENTRIES)
        status = vmoe_fail(archive->error, VMOE_ERR_LIMIT, archive->path,
                           "the archive has %llu members, the limit is %u",
                           (unsigned long long)archive->count, VMOE_LIMIT_ZIP_ENTRIES);
    return status;
}

/* ---- Headers -------------------------------------------------------------------------------- */

/*
 * Replaces those of the `count` values that are WIDE32 by the 64-bit ones of the extra field.  It
 * holds either just these or, as Python writes it, all, which then have to agree.
 */
static bool read_extra(const uint8_t *extra, size_t bytes, uint64_t *const values[], size_t count)
{
    const uint8_t *wide = NULL;
    size_t left = 0;
    bool all;

    while (bytes >= 4) {
        size_t length = get_u16(extra + 2);

        if (length > bytes - 4)
            return false;
        if (get_u16(extra) == EXTRA_ZIP64) {
            if (wide != NULL)
                return false;
            wide = extra + 4;
            left = length;
        }
        extra += 4 + length;
        bytes -= 4 + length;
    }
    all = left == 8 * count;
    for (size_t i = 0; i < count; i++) {
        if (*values[i] != WIDE32 && !all)
            continue;
        if (left < 8 || !widen(*values[i], WIDE32, get_u64(wide), values[i]))
            return false;
        wide += 8;
        left -= 8;
    }
    return bytes == 0 && left == 0;
}

static vmoe_status check_entry(const struct archive *archive, const struct vmoe_zip_entry *entry,
                               const char *name)
{
    const char *wrong = NULL;

    if ((entry->flags & 1) != 0)
        wrong = "is encrypted";
    else if ((entry->flags & ~FLAGS_ALLOWED) != 0)
        wrong = "has flags that are not supported";
    else if (entry->method != VMOE_ZIP_STORED && entry->method != VMOE_ZIP_DEFLATED)
        wrong = "is neither stored nor deflated";
    if (wrong != NULL)
        return vmoe_fail(archive->error, VMOE_ERR_UNSUPPORTED, archive->path,
                         "the member \"%s\" %s", name, wrong);
    if (entry->method == VMOE_ZIP_STORED && entry->stored != entry->size)
        wrong = "is stored with another size than its own";
    else if (entry->size / VMOE_DEFLATE_RATIO > entry->stored)
        wrong = "is larger than its data can be";
    else if (entry->header > archive->directory)
        wrong = "begins behind the directory";
    if (wrong != NULL)
        return vmoe_fail(archive->error, VMOE_ERR_FORMAT, archive->path, "the member \"%s\" %s",
                         name, wrong);
    return VMOE_OK;
}

/* Adds a name of `bytes` bytes at `offset` of the file to the names. */
static vmoe_status read_name(struct archive *archive, uint64_t offset, size_t bytes)
{
    char *name = vmoe_list_add(&archive->zip->names, bytes + 1);
    vmoe_status status;

    if (name == NULL)
        return vmoe_fail(archive->error, VMOE_ERR_MEMORY, archive->path, "no memory for a name");
    status = get(archive, offset, name, bytes);
    for (size_t i = 0; i < bytes && status == VMOE_OK; i++)
        if (name[i] < 0x20 || name[i] > 0x7e)
            status = vmoe_fail(archive->error, VMOE_ERR_FORMAT, archive->path,
                               "at byte %llu: a name that is not printable ASCII",
                               (unsigned long long)offset);
    return status;
}

/* Adds the entry at `*at` of the directory, and moves on. */
static vmoe_status read_central(struct archive *archive, uint64_t *at)
{
    uint8_t head[CENTRAL_BYTES], extra[EXTRA_LIMIT];
    struct vmoe_zip_entry entry = { 0 }, *added;
    uint64_t *const values[3] = { &entry.size, &entry.stored, &entry.header };
    size_t name_bytes, extra_bytes;
    uint64_t next;
    const char *name;
    vmoe_status status = get(archive, *at, head, sizeof head);

    if (status != VMOE_OK)
        return status;
    name_bytes = get_u16(head + 28);
    extra_bytes = get_u16(head + 30);
    next = *at + CENTRAL_BYTES + name_bytes + extra_bytes + get_u16(head + 32);
    if (get_u32(head) != CENTRAL_MARK || next > archive->end)
        return vmoe_fail(archive->error, VMOE_ERR_FORMAT, archive->path,
                         "at byte %llu: no entry of the directory", (unsigned long long)*at);
    if (name_bytes == 0 || name_bytes > VMOE_LIMIT_NAME_BYTES || extra_bytes > EXTRA_LIMIT)
        return vmoe_fail(archive->error, VMOE_ERR_LIMIT, archive->path,
                         "at byte %llu: a name of %zu bytes, %zu more; the limits are %u and %u",
                         (unsigned long long)*at, name_bytes, extra_bytes, VMOE_LIMIT_NAME_BYTES,
                         EXTRA_LIMIT);
    entry.name = archive->zip->names.count;
    status = read_name(archive, *at + CENTRAL_BYTES, name_bytes);
    if (status == VMOE_OK)
        status = get(archive, *at + CENTRAL_BYTES + name_bytes, extra, extra_bytes);
    if (status != VMOE_OK)
        return status;
    name = (const char *)archive->zip->names.items + entry.name;
    entry.flags = get_u16(head + 8);
    entry.method = get_u16(head + 10);
    entry.crc = get_u32(head + 16);
    entry.stored = get_u32(head + 20);
    entry.size = get_u32(head + 24);
    entry.header = get_u32(head + 42);
    if (get_u16(head + 34) != 0 || !read_extra(extra, extra_bytes, values, 3))
        return vmoe_fail(archive->error, VMOE_ERR_FORMAT, archive->path,
                         "the entry \"%s\" has damaged extra fields", name);
    status = check_entry(archive, &entry, name);
    if (status != VMOE_OK)
        return status;
    added = vmoe_list_add(&archive->zip->entries, 1);
    if (added == NULL)
        return vmoe_fail(archive->error, VMOE_ERR_MEMORY, archive->path, "no memory for a member");
    *added = entry;
    *at = next;
    return VMOE_OK;
}

/* Finds the data of a member behind its local header, which has to say what the directory says. */
static vmoe_status read_local(const struct archive *archive, uint64_t i)
{
    struct vmoe_zip_entry *entry = vmoe_zip_entry(archive->zip, i);
    const char *name = vmoe_zip_name(archive->zip, i);
    const size_t name_bytes = strlen(name);
    uint8_t head[LOCAL_BYTES], extra[EXTRA_LIMIT];
    char local_name[VMOE_LIMIT_NAME_BYTES];
    uint64_t size, stored;
    uint64_t *const values[2] = { &size, &stored };
    size_t extra_bytes;
    bool good, blank;
    vmoe_status status = get(archive, entry->header, head, sizeof head);

    if (status != VMOE_OK)
        return status;
    extra_bytes = get_u16(head + 28);
    if (get_u32(head) != LOCAL_MARK || get_u16(head + 26) != name_bytes ||
        extra_bytes > EXTRA_LIMIT)
        return vmoe_fail(archive->error, VMOE_ERR_FORMAT, archive->path,
                         "at byte %llu: no header of the member \"%s\"",
                         (unsigned long long)entry->header, name);
    status = get(archive, entry->header + LOCAL_BYTES, local_name, name_bytes);
    if (status == VMOE_OK)
        status = get(archive, entry->header + LOCAL_BYTES + name_bytes, extra, extra_bytes);
    if (status != VMOE_OK)
        return status;
    stored = get_u32(head + 18);
    size = get_u32(head + 22);
    good = read_extra(extra, extra_bytes, values, 2) && memcmp(name, local_name, name_bytes) == 0 &&
           get_u16(head + 6) == entry->flags && get_u16(head + 8) == entry->method;
    /* Writers that could not go back have left zeros. */
    blank = (entry->flags & FLAG_SIZES_BEHIND) != 0 && get_u32(head + 14) == 0 && stored == 0 &&
            size == 0;
    good &= blank || (get_u32(head + 14) == entry->crc && stored == entry->stored &&
                      size == entry->size);
    if (!good)
        return vmoe_fail(archive->error, VMOE_ERR_FORMAT, archive->path,
                         "at byte %llu: the header of \"%s\" contradicts the directory",
                         (unsigned long long)entry->header, name);
    entry->data = entry->header + LOCAL_BYTES + name_bytes + extra_bytes;
    return VMOE_OK;
}

/* ---- The whole file ------------------------------------------------------------------------- */

static int compare_headers(const void *context, uint32_t a, uint32_t b)
{
    const struct vmoe_zip *zip = context;
    uint64_t at_a = vmoe_zip_entry(zip, a)->header, at_b = vmoe_zip_entry(zip, b)->header;

    return (at_a > at_b) - (at_a < at_b);
}

/* Behind the data there may be checksum and sizes again: 12 or 20 bytes, 4 more with a mark. */
static bool follows(const struct vmoe_zip_entry *entry, uint64_t next)
{
    uint64_t end, gap;

    if (!vmoe_add_u64(entry->data, entry->stored, &end) || end > next)
        return false;
    gap = next - end;
    if ((entry->flags & FLAG_SIZES_BEHIND) == 0)
        return gap == 0;
    return gap == 12 || gap == 16 || gap == 20 || gap == 24;
}

/* `order` has room for all entries. */
static vmoe_status check_layout(const struct archive *archive, uint32_t *order)
{
    const struct vmoe_zip *zip = archive->zip;

    for (uint32_t i = 0; i < archive->count; i++)
        order[i] = i;
    vmoe_heapsort(order, (size_t)archive->count, compare_headers, zip);
    if ((archive->count > 0 ? vmoe_zip_entry(zip, order[0])->header : archive->directory) != 0)
        return vmoe_fail(archive->error, VMOE_ERR_FORMAT, archive->path,
                         "something comes before the first member");
    for (uint32_t i = 0; i < archive->count; i++) {
        uint64_t next = i + 1 < archive->count ? vmoe_zip_entry(zip, order[i + 1])->header
                                               : archive->directory;

        if (!follows(vmoe_zip_entry(zip, order[i]), next))
            return vmoe_fail(archive->error, VMOE_ERR_FORMAT, archive->path,
                             "the member \"%s\" does not end at byte %llu, where the next part "
                             "begins", vmoe_zip_name(zip, order[i]), (unsigned long long)next);
    }
    return VMOE_OK;
}

vmoe_status vmoe_zip_read(struct vmoe_zip *zip, const struct vmoe_file *file, const char *path,
                          const vmoe_allocator *allocator, vmoe_error *error)
{
    struct archive archive = { .zip = zip, .file = file, .path = path, .error = error };
    uint32_t *order;
    uint64_t at;
    vmoe_status status;

    zip->entries = (struct vmoe_list)VMOE_LIST(struct vmoe_zip_entry, allocator);
    zip->names = (struct vmoe_list)VMOE_LIST(char, allocator);
    status = read_end(&archive);
    at = archive.directory;
    for (uint64_t i = 0; i < archive.count && status == VMOE_OK; i++)
        status = read_central(&archive, &at);
    if (status == VMOE_OK && at != archive.end)
        status = vmoe_fail(error, VMOE_ERR_FORMAT, path,
                           "the directory ends at byte %llu instead of %llu",
                           (unsigned long long)at, (unsigned long long)archive.end);
    for (uint64_t i = 0; i < archive.count && status == VMOE_OK; i++)
        status = read_local(&archive, i);
    if (status != VMOE_OK)
        return status;
    order = vmoe_memory_take(allocator, archive.count * sizeof *order);
    if (order == NULL)
        return vmoe_fail(error, VMOE_ERR_MEMORY, path, "no memory for the members");
    status = check_layout(&archive, order);
    vmoe_memory_release(allocator, order);
    return status;
}

void vmoe_zip_free(struct vmoe_zip *zip)
{
    vmoe_list_free(&zip->entries);
    vmoe_list_free(&zip->names);
}
