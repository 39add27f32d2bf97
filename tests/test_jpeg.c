/*
 * JPEG files from strangers: truncated, mutated, oversized, exotic.  The files are made here with
 * libjpeg's compressor and then bent; golden files serve as well where they are at hand.
 */
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <jpeglib.h>

#include "image/picture.h"
#include "image/preprocess.h"
#include "runtime/limits.h"
#include "support/random.h"
#include "support/support.h"

/* ---- Making files ---------------------------------------------------------------------------- */

struct file {
    uint8_t *data;
    size_t bytes;
};

struct recipe {
    uint32_t width, height;
    int components; /* 1 gray, 2 unknown, 3 RGB as YCbCr, 4 CMYK */
    bool progressive, arithmetic, plain_cmyk, ycck;
    int scans; /* gray only: so many scans, 64 to 127 */
    int restart_rows;
};

/* The DC scan, and for every AC coefficient one scan or, for the first ones, two. */
static void set_scans(j_compress_ptr encoder, int scans, jpeg_scan_info *script)
{
    int count = 0;

    script[count++] = (jpeg_scan_info){ 1, { 0 }, 0, 0, 0, 0 };
    for (int k = 1; k < 64; k++) {
        const int low = k <= scans - 64 ? 1 : 0;

        script[count++] = (jpeg_scan_info){ 1, { 0 }, k, k, 0, low };
        if (low == 1)
            script[count++] = (jpeg_scan_info){ 1, { 0 }, k, k, 1, 0 };
    }
    assert_int_equal(count, scans);
    encoder->scan_info = script;
    encoder->num_scans = count;
}

/* A smooth picture with some noise; pixel values depend on nothing but the recipe. */
static struct file encode(struct recipe recipe)
{
    static const J_COLOR_SPACE spaces[] = { JCS_UNKNOWN, JCS_GRAYSCALE, JCS_UNKNOWN, JCS_RGB,
                                            JCS_CMYK };
    struct jpeg_compress_struct encoder;
    struct jpeg_error_mgr manager;
    jpeg_scan_info script[128];
    struct file file = { NULL, 0 };
    unsigned long bytes = 0;
    JSAMPROW row = malloc((size_t)recipe.width * (size_t)recipe.components);

    encoder.err = jpeg_std_error(&manager);
    jpeg_create_compress(&encoder);
    jpeg_mem_dest(&encoder, &file.data, &bytes);
    encoder.image_width = recipe.width;
    encoder.image_height = recipe.height;
    encoder.input_components = recipe.components;
    encoder.in_color_space = spaces[recipe.components];
    jpeg_set_defaults(&encoder);
    encoder.arith_code = recipe.arithmetic;
    encoder.restart_in_rows = recipe.restart_rows;
    if (recipe.ycck)
        jpeg_set_colorspace(&encoder, JCS_YCCK);
    if (recipe.plain_cmyk)
        encoder.write_Adobe_marker = FALSE;
    if (recipe.progressive)
        jpeg_simple_progression(&encoder);
    if (recipe.scans != 0)
        set_scans(&encoder, recipe.scans, script);
    jpeg_start_compress(&encoder, TRUE);
    random_seed(1);
    for (size_t y = 0; y < recipe.height; y++) {
        for (size_t i = 0; i < recipe.width * (size_t)recipe.components; i++)
            row[i] = (uint8_t)((i * 3 + y * 5 + random_u32() % 8) & 255u);
        jpeg_write_scanlines(&encoder, &row, 1);
    }
    jpeg_finish_compress(&encoder);
    jpeg_destroy_compress(&encoder);
    free(row);
    file.bytes = bytes;
    return file;
}

static struct file golden(const char *name)
{
    struct file file;

    file.data = read_file(golden_path("preprocess/%s.jpg", name), &file.bytes);
    return file;
}

/* The offset of the payload of the first segment with this marker; 0xc0 is any frame header. */
static size_t find_segment(struct file file, uint8_t marker)
{
    size_t at = 2;

    while (at + 4 < file.bytes) {
        assert_int_equal(file.data[at], 0xff);
        if (file.data[at + 1] == marker ||
            (marker == 0xc0 && file.data[at + 1] >= 0xc0 && file.data[at + 1] <= 0xc2))
            return at + 4;
        at += 2 + (size_t)(file.data[at + 2] << 8 | file.data[at + 3]);
    }
    fail_msg("the file has no segment %02x", marker);
    return 0;
}

static void set_size(struct file file, uint32_t width, uint32_t height)
{
    uint8_t *frame = file.data + find_segment(file, 0xc0);

    frame[1] = (uint8_t)(height >> 8);
    frame[2] = (uint8_t)height;
    frame[3] = (uint8_t)(width >> 8);
    frame[4] = (uint8_t)width;
}

static struct file insert(struct file file, size_t at, const void *data, size_t bytes)
{
    struct file longer = { malloc(file.bytes + bytes), file.bytes + bytes };

    memcpy(longer.data, file.data, at);
    memcpy(longer.data + at, data, bytes);
    memcpy(longer.data + at + bytes, file.data + at, file.bytes - at);
    free(file.data);
    return longer;
}

/* ---- Reading them ---------------------------------------------------------------------------- */

/* Decodes from a copy of exactly the given length, and hashes the pixels. */
static vmoe_status decode(const void *data, size_t bytes, uint64_t *hash, vmoe_error *error)
{
    _Alignas(64) static uint8_t memory[VMOE_ROWS_BYTES];
    static uint8_t row[3 * VMOE_LIMIT_PICTURE_SIDE];
    uint8_t *copy = malloc(bytes + (bytes == 0));
    const vmoe_picture picture = { VMOE_PICTURE_JPEG, 0, 0, copy, bytes, 0 };
    struct vmoe_rows *rows;
    vmoe_status status;

    memcpy(copy, data, bytes);
    *hash = UINT64_C(0xcbf29ce484222325);
    status = vmoe_rows_open(&picture, "test", memory, &rows, error);
    if (status == VMOE_OK) {
        for (size_t y = 0; y < rows->height && status == VMOE_OK; y++) {
            status = rows->next(rows, row, error);
            for (size_t i = 0; i < (size_t)3 * rows->width && status == VMOE_OK; i++)
                *hash = (*hash ^ row[i]) * UINT64_C(0x100000001b3);
        }
        if (status == VMOE_OK)
            status = rows->finish(rows, error);
        else
            rows->abandon(rows);
    }
    free(copy);
    return status;
}

static uint64_t decode_good(struct file file)
{
    vmoe_error error = VMOE_ERROR_INIT;
    uint64_t hash;

    if (decode(file.data, file.bytes, &hash, &error) != VMOE_OK)
        fail_msg("%s", error.text);
    return hash;
}

static void assert_refused(const void *data, size_t bytes, vmoe_status expected, const char *words)
{
    vmoe_error error = VMOE_ERROR_INIT;
    uint64_t hash;

    assert_int_equal(decode(data, bytes, &hash, &error), expected);
    assert_int_equal(error.status, expected);
    assert_string_equal(error.where, "test");
    if (strstr(error.text, words) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", error.text, words);
    assert_int_equal(decode(data, bytes, &hash, NULL), expected);
}

/* Frees the file. */
static void assert_file_refused(struct file file, vmoe_status expected, const char *words)
{
    assert_refused(file.data, file.bytes, expected, words);
    free(file.data);
}

/* ---- Truncated and damaged ------------------------------------------------------------------- */

static void refuse_every_prefix_with(struct file file, vmoe_preprocessing how)
{
    void *scratch = aligned_alloc(64, vmoe_preprocess_scratch_bytes(&how));
    float out[3 * 2 * 2];

    for (size_t bytes = 0; bytes <= file.bytes; bytes++) {
        uint8_t *copy = malloc(bytes + 1);
        const vmoe_picture picture = { VMOE_PICTURE_JPEG, 0, 0, copy, bytes, 0 };

        memcpy(copy, file.data, bytes);
        assert_int_equal(vmoe_preprocess_picture(&how, &picture, "test", scratch, out, NULL),
                         bytes == file.bytes ? VMOE_OK : VMOE_ERR_IMAGE);
        free(copy);
    }
    free(scratch);
}

/* Through the resizers, which do not need the last rows and must find the damage even so. */
static void refuse_every_prefix(struct file file)
{
    refuse_every_prefix_with(file, (vmoe_preprocessing){ VMOE_PREPROCESS_RESIZE, 2, 0 });
    refuse_every_prefix_with(file, (vmoe_preprocessing){ VMOE_PREPROCESS_SMALL_CROP, 9, 2 });
    free(file.data);
}

static void every_prefix_of_a_file_is_refused(void **unused)
{
    (void)unused;
    refuse_every_prefix(encode((struct recipe){ .width = 37, .height = 41, .components = 3 }));
    refuse_every_prefix(encode(
        (struct recipe){ .width = 29, .height = 33, .components = 3, .progressive = true }));
    refuse_every_prefix(encode(
        (struct recipe){ .width = 40, .height = 40, .components = 1, .restart_rows = 1 }));
    refuse_every_prefix(encode((struct recipe){ .width = 20, .height = 20, .components = 4 }));
}

static void every_prefix_of_golden_files_is_refused(void **unused)
{
    (void)unused;
    if (!golden_has("preprocess/cases.tsv"))
        skip_because("not among the golden data here");
    refuse_every_prefix(golden("one_1x1"));
    refuse_every_prefix(golden("odd_37x53_420"));
    refuse_every_prefix(golden("cat_420_prog_q30"));
}

static void truncation_is_named(void **unused)
{
    struct file file = encode((struct recipe){ .width = 37, .height = 41, .components = 3 });

    (void)unused;
    assert_refused(file.data, file.bytes - 1, VMOE_ERR_IMAGE, "Premature end of JPEG file");
    assert_refused(file.data, file.bytes / 2, VMOE_ERR_IMAGE, "cannot be decoded");
    free(file.data);
}

static void bytes_between_the_last_row_and_the_end_are_damage(void **unused)
{
    struct file file = encode((struct recipe){ .width = 37, .height = 41, .components = 3 });

    (void)unused;
    file = insert(file, file.bytes - 2, "lost bytes", 10);
    assert_file_refused(file, VMOE_ERR_IMAGE, "extraneous bytes");
}

static void stray_bytes_in_the_header_do_no_harm(void **unused)
{
    struct file file = encode((struct recipe){ .width = 37, .height = 41, .components = 3 });
    const uint64_t hash = decode_good(file);

    (void)unused;
    file = insert(file, 2, "stray", 5);
    assert_true(decode_good(file) == hash);
    free(file.data);
}

static void what_follows_the_end_of_the_file_is_ignored(void **unused)
{
    struct file file = encode((struct recipe){ .width = 37, .height = 41, .components = 3 });
    const uint64_t hash = decode_good(file);

    (void)unused;
    file = insert(file, file.bytes, "\xff\xda trailing", 11);
    assert_true(decode_good(file) == hash);
    free(file.data);
}

/* 12,000 files; whatever the answer, it is one of ours and nothing leaks or crashes. */
static void mutants_are_decoded_or_refused(void **unused)
{
    struct file seeds[] = {
        encode((struct recipe){ .width = 37, .height = 41, .components = 3 }),
        encode((struct recipe){ .width = 29, .height = 33, .components = 3, .progressive = true }),
        encode((struct recipe){ .width = 40, .height = 40, .components = 1, .restart_rows = 1 }),
        encode((struct recipe){ .width = 20, .height = 20, .components = 4, .ycck = true }),
    };
    size_t refused = 0;

    (void)unused;
    for (size_t seed = 0; seed < sizeof seeds / sizeof seeds[0]; seed++) {
        uint8_t *copy = malloc(seeds[seed].bytes);

        random_seed(seed + 1);
        for (size_t run = 0; run < 3000; run++) {
            vmoe_error error = VMOE_ERROR_INIT;
            vmoe_status status;
            uint64_t hash;

            memcpy(copy, seeds[seed].data, seeds[seed].bytes);
            for (uint32_t n = 1 + random_u32() % 4; n > 0; n--)
                copy[random_u32() % seeds[seed].bytes] =
                    random_u32() % 4 == 0 ? 0xff : (uint8_t)random_u32();
            status = decode(copy, seeds[seed].bytes, &hash, &error);
            assert_true(status == VMOE_OK || status == VMOE_ERR_IMAGE ||
                        status == VMOE_ERR_LIMIT || status == VMOE_ERR_UNSUPPORTED);
            assert_int_equal(status, error.status);
            refused += status != VMOE_OK;
        }
        free(copy);
        free(seeds[seed].data);
    }
    assert_true(refused > 3000);
}

static void sampling_factors_of_all_kinds(void **unused)
{
    struct file file = encode((struct recipe){ .width = 19, .height = 21, .components = 3 });
    uint8_t *frame = file.data + find_segment(file, 0xc0);
    size_t decoded = 0;

    (void)unused;
    for (uint32_t i = 0; i < 4096; i++) {
        vmoe_status status;
        uint64_t hash;

        for (uint32_t c = 0; c < 3; c++) {
            const uint32_t factors = i >> (4 * c) & 15u;

            frame[7 + 3 * c] = (uint8_t)(((factors >> 2) + 1) << 4 | ((factors & 3u) + 1));
        }
        status = decode(file.data, file.bytes, &hash, NULL);
        assert_true(status == VMOE_OK || status == VMOE_ERR_IMAGE);
        decoded += status == VMOE_OK;
    }
    assert_true(decoded > 0);
    free(file.data);
}

static void bad_files_leave_no_trace_in_good_ones(void **unused)
{
    struct file good = encode(
        (struct recipe){ .width = 29, .height = 33, .components = 3, .progressive = true });
    struct file bad = encode((struct recipe){ .width = 37, .height = 41, .components = 3 });
    const uint64_t expected = decode_good(good);

    (void)unused;
    random_seed(3);
    for (size_t run = 0; run < 2000; run++) {
        uint64_t hash;

        assert_int_equal(decode(bad.data, random_u32() % bad.bytes, &hash, NULL), VMOE_ERR_IMAGE);
        assert_true(decode_good(good) == expected);
    }
    free(good.data);
    free(bad.data);
}

/* ---- Not what we decode ---------------------------------------------------------------------- */

static void other_data_are_refused_with_their_first_bytes(void **unused)
{
    (void)unused;
    assert_refused("\x89PNG\r\n\x1a\n", 8, VMOE_ERR_IMAGE, "begins with 89 50 4e 47");
    assert_refused("\xff\xd9\xff\xd8", 4, VMOE_ERR_IMAGE, "begins with ff d9 ff d8");
    assert_refused("", 0, VMOE_ERR_IMAGE, "0 bytes");
    assert_refused("\xff\xd8\xff", 3, VMOE_ERR_IMAGE, "3 bytes");
    assert_refused("\xff\xd8\xff\xd9", 4, VMOE_ERR_IMAGE, "cannot be decoded");
    assert_refused("\xff\xd8\xff\xff\xff", 5, VMOE_ERR_IMAGE, "cannot be decoded");
    assert_refused("\xff\xd8\xff\xc0", 4, VMOE_ERR_IMAGE, "cannot be decoded");
    assert_refused("\xff\xd8\xff\xc0\x00\x02", 6, VMOE_ERR_IMAGE, "cannot be decoded");
}

static void arithmetic_coding_is_refused(void **unused)
{
    (void)unused;
#ifdef C_ARITH_CODING_SUPPORTED
    assert_file_refused(encode((struct recipe){
                            .width = 16, .height = 16, .components = 3, .arithmetic = true }),
                        VMOE_ERR_UNSUPPORTED, "arithmetic");
#endif
    for (uint8_t marker = 0xc9; marker <= 0xcb; marker++) {
        struct file file = encode((struct recipe){ .width = 16, .height = 16, .components = 3 });

        file.data[find_segment(file, 0xc0) - 3] = marker;
        assert_file_refused(file, VMOE_ERR_UNSUPPORTED, "arithmetic");
    }
}

static void lossless_and_hierarchical_coding_are_refused(void **unused)
{
    static const struct {
        uint8_t marker;
        const char *words;
    } cases[] = { { 0xc3, "lossless" }, { 0xc5, "hierarchical" }, { 0xc6, "hierarchical" },
                  { 0xc7, "hierarchical" }, { 0xcd, "SOF13" }, { 0xcf, "SOF15" } };

    (void)unused;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct file file = encode((struct recipe){ .width = 16, .height = 16, .components = 3 });

        file.data[find_segment(file, 0xc0) - 3] = cases[i].marker;
        assert_file_refused(file, VMOE_ERR_UNSUPPORTED, cases[i].words);
    }
}

static void samples_of_other_than_8_bits_are_refused(void **unused)
{
    static const uint8_t precisions[] = { 0, 7, 12, 16, 255 };

    (void)unused;
    for (size_t i = 0; i < sizeof precisions; i++) {
        struct file file = encode((struct recipe){ .width = 16, .height = 16, .components = 3 });

        file.data[find_segment(file, 0xc0)] = precisions[i];
        assert_file_refused(file, VMOE_ERR_UNSUPPORTED, "bits a sample");
    }
}

static void two_components_are_refused(void **unused)
{
    (void)unused;
    assert_file_refused(encode((struct recipe){ .width = 16, .height = 16, .components = 2 }),
                        VMOE_ERR_UNSUPPORTED, "2 components");
}

/* ---- Limits ---------------------------------------------------------------------------------- */

static void a_hundred_scans_are_enough(void **unused)
{
    struct file file;

    (void)unused;
    file = encode((struct recipe){ .width = 24, .height = 24, .components = 1, .scans = 100 });
    (void)decode_good(file);
    free(file.data);
    assert_file_refused(
        encode((struct recipe){ .width = 24, .height = 24, .components = 1, .scans = 101 }),
        VMOE_ERR_LIMIT, "scans");
}

/* A comment whose length is 0: libjpeg reads on behind it, and so must the count. */
static void scans_cannot_be_hidden_from_the_count(void **unused)
{
    struct file file =
        encode((struct recipe){ .width = 24, .height = 24, .components = 1, .scans = 101 });

    (void)unused;
    file = insert(file, find_segment(file, 0xda) - 4, "\xff\xff\xff", 3);
    file = insert(file, find_segment(file, 0xc0) - 4, "\xff\xfe\x00\x00", 4);
    assert_file_refused(file, VMOE_ERR_LIMIT, "scans");
}

/* 2^20 blocks of a picture of 8192 x 8192 may be visited 95 times. */
static void the_work_of_all_scans_is_limited(void **unused)
{
    struct file file;

    (void)unused;
    file = encode((struct recipe){ .width = 24, .height = 24, .components = 1, .scans = 95 });
    set_size(file, 8192, 8192);
    assert_file_refused(file, VMOE_ERR_IMAGE, "cannot be decoded");
    file = encode((struct recipe){ .width = 24, .height = 24, .components = 1, .scans = 96 });
    set_size(file, 8192, 8192);
    assert_file_refused(file, VMOE_ERR_LIMIT, "visit 100663296 blocks");
    /* Scans of three components visit three times as many. */
    for (int scans = 31; scans <= 32; scans++) {
        static const char scan[] = "\xff\xda\x00\x0c\x03\x01\x00\x02\x11\x03\x11\x00\x3f\x00";

        file = encode((struct recipe){ .width = 24, .height = 24, .components = 3 });
        for (int more = 1; more < scans; more++)
            file = insert(file, file.bytes - 2, scan, sizeof scan - 1);
        set_size(file, 8192, 8192);
        assert_file_refused(file, scans == 31 ? VMOE_ERR_IMAGE : VMOE_ERR_LIMIT,
                            scans == 31 ? "cannot be decoded" : "visit 100663296 blocks");
    }
}

static void sides_and_pixels_are_limited(void **unused)
{
    static const struct {
        uint32_t width, height;
        vmoe_status expected;
    } cases[] = {
        { 16384, 4096, VMOE_ERR_IMAGE }, { 16384, 4097, VMOE_ERR_LIMIT },
        { 8192, 8192, VMOE_ERR_IMAGE },  { 8193, 8192, VMOE_ERR_LIMIT },
        { 16385, 1, VMOE_ERR_LIMIT },    { 1, 16385, VMOE_ERR_LIMIT },
        { 48010, 16173, VMOE_ERR_LIMIT }, { 65500, 65500, VMOE_ERR_LIMIT },
        { 0, 16, VMOE_ERR_IMAGE },       { 16, 0, VMOE_ERR_IMAGE },
        { 65535, 65535, VMOE_ERR_IMAGE }, /* which libjpeg itself refuses */
    };
    struct file file = encode((struct recipe){ .width = 16, .height = 16, .components = 3 });

    (void)unused;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        set_size(file, cases[i].width, cases[i].height);
        assert_refused(file.data, file.bytes, cases[i].expected, "");
    }
    free(file.data);
    file = encode((struct recipe){ .width = 16384, .height = 1, .components = 3 });
    (void)decode_good(file);
    free(file.data);
    file = encode((struct recipe){ .width = 1, .height = 16384, .components = 1 });
    (void)decode_good(file);
    free(file.data);
}

static void bytes_are_limited(void **unused)
{
    struct file file = encode((struct recipe){ .width = 16, .height = 16, .components = 3 });
    uint8_t *large = calloc(VMOE_LIMIT_JPEG_BYTES + 1, 1);

    (void)unused;
    memcpy(large, file.data, file.bytes);
    (void)decode_good((struct file){ large, VMOE_LIMIT_JPEG_BYTES });
    assert_refused(large, VMOE_LIMIT_JPEG_BYTES + 1, VMOE_ERR_LIMIT, "67108865 bytes");
    free(large);
    free(file.data);
}

/* Four coefficient arrays of 128 MiB each, and then some. */
static void the_decoders_memory_is_limited(void **unused)
{
    struct file file = encode(
        (struct recipe){ .width = 16, .height = 16, .components = 4, .progressive = true });

    (void)unused;
    set_size(file, 8192, 8192);
    assert_file_refused(file, VMOE_ERR_LIMIT, "memory");
}

/*
 * 128 MiB of coefficients in an address space of 100 MB.  Sanitizers need more than that, and an
 * emulator may not keep to it.
 */
static void running_out_of_memory_is_an_error(void **unused)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    (void)unused;
    skip_because("not under a sanitizer");
#else
    struct file file = encode(
        (struct recipe){ .width = 16, .height = 16, .components = 1, .progressive = true });
    struct rlimit before, tight;
    void *much;

    (void)unused;
    set_size(file, 8192, 8192);
    assert_int_equal(getrlimit(RLIMIT_AS, &before), 0);
    tight = before;
    tight.rlim_cur = 100000000;
    assert_int_equal(setrlimit(RLIMIT_AS, &tight), 0);
    much = malloc(tight.rlim_cur);
    if (much == NULL)
        assert_refused(file.data, file.bytes, VMOE_ERR_MEMORY, "no memory");
    assert_int_equal(setrlimit(RLIMIT_AS, &before), 0);
    if (much != NULL) {
        free(much);
        free(file.data);
        skip_because("memory is not limited here");
    }
    assert_refused(file.data, file.bytes, VMOE_ERR_IMAGE, "cannot be decoded");
    free(file.data);
#endif
}

/* JPEGMEM=1 would leave libjpeg 1000 bytes for the coefficients of a progressive file. */
static void the_environment_does_not_matter(void **unused)
{
    struct file file = encode(
        (struct recipe){ .width = 200, .height = 200, .components = 3, .progressive = true });
    const uint64_t hash = decode_good(file);

    (void)unused;
    setenv("JPEGMEM", "1", 1);
    assert_true(decode_good(file) == hash);
    setenv("JPEGMEM", "1000000", 1);
    assert_true(decode_good(file) == hash);
    unsetenv("JPEGMEM");
    free(file.data);
}

/* ---- CMYK ------------------------------------------------------------------------------------ */

static void adobes_marker_decides_what_cmyk_means(void **unused)
{
    struct file inverted = encode((struct recipe){ .width = 8, .height = 8, .components = 4 });
    struct file plain = encode(
        (struct recipe){ .width = 8, .height = 8, .components = 4, .plain_cmyk = true });
    struct file files[] = { inverted, plain };
    struct jpeg_decompress_struct decoder;
    struct jpeg_error_mgr manager;

    (void)unused;
    for (unsigned i = 0; i < 2; i++) {
        const unsigned flip = i == 0 ? 0 : 255;
        uint64_t expected = UINT64_C(0xcbf29ce484222325);
        uint8_t cmyk[4 * 8];
        JSAMPROW row = cmyk;

        decoder.err = jpeg_std_error(&manager);
        jpeg_create_decompress(&decoder);
        jpeg_mem_src(&decoder, files[i].data, files[i].bytes);
        jpeg_read_header(&decoder, TRUE);
        decoder.dct_method = JDCT_IFAST;
        decoder.out_color_space = JCS_CMYK;
        jpeg_start_decompress(&decoder);
        for (size_t y = 0; y < 8; y++) {
            jpeg_read_scanlines(&decoder, &row, 1);
            for (size_t x = 0; x < 24; x++) {
                const unsigned ink = cmyk[x / 3 * 4 + x % 3] ^ flip;

                expected ^= ink * (cmyk[x / 3 * 4 + 3] ^ flip) / 255;
                expected *= UINT64_C(0x100000001b3);
            }
        }
        jpeg_finish_decompress(&decoder);
        jpeg_destroy_decompress(&decoder);
        assert_true(decode_good(files[i]) == expected);
        free(files[i].data);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_prefix_of_a_file_is_refused),
        cmocka_unit_test(every_prefix_of_golden_files_is_refused),
        cmocka_unit_test(truncation_is_named),
        cmocka_unit_test(bytes_between_the_last_row_and_the_end_are_damage),
        cmocka_unit_test(stray_bytes_in_the_header_do_no_harm),
        cmocka_unit_test(what_follows_the_end_of_the_file_is_ignored),
        cmocka_unit_test(mutants_are_decoded_or_refused),
        cmocka_unit_test(sampling_factors_of_all_kinds),
        cmocka_unit_test(bad_files_leave_no_trace_in_good_ones),
        cmocka_unit_test(other_data_are_refused_with_their_first_bytes),
        cmocka_unit_test(arithmetic_coding_is_refused),
        cmocka_unit_test(lossless_and_hierarchical_coding_are_refused),
        cmocka_unit_test(samples_of_other_than_8_bits_are_refused),
        cmocka_unit_test(two_components_are_refused),
        cmocka_unit_test(a_hundred_scans_are_enough),
        cmocka_unit_test(scans_cannot_be_hidden_from_the_count),
        cmocka_unit_test(the_work_of_all_scans_is_limited),
        cmocka_unit_test(sides_and_pixels_are_limited),
        cmocka_unit_test(bytes_are_limited),
        cmocka_unit_test(the_decoders_memory_is_limited),
        cmocka_unit_test(running_out_of_memory_is_an_error),
        cmocka_unit_test(the_environment_does_not_matter),
        cmocka_unit_test(adobes_marker_decides_what_cmyk_means),
    };

    return cmocka_run_group_tests_name("jpeg", tests, NULL, NULL);
}
