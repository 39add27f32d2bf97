/*
 * Hand-made .npz files: everything that a writer may do, and then the lies: about headers, sizes,
 * checksums, places and shapes.
 */
#define _GNU_SOURCE
#include "support/support.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "checkpoint/import.h"
#include "checkpoint/source.h"
#include "support/fault.h"
#include "support/formula.h"
#include "support/random.h"
#include "support/tiny.h"

/* ---- A zip writer --------------------------------------------------------------------------- */

struct bytes {
    uint8_t *data;
    size_t size, capacity;
};

static void put(struct bytes *to, const void *data, size_t size)
{
    if (to->size + size > to->capacity) {
        to->capacity = 2 * (to->size + size);
        to->data = realloc(to->data, to->capacity);
    }
    if (size > 0)
        memcpy(to->data + to->size, data, size);
    to->size += size;
}

static void put_number(struct bytes *to, uint64_t number, size_t size)
{
    uint8_t bytes[16] = { 0 };

    for (size_t i = 0; i < size && i < 8; i++)
        bytes[i] = (uint8_t)(number >> 8 * i);
    put(to, bytes, size);
}

/* What a header says of a member. */
struct said {
    const char *name;
    unsigned flags, method, disk;
    uint32_t crc;
    uint64_t stored, size, header;
    /* 64-bit sizes: 0 no, 1 instead of the narrow ones, 2 beside them, 3 as 1 with one missing. */
    int wide;
    const char *extra; /* more extra bytes, in hexadecimal pairs, or NULL */
};

struct member {
    struct said local, central;
    struct bytes data; /* as stored */
    const char *behind; /* bytes behind the data in hexadecimal pairs */
    bool placed;        /* the test has set the offset in the directory */
};

#define MEMBERS 40

struct archive {
    int members;
    struct member member[MEMBERS];
    struct bytes before;    /* the first member */
    uint64_t base;          /* what comes before the bytes that are built */
    bool absolute;          /* offsets count from the start of the file, not of the first member */
    const char *gap;        /* between data and directory */
    const char *behind;     /* behind the end record */
    uint32_t comment_bytes; /* what the end record says */
    int count;              /* added to the number of members in the end record */
    int64_t directory;      /* added to the offset of the directory */
    int64_t directory_bytes;
    unsigned disk;
    /* 64-bit end record: 0 no, 1 with marks, 2 without, 3 marks without record, 4 to 6 one mark. */
    int end64;
    int narrow_count; /* added to the number of members where it is not marked */
    int64_t end64_lie; /* added to each field of it in turn, by `end64_field` */
    int end64_field;
};

static void put_hexadecimal(struct bytes *to, const char *text)
{
    for (; text != NULL && text[0] != '\0'; text += 2) {
        char pair[3] = { text[0], text[1], '\0' };

        put_number(to, strtoul(pair, NULL, 16), 1);
    }
}

static struct bytes extra_of(const struct said *said, bool central)
{
    struct bytes extra = { 0 };
    size_t size = (central ? 24u : 16u) - (said->wide == 3 ? 8u : 0u);

    if (said->wide != 0) {
        put_number(&extra, 1, 2);
        put_number(&extra, size, 2);
        put_number(&extra, said->size, 8);
        if (said->wide != 3 || central)
            put_number(&extra, said->stored, 8);
        if (said->wide != 3 && central)
            put_number(&extra, said->header, 8);
    }
    put_hexadecimal(&extra, said->extra);
    return extra;
}

static uint64_t narrow(const struct said *said, uint64_t value)
{
    return said->wide == 1 || said->wide == 3 ? 0xffffffffu : value;
}

static void put_local(struct bytes *to, const struct said *said)
{
    struct bytes extra = extra_of(said, false);

    put_number(to, 0x04034b50, 4);
    put_number(to, 45, 2);
    put_number(to, said->flags, 2);
    put_number(to, said->method, 2);
    put_number(to, 0, 4);
    put_number(to, said->crc, 4);
    put_number(to, narrow(said, said->stored), 4);
    put_number(to, narrow(said, said->size), 4);
    put_number(to, strlen(said->name), 2);
    put_number(to, extra.size, 2);
    put(to, said->name, strlen(said->name));
    put(to, extra.data, extra.size);
    free(extra.data);
}

static void put_central(struct bytes *to, const struct said *said)
{
    struct bytes extra = extra_of(said, true);

    put_number(to, 0x02014b50, 4);
    put_number(to, 45, 2);
    put_number(to, 45, 2);
    put_number(to, said->flags, 2);
    put_number(to, said->method, 2);
    put_number(to, 0, 4);
    put_number(to, said->crc, 4);
    put_number(to, narrow(said, said->stored), 4);
    put_number(to, narrow(said, said->size), 4);
    put_number(to, strlen(said->name), 2);
    put_number(to, extra.size, 2);
    put_number(to, 0, 2);
    put_number(to, said->disk, 2);
    put_number(to, 0, 6);
    put_number(to, narrow(said, said->header), 4);
    put(to, said->name, strlen(said->name));
    put(to, extra.data, extra.size);
    free(extra.data);
}

static void put_end64(struct bytes *to, const struct archive *archive, uint64_t count,
                      uint64_t directory, uint64_t bytes)
{
    uint64_t at = archive->base + to->size;
    uint64_t fields[] = { 0x06064b50, 44, 0,     0, 0,          0,  count, count,
                          bytes, directory, 0x07064b50, 0, at,    1 };
    static const size_t sizes[] = { 4, 8, 2, 2, 4, 4, 8, 8, 8, 8, 4, 4, 8, 4 };

    fields[archive->end64_field] += (uint64_t)archive->end64_lie;
    for (int i = 0; i < 14; i++)
        put_number(to, fields[i], sizes[i]);
}

static void put_end(struct bytes *to, const struct archive *archive, size_t start,
                    size_t directory_at)
{
    uint64_t count = (uint64_t)(archive->members + archive->count);
    uint64_t directory = archive->base + directory_at - (archive->absolute ? 0 : start) +
                         (uint64_t)archive->directory;
    uint64_t bytes = to->size - directory_at + (uint64_t)archive->directory_bytes;
    bool marks = archive->end64 == 1 || archive->end64 == 3;
    uint64_t narrow_count = marks || archive->end64 == 4
                                ? 0xffff : count + (uint64_t)archive->narrow_count;

    if (archive->end64 != 0 && archive->end64 != 3)
        put_end64(to, archive, count, directory, bytes);
    put_number(to, 0x06054b50, 4);
    put_number(to, archive->disk, 2);
    put_number(to, archive->disk, 2);
    put_number(to, narrow_count, 2);
    put_number(to, narrow_count, 2);
    put_number(to, marks || archive->end64 == 5 ? 0xffffffff : bytes, 4);
    put_number(to, marks || archive->end64 == 6 ? 0xffffffff : directory, 4);
    put_number(to, archive->comment_bytes, 2);
}

static struct bytes bytes_of(struct archive *archive)
{
    struct bytes all = { 0 };
    size_t start, directory;

    put(&all, archive->before.data, archive->before.size);
    start = all.size;
    for (int i = 0; i < archive->members; i++) {
        struct member *member = &archive->member[i];

        if (!member->placed)
            member->central.header = all.size - (archive->absolute ? 0 : start);
        put_local(&all, &member->local);
        put(&all, member->data.data, member->data.size);
        put_hexadecimal(&all, member->behind);
    }
    put_hexadecimal(&all, archive->gap);
    directory = all.size;
    for (int i = 0; i < archive->members; i++)
        put_central(&all, &archive->member[i].central);
    put_end(&all, archive, start, directory);
    put_hexadecimal(&all, archive->behind);
    return all;
}

/* ---- Arrays --------------------------------------------------------------------------------- */

#define HEADER "{'descr': '<f4', 'fortran_order': False, 'shape': (6, 5), }"

static struct bytes npy_of(unsigned version, const char *header, int64_t length_lie,
                           size_t elements, size_t excess)
{
    struct bytes npy = { 0 };
    size_t length = strlen(header) + 1;

    put(&npy, "\x93NUMPY", 6);
    put_number(&npy, version, 1);
    put_number(&npy, 0, 1);
    put_number(&npy, length + (uint64_t)length_lie, version == 1 ? 2 : 4);
    put(&npy, header, length - 1);
    put(&npy, "\n", 1);
    for (size_t i = 0; i < elements; i++) {
        float value = (float)(i * 1000003 % 4099) / 4.0f;

        put(&npy, &value, 4);
    }
    put(&npy, "12345678", excess);
    return npy;
}

static struct bytes deflated(struct bytes raw)
{
    struct bytes packed = { 0 };
    z_stream stream = { 0 };

    packed.capacity = raw.size + 1000;
    packed.data = malloc(packed.capacity);
    deflateInit2(&stream, 9, Z_DEFLATED, -15, 9, Z_DEFAULT_STRATEGY);
    stream.next_in = raw.data;
    stream.avail_in = (uInt)raw.size;
    stream.next_out = packed.data;
    stream.avail_out = (uInt)packed.capacity;
    assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
    packed.size = stream.total_out;
    deflateEnd(&stream);
    return packed;
}

static void add(struct archive *archive, const char *name, unsigned method, struct bytes npy)
{
    struct member *member = &archive->member[archive->members++];
    struct said said = { .name = name, .method = method, .size = npy.size };

    said.crc = (uint32_t)crc32_z(0, npy.data, npy.size);
    member->data = npy;
    if (method == 8) {
        member->data = deflated(npy);
        free(npy.data);
    }
    said.stored = member->data.size;
    member->local = member->central = said;
}

/* A stored and a deflated array of the same 30 numbers. */
static struct archive good(void)
{
    struct archive archive = { .before = { 0 } };

    add(&archive, "b/kernel.npy", 0, npy_of(1, HEADER, 0, 30, 0));
    add(&archive, "a.npy", 8, npy_of(2, HEADER, 0, 30, 0));
    return archive;
}

static void free_archive(struct archive *archive)
{
    for (int i = 0; i < archive->members; i++)
        free(archive->member[i].data.data);
    free(archive->before.data);
}

static const char *path(void)
{
    return scratch_path("made.npz");
}

static void write_bytes(struct bytes bytes)
{
    unlink(path());
    write_file(path(), bytes.data, bytes.size);
    free(bytes.data);
}

static void write_archive(struct archive *archive)
{
    write_bytes(bytes_of(archive));
    free_archive(archive);
}

/* Opens the file and reads all of it; the first error counts. */
static vmoe_status open_made(vmoe_error *error)
{
    struct vmoe_source *source = NULL;
    struct fault fault;
    vmoe_status status;

    fault_init(&fault, 0, false);
    status = vmoe_npz_open(path(), &fault.allocator, &source, error);
    if (status == VMOE_OK) {
        for (size_t i = 0; i < source->count && status == VMOE_OK; i++) {
            float values[30];

            assert_in_range(source->arrays[i].elements, 0, 30);
            status = source->read(source, i, 0, source->arrays[i].elements, values, error);
        }
        source->close(source);
    } else {
        assert_null(source);
    }
    assert_int_equal(fault.live, 0);
    assert_in_range(fault.peak, 0, 400 << 10);
    return status;
}

static void expect(vmoe_status status, const char *words)
{
    vmoe_error error = VMOE_ERROR_INIT;
    vmoe_status found = open_made(&error);

    if (found != status || strstr(error.text, words) == NULL)
        fail_msg("found %s \"%s: %s\", expected %s \"%s\"", vmoe_status_name(found), error.where,
                 error.text, vmoe_status_name(status), words);
}

static void refused(struct archive archive, vmoe_status status, const char *words)
{
    write_archive(&archive);
    expect(status, words);
}

#define CENTRAL_MARK 0x02014b50u
#define END_MARK 0x06054b50u
#define END_BYTES 22u

/* The good archive, with one more in a number of the last record that begins with this mark. */
static void refused_with(uint32_t mark, size_t offset, vmoe_status status, const char *words)
{
    struct archive archive = good();
    struct bytes all = bytes_of(&archive);
    size_t at = all.size - END_BYTES;

    while (memcmp(all.data + at, &mark, sizeof mark) != 0)
        at--;
    all.data[at + offset]++;
    write_bytes(all);
    free_archive(&archive);
    expect(status, words);
}

/* Opens the file, which has so many arrays of the 30 numbers, and reads every end of each. */
static void expect_arrays(int count)
{
    struct vmoe_source *source;
    vmoe_error error = VMOE_ERROR_INIT;

    if (vmoe_npz_open(path(), &vmoe_memory_default, &source, &error) != VMOE_OK)
        fail_msg("%s: %s", error.where, error.text);
    assert_int_equal(source->count, count);
    for (size_t i = 0; i < source->count; i++) {
        const struct vmoe_array *array = &source->arrays[i];
        float values[30];

        assert_int_equal(array->elements, 30);
        for (uint64_t first = 0; first < 30; first++) {
            assert_int_equal(source->read(source, i, first, 30 - first, values, NULL), VMOE_OK);
            for (uint64_t k = first; k < 30; k++)
                assert_true(values[k - first] == (float)(k * 1000003 % 4099) / 4.0f);
        }
    }
    source->close(source);
}

static void accepted(struct archive archive)
{
    write_archive(&archive);
    expect_arrays(archive.members);
}

/* ---- Archives that are fine ----------------------------------------------------------------- */

static void plain_archives_read_back(void **state)
{
    struct archive archive = good();
    struct vmoe_source *source;

    (void)state;
    accepted(good());
    write_archive(&archive);
    assert_int_equal(vmoe_npz_open(path(), &vmoe_memory_default, &source, NULL), VMOE_OK);
    assert_string_equal(source->arrays[0].name, "a");
    assert_string_equal(source->arrays[1].name, "b/kernel");
    assert_int_equal(source->arrays[1].rank, 2);
    assert_int_equal(source->arrays[1].dims[0], 6);
    assert_int_equal(source->arrays[1].dims[1], 5);
    source->close(source);
    archive = (struct archive){ .members = 0 };
    accepted(archive);
}

static void names_of_members_are_never_paths(void **state)
{
    struct archive archive = { .members = 0 };

    (void)state;
    add(&archive, "../../../etc/passwd.npy", 0, npy_of(1, HEADER, 0, 30, 0));
    add(&archive, "/dev/null.npy", 8, npy_of(3, HEADER, 0, 30, 0));
    accepted(archive);
}

static void folders_are_passed_over(void **state)
{
    struct archive archive = { .members = 0 };

    (void)state;
    add(&archive, "b/", 0, (struct bytes){ 0 });
    add(&archive, "b/kernel.npy", 0, npy_of(1, HEADER, 0, 30, 0));
    add(&archive, "b/c/", 8, (struct bytes){ 0 });
    add(&archive, "a.npy", 8, npy_of(2, HEADER, 0, 30, 0));
    add(&archive, "d/", 0, (struct bytes){ 0 });
    write_archive(&archive);
    expect_arrays(2);
    archive = (struct archive){ .members = 0 };
    add(&archive, "b/", 0, (struct bytes){ 0 });
    write_archive(&archive);
    expect_arrays(0);
    /* With data it would be an array of another name. */
    archive = (struct archive){ .members = 0 };
    add(&archive, "b/", 0, npy_of(1, HEADER, 0, 30, 0));
    refused(archive, VMOE_ERR_FORMAT, "\"b/\" does not end in .npy");
}

static void wide_sizes_are_read_with_marks_and_beside_narrow_ones(void **state)
{
    static const int ends[] = { 0, 1, 4, 5, 6 };

    (void)state;
    for (int local = 0; local <= 2; local++) {
        for (int central = 0; central <= 2; central++) {
            for (size_t end = 0; end < sizeof ends / sizeof ends[0]; end++) {
                struct archive archive = good();

                for (int i = 0; i < 2; i++) {
                    archive.member[i].local.wide = local;
                    archive.member[i].central.wide = central;
                }
                archive.end64 = ends[end];
                accepted(archive);
            }
        }
    }
}

static void sizes_may_come_behind_the_data(void **state)
{
    /* Room for 24 bytes of checksum and sizes; how many there may be depends on their widths. */
    static const char zeros[] = "000000000000000000000000000000000000000000000000";

    (void)state;
    for (size_t bytes = 0; bytes <= 24; bytes++) {
        struct archive archive = good();
        struct member *member = &archive.member[1];

        member->local.flags = member->central.flags = 8;
        member->local.crc = 0;
        member->local.stored = member->local.size = 0;
        member->behind = zeros + 2 * (24 - bytes);
        if (bytes == 12 || bytes == 16 || bytes == 20 || bytes == 24)
            accepted(archive);
        else
            refused(archive, VMOE_ERR_FORMAT, "\"a.npy\" does not end at byte");
    }
    for (int lie = 0; lie < 3; lie++) {
        struct archive archive = good();
        struct member *member = &archive.member[1];

        member->local.flags = member->central.flags = 8;
        member->local.crc = lie == 0;
        member->local.stored = lie == 1;
        member->local.size = lie == 2;
        member->behind = zeros;
        refused(archive, VMOE_ERR_FORMAT, "the header of \"a.npy\" contradicts the directory");
    }
}

static void other_extra_fields_are_ignored(void **state)
{
    struct archive archive = good();

    (void)state;
    archive.member[0].local.extra = "efbe0300010203";
    archive.member[0].central.extra = "efbe0000";
    archive.member[1].local.wide = 2;
    archive.member[1].local.extra = "efbe0300010203efbe0000";
    accepted(archive);
    archive = good();
    archive.member[0].local.extra = "efbe0300010203ef";
    refused(archive, VMOE_ERR_FORMAT, "the header of \"b/kernel.npy\" contradicts");
    archive = good();
    archive.member[0].central.extra = "efbe0400010203";
    refused(archive, VMOE_ERR_FORMAT, "the entry \"b/kernel.npy\" has damaged extra fields");
    archive = good(); /* 64-bit sizes twice */
    archive.member[0].central.wide = 1;
    archive.member[0].central.extra = "01000000";
    refused(archive, VMOE_ERR_FORMAT, "the entry \"b/kernel.npy\" has damaged extra fields");
    archive = good(); /* twice where none is needed */
    archive.member[0].central.extra = "0100000001000000";
    refused(archive, VMOE_ERR_FORMAT, "the entry \"b/kernel.npy\" has damaged extra fields");
    archive = good(); /* once, but for no number that is marked */
    archive.member[0].central.extra = "010008000000000000000000";
    refused(archive, VMOE_ERR_FORMAT, "the entry \"b/kernel.npy\" has damaged extra fields");
}

static void extra_fields_have_a_limit(void **state)
{
    char extra[2 * 1025 + 1] = "efbefd03"; /* 1021 bytes, and 4 before them */
    struct archive archive = good();

    (void)state;
    memset(extra + 8, '0', sizeof extra - 9);
    archive.member[0].central.extra = extra;
    refused(archive, VMOE_ERR_LIMIT, "1025 more; the limits are 255 and 1024");
    archive = good();
    archive.member[0].local.extra = extra;
    refused(archive, VMOE_ERR_FORMAT, "no header of the member \"b/kernel.npy\"");
    memcpy(extra, "efbefc03", 8);
    extra[2 * 1024] = '\0';
    archive = good();
    archive.member[0].local.extra = archive.member[0].central.extra = extra;
    accepted(archive);
}

/* ---- Lies of headers ------------------------------------------------------------------------ */

static void local_headers_that_contradict_the_directory_are_refused(void **state)
{
    struct archive archive;

    (void)state;
    for (int i = 0; i < 12; i++) {
        struct said *local;

        archive = good();
        local = &archive.member[1].local;
        switch (i) {
        case 0: local->flags = 2; break;
        case 1: local->method = 0; break;
        case 2: local->crc++; break;
        case 3: local->stored++; break;
        case 4: local->size--; break;
        case 5: local->name = "b.npy"; break;
        case 6: local->wide = 1; local->size++; break;
        case 7: local->wide = 2; local->stored++; break;
        case 8: local->wide = 3; break;
        case 9: local->size = 0xffffffff; break;
        case 10: local->size = local->stored = local->crc = 0; break;
        default: local->flags = 8; break;
        }
        refused(archive, VMOE_ERR_FORMAT, "the header of \"a.npy\" contradicts the directory");
    }
    archive = good();
    archive.member[1].local.name = "aa.npy";
    refused(archive, VMOE_ERR_FORMAT, "no header of the member \"a.npy\"");
    archive = good();
    archive.member[1].central.header = 3;
    archive.member[1].placed = true;
    refused(archive, VMOE_ERR_FORMAT, "at byte 3: no header of the member \"a.npy\"");
}

static void wide_sizes_that_lie_are_refused(void **state)
{
    struct archive archive = good();

    (void)state;
    archive.member[1].central.wide = 3; /* three marks, two values */
    refused(archive, VMOE_ERR_FORMAT, "\"a.npy\" has damaged extra fields");
    archive = good();
    archive.member[1].central.size = 0xffffffff; /* a mark without values */
    refused(archive, VMOE_ERR_FORMAT, "\"a.npy\" has damaged extra fields");
    for (int i = 0; i < 3; i++) {
        struct said *central;

        archive = good();
        central = &archive.member[1].central;
        central->wide = 1;
        archive.member[1].placed = i == 2;
        if (i == 0)
            central->size = UINT64_MAX;
        else if (i == 1)
            central->stored = UINT64_MAX;
        else
            central->header = UINT64_MAX;
        refused(archive, VMOE_ERR_FORMAT, i == 0   ? "is larger than its data can be"
                                          : i == 1 ? "contradicts the directory"
                                                   : "begins behind the directory");
    }
    archive = good();
    archive.member[0].central.wide = 1;
    archive.member[0].central.size = archive.member[0].central.stored = UINT64_MAX;
    archive.member[0].local.wide = 1;
    archive.member[0].local.size = archive.member[0].local.stored = UINT64_MAX;
    refused(archive, VMOE_ERR_FORMAT, "\"b/kernel.npy\" does not end at byte");
}

static void what_is_not_stored_or_deflated_is_refused(void **state)
{
    static const struct {
        unsigned flags, method;
        const char *words;
    } cases[] = {
        { 1, 0, "is encrypted" },        { 9, 8, "is encrypted" },
        { 0x20, 0, "has flags" },        { 0x40, 0, "has flags" },
        { 0x2000, 0, "has flags" },      { 0x8000, 0, "has flags" },
        { 0, 9, "neither stored nor" },  { 0, 12, "neither stored nor" },
        { 0, 14, "neither stored nor" }, { 0, 93, "neither stored nor" },
        { 0, 1, "neither stored nor" },  { 0, 0xffff, "neither stored nor" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct archive archive = good();
        struct member *member = &archive.member[1];

        member->local.flags = member->central.flags = cases[i].flags;
        member->local.method = member->central.method = cases[i].method;
        refused(archive, VMOE_ERR_UNSUPPORTED, cases[i].words);
    }
}

static void members_that_share_bytes_or_leave_holes_are_refused(void **state)
{
    struct archive archive = good();
    struct member inner;

    (void)state;
    /* One body, two names. */
    archive.member[1].central = archive.member[0].central;
    archive.member[1].central.name = "c/kernel.npy";
    archive.member[1].placed = true;
    refused(archive, VMOE_ERR_FORMAT, "the header of \"c/kernel.npy\" contradicts the directory");
    archive = good();
    archive.member[1].central = archive.member[0].central;
    archive.member[1].placed = true;
    refused(archive, VMOE_ERR_FORMAT, "does not end at byte 0");
    /* A member that is the data of another. */
    archive = good();
    inner = archive.member[1];
    archive.member[0].data.size = 0;
    put_local(&archive.member[0].data, &inner.local);
    put(&archive.member[0].data, inner.data.data, inner.data.size);
    archive.member[0].local.size = archive.member[0].central.size =
        archive.member[0].local.stored = archive.member[0].central.stored =
            archive.member[0].data.size;
    archive.member[1].central.header = 30 + strlen("b/kernel.npy");
    archive.member[1].placed = true;
    refused(archive, VMOE_ERR_FORMAT, "does not end at byte 42");
    /* Holes. */
    archive = good();
    archive.member[0].behind = "00";
    refused(archive, VMOE_ERR_FORMAT, "\"b/kernel.npy\" does not end at byte");
    archive = good();
    archive.gap = "00";
    refused(archive, VMOE_ERR_FORMAT, "\"a.npy\" does not end at byte");
}

static void archives_inside_other_files_are_refused(void **state)
{
    struct archive archive = good();

    (void)state;
    put(&archive.before, "#!/bin/sh\n", 10);
    archive.absolute = true;
    refused(archive, VMOE_ERR_FORMAT, "something comes before the first member");
    archive = good();
    put(&archive.before, "#!/bin/sh\n", 10);
    refused(archive, VMOE_ERR_FORMAT, "does not end at the end record");
    archive = (struct archive){ .members = 0, .absolute = true };
    put(&archive.before, "#!/bin/sh\n", 10);
    refused(archive, VMOE_ERR_FORMAT, "something comes before the first member");
    archive = good();
    archive.behind = "00";
    refused(archive, VMOE_ERR_FORMAT, "are not the end record");
    archive = good();
    archive.behind = "68656c6c6f";
    archive.comment_bytes = 5;
    refused(archive, VMOE_ERR_FORMAT, "comments of archives are not supported");
    /* A second end record in the comment of the first, which describes an empty archive. */
    archive = good();
    archive.behind = "504b0506000000000000000000000000000000000000";
    archive.comment_bytes = 22;
    refused(archive, VMOE_ERR_FORMAT, "does not end at the end record");
}

static void end_records_that_lie_are_refused(void **state)
{
    struct archive archive;

    (void)state;
    for (int lie = -1; lie <= 1; lie += 2) {
        archive = good();
        archive.count = lie;
        refused(archive, VMOE_ERR_FORMAT, lie < 0 ? "the directory ends at" : "the file ends at");
        archive = good();
        archive.directory = lie;
        refused(archive, VMOE_ERR_FORMAT, "does not end at the end record");
        archive = good();
        archive.directory_bytes = lie;
        refused(archive, VMOE_ERR_FORMAT, "does not end at the end record");
        archive = good();
        archive.directory = lie;
        archive.directory_bytes = -lie;
        refused(archive, VMOE_ERR_FORMAT, "no entry of the directory");
    }
    archive = good();
    archive.disk = 1;
    refused(archive, VMOE_ERR_UNSUPPORTED, "one of several disks");
    for (size_t number = 4; number <= 8; number += 2)
        refused_with(END_MARK, number, VMOE_ERR_UNSUPPORTED, "one of several disks");
    refused_with(END_MARK, 20, VMOE_ERR_FORMAT, "are not the end record");
    refused_with(CENTRAL_MARK, 32, VMOE_ERR_FORMAT, "no entry of the directory");
    archive = good();
    archive.member[0].central.disk = 1;
    refused(archive, VMOE_ERR_FORMAT, "has damaged extra fields");
    archive = good();
    archive.end64 = 2;
    refused(archive, VMOE_ERR_FORMAT, "does not end at the end record");
    archive = good();
    archive.end64 = 3;
    refused(archive, VMOE_ERR_FORMAT, "the 64-bit end record contradicts");
    archive = (struct archive){ .members = 0, .end64 = 3 };
    refused(archive, VMOE_ERR_FORMAT, "the 64-bit end record is missing");
    archive = good();
    archive.end64 = 5;
    archive.narrow_count = 1;
    refused(archive, VMOE_ERR_FORMAT, "the 64-bit end record contradicts");
    /* Every field of the 64-bit records but the versions. */
    for (int field = 0; field < 14; field++) {
        if (field == 2 || field == 3)
            continue;
        for (int lie = -1; lie <= 1; lie += 2) {
            archive = good();
            archive.end64 = 1;
            archive.end64_field = field;
            archive.end64_lie = lie;
            refused(archive, VMOE_ERR_FORMAT, "the 64-bit end record contradicts");
        }
    }
    /* A directory that begins behind its end has a size that wraps. */
    archive = good();
    archive.end64 = 1;
    archive.directory = 1000;
    archive.directory_bytes = -1000;
    refused(archive, VMOE_ERR_FORMAT, "the 64-bit end record contradicts");
    archive = good();
    archive.end64 = 1;
    archive.count = 65534;
    refused(archive, VMOE_ERR_LIMIT, "the archive has 65536 members, the limit is 65535");
}

static void names_are_checked(void **state)
{
    static const char *const bad[] = { "a", ".npy", "a.npz", "anpy", "a.npy/" };
    static const char *const unprintable[] = { "caf\xe9.npy", "\177.npy", "\037.npy" };
    char text[300];
    struct archive archive;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        archive = good();
        archive.member[1].local.name = archive.member[1].central.name = bad[i];
        refused(archive, VMOE_ERR_FORMAT, "does not end in .npy");
    }
    archive = good();
    archive.member[1].local.name = archive.member[1].central.name = "b/kernel.npy";
    refused(archive, VMOE_ERR_FORMAT, "the array \"b/kernel\" comes twice");
    for (size_t i = 0; i < sizeof unprintable / sizeof unprintable[0]; i++) {
        archive = good();
        archive.member[1].local.name = archive.member[1].central.name = unprintable[i];
        refused(archive, VMOE_ERR_FORMAT, "not printable ASCII");
    }
    archive = good();
    archive.member[1].local.name = archive.member[1].central.name = "";
    refused(archive, VMOE_ERR_LIMIT, "a name of 0 bytes");
    memset(text, 'n', sizeof text);
    strcpy(text + 252, ".npy");
    archive = good();
    archive.member[1].local.name = archive.member[1].central.name = text;
    refused(archive, VMOE_ERR_LIMIT, "a name of 256 bytes");
    archive = good();
    archive.member[1].local.name = archive.member[1].central.name = text + 1;
    accepted(archive);
}

/* ---- Lies of data --------------------------------------------------------------------------- */

static void wrong_checksums_are_found_by_reading_to_the_end(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct archive archive = good();
        struct vmoe_source *source;
        vmoe_error error;
        float values[30];

        archive.member[i].local.crc++;
        archive.member[i].central.crc++;
        write_archive(&archive);
        expect(VMOE_ERR_FORMAT, "its CRC-32 is");
        assert_int_equal(vmoe_npz_open(path(), &vmoe_memory_default, &source, NULL), VMOE_OK);
        /* Also in two parts, also after an error, and not before the end. */
        for (int again = 0; again < 2; again++) {
            size_t number = 1 - (size_t)i; /* sorted: the deflated one is first */

            assert_int_equal(source->read(source, number, 0, 29, values, &error), VMOE_OK);
            assert_int_equal(source->read(source, number, 29, 1, values, &error), VMOE_ERR_FORMAT);
            assert_string_equal(error.where, i == 0 ? "b/kernel" : "a");
        }
        source->close(source);
    }
}

static void sizes_that_lie_are_refused(void **state)
{
    struct archive archive;

    (void)state;
    for (int lie = -1; lie <= 1; lie += 2) {
        /* A stored member has one size only; the file then has a hole or an overlap. */
        archive = good();
        archive.member[0].local.size += (uint64_t)lie;
        archive.member[0].central.size += (uint64_t)lie;
        refused(archive, VMOE_ERR_FORMAT, "is stored with another size than its own");
        archive = good();
        archive.member[0].local.size += (uint64_t)lie;
        archive.member[0].central.size += (uint64_t)lie;
        archive.member[0].local.stored += (uint64_t)lie;
        archive.member[0].central.stored += (uint64_t)lie;
        refused(archive, VMOE_ERR_FORMAT, "does not end at byte");
        archive = good();
        archive.member[1].local.size += (uint64_t)lie;
        archive.member[1].central.size += (uint64_t)lie;
        refused(archive, VMOE_ERR_FORMAT, "its shape needs");
        archive = good();
        archive.member[1].local.stored += (uint64_t)lie;
        archive.member[1].central.stored += (uint64_t)lie;
        refused(archive, VMOE_ERR_FORMAT, "does not end at byte");
    }
    archive = good();
    archive.member[1].local.size = archive.member[1].central.size = 200000;
    refused(archive, VMOE_ERR_FORMAT, "is larger than its data can be");
}

/* Header and size agree, the stream does not. */
static void deflated_data_of_another_length_are_refused(void **state)
{
    (void)state;
    for (int i = 0; i < 7; i++) {
        struct archive archive = good();
        struct member *member = &archive.member[1];
        struct bytes raw = npy_of(2, HEADER, 0, 30, 0);
        const char *words = "its deflated data are damaged or have another size";
        struct bytes *data = &member->data;

        member->local.size = member->central.size = raw.size;
        member->local.crc = member->central.crc = (uint32_t)crc32_z(0, raw.data, raw.size);
        free(data->data);
        if (i == 0)
            raw.size--; /* a byte less comes out */
        else if (i == 1)
            put(&raw, "x", 1); /* one more */
        *data = deflated(raw);
        if (i == 2)
            data->size--; /* the end is missing */
        else if (i == 3)
            data->size = data->size / 2;
        else if (i == 4)
            data->size = 0;
        else if (i == 5)
            data->data[0] = 7; /* a block of the fourth kind, which there is not */
        if (i == 6) {
            put(data, "x", 1); /* something follows */
            words = "its deflated data end before";
        }
        member->local.stored = member->central.stored = data->size;
        free(raw.data);
        refused(archive, VMOE_ERR_FORMAT, words);
    }
}

/* A block of bytes that are not compressed. */
static void put_block(struct bytes *to, bool last, struct bytes data)
{
    put_number(to, last, 1);
    put_number(to, data.size, 2);
    put_number(to, ~(uint64_t)data.size, 2);
    put(to, data.data, data.size);
}

/* Empty blocks follow the last byte, and end with the second piece of 16 KiB that zlib is given. */
static void bytes_behind_a_piece_of_deflated_data_are_found(void **state)
{
    static const size_t pieces = 32 << 10;
    const struct bytes nothing = { 0 };
    struct archive archive = good();
    struct member *member = &archive.member[1];
    struct bytes raw, *data = &member->data;
    char header[] = HEADER "    ";
    size_t spaces = 4;

    (void)state;
    raw = npy_of(2, header, 0, 30, 0);
    for (; (pieces - raw.size) % 5 != 0; raw = npy_of(2, header, 0, 30, 0)) {
        header[strlen(HEADER) + --spaces] = '\0';
        free(raw.data);
    }
    data->size = 0;
    put_block(data, false, raw);
    while (data->size < pieces)
        put_block(data, data->size + 5 == pieces, nothing);
    put(data, "x", 1);
    member->local.stored = member->central.stored = data->size;
    member->local.size = member->central.size = raw.size;
    member->local.crc = member->central.crc = (uint32_t)crc32_z(0, raw.data, raw.size);
    free(raw.data);
    refused(archive, VMOE_ERR_FORMAT, "its deflated data end before");
}

static void random_data_never_inflate_to_an_array(void **state)
{
    (void)state;
    random_seed(3);
    for (int i = 0; i < 2000; i++) {
        struct archive archive = good();
        struct bytes *data = &archive.member[1].data;

        for (int flips = 0; flips < 3; flips++) {
            size_t at = random_u32() % data->size;

            data->data[at] ^= (uint8_t)(1u << random_u32() % 8);
        }
        write_archive(&archive);
        assert_true(open_made(NULL) != VMOE_OK);
    }
}

/* ---- Headers of arrays ---------------------------------------------------------------------- */

#define DICT(descr, order, shape) \
    "{'descr': " descr ", 'fortran_order': " order ", 'shape': " shape ", }"

static void headers_in_all_spellings_are_read(void **state)
{
    static const char *const headers[] = {
        HEADER,
        HEADER "                                                   ",
        DICT("'<f4'", "False", "(6,5)"),
        DICT("'<f4'", "False", "(6, 5,)"),
        DICT("'<f4'", "False", "( 30 , )"),
        DICT("'<f4'", "True", "(30,)"),
        DICT("'<f4'", "True", "(1, 30, 1)"),
        DICT("'<f4'", "False", "(1, 1, 1, 1, 1, 1, 6, 5)"),
        "{\"descr\": \"<f4\", \"fortran_order\": False, \"shape\": (5, 6)}",
        "{'shape':(3,10),'descr':'<f4','fortran_order':False}",
        "\t{ 'fortran_order' : False ,\t'shape' : (2, 15) , 'descr' : '<f4' } \t",
    };

    (void)state;
    for (unsigned version = 1; version <= 3; version++) {
        for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++) {
            struct archive archive = { .members = 0 };

            add(&archive, "a.npy", 8 * (i % 2), npy_of(version, headers[i], 0, 30, 0));
            accepted(archive);
        }
    }
}

static void refused_header(const char *header, vmoe_status status, const char *words)
{
    struct archive archive = { .members = 0 };

    add(&archive, "a.npy", 0, npy_of(1, header, 0, 30, 0));
    refused(archive, status, words);
}

static void types_that_are_no_little_endian_numbers_are_refused(void **state)
{
    static const char *const headers[] = {
        DICT("'|O'", "False", "(6, 5)"),  DICT("'>f4'", "False", "(6, 5)"),
        DICT("'=f4'", "False", "(6, 5)"), DICT("'|f4'", "False", "(6, 5)"),
        DICT("'f4'", "False", "(6, 5)"),  DICT("'<f3'", "False", "(6, 5)"),
        DICT("'<c8'", "False", "(6, 5)"), DICT("'<U4'", "False", "(6, 5)"),
        DICT("'|V4'", "False", "(6, 5)"), DICT("''", "False", "(6, 5)"),
        DICT("[('x', '<f4')]", "False", "(6, 5)"),
        DICT("[('x]', '<f4'), (\"'[\", [('y', '|u1', (2,))])]", "False", "(6, 5)"),
    };

    (void)state;
    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++)
        refused_header(headers[i], VMOE_ERR_UNSUPPORTED, "which is not supported");
    refused_header(DICT("'<\xc2\x9b" "31m\xff\xfe'", "False", "(6, 5)"), VMOE_ERR_UNSUPPORTED,
                   "the type '<?\?31m?\?', which is not supported");
}

static void check_fortran(unsigned method, size_t a, size_t b, size_t c)
{
    struct archive archive = { .members = 0 };
    const size_t elements = a * b * c;
    float *values = malloc(elements * sizeof *values);
    struct vmoe_source *source;
    vmoe_error error = VMOE_ERROR_INIT;
    char header[128];

    sprintf(header, DICT("'<f4'", "True", "(%zu, %zu, %zu)"), a, b, c);
    add(&archive, "a.npy", method, npy_of(1, header, 0, elements, 0));
    write_archive(&archive);
    assert_int_equal(vmoe_npz_open(path(), &vmoe_memory_default, &source, NULL), VMOE_OK);
    for (int again = 0; again < 2; again++) {
        assert_int_equal(source->read(source, 0, 0, elements, values, NULL), VMOE_OK);
        for (size_t i = 0; i < a; i++)
            for (size_t j = 0; j < b; j++)
                for (size_t k = 0; k < c; k++)
                    assert_true(values[(i * b + j) * c + k] ==
                                (float)(((k * b + j) * a + i) * 1000003 % 4099) / 4.0f);
    }
    assert_int_equal(source->read(source, 0, 1, elements - 1, values, &error),
                     VMOE_ERR_UNSUPPORTED);
    assert_non_null(strstr(error.text, "np.ascontiguousarray"));
    source->close(source);
    free(values);
}

static void fortran_order_is_turned_into_c_order(void **state)
{
    struct archive archive = { .members = 0 };

    (void)state;
    for (unsigned method = 0; method <= 8; method += 8) {
        check_fortran(method, 6, 5, 1);
        check_fortran(method, 1, 6, 5);
        check_fortran(method, 2, 3, 5);
        check_fortran(method, 30, 1, 1000); /* more than fits the buffer */
    }
    add(&archive, "a.npy", 8, npy_of(1, DICT("'<f4'", "True", "(6, 5)"), 0, 30, 0));
    archive.member[0].local.crc++;
    archive.member[0].central.crc++;
    refused(archive, VMOE_ERR_FORMAT, "its CRC-32 is");
}

static void arrays_without_elements_are_there(void **state)
{
    static const char *const shapes[] = { "(0,)", "(0, 5)", "(6, 0, 5)" };

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        struct archive archive = { .members = 0 };
        struct vmoe_source *source;
        char header[128];
        float value;

        sprintf(header, DICT("'<f4'", "%s", "%s"), i == 0 ? "True" : "False", shapes[i]);
        add(&archive, "a.npy", 8 * (i % 2), npy_of(1, header, 0, 0, 0));
        write_archive(&archive);
        expect(VMOE_OK, "");
        assert_int_equal(vmoe_npz_open(path(), &vmoe_memory_default, &source, NULL), VMOE_OK);
        assert_int_equal(source->arrays[0].rank, i == 0 ? 1 : i + 1);
        assert_int_equal(source->arrays[0].elements, 0);
        assert_int_equal(source->read(source, 0, 0, 1, &value, NULL), VMOE_ERR_ARGUMENT);
        source->close(source);
    }
}

static void headers_of_another_form_are_refused(void **state)
{
    static const char *const headers[] = {
        "{}", "{'descr'", "{'descr': }", "{'descr': '<f4'}", "{'descr: '<f4'}",
        "{'descr': '<f4', 'fortran_order': False, }",
        "{'descr': '<f4', 'shape': (6, 5), }",
        "{'fortran_order': False, 'shape': (6, 5), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (6, 5), 'more': 1}",
        "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (6, 5)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (6, 5), 'shape': (6, 5)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (6, 5)} x",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (6, 5)}\n",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (6, 5),, }",
        "{'descr': '<f4' 'fortran_order': False, 'shape': (6, 5)}",
        "{'descr': '<\\x66', 'fortran_order': False, 'shape': (6, 5)}",
        "{'descr': '<f4\\, 'fortran_order': False, 'shape': (6, 5)}",
        "{'descr': 'a very long name of a type that is none', 'fortran_order': False}",
        "{'descr': b'<f4', 'fortran_order': False, 'shape': (6, 5)}",
        "{'descr': [('x', '<f4'), 'fortran_order': False, 'shape': (6, 5)}",
        "{'descr': [('x, '<f4')], 'fortran_order': False, 'shape': (6, 5)}",
        "'descr': '<f4', 'fortran_order': False, 'shape': (6, 5)",
        DICT("'<f4'", "0", "(6, 5)"),
        DICT("'<f4'", "false", "(6, 5)"),
        DICT("'<f4'", "Falsee", "(6, 5)"),
        DICT("'<f4'", "False", "(30)"),
        DICT("'<f4'", "False", "[6, 5]"),
        DICT("'<f4'", "False", "(6 5)"),
        DICT("'<f4'", "False", "(,)"),
        DICT("'<f4'", "False", "(6,, 5)"),
        DICT("'<f4'", "False", "(6, -5)"),
        DICT("'<f4'", "False", "(-6, -5)"),
        DICT("'<f4'", "False", "(06, 5)"),
        DICT("'<f4'", "False", "(6, 5L)"),
        DICT("'<f4'", "False", "(6, 5.0)"),
        DICT("'<f4'", "False", "(6, 5"),
    };

    (void)state;
    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++)
        refused_header(headers[i], VMOE_ERR_FORMAT, "missing in its header");
}

static void shapes_that_lie_are_refused(void **state)
{
    static const char *const large[] = {
        DICT("'<f4'", "False", "(2147483649,)"),
        DICT("'<f4'", "False", "(18446744073709551616,)"),
        DICT("'<f4'", "False", "(18446744073709551646,)"), /* 30 in 64 bits */
        DICT("'<f4'", "False", "(99999999999999999999999999999999999999,)"),
        DICT("'<f4'", "False", "(4294967296, 4294967296)"),
        DICT("'<f4'", "False", "(2147483648, 2147483648, 4)"),
        DICT("'<f4'", "False", "(1048576, 1048576, 2)"),
        DICT("'<f4'", "False", "(1, 1, 1, 1, 1, 1, 1, 6, 5)"),
    };
    static const char *const others[] = {
        DICT("'<f4'", "False", "()"),
        DICT("'<f4'", "False", "(31,)"),
        DICT("'<f4'", "False", "(29,)"),
        DICT("'<f4'", "False", "(6, 0)"),
        DICT("'<f8'", "False", "(6, 5)"),
        DICT("'|u1'", "False", "(6, 5)"),
        DICT("'<f4'", "False", "(1048576, 1048576)"),
        DICT("'<f8'", "False", "(1048576, 1048576)"),
    };

    (void)state;
    for (size_t i = 0; i < sizeof large / sizeof large[0]; i++)
        refused_header(large[i], VMOE_ERR_LIMIT, "too many axes or elements");
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        refused_header(others[i], VMOE_ERR_FORMAT, "its shape needs");
    for (size_t excess = 1; excess < 8; excess++) {
        struct archive archive = { .members = 0 };

        add(&archive, "a.npy", 8 * (excess % 2), npy_of(1, HEADER, 0, 30, excess));
        refused(archive, VMOE_ERR_FORMAT, "its shape needs");
    }
}

static void lengths_of_headers_that_lie_are_refused(void **state)
{
    static const struct {
        unsigned version;
        int64_t lie;
        vmoe_status status;
        const char *words;
    } cases[] = {
        { 2, UINT32_C(0xfffffff0) - 60, VMOE_ERR_LIMIT, "its header has 4294967280 bytes" },
        { 2, UINT32_MAX - 60, VMOE_ERR_LIMIT, "its header has 4294967295 bytes" },
        { 1, 65535 - 60, VMOE_ERR_LIMIT, "its header has 65535 bytes, the limit is 65536" },
        { 2, 65524 - 60, VMOE_ERR_FORMAT, "it has only 192 bytes" },
        { 2, 65525 - 60, VMOE_ERR_LIMIT, "its header has 65525 bytes" },
        { 1, 1, VMOE_ERR_FORMAT, "a newline at the end is missing" },
        { 1, -1, VMOE_ERR_FORMAT, "a newline at the end is missing" },
        { 1, -60, VMOE_ERR_FORMAT, "its header has only 0 bytes" },
        { 2, -60, VMOE_ERR_FORMAT, "its header has only 0 bytes" },
        { 1, -58, VMOE_ERR_FORMAT, "its header has only 2 bytes" },
        { 1, -57, VMOE_ERR_FORMAT, "is missing in its header" },
        { 0, 0, VMOE_ERR_UNSUPPORTED, "version 0.0 of .npy is unknown" },
        { 4, 0, VMOE_ERR_UNSUPPORTED, "version 4.0 of .npy is unknown" },
    };
    struct archive archive = { .members = 0 };
    struct bytes npy = npy_of(1, HEADER, 0, 30, 0);

    (void)state;
    assert_int_equal(strlen(HEADER) + 1, 60);
    npy.data[10 + 59] = 'x';
    add(&archive, "a.npy", 0, npy);
    refused(archive, VMOE_ERR_FORMAT, "a newline at the end is missing");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        archive = (struct archive){ .members = 0 };
        add(&archive, "a.npy", 0, npy_of(cases[i].version, HEADER, cases[i].lie, 30, 0));
        refused(archive, cases[i].status, cases[i].words);
    }
    for (unsigned version = 1; version <= 3; version++) {
        archive = (struct archive){ .members = 0 };
        npy = npy_of(version, HEADER, 0, 30, 0);
        npy.data[7] = 1;
        add(&archive, "a.npy", 0, npy);
        refused(archive, VMOE_ERR_UNSUPPORTED, ".1 of .npy is unknown");
    }
}

static void members_too_short_for_a_header_are_refused(void **state)
{
    (void)state;
    for (size_t size = 0; size < 12 + 60; size++) {
        for (unsigned method = 0; method <= 8; method += 8) {
            struct archive archive = { .members = 0 };
            struct bytes npy = npy_of(2, HEADER, 0, 0, 0);

            npy.size = size;
            add(&archive, "a.npy", method, npy);
            refused(archive, VMOE_ERR_FORMAT, "it has only");
        }
    }
}

static void a_file_that_changes_after_opening_is_an_error(void **state)
{
    struct archive archive = good();
    struct vmoe_source *source;
    float values[30];

    (void)state;
    /* The last four members are still open, and small ones are read ahead as a whole. */
    add(&archive, "c.npy", 0, npy_of(1, HEADER, 0, 30, 0));
    add(&archive, "d.npy", 0, npy_of(1, HEADER, 0, 30, 0));
    add(&archive, "e.npy", 0, npy_of(1, HEADER, 0, 30, 0));
    add(&archive, "f.npy", 0, npy_of(1, HEADER, 0, 30, 0));
    write_archive(&archive);
    assert_int_equal(vmoe_npz_open(path(), &vmoe_memory_default, &source, NULL), VMOE_OK);
    assert_int_equal(truncate(path(), 50), 0);
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(source->read(source, i, 0, 30, values, NULL), VMOE_ERR_FORMAT);
    assert_int_equal(source->read(source, 0, 30, 0, values, NULL), VMOE_OK);
    source->close(source);
}

/* ---- Models --------------------------------------------------------------------------------- */

/* The smallest model, larger. */
static vmoe_info model_of(uint32_t experts, uint32_t width, uint32_t mlp)
{
    vmoe_info info = smallest_info();

    info.width = width;
    info.mlp = mlp;
    info.experts = experts;
    return info;
}

static struct bytes npy_from(struct vmoe_source *source, size_t number, bool fortran)
{
    const struct vmoe_array *array = &source->arrays[number];
    const size_t bytes = (size_t)array->elements * sizeof(float);
    char shape[128] = "", header[256];
    struct bytes npy;
    float *values = malloc(bytes);

    for (uint32_t i = 0; i < array->rank; i++)
        sprintf(shape + strlen(shape), "%llu, ", (unsigned long long)array->dims[i]);
    sprintf(header, DICT("'<f4'", "%s", "(%s)"), fortran ? "True" : "False", shape);
    npy = npy_of(1, header, 0, 0, 0);
    assert_int_equal(source->read(source, number, 0, array->elements, values, NULL), VMOE_OK);
    for (uint64_t index = 0; index < array->elements; index++) {
        uint64_t place = 0, left = index;

        for (uint32_t axis = 0; axis < array->rank; axis++) {
            place = place * array->dims[axis] + left % array->dims[axis];
            left /= array->dims[axis];
        }
        put(&npy, &values[fortran ? place : index], sizeof(float));
    }
    free(values);
    return npy;
}

/* All arrays of a source, below a root.  Stacks of experts are always in C order. */
static struct archive archive_from(struct vmoe_source *source, const char *root, unsigned method,
                                   bool fortran)
{
    struct archive archive = { .members = 0 };
    static char names[MEMBERS][64];

    assert_in_range(source->count, 1, MEMBERS);
    for (size_t i = 0; i < source->count; i++) {
        sprintf(names[i], "%s%s.npy", root, source->arrays[i].name);
        add(&archive, names[i], method,
            npy_from(source, i, fortran && strstr(names[i], "Moe/Mlp") == NULL));
    }
    return archive;
}

static vmoe_status import_made(struct fault *fault, vmoe_error *error)
{
    const vmoe_import_options options = VMOE_IMPORT_OPTIONS_INIT;
    vmoe_status status;

    fault_init(fault, 0, false);
    status = vmoe_import_file(path(), scratch_path("made.vmoe"), &options, &fault->allocator,
                              error);
    assert_int_equal(fault->live, 0);
    return status;
}

/* The lowest bits of numbers all over the stacks, whose experts have 128 KiB each. */
static void damage_anywhere_in_the_experts_is_found_by_importing(void **state)
{
    const vmoe_info info = model_of(4, 64, 512);
    struct vmoe_source *source = formula_source(&info, 1);
    struct archive archive;
    struct fault fault;
    int flips = 0;

    (void)state;
    archive = archive_from(source, "", 0, false);
    write_bytes(bytes_of(&archive));
    assert_int_equal(import_made(&fault, NULL), VMOE_OK);
    for (int i = 0; i < archive.members; i++) {
        const struct bytes data = archive.member[i].data;

        if (strstr(archive.member[i].local.name, "Moe/Mlp") == NULL)
            continue;
        for (size_t at = 4; at + 128 < data.size; at += 60000, flips++) {
            vmoe_error error = VMOE_ERROR_INIT;

            data.data[data.size - at] ^= 1;
            write_bytes(bytes_of(&archive));
            data.data[data.size - at] ^= 1;
            assert_int_equal(import_made(&fault, &error), VMOE_ERR_FORMAT);
            assert_non_null(strstr(error.text, "its CRC-32 is"));
        }
    }
    assert_int_equal(flips, 2 * 9 + 2);
    free_archive(&archive);
    source->close(source);
}

static void importing_inflates_every_array_once(void **state)
{
    const vmoe_info info = model_of(64, 12, 20);
    struct vmoe_source *source = formula_source(&info, 1);
    struct archive stored = archive_from(source, "", 0, false);
    struct archive packed = archive_from(source, "", 8, false);
    struct fault plain, inflating;

    (void)state;
    write_archive(&stored);
    assert_int_equal(import_made(&plain, NULL), VMOE_OK);
    write_archive(&packed);
    assert_int_equal(import_made(&inflating, NULL), VMOE_OK);
    /* For its header and for its numbers: a stream takes its state and, at most, its window. */
    assert_in_range(inflating.calls - plain.calls, 2 * source->count, 4 * source->count);
    source->close(source);
}

static void a_file_is_not_imported_into_itself(void **state)
{
    const vmoe_info info = model_of(2, 12, 20);
    struct vmoe_source *source = formula_source(&info, 1);
    struct archive archive = archive_from(source, "", 0, false);
    vmoe_error error = VMOE_ERROR_INIT;
    struct fault fault;

    (void)state;
    write_archive(&archive);
    assert_refused(vmoe_import(path(), path(), NULL, &error), error, VMOE_ERR_ARGUMENT,
                   "destination");
    assert_int_equal(import_made(&fault, NULL), VMOE_OK);
    source->close(source);
}

static void both_orders_import_to_the_same_file(void **state)
{
    const vmoe_info info = model_of(2, 12, 20);
    struct vmoe_source *source = formula_source(&info, 1);
    struct fault fault;
    void *files[2];
    size_t bytes[2];

    (void)state;
    for (int fortran = 0; fortran < 2; fortran++) {
        struct archive archive = archive_from(source, "", 0, fortran != 0);

        write_archive(&archive);
        assert_int_equal(import_made(&fault, NULL), VMOE_OK);
        files[fortran] = read_file(scratch_path("made.vmoe"), &bytes[fortran]);
    }
    assert_int_equal(bytes[0], bytes[1]);
    assert_memory_equal(files[0], files[1], bytes[0]);
    free(files[0]);
    free(files[1]);
    source->close(source);
}

/* As optimizers, steps and random states leave them beside the parameters. */
static void what_is_not_the_model_s_may_be_of_any_kind(void **state)
{
    static const char *const headers[] = {
        DICT("'<U4'", "False", "()"),       DICT("'|O'", "False", "()"),
        DICT("'<c8'", "False", "(6, 5)"),   DICT("'>f4'", "False", "(6, 5)"),
        DICT("'<f4'", "True", "(6, 5)"),    DICT("[('x', '<f4')]", "False", "(6, 5)"),
    };
    static const char *const names[] = { "opt/0.npy", "opt/1.npy", "opt/2.npy",
                                         "opt/3.npy", "opt/4.npy", "opt/5.npy" };
    const vmoe_info info = model_of(2, 12, 20);
    struct vmoe_source *source = formula_source(&info, 1);
    struct archive archive;
    struct fault fault;

    (void)state;
    for (int other = 0; other < 2; other++) {
        archive = archive_from(source, other == 0 ? "params/" : "", 0, false);
        for (size_t i = 0; i < 6; i++)
            add(&archive, names[i], 8 * (i % 2), npy_of(1, headers[i], 0, 30, 0));
        add(&archive, "opt/none.npy", 0, npy_of(1, DICT("'<f4'", "False", "(0,)"), 0, 0, 0));
        write_archive(&archive);
        assert_int_equal(import_made(&fault, NULL), other == 0 ? VMOE_OK : VMOE_ERR_UNSUPPORTED);
    }
    source->close(source);
}

/* ---- Large ones ----------------------------------------------------------------------------- */

static void tens_of_thousands_of_members_are_no_trouble(void **state)
{
    const uint32_t members = 65535;
    struct bytes npy = npy_of(1, DICT("'<f4'", "False", "()"), 0, 1, 0);
    uint32_t crc = (uint32_t)crc32_z(0, npy.data, npy.size);
    struct bytes all = { 0 }, directory = { 0 };
    struct archive archive = { .members = (int)members, .end64 = 1 };
    struct vmoe_source *source;
    struct fault fault;
    size_t at;

    (void)state;
    for (uint32_t i = 0; i < members; i++) {
        char name[16];
        struct said said = { .name = name, .crc = crc, .stored = npy.size, .size = npy.size };

        /* Backwards, so that sorting has something to do. */
        sprintf(name, "%05u.npy", members - 1 - i);
        said.header = all.size;
        put_local(&all, &said);
        put(&all, npy.data, npy.size);
        put_central(&directory, &said);
    }
    at = all.size;
    put(&all, directory.data, directory.size);
    put_end(&all, &archive, 0, at);
    free(directory.data);
    free(npy.data);
    write_bytes(all);
    fault_init(&fault, 0, false);
    assert_int_equal(vmoe_npz_open(path(), &fault.allocator, &source, NULL), VMOE_OK);
    assert_int_equal(source->count, members);
    assert_string_equal(source->arrays[12345].name, "12345");
    assert_true(fault.peak < 20 << 20);
    source->close(source);
    assert_int_equal(fault.live, 0);
}

/* The file is as large as it says, but has holes that take no room on the disk. */
static void arrays_beyond_four_gibibytes_are_read(void **state)
{
    const uint64_t elements = 1400000000;
    struct bytes npy = npy_of(1, DICT("'<f4'", "False", "(1400, 1000000)"), 0, 0, 0);
    struct said first = { .name = "a.npy", .wide = 1 }, second = { .name = "b.npy", .wide = 1 };
    struct bytes begin = { 0 }, end = { 0 }, small = npy_of(1, HEADER, 0, 30, 0);
    struct archive archive = { .members = 2, .end64 = 1 };
    size_t directory;
    uint64_t at;
    struct vmoe_source *source;
    float values[30];
    int descriptor;

    (void)state;
    first.size = first.stored = npy.size + 4 * elements;
    put_local(&begin, &first);
    put(&begin, npy.data, npy.size);
    at = begin.size + 4 * elements;
    archive.base = at;
    second.size = second.stored = small.size;
    second.crc = (uint32_t)crc32_z(0, small.data, small.size);
    second.header = at;
    put_local(&end, &second);
    put(&end, small.data, small.size);
    unlink(path());
    descriptor = open(path(), O_RDWR | O_CREAT, 0600);
    assert_int_equal(pwrite(descriptor, begin.data, begin.size, 0), begin.size);
    assert_int_equal(pwrite(descriptor, "\0\0\x80\x3f", 4, (off_t)at - 4), 4);
    directory = end.size;
    put_central(&end, &first);
    put_central(&end, &second);
    put_end(&end, &archive, 0, directory);
    assert_int_equal(pwrite(descriptor, end.data, end.size, (off_t)at), end.size);
    close(descriptor);
    assert_int_equal(vmoe_npz_open(path(), &vmoe_memory_default, &source, NULL), VMOE_OK);
    assert_int_equal(source->arrays[0].elements, elements);
    assert_int_equal(source->read(source, 0, elements - 2, 2, values, NULL), VMOE_OK);
    assert_true(values[0] == 0.0f && values[1] == 1.0f);
    assert_int_equal(source->read(source, 1, 0, 30, values, NULL), VMOE_OK);
    assert_true(values[29] == (float)(29 * 1000003 % 4099) / 4.0f);
    source->close(source);
    free(npy.data);
    free(small.data);
    free(begin.data);
    free(end.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_archives_read_back),
        cmocka_unit_test(names_of_members_are_never_paths),
        cmocka_unit_test(folders_are_passed_over),
        cmocka_unit_test(wide_sizes_are_read_with_marks_and_beside_narrow_ones),
        cmocka_unit_test(sizes_may_come_behind_the_data),
        cmocka_unit_test(other_extra_fields_are_ignored),
        cmocka_unit_test(extra_fields_have_a_limit),
        cmocka_unit_test(local_headers_that_contradict_the_directory_are_refused),
        cmocka_unit_test(wide_sizes_that_lie_are_refused),
        cmocka_unit_test(what_is_not_stored_or_deflated_is_refused),
        cmocka_unit_test(members_that_share_bytes_or_leave_holes_are_refused),
        cmocka_unit_test(archives_inside_other_files_are_refused),
        cmocka_unit_test(end_records_that_lie_are_refused),
        cmocka_unit_test(names_are_checked),
        cmocka_unit_test(wrong_checksums_are_found_by_reading_to_the_end),
        cmocka_unit_test(sizes_that_lie_are_refused),
        cmocka_unit_test(deflated_data_of_another_length_are_refused),
        cmocka_unit_test(bytes_behind_a_piece_of_deflated_data_are_found),
        cmocka_unit_test(random_data_never_inflate_to_an_array),
        cmocka_unit_test(headers_in_all_spellings_are_read),
        cmocka_unit_test(types_that_are_no_little_endian_numbers_are_refused),
        cmocka_unit_test(fortran_order_is_turned_into_c_order),
        cmocka_unit_test(arrays_without_elements_are_there),
        cmocka_unit_test(headers_of_another_form_are_refused),
        cmocka_unit_test(shapes_that_lie_are_refused),
        cmocka_unit_test(lengths_of_headers_that_lie_are_refused),
        cmocka_unit_test(members_too_short_for_a_header_are_refused),
        cmocka_unit_test(a_file_that_changes_after_opening_is_an_error),
        cmocka_unit_test(damage_anywhere_in_the_experts_is_found_by_importing),
        cmocka_unit_test(importing_inflates_every_array_once),
        cmocka_unit_test(a_file_is_not_imported_into_itself),
        cmocka_unit_test(both_orders_import_to_the_same_file),
        cmocka_unit_test(what_is_not_the_model_s_may_be_of_any_kind),
        cmocka_unit_test(tens_of_thousands_of_members_are_no_trouble),
        cmocka_unit_test(arrays_beyond_four_gibibytes_are_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
