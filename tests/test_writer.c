/*
 * Writing a `.vmoe` file: the same bytes every time, whatever the host has set, and a target that
 * is complete or untouched, however the import fails.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fenv.h>
#include <grp.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "checkpoint/chunk.h"
#include "checkpoint/format.h"
#include "checkpoint/import.h"
#include "support/child.h"
#include "support/fault.h"
#include "support/formula.h"
#include "support/random.h"
#include "support/showable.h"
#include "support/support.h"
#include "support/tiny.h"

static const char before[] = "what was there before";

static vmoe_import_options import_as(uint32_t precision, bool compact)
{
    vmoe_import_options options = VMOE_IMPORT_OPTIONS_INIT;

    options.precision = precision;
    options.compact = compact;
    return options;
}

static void assert_file_is(const char *path, const void *expected, size_t expected_bytes)
{
    size_t bytes;
    char *found = read_file(path, &bytes);

    assert_int_equal(bytes, expected_bytes);
    assert_memory_equal(found, expected, bytes);
    free(found);
}

/* ---- The same bytes ------------------------------------------------------------------------- */

static void the_same_source_gives_the_same_file(void **state)
{
    const vmoe_info geometry = medium_info(VMOE_CLASSIFIER_MAP);

    (void)state;
    for (uint32_t p = VMOE_PRECISION_F32; p <= VMOE_PRECISION_INT8; p++) {
        for (int compact = 0; compact <= 1; compact++) {
            const vmoe_import_options options = import_as(p, compact);
            size_t bytes;
            void *first;

            write_model(&geometry, &options, scratch_path("first.vmoe"));
            write_model(&geometry, &options, scratch_path("second.vmoe"));
            first = read_file(scratch_path("first.vmoe"), &bytes);
            assert_file_is(scratch_path("second.vmoe"), first, bytes);
            free(first);
        }
    }
}

/* The host's rounding mode has no part in a weight, be it rounded, scaled or interpolated. */
static void the_hosts_rounding_does_not_matter(void **state)
{
    static const int modes[] = { FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO };
    vmoe_info geometry = tiny_info(VMOE_CLASSIFIER_TOKEN);

    (void)state;
    for (uint32_t p = VMOE_PRECISION_F32; p <= VMOE_PRECISION_INT8; p++) {
        vmoe_import_options options = import_as(p, false);
        size_t bytes;
        void *nearest;

        options.image_size = 20; /* resizes the position embeddings */
        write_model(&geometry, &options, scratch_path("nearest.vmoe"));
        nearest = read_file(scratch_path("nearest.vmoe"), &bytes);
        for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
            struct vmoe_source *source = formula_source(&geometry, 11);
            vmoe_error error = VMOE_ERROR_INIT;
            vmoe_status status;
            int mode;

            fesetround(modes[i]);
            status = vmoe_import_source(source, "formula", scratch_path("rounded.vmoe"), &options,
                                        &vmoe_memory_default, &error);
            mode = fegetround();
            fesetround(FE_TONEAREST);
            source->close(source);
            assert_ok(status, error);
            assert_int_equal(mode, modes[i]);
            assert_file_is(scratch_path("rounded.vmoe"), nearest, bytes);
        }
        free(nearest);
    }
}

/* ---- Compact chunks ------------------------------------------------------------------------- */

/* A number of `width` bytes, little endian, such as a trained weight may be: nearly normal. */
static uint32_t random_weight(size_t width)
{
    float weight = 0.0f;
    uint32_t bits;

    for (int i = 0; i < 6; i++)
        weight += (float)(random_u32() >> 8) / 0x1p24f - 0.5f;
    if (width == 1)
        return (uint32_t)lrintf(40.0f * weight);
    weight *= 0.05f;
    memcpy(&bits, &weight, sizeof bits);
    return width == 2 ? bits >> 16 : bits;
}

/* The bits that the bytes of a plane take if each is coded by how frequent it is. */
static double entropy(const uint8_t *chunk, size_t bytes, size_t width, size_t plane)
{
    const double numbers = (double)(bytes / width);
    size_t count[256] = { 0 };
    double bits = 0;

    for (size_t i = plane; i < bytes; i += width)
        count[chunk[i]]++;
    for (size_t b = 0; b < 256; b++)
        if (count[b] != 0)
            bits += (double)count[b] * log2(numbers / (double)count[b]);
    return bits;
}

/* Codes a chunk, checks that it comes back, and tells the bytes it is stored in. */
static size_t code_chunk(struct vmoe_chunk_coder *coder, const uint8_t *chunk, size_t width)
{
    const size_t bytes = VMOE_FORMAT_CHUNK_BYTES;
    uint8_t *copy = malloc(bytes), *back = malloc(bytes);
    vmoe_error error = VMOE_ERROR_INIT;
    const uint8_t *stored;
    size_t stored_bytes;

    assert_non_null(copy);
    assert_non_null(back);
    assert_ok(vmoe_chunk_encode(coder, chunk, bytes, width, &stored, &stored_bytes, &error), error);
    assert_non_null(stored);
    memcpy(copy, stored, stored_bytes);
    assert_ok(vmoe_chunk_decode(coder, copy, stored_bytes, width, back, bytes, "chunk", &error),
              error);
    assert_memory_equal(back, chunk, bytes);
    free(copy);
    free(back);
    return stored_bytes;
}

/* And what is zero, such as padding, takes next to nothing. */
static void weights_take_little_more_than_the_entropy_of_their_bytes(void **state)
{
    const size_t bytes = VMOE_FORMAT_CHUNK_BYTES;
    uint8_t *chunk = malloc(bytes);
    struct vmoe_chunk_coder *coder;
    vmoe_error error = VMOE_ERROR_INIT;

    (void)state;
    assert_non_null(chunk);
    assert_ok(vmoe_chunk_coder_create(&vmoe_memory_default, &coder, &error), error);
    random_seed(41);
    for (size_t width = 1; width <= 4; width *= 2) {
        double bits = 0;

        for (size_t i = 0; i < bytes; i += width) {
            const uint32_t weight = random_weight(width);

            for (size_t p = 0; p < width; p++)
                chunk[i + p] = (uint8_t)(weight >> 8 * p);
        }
        for (size_t p = 0; p < width; p++)
            bits += entropy(chunk, bytes, width, p);
        assert_true(8.0 * (double)code_chunk(coder, chunk, width) < 1.02 * bits);
    }
    memset(chunk, 0, bytes);
    assert_true(code_chunk(coder, chunk, 4) < bytes / 500);
    vmoe_chunk_coder_destroy(coder);
    free(chunk);
}

/*
 * A stream of fewer bytes would leave those of another chunk behind its own.  These are of zeros: what
 * is claimed is wrong by as little as it can be.
 */
static void a_stream_holds_its_chunk_and_nothing_else(void **state)
{
    static const uint8_t zeros[4096];
    struct vmoe_chunk_coder *coder;
    vmoe_error error = VMOE_ERROR_INIT;

    (void)state;
    assert_ok(vmoe_chunk_coder_create(&vmoe_memory_default, &coder, &error), error);
    for (size_t width = 1; width <= 4; width *= 2) {
        const size_t bytes = sizeof zeros / 2;
        uint8_t stream[sizeof zeros], chunk[sizeof zeros];
        const uint8_t *stored;
        size_t stored_bytes;

        assert_ok(vmoe_chunk_encode(coder, zeros, bytes, width, &stored, &stored_bytes, &error),
                  error);
        assert_non_null(stored);
        memcpy(stream, stored, stored_bytes);
        stream[stored_bytes] = 0;
        for (int lie = 0; lie < 4; lie++) {
            const size_t claimed = lie == 0 ? bytes + width : lie == 1 ? bytes - width : bytes;
            const size_t given = stored_bytes + (lie == 2) - (lie == 3);

            assert_refused(vmoe_chunk_decode(coder, stream, given, width, chunk, claimed, "chunk",
                                             &error),
                           error, VMOE_ERR_FORMAT, "chunk");
        }
        assert_ok(vmoe_chunk_decode(coder, stream, stored_bytes, width, chunk, bytes, "chunk",
                                    &error),
                  error);
        assert_memory_equal(chunk, zeros, bytes);
    }
    vmoe_chunk_coder_destroy(coder);
}

/* ---- Targets that cannot be ----------------------------------------------------------------- */

static vmoe_status import_to(const char *path, weight_change change,
                             const vmoe_import_options *options, const vmoe_allocator *allocator,
                             vmoe_error *error)
{
    const vmoe_info geometry = tiny_info(VMOE_CLASSIFIER_TOKEN);
    struct vmoe_source *source =
        change != NULL ? changed_source(&geometry, change) : formula_source(&geometry, 11);
    vmoe_status status = vmoe_import_source(source, "formula", path, options, allocator, error);

    source->close(source);
    return status;
}

static void a_target_must_have_a_folder_and_not_be_one(void **state)
{
    const vmoe_import_options options = VMOE_IMPORT_OPTIONS_INIT;
    const char *folder = scratch_path("folder");
    vmoe_error error = VMOE_ERROR_INIT;
    size_t there;

    (void)state;
    assert_int_equal(mkdir(folder, 0700), 0);
    there = folder_entries(scratch_folder());
    assert_refused(import_to(scratch_path("nowhere/model.vmoe"), NULL, &options,
                             &vmoe_memory_default, &error),
                   error, VMOE_ERR_IO, "nowhere/model.vmoe");
    assert_refused(import_to(folder, NULL, &options, &vmoe_memory_default, &error), error,
                   VMOE_ERR_IO, folder);
    assert_refused(import_to("", NULL, &options, &vmoe_memory_default, &error), error, VMOE_ERR_IO,
                   "(no name)");
    assert_int_equal(folder_entries(scratch_folder()), there);
    assert_int_equal(folder_entries(folder), 0);
    rmdir(folder);
}

static void a_link_is_replaced_and_not_followed(void **state)
{
    const vmoe_import_options options = VMOE_IMPORT_OPTIONS_INIT;
    const char *link = scratch_path("link.vmoe"), *target = scratch_path("target");
    vmoe_error error = VMOE_ERROR_INIT;
    struct stat status;

    (void)state;
    write_file(target, before, sizeof before);
    assert_int_equal(chmod(target, 0600), 0);
    assert_int_equal(symlink(target, link), 0);
    assert_ok(import_to(link, NULL, &options, &vmoe_memory_default, &error), error);
    assert_file_is(target, before, sizeof before);
    assert_int_equal(lstat(link, &status), 0);
    assert_true(S_ISREG(status.st_mode));
    assert_int_equal(status.st_mode & 0777, 0600); /* what the link led to was private */
    assert_ok(vmoe_verify_file(link, &error), error);
    unlink(link);
    unlink(target);
}

/* ---- The temporary file --------------------------------------------------------------------- */

/* What there is of the temporary file while it is written. */
struct seen {
    mode_t rights; /* that it has ever had */
    char name[300];
};

static int look_at_temporary(void *context, uint64_t done, uint64_t total)
{
    DIR *folder = opendir(scratch_folder());
    struct seen *seen = context;
    const struct dirent *entry;
    struct stat status;

    (void)done;
    (void)total;
    while (folder != NULL && (entry = readdir(folder)) != NULL) {
        if (strstr(entry->d_name, ".tmp-") == NULL ||
            fstatat(dirfd(folder), entry->d_name, &status, 0) != 0)
            continue;
        seen->rights |= status.st_mode;
        snprintf(seen->name, sizeof seen->name, "%s", entry->d_name);
    }
    if (folder != NULL)
        closedir(folder);
    return 0;
}

/* Names of so many bytes, made of characters of 1 to 4 bytes, or of bytes that begin none. */
static void make_name(char *name, size_t bytes, size_t kind)
{
    static const char *const characters[] = { "x", "\xc3\xa9", "\xe2\x82\xac",
                                              "\xf0\x9f\x90\x88", "\xa9" };
    const size_t each = strlen(characters[kind]);
    size_t length = bytes % each;

    memset(name, 'a', length);
    for (; length < bytes; length += each)
        memcpy(name + length, characters[kind], each);
    name[bytes] = '\0';
}

/* Whatever name a folder takes, that of the temporary file is one, too, and whole characters. */
static void any_name_can_be_a_target(void **state)
{
    static const size_t lengths[] = { 1, 50, 100, 101, 102, 103, 200, 242, 243 };
    const size_t longest = (size_t)pathconf(scratch_folder(), _PC_NAME_MAX);
    const size_t count = sizeof lengths / sizeof lengths[0];
    vmoe_import_options options = VMOE_IMPORT_OPTIONS_INIT;

    (void)state;
    options.progress = look_at_temporary;
    for (size_t kind = 0; kind < 5; kind++) {
        for (size_t i = 0; i <= count; i++) {
            const size_t length = i < count ? lengths[i] : longest;
            vmoe_error error = VMOE_ERROR_INIT;
            struct seen seen = { 0, "" };
            char name[300];
            const char *path;

            if (length > longest || length >= sizeof name)
                continue;
            make_name(name, length, kind);
            path = scratch_path(name);
            options.progress_context = &seen;
            assert_ok(import_to(path, NULL, &options, &vmoe_memory_default, &error), error);
            assert_ok(vmoe_verify_file(path, &error), error);
            if (kind < 4) {
                const size_t kept = (size_t)(strstr(seen.name, ".tmp-") - seen.name);

                assert_true(is_showable(seen.name, sizeof seen.name));
                assert_in_range(kept, length < 97 ? length : 97, length < 100 ? length : 100);
                assert_memory_equal(seen.name, name, kept);
            }
            assert_int_equal(unlink(path), 0);
        }
    }
}

/* ---- Rights --------------------------------------------------------------------------------- */

static struct stat rights_of(const char *path)
{
    struct stat status;

    assert_int_equal(stat(path, &status), 0);
    return status;
}

static void a_new_file_has_the_rights_of_the_umask(void **state)
{
    const vmoe_import_options options = VMOE_IMPORT_OPTIONS_INIT;
    const char *path = scratch_path("rights.vmoe");
    vmoe_error error = VMOE_ERROR_INIT;
    mode_t mask = umask(027);

    (void)state;
    assert_ok(import_to(path, NULL, &options, &vmoe_memory_default, &error), error);
    umask(mask);
    assert_int_equal(rights_of(path).st_mode & 0777, 0640);
    unlink(path);
}

static void a_replaced_file_keeps_its_rights(void **state)
{
    static const mode_t kept[] = { 0600, 0640, 0604, 0664, 0666, 0444, 0755, 0000 };
    const char *path = scratch_path("rights.vmoe");
    vmoe_import_options options = VMOE_IMPORT_OPTIONS_INIT;
    const mode_t mask = umask(022);

    (void)state;
    options.progress = look_at_temporary;
    for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++) {
        vmoe_error error = VMOE_ERROR_INIT;
        struct seen seen = { 0, "" };

        write_file(path, before, sizeof before);
        assert_int_equal(chmod(path, kept[i]), 0);
        options.progress_context = &seen;
        assert_ok(import_to(path, NULL, &options, &vmoe_memory_default, &error), error);
        assert_true(rights_of(path).st_size > (off_t)sizeof before);
        assert_int_equal(rights_of(path).st_mode & 07777, kept[i]);
        assert_true(S_ISREG(seen.rights));
        assert_int_equal(seen.rights & 0777, kept[i]);
        assert_int_equal(unlink(path), 0);
    }
    umask(mask);
}

#define OWNER 12345
#define GROUP 23456

/* A file of OWNER and GROUP in the folder that is the current one. */
static void put_file_of_another(mode_t mode)
{
    unlink("shared.vmoe");
    write_file("shared.vmoe", before, sizeof before);
    assert_int_equal(chown("shared.vmoe", OWNER, GROUP), 0);
    assert_int_equal(chmod("shared.vmoe", mode), 0);
}

/* As a user who is not of the group, and may not list the folder. */
static int replace_as_stranger(void *context)
{
    const vmoe_import_options options = VMOE_IMPORT_OPTIONS_INIT;
    struct stat status;

    (void)context;
    if (setgroups(0, NULL) != 0 || setgid(GROUP + 1) != 0 || setuid(OWNER + 1) != 0)
        return 1;
    if (import_to("shared.vmoe", NULL, &options, &vmoe_memory_default, NULL) != VMOE_OK)
        return 2;
    return stat("shared.vmoe", &status) == 0 && status.st_gid == GROUP + 1 ? 0 : 3;
}

/* Rights mean nothing but for an owner and a group. */
static void a_replaced_file_keeps_its_owner_or_loses_rights(void **state)
{
    static const mode_t modes[][2] = { { 0640, 0600 }, { 0664, 0644 }, { 0604, 0604 } };
    const vmoe_import_options options = VMOE_IMPORT_OPTIONS_INIT;
    const char *folder = scratch_path("shared");
    vmoe_error error = VMOE_ERROR_INIT;
    int here;

    (void)state;
    assert_int_equal(mkdir(folder, 0700), 0);
    if (chown(folder, OWNER, GROUP) != 0) {
        rmdir(folder);
        skip_because("this user may not give files away");
    }
    assert_int_equal(chmod(folder, 0733), 0);
    here = open(".", O_RDONLY);
    assert_int_equal(chdir(folder), 0);
    put_file_of_another(0640);
    assert_ok(import_to("shared.vmoe", NULL, &options, &vmoe_memory_default, &error), error);
    assert_int_equal(rights_of("shared.vmoe").st_uid, OWNER);
    assert_int_equal(rights_of("shared.vmoe").st_gid, GROUP);
    assert_int_equal(rights_of("shared.vmoe").st_mode & 0777, 0640);
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        put_file_of_another(modes[i][0]);
        assert_int_equal(run_in_child(replace_as_stranger, NULL), 0);
        assert_int_equal(rights_of("shared.vmoe").st_mode & 0777, modes[i][1]);
    }
    unlink("shared.vmoe");
    assert_int_equal(fchdir(here), 0);
    close(here);
    rmdir(folder);
}

static int go_to_root(void *context, uint64_t done, uint64_t total)
{
    (void)context;
    (void)done;
    (void)total;
    return chdir("/");
}

static void a_process_may_go_to_another_folder_meanwhile(void **state)
{
    vmoe_import_options options = VMOE_IMPORT_OPTIONS_INIT;
    const size_t there = folder_entries(scratch_folder());
    const int here = open(".", O_RDONLY);
    vmoe_error error = VMOE_ERROR_INIT;

    (void)state;
    options.progress = go_to_root;
    assert_int_equal(chdir(scratch_folder()), 0);
    assert_ok(import_to("here.vmoe", NULL, &options, &vmoe_memory_default, &error), error);
    assert_int_equal(fchdir(here), 0);
    close(here);
    assert_ok(vmoe_verify_file(scratch_path("here.vmoe"), &error), error);
    assert_int_equal(folder_entries(scratch_folder()), there + 1);
    unlink(scratch_path("here.vmoe"));
}

/* ---- Imports that fail ---------------------------------------------------------------------- */

static void make_last_bias_nan(const char *name, uint64_t first, uint64_t count, float *values)
{
    if (strcmp(name, "head/bias") == 0 && first + count == 5)
        values[count - 1] = NAN;
}

static void make_expert_infinite(const char *name, uint64_t first, uint64_t count, float *values)
{
    (void)first;
    if (strstr(name, "encoderblock_2/Moe/Mlp/Dense_1/kernel") != NULL)
        values[count / 2] = -INFINITY;
}

/* What is put into the head, finite as float32. */
static float huge;

static void make_head_huge(const char *name, uint64_t first, uint64_t count, float *values)
{
    (void)first;
    if (strcmp(name, "head/kernel") == 0)
        values[count - 1] = huge;
}

struct stop {
    uint64_t calls, stop_at, last, total;
    bool falling;
};

static int stop_progress(void *context, uint64_t done, uint64_t total)
{
    struct stop *stop = context;

    stop->falling |= done <= stop->last || done > total;
    stop->last = done;
    stop->total = total;
    return ++stop->calls == stop->stop_at;
}

/* The target holds what it held, and nothing lies beside it. */
static void assert_untouched(const char *path, size_t there)
{
    assert_file_is(path, before, sizeof before);
    assert_int_equal(folder_entries(scratch_folder()), there);
}

static void a_failed_import_leaves_the_target_as_it_was(void **state)
{
    const char *path = scratch_path("kept.vmoe");
    const vmoe_import_options options = VMOE_IMPORT_OPTIONS_INIT;
    vmoe_import_options stopped = VMOE_IMPORT_OPTIONS_INIT;
    vmoe_error error = VMOE_ERROR_INIT;
    struct stop count = { 0 };
    vmoe_model *model;
    size_t there;

    (void)state;
    write_file(path, before, sizeof before);
    there = folder_entries(scratch_folder());
    assert_refused(import_to(path, make_last_bias_nan, &options, &vmoe_memory_default, &error),
                   error, VMOE_ERR_FORMAT, "head/bias");
    assert_untouched(path, there);
    assert_refused(import_to(path, make_expert_infinite, &options, &vmoe_memory_default, &error),
                   error, VMOE_ERR_FORMAT, "Encoder/encoderblock_2/Moe/Mlp/Dense_1/kernel");
    assert_untouched(path, there);
    stopped.progress = stop_progress;
    stopped.progress_context = &count;
    assert_ok(import_to(scratch_path("full.vmoe"), NULL, &stopped, &vmoe_memory_default, &error),
              error);
    model = must_load(scratch_path("full.vmoe"), NULL);
    assert_int_equal(count.last, info_of(model).weight_bytes);
    assert_int_equal(count.total, count.last);
    vmoe_free(model);
    unlink(scratch_path("full.vmoe"));
    assert_false(count.falling);
    assert_true(count.calls > 50);
    for (uint64_t n = 1; n <= count.calls; n++) {
        struct stop stop = { .stop_at = n };

        stopped.progress_context = &stop;
        assert_refused(import_to(path, NULL, &stopped, &vmoe_memory_default, &error), error,
                       VMOE_ERR_CANCELLED, "formula");
        assert_int_equal(stop.calls, n);
        assert_untouched(path, there);
    }
    unlink(path);
}

static void weights_that_bfloat16_cannot_hold_are_refused(void **state)
{
    const char *path = scratch_path("huge.vmoe");
    const vmoe_import_options wide = import_as(VMOE_PRECISION_F32, false);
    const vmoe_import_options narrow = import_as(VMOE_PRECISION_BF16, false);
    vmoe_error error = VMOE_ERROR_INIT;

    (void)state;
    /* Half way from the largest bfloat16 to the power of two behind it, which counts as infinity. */
    huge = -0x1.ffp127f;
    assert_ok(import_to(path, make_head_huge, &wide, &vmoe_memory_default, &error), error);
    assert_refused(import_to(path, make_head_huge, &narrow, &vmoe_memory_default, &error), error,
                   VMOE_ERR_FORMAT, "head/kernel");
    huge = -0x1.fefffep127f;
    assert_ok(import_to(path, make_head_huge, &narrow, &vmoe_memory_default, &error), error);
    unlink(path);
}

static void importing_survives_every_failing_allocation(void **state)
{
    const char *path = scratch_path("kept.vmoe");
    const size_t files = fault_open_files();
    size_t there, failures = 0;

    (void)state;
    write_file(path, before, sizeof before);
    there = folder_entries(scratch_folder());
    for (int kind = 0; kind < 4; kind++) {
        const vmoe_import_options options = import_as(VMOE_PRECISION_INT8, kind & 1);
        vmoe_status status = VMOE_ERR_MEMORY;

        for (size_t n = 1; status != VMOE_OK; n++) {
            vmoe_error error = VMOE_ERROR_INIT;
            struct fault fault;

            fault_init(&fault, n, kind & 2);
            status = import_to(path, NULL, &options, &fault.allocator, &error);
            assert_int_equal(fault.live, 0);
            assert_int_equal(fault_open_files(), files);
            if (status != VMOE_OK) {
                assert_refused(status, error, VMOE_ERR_MEMORY, "");
                assert_untouched(path, there);
                failures++;
            }
        }
        assert_int_equal(vmoe_verify_file(path, NULL), VMOE_OK);
        write_file(path, before, sizeof before);
    }
    print_message("  %zu allocations failed\n", failures);
    assert_true(failures > 30);
    unlink(path);
}

/* ---- A limit for the size of files ---------------------------------------------------------- */

static volatile sig_atomic_t noted_signals;

static void note_signal(int number)
{
    (void)number;
    noted_signals++;
}

/* An import whose files may not have more than so many bytes. */
static vmoe_status import_below(rlim_t bytes, const char *path, vmoe_error *error)
{
    const vmoe_import_options options = import_as(VMOE_PRECISION_F32, false);
    struct rlimit old, limit;
    vmoe_status status;

    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    limit = old;
    limit.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    status = import_to(path, NULL, &options, &vmoe_memory_default, error);
    setrlimit(RLIMIT_FSIZE, &old);
    return status;
}

/* Every write beyond the limit fails, as on a full disk; the signal for it would end this test. */
static void a_full_disk_leaves_the_target_as_it_was(void **state)
{
    const char *path = scratch_path("kept.vmoe");
    void (*old)(int) = signal(SIGXFSZ, SIG_DFL);
    vmoe_error error = VMOE_ERROR_INIT;
    vmoe_status status = VMOE_ERR_IO;
    size_t there;
    rlim_t bytes;

    (void)state;
    write_file(path, before, sizeof before);
    there = folder_entries(scratch_folder());
    for (bytes = 0; status != VMOE_OK; bytes += 4099) {
        status = import_below(bytes, path, &error);
        if (status != VMOE_OK) {
            assert_refused(status, error, VMOE_ERR_IO, path);
            assert_untouched(path, there);
        }
    }
    signal(SIGXFSZ, old);
    assert_true(bytes > 10 * 4099);
    assert_ok(vmoe_verify_file(path, &error), error);
    unlink(path);
}

/* No handler is called, no signal is left waiting, and one of the host's own still waits. */
static void the_signal_of_a_limit_does_not_reach_the_host(void **state)
{
    const char *path = scratch_path("never.vmoe");
    void (*old)(int) = signal(SIGXFSZ, note_signal);
    sigset_t limit, mask, waiting;

    (void)state;
    sigemptyset(&limit);
    sigaddset(&limit, SIGXFSZ);
    for (int own = 0; own <= 2; own++) {
        vmoe_error error = VMOE_ERROR_INIT;

        if (own == 1)
            pthread_sigmask(SIG_BLOCK, &limit, NULL);
        if (own == 2)
            raise(SIGXFSZ);
        assert_refused(import_below(8192, path, &error), error, VMOE_ERR_IO, path);
        assert_non_null(strstr(error.text, strerror(EFBIG)));
        pthread_sigmask(SIG_BLOCK, NULL, &mask);
        assert_int_equal(sigismember(&mask, SIGXFSZ), own > 0);
        sigpending(&waiting);
        assert_int_equal(sigismember(&waiting, SIGXFSZ), own == 2);
        assert_int_equal(noted_signals, 0);
    }
    pthread_sigmask(SIG_UNBLOCK, &limit, NULL);
    assert_int_equal(noted_signals, 1);
    signal(SIGXFSZ, old);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_source_gives_the_same_file),
        cmocka_unit_test(the_hosts_rounding_does_not_matter),
        cmocka_unit_test(weights_take_little_more_than_the_entropy_of_their_bytes),
        cmocka_unit_test(a_stream_holds_its_chunk_and_nothing_else),
        cmocka_unit_test(a_target_must_have_a_folder_and_not_be_one),
        cmocka_unit_test(a_link_is_replaced_and_not_followed),
        cmocka_unit_test(any_name_can_be_a_target),
        cmocka_unit_test(a_new_file_has_the_rights_of_the_umask),
        cmocka_unit_test(a_replaced_file_keeps_its_rights),
        cmocka_unit_test(a_replaced_file_keeps_its_owner_or_loses_rights),
        cmocka_unit_test(a_process_may_go_to_another_folder_meanwhile),
        cmocka_unit_test(a_failed_import_leaves_the_target_as_it_was),
        cmocka_unit_test(weights_that_bfloat16_cannot_hold_are_refused),
        cmocka_unit_test(importing_survives_every_failing_allocation),
        cmocka_unit_test(a_full_disk_leaves_the_target_as_it_was),
        cmocka_unit_test(the_signal_of_a_limit_does_not_reach_the_host),
    };

    return cmocka_run_group_tests_name("writing a .vmoe file", tests, NULL, NULL);
}
